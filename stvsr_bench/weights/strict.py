"""Loading tensors into a network: every name, shape and dtype must fit, and what does not is listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from stvsr_bench.core.errors import WeightError

_LISTED = 8


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    allow_missing: Collection[str] = (),
    assign: bool = False,
) -> None:
    """Copy ``tensors`` into the parameters and buffers of ``module``.

    Args:
        module: the network.
        tensors: state dict under the names of ``module``.
        allow_missing: names of buffers that ``module`` makes itself and ``tensors`` need not hold.
        assign: make the tensors themselves, of whatever floating dtype, those of ``module``, which may be on the meta
            device.

    Raises:
        WeightError: names are missing or unexpected, or shapes or dtypes differ; all of them are listed, and
            ``module`` is untouched.
    """
    own = module.state_dict()
    buffers = {name for name, _ in module.named_buffers()}
    faults = {
        "missing": sorted(set(own) - set(tensors) - (set(allow_missing) & buffers)),
        "unexpected": sorted(set(tensors) - set(own)),
        "of another shape": [
            f"{name} {list(tensors[name].shape)} instead of {list(own[name].shape)}"
            for name in sorted(set(own) & set(tensors))
            if tensors[name].shape != own[name].shape
        ],
        "of another dtype": [
            f"{name} {tensors[name].dtype} instead of {own[name].dtype}"
            for name in sorted(set(own) & set(tensors))
            if tensors[name].dtype != own[name].dtype and not (assign and tensors[name].is_floating_point())
        ],
    }
    if any(faults.values()):
        raise WeightError(
            f"the parameters do not fit {type(module).__name__}",
            got="; ".join(f"{len(names)} {kind}: {shorten(names)}" for kind, names in faults.items() if names),
            accepted=f"exactly its {len(own)} tensors",
            action="take the weight that belongs to this variant",
        )
    module.load_state_dict(dict(tensors), strict=not allow_missing, assign=assign)


def shorten(names: Collection[str], most: int = _LISTED) -> str:
    """Return up to ``most`` names, and how many more there are.

    >>> shorten(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
