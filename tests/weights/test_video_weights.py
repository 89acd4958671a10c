"""The checkpoints of DOVER and FasterVQA: a file of the published names and shapes, put by hand, loads strictly."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from stvsr_bench.core.errors import WeightError
from stvsr_bench.metrics.clip_network import ClipNetwork
from stvsr_bench.metrics.dover.network import DoverNetwork
from stvsr_bench.metrics.fastervqa import FasterVqaNetwork
from stvsr_bench.weights import known, service
from stvsr_bench.weights.shaping import shape_weight
from stvsr_bench.weights.strict import load_strict

pytestmark = pytest.mark.usefixtures("cache")
CPU = torch.device("cpu")


def put(folder: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write ``state`` as the published file is laid out, and have the card state its size and hash."""
    folder.mkdir(exist_ok=True)
    file = folder / "FAST_VQA_3D_1_1.pth"
    torch.save({"state_dict": state}, file)
    spec = known.weight_spec("fastervqa/fastervqa")
    (published,) = spec.channels[0].files
    card = known.METRIC_WEIGHTS.read_text()
    assert published.sha256 is not None
    card = card.replace(published.sha256, hashlib.sha256(file.read_bytes()).hexdigest())
    changed = folder / "metric_weights.yaml"
    changed.write_text(card.replace(f"size: {published.size}", f"size: {file.stat().st_size}"))
    monkeypatch.setattr(known, "METRIC_WEIGHTS", changed)


def test_fastervqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    network = FasterVqaNetwork()
    put(tmp_path / "hand", network.state_dict(), monkeypatch)
    service.fetch_weight("fastervqa/fastervqa", folder=tmp_path / "hand")
    tensors = service.load_weight("fastervqa/fastervqa")
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in network.state_dict().items())
    loaded = FasterVqaNetwork()
    ClipNetwork(loaded, "fastervqa/fastervqa", CPU)
    assert all(torch.equal(value, tensors[name]) for name, value in loaded.state_dict().items())


def test_a_tensor_too_few_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = FasterVqaNetwork().state_dict()
    state.pop("vqa_head.fc_last.bias")
    put(tmp_path / "hand", state, monkeypatch)
    service.fetch_weight("fastervqa/fastervqa", folder=tmp_path / "hand")
    with pytest.raises(WeightError, match=r"do not fit FasterVqaNetwork.*1 missing: vqa_head\.fc_last\.bias"):
        ClipNetwork(FasterVqaNetwork(), "fastervqa/fastervqa", CPU)


def test_another_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "hand"
    folder.mkdir()
    (folder / "FAST_VQA_3D_1_1.pth").write_bytes(b"damaged")
    with pytest.raises(WeightError, match="has another size; got 7 bytes; accepted: 127343543 bytes"):
        service.fetch_weight("fastervqa/fastervqa", folder=folder)
    torch.save(DoverNetwork(dim=24).state_dict(), folder / "DOVER.pth")
    with pytest.raises(WeightError, match=r"DOVER\.pth' is another file; got sha256 \w+; accepted: sha256 f4a42c0b"):
        service.fetch_weight("dover/dover", folder=folder)


def test_without_network_the_error_says_what_to_put_where(cache: Path) -> None:
    with service.offline(), pytest.raises(WeightError) as caught:
        service.load_weight("dover/dover")
    text = str(caught.value)
    for part in (
        "239.6 MB",
        "S-Lab License 1.0",
        "releases/download/v0.1.0/DOVER.pth",
        "teowu/DOVER",
        str(cache / "files"),
    ):
        assert part in text


def test_the_card_of_dover_keeps_every_tensor() -> None:
    network = DoverNetwork()
    state = network.state_dict()
    assert len(state) == 381
    shaped = shape_weight(known.weight_spec("dover/dover"), state)
    load_strict(network, shaped)
    with pytest.raises(WeightError, match="1 unexpected: branch"):
        shape_weight(known.weight_spec("dover/dover"), state | {"branch": torch.zeros(1)})
