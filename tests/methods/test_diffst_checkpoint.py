"""Checkpoints of DiffST in every layout that is expected of an official one: all of each is found and told.

Each test says which fault it catches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_diffst import (
    HEADS,
    INNER,
    QUERIES,
    TEXT,
    Tensors,
    as_wan,
    diffusers_folder,
    guidance,
    ifnet,
    networks,
    own,
    psi,
    same,
    saved,
    small,
    transformer,
    under,
    velocity,
    whole,
)

from stvsr_bench.methods.diffst import checkpoint as checkpoint_module
from stvsr_bench.methods.diffst.checkpoint import checkpoint_files, open_trained
from stvsr_bench.methods.diffst.wan import TINY_TRANSFORMER, build_transformer
from stvsr_bench.weights.strict import load_strict

# ---------------------------------------------------------------------- one file


@pytest.mark.parametrize("name", ["all.safetensors", "all.pt", "all.pth", "all.ckpt", "all.bin"])
def test_a_file_with_all_four_groups(tmp_path: Path, name: str) -> None:
    """Catches a group lost or under wrong names, and sizes that are not told."""
    path = saved(tmp_path / name, whole())
    trained = open_trained(path)
    assert same(trained.transformer, transformer().state_dict())
    assert same(trained.psi, psi().state_dict())
    assert same(trained.ifnet, ifnet())
    assert same(trained.vrg, guidance().state_dict())
    assert trained.transformer_config == TINY_TRANSFORMER | HEADS
    assert trained.cfca_options == {"psi_width": 16, "psi_blocks": 2}
    assert trained.vrg_options == {**QUERIES, "layout": "channel", "guidance": "video_text", "frame_position": False}
    assert trained.lacking == ()
    assert trained.files == (path,)
    assert networks(trained).keys() == {"transformer", "psi", "ifnet", "vrg"}


PREFIXES = [
    "",
    "transformer.",
    "module.",
    "model.",
    "diffusion_model.",
    "model.diffusion_model.",
    "module.model.diffusion_model.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("rename", [as_wan, dict])
def test_a_transformer_alone_under_either_naming(
    tmp_path: Path, prefix: str, rename: Callable[[Mapping[str, Tensor]], Tensors]
) -> None:
    """Catches a name without a rule, and a tensor in the place of another of its shape: the output is the same."""
    network = transformer(text_dim=4096)
    trained = open_trained(saved(tmp_path / "dit.safetensors", under(prefix, rename(network.state_dict()))))
    assert same(trained.transformer, network.state_dict())
    assert trained.transformer_config == TINY_TRANSFORMER | HEADS | {"text_dim": 4096}
    assert trained.lacking == ("cfca.psi.", "vrg.")
    loaded = build_transformer(trained.transformer_config, 4096, past_text_layers=False)
    load_strict(loaded, own(trained.transformer), assign=True)
    assert torch.equal(velocity(loaded.eval(), 4096), velocity(network, 4096))


def test_the_map_to_wan_names_is_whole() -> None:
    """Catches a test that renames nothing: these are the names in a published state dict of Wan."""
    names = set(as_wan(transformer().state_dict()))
    assert not names & set(transformer().state_dict()) - {"patch_embedding.weight", "patch_embedding.bias"}
    block = {name.removeprefix("blocks.1.") for name in names if name.startswith("blocks.1.")}
    attention = {f"{part}.{end}" for part in ("q", "k", "v", "o") for end in ("weight", "bias")}
    attention |= {"norm_q.weight", "norm_k.weight"}
    expected = {f"{kind}_attn.{part}" for kind in ("self", "cross") for part in attention} | {"modulation"}
    assert block == expected | {f"{part}.{end}" for part in ("ffn.0", "ffn.2", "norm3") for end in ("weight", "bias")}
    assert {name.rsplit(".", 1)[0] for name in names if not name.startswith("blocks.")} == {
        *("patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2"),
        *("time_projection.1", "head.head", "head"),
    }


def test_wrappers_inside_names_are_taken_off(tmp_path: Path) -> None:
    """Catches state dicts of parts that were compiled or parallelised on their own."""
    tensors = {
        name.replace("blocks.1.", "blocks.1._orig_mod.").replace("vrg.", "module.vrg.module."): tensor
        for name, tensor in whole().items()
    }
    assert tensors.keys() != whole().keys()
    trained = open_trained(saved(tmp_path / "wrapped.pt", tensors))
    assert same(trained.transformer, transformer().state_dict())
    assert same(trained.psi, psi().state_dict())
    assert same(trained.vrg, guidance().state_dict())


@pytest.mark.parametrize("entry", ["state_dict", "model", "module", "params"])
def test_the_state_dict_of_a_training_run(tmp_path: Path, entry: str) -> None:
    """Catches an optimiser's state or a step number taken for parameters."""
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 5e-5}]}
    path = tmp_path / "last.ckpt"
    torch.save({"epoch": 3, "optimizer": optimiser, entry: whole()}, path)
    assert same(open_trained(path).vrg, guidance().state_dict())


def test_tensors_outlive_the_file(tmp_path: Path) -> None:
    """Catches tensors that still need the open file."""
    path = saved(tmp_path / "all.safetensors", whole())
    trained = open_trained(path)
    path.unlink()
    assert same(trained.transformer, transformer().state_dict())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    """Catches a transformer blown up to float32 before it is needed, and small networks left in half precision."""
    half = {name: tensor.to(dtype) for name, tensor in whole().items()}
    trained = open_trained(saved(tmp_path / f"half{suffix}", half))
    assert {tensor.dtype for tensor in trained.transformer.values()} == {dtype}
    for group, tensors in (("cfca.psi.", trained.psi), ("cfca.ifnet.", trained.ifnet), ("vrg.", trained.vrg)):
        assert tensors
        assert same(tensors, {name: half[f"{group}{name}"].float() for name in tensors})
    assert networks(trained).keys() == {"transformer", "psi", "ifnet", "vrg"}


# ---------------------------------------------------------------------- what the shapes tell

LAYOUTS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {"layout": "channel", "guidance": "video_text", "text_dim": TEXT, "text_tokens": 6}),
    ({"num_queries": 9, "text_tokens": 9}, {}, {"layout": "channel", "num_queries": 9, "text_tokens": 9}),
    ({"guidance": "video"}, {}, {"layout": "channel", "guidance": "video"}),
    ({"guidance": "video", "text_dim": 4096}, {"text_dim": 4096}, {"layout": "channel", "text_dim": 4096}),
    ({"layout": "token", "num_queries": 3}, {}, {"layout": "token", "num_queries": 3, "text_dim": TEXT}),
    ({"layout": "token", "num_queries": 64}, {}, {"layout": "token", "num_queries": 64}),
    (
        {"layout": "infvsr", "guidance": "video", "width": 512, "num_queries": 4},
        {"text_dim": 512},
        {"layout": "infvsr", "guidance": "video", "width": 512, "num_queries": 4},
    ),
    (
        {"layout": "direct", "hidden_dim": INNER, "text_dim": 4096},
        {"text_layers": False},
        {"layout": "direct", "guidance": "video_text", "hidden_dim": INNER, "text_dim": 4096, "text_tokens": 6},
    ),
    (
        {"layout": "direct", "hidden_dim": INNER, "guidance": "video", "num_queries": 4},
        {"text_layers": False},
        {"layout": "direct", "guidance": "video", "hidden_dim": INNER, "num_queries": 4},
    ),
    ({"frame_position": True, "keyframes": 3}, {}, {"frame_position": True, "keyframes": 3}),
]


@pytest.mark.parametrize(("vrg", "dit", "expected"), LAYOUTS)
@pytest.mark.parametrize("rename", [as_wan, dict])
def test_layouts_of_the_guidance(
    tmp_path: Path,
    vrg: dict[str, Any],
    dit: dict[str, Any],
    expected: dict[str, Any],
    rename: Callable[[Mapping[str, Tensor]], Tensors],
) -> None:
    """Catches one layout taken for another: what is told builds the network that the tensors come from."""
    source, network = guidance(**vrg), transformer(**dit)
    tensors = rename(network.state_dict()) | under("vrg.", source.state_dict())
    trained = open_trained(saved(tmp_path / "dit.safetensors", tensors))
    assert expected.items() <= trained.vrg_options.items()
    assert trained.transformer_config["text_dim"] == (
        None if dit.get("text_layers") is False else dit.get("text_dim", TEXT)
    )
    built = networks(trained, **{name: vrg[name] for name in ("keyframes",) if name in vrg})
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(1, *source.feature_shape[:1], 7, source.feature_shape[1], generator=generator)
    prompt = torch.randn(1, *source.text_shape, generator=generator)
    with torch.no_grad():
        context, true = built["vrg"](features, prompt), source(features, prompt)
        assert torch.equal(context, true)
        latents, time = torch.randn(1, 4, 2, 4, 6, generator=generator), torch.tensor([799.0])
        found = built["transformer"](latents, time, context, return_dict=False)[0]
        assert torch.equal(found, network(latents, time, true, return_dict=False)[0])


def test_the_guidance_alone_goes_with_the_published_transformer(tmp_path: Path) -> None:
    """Catches a toy transformer's sizes expected where there is none."""
    source = guidance(text_dim=4096, guidance="video")
    trained = open_trained(saved(tmp_path / "vrg.pt", under("vrg.", source.state_dict())))
    assert trained.vrg_options["text_dim"] == 4096
    assert (trained.transformer, trained.transformer_config) == ({}, {})
    assert trained.lacking == ("transformer.", "cfca.psi.")


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (24, 3), (16, 12)])
def test_another_size_of_psi_is_told(tmp_path: Path, width: int, blocks: int) -> None:
    """Catches numbers of blocks counted as text (10 after 1), and a width of another layer."""
    source = psi(width, blocks)
    trained = open_trained(saved(tmp_path / "psi.pt", under("cfca.psi.", source.state_dict())))
    assert trained.cfca_options == {"psi_width": width, "psi_blocks": blocks}
    frames = torch.rand(3, 1, 3, 6, 7, generator=torch.Generator().manual_seed(2)).unbind(0)
    assert torch.equal(networks(trained)["psi"](*frames), source(*frames))


@pytest.mark.parametrize("extra", [{}, {"teacher": True}, {"refine": True}, {"teacher": True, "refine": True}])
def test_only_the_blocks_of_ifnet_are_taken(tmp_path: Path, extra: dict[str, bool]) -> None:
    """Catches a complete IFNet_m refused for its teacher and refinement, which DiffST does not run."""
    path = saved(tmp_path / "all.pt", under("cfca.psi.", psi().state_dict()) | under("cfca.ifnet.", ifnet(**extra)))
    trained = open_trained(path)
    assert len(trained.ifnet) < len(ifnet(teacher=True))
    assert same(trained.ifnet, {name: x for name, x in ifnet(**extra).items() if re.match(r"block\d\.", name)})
    assert networks(trained).keys() == {"psi", "ifnet"}


# ---------------------------------------------------------------------- a folder


@pytest.mark.parametrize("shard", ["100KB", "10MB"])
def test_a_folder_of_diffusers_with_a_state_dict_beside(tmp_path: Path, shard: str) -> None:
    """Catches shards forgotten, config.json ignored (wide heads), and the other groups not looked for."""
    network = diffusers_folder(tmp_path, shard, eps=1e-5)
    beside = [
        saved(tmp_path / "cfca.pt", {n: t for n, t in small().items() if n.startswith("cfca.")}),
        saved(tmp_path / "vrg.safetensors", {n: t for n, t in small().items() if n.startswith("vrg.")}),
    ]
    (tmp_path / "vae").mkdir()
    saved(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", {"x": torch.ones(1)})
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    trained = open_trained(tmp_path)
    assert same(trained.transformer, network.state_dict())
    assert trained.transformer_config["num_attention_heads"] == 4
    assert trained.transformer_config["eps"] == 1e-5
    assert same(trained.vrg, guidance().state_dict())
    assert same(trained.psi, psi().state_dict())
    assert trained.notes == ("left alone: vae/ of the checkpoint",)
    assert torch.equal(velocity(networks(trained)["transformer"]), velocity(network))
    inside = set((tmp_path / "transformer").iterdir())
    assert len(inside) == (2 if shard == "10MB" else len(list((tmp_path / "transformer").glob("*-of-*"))) + 2)
    assert set(trained.files) == inside | set(beside)
    assert len(trained.files) == len(set(trained.files))


@pytest.mark.parametrize("prefix", ["", "module.", "transformer."])
def test_wan_names_in_the_folder(tmp_path: Path, prefix: str) -> None:
    """Catches rules that only a flat file gets."""
    network = transformer(text_dim=4096)
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    saved(path, under(prefix, as_wan(network.state_dict())))
    assert same(open_trained(tmp_path).transformer, network.state_dict())


@pytest.mark.parametrize("heads", [{"num_heads": 4}, {"num_attention_heads": 4}, {"attention_head_dim": 32}])
def test_a_folder_in_wans_own_layout(tmp_path: Path, heads: dict[str, int]) -> None:
    """Catches config.json of Wan's code, or one without the width of a head, left unread: heads of 128 are assumed."""
    network = transformer(text_dim=4096, num_attention_heads=4, attention_head_dim=32)
    saved(tmp_path / "diffusion_pytorch_model.safetensors", as_wan(network.state_dict()))
    config = {"_class_name": "WanModel", "dim": INNER, **heads, "in_dim": 4, "out_dim": 4, "eps": 1e-6, "num_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    trained = open_trained(tmp_path)
    assert trained.transformer_config["attention_head_dim"] == 32
    loaded = build_transformer(trained.transformer_config, 4096, past_text_layers=False)
    load_strict(loaded, own(trained.transformer), assign=True)
    assert torch.equal(velocity(loaded.eval(), 4096), velocity(network, 4096))
    assert {file.name for file in trained.files} == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_a_stale_shard_is_left_alone_and_told(tmp_path: Path) -> None:
    """Catches files of an older release mixed in."""
    network = diffusers_folder(tmp_path, text_dim=4096)
    saved(tmp_path / "transformer" / "old.safetensors", {"blocks.0.attn1.to_q.bias": torch.ones(64)})
    trained = open_trained(tmp_path)
    assert same(trained.transformer, network.state_dict())
    assert "old.safetensors" in trained.notes[0]
    assert not [file for file in trained.files if file.name == "old.safetensors"]


def test_files_are_known_without_reading_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a fingerprint of other files than those that are read, and gigabytes read to list them."""
    diffusers_folder(tmp_path / "folder")
    saved(tmp_path / "folder" / "rest.pt", small())
    saved(tmp_path / "folder" / "more.safetensors", under("vrg.module.", {}))
    (tmp_path / "folder" / "notes.txt").write_text("not read")
    flat = saved(tmp_path / "all.safetensors", whole())
    read = {path: open_trained(path).files for path in (tmp_path / "folder", flat)}

    def forbidden(*_: object, **__: object) -> Any:
        raise AssertionError("a tensor is read")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(checkpoint_module, "opened", forbidden)
    monkeypatch.setattr(checkpoint_module.StoredTensors, "reading", forbidden)
    for path, files in read.items():
        assert tuple(checkpoint_files(path)) == files
        assert all(file.is_file() for file in files)
    assert {file.name for file in read[tmp_path / "folder"]} >= {"rest.pt", "more.safetensors", "config.json"}
    assert not {file.name for file in read[tmp_path / "folder"]} & {"notes.txt"}
