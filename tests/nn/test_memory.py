"""Recognising out-of-memory, and the stage clock."""

from __future__ import annotations

import time

import pytest
import torch

from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.memory import is_out_of_memory


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
