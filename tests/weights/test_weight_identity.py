"""The tensor hash, and loading that lists whatever does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.strict import load_strict

EXAMPLE = {"b": torch.arange(3.0), "a.w": torch.ones(2, 2, dtype=torch.float16), "n": torch.tensor(7)}


def test_the_hash_is_the_published_one() -> None:
    assert tensor_hash(EXAMPLE) == "23e292ec61b6d92d5935a0f597bca35481fd988c748ccd006a8512d05b73e9ce"


def test_the_hash_is_of_values_not_of_storage() -> None:
    sparse = torch.arange(6.0)[::2] / 2
    assert tensor_hash({**EXAMPLE, "b": sparse}) == tensor_hash(EXAMPLE)
    assert tensor_hash(dict(reversed(EXAMPLE.items()))) == tensor_hash(EXAMPLE)
    assert tensor_hash({"e": torch.zeros(0, 3)}) != tensor_hash({"e": torch.zeros(3, 0)})


@pytest.mark.parametrize(
    "changed",
    [
        {**EXAMPLE, "b": torch.tensor([0.0, 1.0, np.nextafter(np.float32(2), np.float32(3))])},
        {**EXAMPLE, "b": torch.arange(3.0).view(1, 3)},
        {**EXAMPLE, "b": torch.arange(3.0).double()},
        {**EXAMPLE, "extra": torch.zeros(1)},
        {k: v for k, v in EXAMPLE.items() if k != "n"},
        {**{k: v for k, v in EXAMPLE.items() if k != "b"}, "c": EXAMPLE["b"]},
    ],
    ids=["value", "shape", "dtype", "extra", "missing", "name"],
)
def test_any_change_changes_the_hash(changed: dict[str, Tensor]) -> None:
    assert tensor_hash(changed) != tensor_hash(EXAMPLE)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mean", torch.ones(3))


def fitting() -> dict[str, Tensor]:
    return {"conv.weight": torch.full((4, 3, 3, 3), 2.0), "conv.bias": torch.zeros(4), "mean": torch.zeros(3)}


def test_loading_copies_everything() -> None:
    net = Net()
    load_strict(net, fitting())
    assert all(torch.equal(value, fitting()[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"conv.bias": None}, "1 missing: conv.bias"),
        ({"other": torch.zeros(1)}, "1 unexpected: other"),
        ({"conv.bias": torch.zeros(5)}, r"1 of another shape: conv.bias \[5\] instead of \[4\]"),
        ({"conv.bias": torch.zeros(4).half()}, "1 of another dtype: conv.bias torch.float16 instead of torch.float32"),
        ({"conv.bias": None, "conv_bias": torch.zeros(4)}, "1 missing: conv.bias; 1 unexpected: conv_bias"),
        ({"mean": None}, "1 missing: mean"),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(changes: dict[str, Tensor | None], complaint: str) -> None:
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    given = {name: value for name, value in {**fitting(), **changes}.items() if value is not None}
    with pytest.raises(WeightError, match=complaint):
        load_strict(net, given)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_only_named_buffers_may_be_missing() -> None:
    net = Net()
    load_strict(net, {name: value for name, value in fitting().items() if name != "mean"}, allow_missing=["mean"])
    assert net.mean.tolist() == [1, 1, 1]
    with pytest.raises(WeightError, match=r"missing: conv\.bias"):
        load_strict(net, {"conv.weight": fitting()["conv.weight"]}, allow_missing=["mean", "conv.bias"])
