"""Recognising that memory ran out, whichever library says so, and giving back what a device holds."""

from __future__ import annotations

import gc

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
