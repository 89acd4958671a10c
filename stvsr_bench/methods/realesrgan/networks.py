"""The networks behind the variants, and the network that a checkpoint of the official layout belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.realesrgan.rrdbnet import RRDBNet
from stvsr_bench.methods.realesrgan.srvgg import SRVGGNetCompact

RealEsrganNet = RRDBNet | SRVGGNetCompact

VARIANTS: dict[str, Callable[[], RealEsrganNet]] = {
    "x4plus_ncnn_fp16": RRDBNet,
    "x4plus_anime_ncnn_fp16": partial(RRDBNet, blocks=6),
    "animevideov3_ncnn_fp16": SRVGGNetCompact,
    "x4plus": RRDBNet,
}
"""Full-size network of each variant that has a weight of its own."""

_TINY: dict[type[RealEsrganNet], Callable[[], RealEsrganNet]] = {
    RRDBNet: partial(RRDBNet, features=8, blocks=1, growth=4),
    SRVGGNetCompact: partial(SRVGGNetCompact, features=8, convolutions=2),
}


def tiny_network(variant: str) -> RealEsrganNet:
    """The class of ``variant`` at toy width."""
    full = VARIANTS[variant]
    kind = full.func if isinstance(full, partial) else full
    assert isinstance(kind, type)
    return _TINY[kind]()


def network_of(tensors: Mapping[str, torch.Tensor]) -> RealEsrganNet:
    """Return the network whose parameters ``tensors`` look like; they are not loaded, and may still misfit.

    Raises:
        WeightError: neither network has tensors of these names.
    """
    first, dense = tensors.get("conv_first.weight"), tensors.get("body.0.rdb1.conv1.weight")
    head, slopes = tensors.get("body.0.weight"), tensors.get("body.1.weight")
    numbers = [int(found[1]) for name in tensors if (found := re.match(r"body\.(\d+)\.", name))]
    if first is not None and dense is not None and first.ndim == 4:
        scale = {3: 4, 12: 2, 48: 1}.get(first.shape[1])
        if scale is not None:
            return RRDBNet(scale, features=len(first), blocks=max(numbers) + 1, growth=len(dense))
    elif head is not None and slopes is not None and slopes.ndim == 1:
        last = tensors.get(f"body.{max(numbers)}.weight")
        scale = 0 if last is None else round((len(last) / 3) ** 0.5)
        if last is not None and len(last) == 3 * scale**2 and max(numbers) >= 2 and max(numbers) % 2 == 0:
            return SRVGGNetCompact(scale, features=len(head), convolutions=max(numbers) // 2 - 1)
    raise WeightError(
        "the checkpoint belongs to no network of Real-ESRGAN",
        got="tensors " + ", ".join(sorted(tensors)[:6]) + (", …" if len(tensors) > 6 else ""),
        accepted="RRDBNet (conv_first.weight, …) or SRVGGNetCompact with PReLU (body.0.weight, body.1.weight, …)",
        action="pass a checkpoint of Real-ESRGAN's own layout as method.checkpoint_file",
    )
