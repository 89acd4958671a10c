"""Weights of which nobody has published a hash: what the card must say instead, and what is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_weights import file_facts, torch_bytes, toy_tensors, weight, write_card

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import WeightSpec
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash

TENSORS = toy_tensors()
VALUES = sum(tensor.numel() for tensor in TENSORS.values())
LOCAL = {"kind": "local", "files": [{"path": "net.pth"}]}
KNOWN = {"keys": ["conv.*"], "values": VALUES}

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize(
    ("channels", "more", "lacking"),
    [
        ([LOCAL], KNOWN, False),
        ([LOCAL], {"keys": ["conv.*"]}, True),
        ([LOCAL], {"values": VALUES}, True),
        ([LOCAL], {}, True),
        ([LOCAL, {"kind": "address", "url": "https://example.org/net.pth"}], KNOWN, True),
        ([], KNOWN, True),
        ([{"kind": "local", "files": [file_facts("net.pth", b"net")]}], {}, False),
    ],
)
def test_only_files_put_by_hand_may_lack_a_hash(channels: list[Any], more: dict[str, Any], lacking: bool) -> None:
    faults = WeightSpec(**weight("net", None, channels, **more)).faults()
    assert any("tensor_hash" in fault for fault in faults) is lacking


def test_what_the_file_must_hold_is_checked_and_its_hash_recorded(cards: Path, cache: Path) -> None:
    write_card(cards, weight("net", None, [LOCAL], **KNOWN))
    assert service.weight_hash("toynet/net") == "file:net.pth"
    file = cache / "files" / "net.pth"
    file.parent.mkdir(parents=True)
    for wrong in (toy_tensors(size=4), {"conv.weight": TENSORS["conv.weight"]}):
        file.write_bytes(torch_bytes(wrong))
        with pytest.raises(WeightError, match=rf"another number of parameters.*accepted: {VALUES}"):
            service.load_weight("toynet/net")
        assert service.state("toynet/net") == "absent"
    file.write_bytes(torch_bytes(TENSORS | {"head": torch.ones(1)}))
    with pytest.raises(WeightError, match="1 unexpected: head"):
        service.load_weight("toynet/net")
    file.write_bytes(torch_bytes(TENSORS))
    assert tensor_hash(service.load_weight("toynet/net")) == tensor_hash(TENSORS) == service.weight_hash("toynet/net")
