"""From named tensors to the network that they fit."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.basicvsr.network import BasicVSRNet
from stvsr_bench.weights.strict import load_strict

_FIRST = "backward_trunk.main.0.weight"
_BLOCK = re.compile(r"backward_trunk\.main\.2\.(\d+)\.conv1\.weight")
_OF_ICONVSR = ("edvr.", "backward_fusion.", "forward_fusion.")


def network_of(tensors: Mapping[str, Tensor]) -> BasicVSRNet:
    """Build the network whose size the tensors tell, and load them, every one.

    Raises:
        WeightError: they are those of IconVSR or of something else, or some are missing, unexpected or of another
            shape or dtype.
    """
    foreign = sorted(name for name in tensors if name.startswith(_OF_ICONVSR))
    if foreign:
        raise WeightError(
            "the parameters are those of IconVSR, not of BasicVSR",
            got=f"{len(foreign)} tensors such as {foreign[0]}",
            accepted="a checkpoint of BasicVSR; IconVSR has another network",
        )
    blocks = sum(_BLOCK.fullmatch(name) is not None for name in tensors)
    first = tensors.get(_FIRST)
    if first is None or first.ndim != 4 or first.shape[1] != first.shape[0] + 3 or not blocks:
        raise WeightError(
            "the parameters are not those of BasicVSR",
            got=f"no {_FIRST}" if first is None else f"{_FIRST} {list(first.shape)}, {blocks} residual blocks",
            accepted=f"{_FIRST} of shape [F, F + 3, 3, 3] and at least one residual block",
        )
    fine = tensors.get("conv_last.weight")
    widths = [tensors.get(f"spynet.basic_module.0.basic_module.{2 * i}.weight") for i in range(4)]
    given = [w.shape[0] for w in widths if w is not None and w.ndim == 4]
    net = BasicVSRNet(
        first.shape[0],
        blocks,
        flow_features=given if len(given) == 4 else (32, 64, 32, 16),
        fine_features=fine.shape[1] if fine is not None and fine.ndim == 4 else 64,
    )
    load_strict(net, tensors)
    return net
