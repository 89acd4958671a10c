"""The identity of a weight: a hash of named tensors, not of the file that carries them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 hex digest of named tensors.

    For each name in sorted order: the name (UTF-8), a zero byte, the dtype as torch prints it without ``torch.``, a
    zero byte, the shape as decimals joined by commas, a zero byte, and the contiguous little-endian values.

    >>> tensor_hash({
    ...     "b": torch.arange(3.0),
    ...     "a.w": torch.ones(2, 2, dtype=torch.float16),
    ...     "n": torch.tensor(7),
    ... })
    '23e292ec61b6d92d5935a0f597bca35481fd988c748ccd006a8512d05b73e9ce'
    """
    h = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        shape = ",".join(map(str, tensor.shape))
        h.update(f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{shape}\0".encode())
        if tensor.numel():
            h.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return h.hexdigest()
