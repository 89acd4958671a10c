"""Files of the weights of temporal metrics as their publishers write them: names, what is dropped, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_large

from stvsr_bench.core.errors import WeightError
from stvsr_bench.metrics.clip_vit import ClipVit, build_clip_vit
from stvsr_bench.metrics.pair_flow import build_raft
from stvsr_bench.nn.pwcnet import PwcNet
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.weights import known, service
from stvsr_bench.weights.strict import load_strict

Tensors = dict[str, torch.Tensor]

_BLOCK = {
    "conv1": "convnormrelu1.0",
    "conv2": "convnormrelu2.0",
    "norm1": "convnormrelu1.1",
    "norm2": "convnormrelu2.1",
}
_UPDATE = {
    "encoder.convc1": "motion_encoder.convcorr1.0",
    "encoder.convc2": "motion_encoder.convcorr2.0",
    "encoder.convf1": "motion_encoder.convflow1.0",
    "encoder.convf2": "motion_encoder.convflow2.0",
    "encoder.conv": "motion_encoder.conv.0",
    "flow_head.conv1": "flow_head.conv1",
    "flow_head.conv2": "flow_head.conv2",
    **{f"gru.conv{gate}{half}": f"recurrent_block.convgru{half}.conv{gate}" for gate in "zrq" for half in "12"},
}


def authors_raft(tensors: Tensors) -> Tensors:
    """A state dict of torchvision's RAFT under the names of raft-things.pth, table by table."""
    pairs = {f"update_block.{theirs}": f"update_block.{ours}" for theirs, ours in _UPDATE.items()}
    pairs |= {"update_block.mask.0": "mask_predictor.convrelu.0", "update_block.mask.2": "mask_predictor.conv"}
    for short, long in (("fnet", "feature_encoder"), ("cnet", "context_encoder")):
        pairs |= {f"{short}.conv1": f"{long}.convnormrelu.0", f"{short}.norm1": f"{long}.convnormrelu.1"}
        pairs[f"{short}.conv2"] = f"{long}.conv"
        for layer in (1, 2, 3):
            for unit in (0, 1):
                at = f"layer{layer}.{unit}"
                pairs |= {f"{short}.{at}.{a}": f"{long}.{at}.{b}" for a, b in _BLOCK.items()}
            down = f"layer{layer}.0.downsample"
            pairs |= {f"{short}.{down}.{i}": f"{long}.{down}.{i}" for i in (0, 1)}
            pairs[f"{short}.layer{layer}.0.norm3"] = f"{long}.{down}.1"  # stored twice
    found = {}
    for theirs, ours in pairs.items():
        for name, tensor in tensors.items():
            owner, _, last = name.rpartition(".")
            if owner == ours:
                found[f"module.{theirs}.{last}"] = tensor
    return found


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Make a file and a card that knows its hash; return what the service loads of it."""
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path / "cache"))

    def load(weight: str, tensors: Tensors) -> Tensors:
        spec = known.weight_spec(weight)
        name = spec.channels[0].files[0].name
        path = tmp_path / name
        if name.endswith(".safetensors"):
            save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
        else:
            torch.save(tensors, path)
        data = path.read_bytes()
        file = {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        card = spec.model_dump(mode="json") | {"channels": [{"kind": "local", "files": [file]}], "size": len(data)}
        changed = type(spec).model_validate(card)
        monkeypatch.setattr(service, "weight_spec", lambda _: changed)
        service.fetch_weight(weight, folder=tmp_path)
        return service.load_weight(weight)

    return load


def _equal(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_card_is_complete() -> None:
    for weight in ("pwcnet/default", "raft/large", "raft/things", "vbench/clip_vit_b32"):
        spec = known.weight_spec(weight)
        assert spec.faults() == []
        assert spec.licence
        assert spec.source


def test_pwcnet(put: object) -> None:
    network = PwcNet()
    seed_parameters(network, "toy")
    tensors = network.state_dict()
    loaded = put("pwcnet/default", {k.replace("net", "module"): v for k, v in tensors.items()})  # type: ignore[operator]
    assert _equal(loaded, tensors)
    load_strict(PwcNet(), loaded)


def test_raft_of_its_authors(put: object) -> None:
    network = raft_large(weights=None)
    seed_parameters(network, "toy")
    tensors = network.state_dict()
    theirs = authors_raft(tensors)
    assert len(theirs) == 179
    loaded = put("raft/things", theirs)  # type: ignore[operator]
    assert _equal(loaded, tensors)
    build_raft(loaded)


def test_raft_of_torchvision(put: object) -> None:
    tensors = raft_large(weights=None).state_dict()
    assert _equal(put("raft/large", tensors), tensors)  # type: ignore[operator]


def test_clip_without_its_text_encoder(put: object) -> None:
    network = ClipVit(width=64, layers=2, features=8)
    seed_parameters(network, "toy")
    tensors = network.state_dict()
    text = {
        "positional_embedding": torch.zeros(77, 8),
        "text_projection": torch.zeros(8, 8),
        "logit_scale": torch.zeros(()),
        "token_embedding.weight": torch.zeros(9, 8),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "ln_final.weight": torch.zeros(8),
    }
    loaded = put("vbench/clip_vit_b32", {f"visual.{k}": v for k, v in tensors.items()} | text)  # type: ignore[operator]
    assert _equal(loaded, tensors)
    build_clip_vit(loaded)


def test_another_networks_file_is_refused(put: object) -> None:
    with pytest.raises(WeightError, match="unexpected"):
        put("pwcnet/default", PwcNet().state_dict() | {"moduleSeven.weight": torch.zeros(1)})  # type: ignore[operator]
    tensors = PwcNet().state_dict()
    with pytest.raises(WeightError, match=r"1 missing: netTwo\.netSix\.0\.bias"):
        load_strict(PwcNet(), {name: tensor for name, tensor in tensors.items() if name != "netTwo.netSix.0.bias"})
