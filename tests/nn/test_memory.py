"""What is free, recognising out-of-memory, and the stage clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from stvsr_bench.nn import memory
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.memory import free_memory, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_clock_adds_only_what_it_encloses() -> None:
    clock = StageClock(torch.device("cpu"))
    began = time.perf_counter()
    for _ in range(2):
        with clock:
            time.sleep(0.02)
        time.sleep(0.05)
    assert 0.04 <= clock.seconds <= time.perf_counter() - began - 0.1
    assert clock.peak_bytes is None


def _group(folder: Path, limit: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (folder / "memory.current").write_text("7000\n", encoding="ascii")
    (folder / "memory.stat").write_text("anon 4000\ninactive_file 2500\nfile 3000\n", encoding="ascii")
    return folder


@pytest.mark.parametrize(("limit", "expected"), [("max", None), ("10000", 5500), ("3000", 0), ("many", None)])
def test_the_limit_of_a_container_counts(tmp_path: Path, limit: str, expected: int | None) -> None:
    assert memory._control_group(_group(tmp_path, limit)) == expected
    assert memory._control_group(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("system", "group", "expected"), [(9, 5, 5), (5, 9, 5), (5, None, 5), (None, 7, 7), (None, None, None)]
)
def test_free_memory_of_a_cpu_is_the_least_of_what_is_known(
    monkeypatch: pytest.MonkeyPatch, system: int | None, group: int | None, expected: int | None
) -> None:
    monkeypatch.setattr(memory, "_available", lambda: system)
    monkeypatch.setattr(memory, "_control_group", lambda folder: group)
    assert free_memory(torch.device("cpu")) == expected


def test_what_this_system_says_is_free_is_plausible() -> None:
    free, there = free_memory(torch.device("cpu")), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free is None or 1 << 26 < free < there
    assert free_memory(torch.device("meta")) is None
