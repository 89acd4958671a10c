"""Checkpoints of the RIFE paper: reading one that the user names, and the network that its tensors tell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.nn.ifnet_paper import REFINE_WIDTH, IFNet
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.readers import RawFile, read_raw
from stvsr_bench.weights.shaping import shape_weight
from stvsr_bench.weights.strict import load_strict

FILE = "flownet.pkl"
"""What upstream calls the file inside the folder of a checkpoint."""

_FIRST = "block0.conv0.0.0.weight"
_CHANNELS = {6: ("paper", "IFNet"), 7: ("paper_m", "IFNet_m")}


def read_checkpoint(path: Path, expected: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a ``flownet.pkl``, without ``module.`` before their names and without the training block.

    Args:
        path: the file, or the folder that holds it under that name; ``.safetensors`` is read too.
        expected: sha256 of the file or tensor hash of what is returned, either as 64 hexadecimal digits.

    Raises:
        WeightError: there is no such file, it holds something else than named tensors, or has another hash.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise WeightError(
            "the checkpoint does not exist",
            got=f"'{file}'",
            accepted=f"a {FILE} of hzwer/ECCV2022-RIFE, or its folder",
            action="correct method.checkpoint",
        )
    spec = WeightSpec(
        name="checkpoint",
        licence=None,
        reader="safetensors" if file.suffix == ".safetensors" else "torch",
        key_map=((r"^module\.", ""),),
        drop=("block_tea.*",),
    )
    assert spec.reader is not None
    tensors = shape_weight(spec, read_raw(spec.reader, [RawFile(file.name, file)]))
    if expected is not None:
        with file.open("rb") as opened:
            found = {"sha256 of the file": hashlib.file_digest(opened, "sha256").hexdigest()}
        found["tensor hash"] = tensor_hash(tensors)
        if expected not in found.values():
            raise WeightError(
                f"'{file}' is another file",
                got=", ".join(f"{kind} {value}" for kind, value in found.items()),
                accepted=f"{expected} as one of them",
                action="correct method.checkpoint or method.checkpoint_hash",
            )
    return tensors


def network_of(tensors: Mapping[str, Tensor], variant: str, *, optimised: bool = True) -> IFNet:
    """Build the network whose widths the tensors tell, and load them, every one.

    Args:
        tensors: as :func:`read_checkpoint` returns them.
        variant: ``paper`` or ``paper_m``, which they must be.
        optimised: as of :class:`~stvsr_bench.nn.ifnet_paper.IFNet`.

    Raises:
        WeightError: they are those of the other variant, of another RIFE or of something else, or some are missing,
            unexpected or of another shape or dtype.
    """
    tops = {name.split(".")[0] for name in tensors}
    first = tensors.get(_FIRST)
    if first is None or first.ndim != 4:
        raise WeightError(
            "the parameters are not those of RIFE",
            got=f"no {_FIRST}" if first is None else f"{_FIRST} {list(first.shape)}",
            accepted=f"a {FILE} of hzwer/ECCV2022-RIFE",
        )
    if not tops & {"contextnet", "unet"} or "block3" in tops or first.shape[1] not in _CHANNELS:
        raise WeightError(
            "the parameters are those of another RIFE generation",
            got=f"parts {', '.join(sorted(tops))}; {_FIRST} {list(first.shape)}",
            accepted="block0, block1, block2, contextnet and unet; the first convolution with 6 or 7 input channels",
            action="take RIFE or RIFE_m of hzwer/ECCV2022-RIFE; 3.x and 4.x are other networks (method.variant=4.0)",
        )
    found, network_name = _CHANNELS[first.shape[1]]
    if found != variant:
        raise WeightError(
            f"the parameters are those of {network_name}, which is variant {found}",
            got=f"{_FIRST} {list(first.shape)} for variant {variant}",
            accepted="6 input channels for paper (IFNet), 7 for paper_m (IFNet_m)",
            action=f"set method.variant={found}, or take the other checkpoint",
        )
    lasts = [tensors.get(f"block{i}.lastconv.weight") for i in range(3)]
    fine = tensors.get("contextnet.conv1.conv1.0.weight")
    network = IFNet(
        [len(last) if last is not None else 2 for last in lasts],
        REFINE_WIDTH if fine is None else len(fine),
        timed=found == "paper_m",
        optimised=optimised,
    )
    load_strict(network, tensors)
    return network
