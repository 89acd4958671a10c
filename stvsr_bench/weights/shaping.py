"""From what a file holds to a weight: entry, names, what is dropped, axes; then the hash decides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.strict import shorten


def shape_weight(spec: WeightSpec, loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of ``spec`` under their final names.

    Args:
        spec: the card's facts: ``entry``, ``key_map``, ``drop``, ``keys``, ``values`` and ``transpose`` are
            applied in this order.
        loaded: what the reader returned.

    Raises:
        WeightError: a value is no tensor, two names become one, names are missing or unexpected, or the tensors hold
            more or fewer numbers than the card says.
    """
    for entry in spec.entry:
        if isinstance(loaded.get(entry), Mapping):
            loaded = loaded[entry]
            break
    tensors: dict[str, Tensor] = {}
    for stored, value in loaded.items():
        name = str(stored)
        for pattern, replacement in spec.key_map:
            name = re.sub(pattern, replacement, name)
        if any(fnmatchcase(name, pattern) for pattern in spec.drop):
            continue
        if name in tensors:
            raise WeightError("two tensors of the file get one name", got=name, action="correct the card's key_map")
        tensors[name] = _oriented(spec, name, _tensor(str(stored), value))
    if spec.keys:
        missing = [pattern for pattern in spec.keys if not any(fnmatchcase(name, pattern) for name in tensors)]
        extra = [name for name in tensors if not any(fnmatchcase(name, pattern) for pattern in spec.keys)]
        if missing or extra:
            faults = [f"{len(missing)} missing: {shorten(missing)}"] if missing else []
            faults += [f"{len(extra)} unexpected: {shorten(extra)}"] if extra else []
            raise WeightError("the file holds other tensors than the card names", got="; ".join(faults))
    found = sum(tensor.numel() for tensor in tensors.values())
    if spec.values not in (None, found):
        raise WeightError(
            "the file holds another number of parameters than the card says",
            got=f"{found} in {len(tensors)} tensors",
            accepted=str(spec.values),
            action="it is that of another variant, or tensors of it are missing: take the published file",
        )
    return tensors


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(np.array(value, order="C", copy=True))
        except (TypeError, ValueError) as error:
            raise WeightError(f"the array '{name}' has a type that torch lacks", got=str(value.dtype)) from error
    raise WeightError(
        "the file holds something else than named tensors",
        got=f"{type(value).__name__} at '{name}'",
        accepted="tensors; a checkpoint's state dict is named by 'entry' in the card",
    )


def _oriented(spec: WeightSpec, name: str, tensor: Tensor) -> Tensor:
    for pattern, axes in spec.transpose:
        if fnmatchcase(name, pattern):
            if tensor.dim() != len(axes):
                raise WeightError(
                    f"'{name}' has another number of axes",
                    got=f"shape {list(tensor.shape)}",
                    accepted=f"{len(axes)} axes",
                )
            return tensor.permute(axes).contiguous()
    return tensor


def check_hash(tensors: Mapping[str, Tensor], expected: str) -> None:
    """Compare the tensor hash of ``tensors``.

    Raises:
        WeightError: it is another one; what the tensors are is told.
    """
    found = tensor_hash(tensors)
    if found != expected:
        values = sum(tensor.numel() for tensor in tensors.values())
        raise WeightError(
            "the tensors are not those of the card",
            got=f"tensor hash {found}: {len(tensors)} tensors, {values} values, {shorten(sorted(tensors), 3)}",
            accepted=f"tensor hash {expected}",
            action="a tensor was changed, added, left out, or has another shape or dtype: take the published file",
        )
