"""How much memory a device has left, recognising that it ran out, and giving back what is held."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

_PHRASES = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether ``error`` means that memory ran out: torch on any device, cuBLAS, cuDNN, numpy, Python, OpenCV.

    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")), is_out_of_memory(ValueError("no"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in _PHRASES)


def release_memory(device: torch.device) -> None:
    """Free what the failed attempt left behind, so that the next, smaller one finds the memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_memory(device: torch.device) -> int | None:
    """Bytes that could be allocated on ``device`` now, counting what torch has cached; ``None`` where nobody knows.

    For a CPU it is what the system calls available, within the limit of the process's control group.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    if device.type != "cpu":
        return None
    found = [_available(), _control_group(Path("/sys/fs/cgroup"))]
    return min((value for value in found if value is not None), default=None)


def _available() -> int | None:
    """``MemAvailable`` of Linux; elsewhere free pages, where the system counts them."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _control_group(folder: Path) -> int | None:
    """What a container may still take (control groups 2); file pages that can be dropped count as free."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        fields = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return None if limit == "max" else max(0, int(limit) - used + int(fields.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
