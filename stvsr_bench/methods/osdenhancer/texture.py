"""The stored but inert TE LoRA (the paper's SE expert): do the base weights hold it already?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.stored import FLOATING, StoredTensors, as_own
from stvsr_bench.weights.strict import shorten

Outcome = Literal["merged", "not merged", "unclear", "absent"]

WRAPPED = re.compile(
    r"(?:transformer_blocks\.\d+\.(?:attn1\.(?:to_q|to_k|to_v|to_out\.0)|ff\.net\.(?:0\.proj|2))|proj_out)"
)
"""The linear layers that upstream wraps, 6 of every block and the last one: 253 of the published network."""

TE_RANK = 128
"""Rank and alpha of the adapters, fixed in the official code: alpha / rank, which multiplies ``BA``, is 1."""

_PART = re.compile(r"(.*)\.lora_([AB])\.TE_lora\.weight")
_TOLERANCE = 0.25
"""How far from 1 or 0 the middle half of the layers may lie. Chance alone moves a layer's ratio by 0.03 when the LoRA
is a hundredth of its weight."""


@dataclass(frozen=True)
class Pair:
    """Names of one layer's TE LoRA in the files.

    Attributes:
        base: the weight that it belongs to, ``[out, in]``.
        a: ``[rank, in]``.
        b: ``[out, rank]``.
    """

    base: str
    a: str
    b: str


@dataclass(frozen=True)
class TextureCheck:
    """What the check of the TE LoRA found.

    Attributes:
        outcome: whether the base weights hold it.
        layers: how many layers were looked at.
        median: of the layers' ratios ``<W, BA> / |BA|²``: about 1 where ``BA`` was added to ``W``, about 0 where not;
            ``None`` without layers.
        mean: the same.
        quartiles: the ratios between which the middle half of the layers lies.
    """

    outcome: Outcome
    layers: int = 0
    median: float | None = None
    mean: float | None = None
    quartiles: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """The finding in one sentence, for notes and reports."""
        if self.outcome == "absent":
            return "TE LoRA: the checkpoint stores none (or zeros only), so there is nothing to check or to add"
        meaning = {
            "merged": "the base weights hold it already; it is not added again",
            "not merged": "the base weights do not seem to hold it; the official code goes without it, and "
            "method.apply_te=true adds it once",
            "unclear": "the values do not tell whether the base weights hold it; the official code adds nothing",
        }[self.outcome]
        assert self.quartiles is not None
        low, high = self.quartiles
        return (
            f"TE LoRA {self.outcome}: <W, BA>/|BA|² has median {self.median:.3f}, mean {self.mean:.3f} and middle half "
            f"{low:.3f} to {high:.3f} over {self.layers} layers (1: merged, 0: not); {meaning}"
        )


def texture_pairs(stored: StoredTensors) -> tuple[dict[str, Pair], StoredTensors]:
    """Split the TE LoRA from the rest.

    Returns:
        The pairs by the layer's name, and ``stored`` without them.

    Raises:
        WeightError: half a pair, a pair of another shape than its layer, or one of a layer that has none.
    """
    halves: dict[str, dict[str, str]] = {}
    for name in stored.tensors:
        if (match := _PART.fullmatch(name)) is not None:
            halves.setdefault(match[1], {})[match[2]] = name
    pairs: dict[str, Pair] = {}
    faults: list[str] = []
    for layer, half in halves.items():
        base = next((name for form in _FORMS if (name := form.format(layer)) in stored.tensors), None)
        if WRAPPED.fullmatch(layer) is None or base is None:
            faults.append(f"{layer}: no such layer")
        elif len(half) != 2:
            faults.append(f"{layer}: lora_{'A' if 'B' in half else 'B'} is missing")
        else:
            pairs[layer] = Pair(base, half["A"], half["B"])
            faults += _unfit(stored, pairs[layer])
    if faults:
        raise WeightError(
            f"the TE LoRA of '{stored.folder}' is damaged",
            got=f"{len(faults)} faults: {shorten(faults)}",
            accepted=f"lora_A [{TE_RANK}, in] and lora_B [out, {TE_RANK}] for wrapped layers, or none",
            action="take the folder that upstream published on 2026-06-25 or later, whole",
        )
    inert = {name for half in halves.values() for name in half.values()}
    rest = {name: each for name, each in stored.tensors.items() if name not in inert}
    return pairs, replace(stored, tensors=rest)


_FORMS = ("{}.base_layer.weight", "{}.weight")


def _unfit(stored: StoredTensors, pair: Pair) -> list[str]:
    base = stored.tensors[pair.base]
    if len(base.shape) != 2:
        return [f"{pair.base} {list(base.shape)} is no matrix"]
    expected = {pair.a: (TE_RANK, base.shape[1]), pair.b: (base.shape[0], TE_RANK)}
    found = {name: stored.tensors[name] for name in expected}
    return [
        f"{name} {list(each.shape)} {each.dtype} instead of {list(expected[name])}"
        for name, each in found.items()
        if each.shape != expected[name] or each.dtype not in FLOATING
    ]


def ratio(base: Tensor, a: Tensor, b: Tensor) -> float | None:
    """Return ``<W, BA> / |BA|²`` of one layer, without making ``BA``; ``None`` where ``BA`` is zero.

    Args:
        base: W, ``[out, in]``.
        a: ``[rank, in]``.
        b: ``[out, rank]``.
    """
    base, a, b = base.float(), a.float(), b.float()
    square = ((b.T @ b) * (a @ a.T)).sum().item()
    return None if square == 0 else ((b.T @ base) * a).sum().item() / square


def check_texture(stored: StoredTensors, device: torch.device | str = "cpu") -> TextureCheck:
    """Look at every wrapped layer, one after another.

    Args:
        stored: the transformer's tensors, the TE LoRA's among them.
        device: where to compute: about 1.4 TFLOP for the published network, of which 0.2 GB are held at once.

    Raises:
        WeightError: see :func:`texture_pairs`.
    """
    pairs, _ = texture_pairs(stored)
    with stored.reading() as get:
        found = [ratio(*(get(name).to(device) for name in (pair.base, pair.a, pair.b))) for pair in pairs.values()]
    ratios = torch.tensor([each for each in found if each is not None], dtype=torch.float64)
    if not len(ratios):
        return TextureCheck("absent")
    low, median, high = torch.quantile(ratios, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    outcome: Outcome = "unclear"
    if max(abs(low - 1), abs(high - 1)) <= _TOLERANCE:
        outcome = "merged"
    elif max(abs(low), abs(high)) <= _TOLERANCE:
        outcome = "not merged"
    return TextureCheck(outcome, len(ratios), median, ratios.mean().item(), (low, high))


def adding_texture(
    get: Callable[[str], Tensor], pairs: Mapping[str, Pair], dtype: torch.dtype
) -> Callable[[str, Tensor], Tensor]:
    """A ``convert`` of :func:`~stvsr_bench.weights.stored.assign` that adds each layer's ``BA``, in float32, once."""
    by_weight = {f"{layer}.weight": pair for layer, pair in pairs.items()}
    plain = as_own(dtype)

    def convert(name: str, tensor: Tensor) -> Tensor:
        if (pair := by_weight.get(name)) is None:
            return plain(name, tensor)
        return (tensor.float() + get(pair.b).float() @ get(pair.a).float()).to(dtype)

    return convert
