"""Checkpoints of DiffST that are refused: damaged, incomplete, unexplained, or of parts that do not belong together.

Each test says which fault it catches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_diffst import (
    INNER,
    Tensors,
    as_wan,
    diffusers_folder,
    guidance,
    ifnet,
    networks,
    saved,
    small,
    transformer,
    under,
    whole,
)

from stvsr_bench.core.errors import BenchError, WeightError
from stvsr_bench.methods.diffst.checkpoint import GROUPS, checkpoint_files, open_trained


def refused(path: Path, *patterns: str) -> None:
    """Opening must fail with one of our errors that says all of this."""
    with pytest.raises(WeightError) as caught:
        open_trained(path)
    for pattern in patterns:
        assert re.search(pattern, str(caught.value)), f"{pattern!r} is not in: {caught.value}"


def edited(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# ---------------------------------------------------------------------- tensors that do not fit

FREE = {("vrg.queries", 0), ("transformer.condition_embedder.time_embedder.linear_1.weight", -1)}
"""Sizes that nothing else depends on, so that another one is a network of another size: queries, and wavelengths."""


def outcome(path: Path) -> str:
    """What is said against a checkpoint, by opening it or by the strict loading of what it tells; nothing: it fits."""
    try:
        networks(open_trained(path))
    except BenchError as error:
        return str(error)
    return ""


def around(group: str) -> Tensors:
    """What a group needs beside it: the transformer and the guidance each other, the others nothing."""
    pair = ("transformer.", "vrg.")
    return {name: x for name, x in whole().items() if name.startswith(pair if group in pair else group)}


def kinds(names: Iterable[str]) -> list[str]:
    """The last of all names that differ by the number of their block only."""
    return list({re.sub(r"block(s\.)?\d+", "block", name): name for name in names}.values())


@pytest.mark.parametrize("group", [*GROUPS, "wan"])
def test_each_missing_tensor_is_refused(tmp_path: Path, group: str) -> None:
    """Catches any kind of parameter that would silently keep the value that a constructor drew."""
    full = around(group)
    if group == "wan":
        group, full = "blocks.", {**as_wan(transformer().state_dict()), **around("vrg.")}
        full = {name: x for name, x in full.items() if not name.startswith("transformer.")}
    assert outcome(saved(tmp_path / "all.pt", full)) == ""
    names = kinds(name for name in full if name.startswith(group))
    assert len(names) >= 9
    for name in names:
        path = saved(tmp_path / "all.pt", {other: tensor for other, tensor in full.items() if other != name})
        assert outcome(path), name


@pytest.mark.parametrize("group", GROUPS)
def test_each_tensor_of_another_shape_is_refused(tmp_path: Path, group: str) -> None:
    """Catches broadcasting, cutting, and sizes told by one tensor against all others."""
    full = around(group)
    for name in kinds(name for name in full if name.startswith(group)):
        for axis in {0, -1 if full[name].ndim > 1 else 0} - {axis for free, axis in FREE if free == name}:
            grown = torch.cat([full[name], full[name].narrow(axis, 0, 1)], axis)
            assert outcome(saved(tmp_path / "all.pt", full | {name: grown})), (name, axis)
        assert outcome(saved(tmp_path / "all.pt", full | {name: full[name].flatten()[0]})), name


@pytest.mark.parametrize(
    "extra",
    [
        *(
            "transformer.blocks.0.attn1.to_q.lora_A.weight",
            "transformer.extra",
            "transformer.blocks.2.attn1.to_q.weight",
        ),
        *("cfca.psi.extra.weight", "cfca.psi.blocks.2.conv1.weight", "cfca.ifnet.extra.weight", "cfca.ifnet.block3.x"),
        *("cfca.ifnet.block0.conv0.9.0.weight", "vrg.extra.weight", "vrg.lift.weight", "vrg.projector.scale"),
        *("cfca.raft.x", "vae.encoder.conv_in.weight", "img_emb.proj.0.weight", "dape.x", "first.weight", "blocks.x"),
    ],
)
def test_each_extra_tensor_is_refused(tmp_path: Path, extra: str) -> None:
    """Catches parameters that are dropped although somebody trained them."""
    said = outcome(saved(tmp_path / "all.pt", whole() | {extra: torch.zeros(4, 4)}))
    for group in GROUPS:
        extra = extra.removeprefix(group)
    assert extra in said


def test_unexplained_tensors_are_listed(tmp_path: Path) -> None:
    """Catches a message from which nobody could write the missing rule."""
    many = {f"student.layer{i}.weight": torch.ones(2) for i in range(20)}
    refused(
        saved(tmp_path / "new.pt", whole() | many), "new.pt", r"20: student\.layer0\.weight", "12 more", "report", "vrg"
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float8_e4m3fn, torch.float64, torch.bool])
def test_quantised_tensors_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Catches 8-bit values taken as they are, without the scale that belongs to them."""
    name = "transformer.blocks.0.attn1.to_q.weight"
    full = whole()
    refused(saved(tmp_path / "q.safetensors", full | {name: full[name].to(dtype)}), "to_q", str(dtype), "bfloat16")


def another_psi(name: str, *shape: int) -> Tensors:
    return {name: torch.ones(shape)} | {f"blocks.{i}.weight": torch.ones(2, 2) for i in range(3)}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (another_psi("first.weight", 16, 9, 5, 5), r"\[16, 9, 5, 5\]"),
        (another_psi("first.weight", 16, 6, 3, 3), r"\[16, 6, 3, 3\]"),
        (another_psi("first.weight", 16, 9, 3, 3, 3), r"\[16, 9, 3, 3, 3\]"),
        (another_psi("enc1.conv.weight", 16, 9, 3, 3), "first.weight absent.*enc1.conv.weight"),
        ({"first.weight": torch.ones(16, 9, 3, 3)}, "0 residual blocks"),
    ],
)
def test_another_fusion_network_is_refused(tmp_path: Path, tensors: Tensors, said: str) -> None:
    """Catches an official Ψ that is not ours being told as a mere matter of size."""
    refused(
        saved(tmp_path / "psi.pt", under("cfca.psi.", tensors)), "Ψ is another network", said, r"\[width, 9, 3, 3\]"
    )


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (ifnet(timed=False), r"\[4, 6, 3, 3\].*7 channels"),
        ({n: t for n, t in ifnet(refine=True).items() if not n.startswith("block")}, "absent"),
        (ifnet() | {"block3.conv0.0.0.weight": torch.ones(1)}, "block3"),
    ],
)
def test_another_flow_network_is_refused(tmp_path: Path, tensors: Tensors, said: str) -> None:
    """Catches the IFNet that only knows the middle, a later RIFE, and a group without what is run."""
    refused(saved(tmp_path / "ifnet.pt", under("cfca.ifnet.", tensors)), "no IFNet_m", said)


# ---------------------------------------------------------------------- parts that do not belong together

INFVSR: dict[str, Any] = {"layout": "infvsr", "guidance": "video", "num_queries": 4}


@pytest.mark.parametrize(
    ("vrg", "dit", "said"),
    [
        ({**INFVSR, "width": 512}, {"text_dim": 4096}, "layout 'infvsr'.*512.*4096"),
        ({**INFVSR, "width": 16}, {"text_dim": 512}, "layout 'infvsr'.*16.*512"),
        ({"guidance": "video", "text_dim": 4096}, {"text_dim": 512}, "4096 channels.*512 channels"),
        ({"layout": "direct", "hidden_dim": INNER}, {}, "layout 'direct'.*another layout"),
        (
            {"layout": "direct", "hidden_dim": 64, "text_dim": 4096},
            {"text_layers": False},
            "64 channels.*'direct' with 128",
        ),
        ({"guidance": "video", "text_dim": 4096}, {"text_layers": False}, "layout 'channel'.*no text layers"),
        ({**INFVSR, "width": INNER}, {"text_layers": False}, "layout 'infvsr'.*no text layers"),
        (None, {"text_dim": 512}, "text layers for 512 channels.*vrg"),
        (None, {"text_layers": False}, "no text layers.*vrg"),
    ],
)
def test_guidance_and_transformer_belong_together(
    tmp_path: Path, vrg: dict[str, Any] | None, dit: dict[str, Any], said: str
) -> None:
    """Catches a context that the transformer does not take, found out only by the first clip."""
    tensors = {} if vrg is None else under("vrg.", guidance(**vrg).state_dict())
    refused(saved(tmp_path / "all.pt", tensors | dict(transformer(**dit).state_dict())), "all.pt", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ffn_dim": 64}, "ffn_dim 64 instead of 48"),
        ({"num_layers": 3}, "num_layers 3 instead of 2"),
        ({"patch_size": [1, 4, 4]}, r"patch_size \[1, 4, 4\]"),
        ({"text_dim": 4096}, "text_dim 4096 instead of 24"),
        ({"num_attention_heads": 2}, "num_attention_heads 2 instead of 4"),
        ({"attention_head_dim": 24}, "64 channels, 24 a head"),
        ({"attention_head_dim": 0}, "0 a head"),
        ({"attention_head_dim": "16"}, "'16' a head"),
        ({"image_dim": 1280}, "image_dim 1280.*has not"),
        ({"added_kv_proj_dim": 64}, "added_kv_proj_dim 64"),
        ({"eps": "small"}, "eps 'small'"),
        ({"eps": -1e-6}, "eps -1e-06"),
        ({"rope_max_seq_len": 1.5}, "rope_max_seq_len 1.5"),
        ({"cross_attn_norm": 1}, "cross_attn_norm 1"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """Catches files of two releases together, and a configuration that would fail later without its name."""
    diffusers_folder(tmp_path)
    saved(tmp_path / "rest.pt", small())
    edited(tmp_path / "transformer" / "config.json", **changes)
    refused(tmp_path, said)


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    diffusers_folder(tmp_path, text_dim=4096)
    (tmp_path / "transformer" / "config.json").write_text("{")
    refused(tmp_path, "config.json", "no JSON")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_attention_heads": 4, "attention_head_dim": 16}, "64 channels, 128 a head"),
        ({"in_channels": 9}, "not take latents.*as many channels out as in"),
        ({"patch_size": (1, 1, 1)}, r"not take latents.*\[1, 2, 2\]"),
    ],
)
def test_another_transformer_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """Catches image-to-video (more channels in), other patches, and a width that makes no whole heads."""
    refused(saved(tmp_path / "dit.pt", transformer(text_dim=4096, **changes).state_dict()), said)


def test_numbers_of_blocks_have_no_gap(tmp_path: Path) -> None:
    tensors = {name.replace("blocks.1.", "blocks.2."): x for name, x in transformer(text_dim=4096).state_dict().items()}
    refused(saved(tmp_path / "dit.pt", tensors), "not numbered", "0, 2")


def test_both_namings_at_once_are_refused(tmp_path: Path) -> None:
    """Catches one of two transformers in a file taken by chance."""
    tensors = transformer(text_dim=4096).state_dict()
    refused(saved(tmp_path / "dit.pt", dict(tensors) | as_wan(tensors)), "two kinds of names")


def test_two_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    """Catches one of two values taken by chance: in one file, and in two."""
    tensors = under("vrg.", guidance(guidance="video", text_dim=4096).state_dict())
    path = saved(tmp_path / "one" / "vrg.pt", tensors | {"module.vrg.queries": torch.ones(6, 16)})
    refused(path, "two tensors get one name", r"vrg\.queries", r"module\.vrg\.queries")
    saved(tmp_path / "two" / "a.pt", tensors)
    saved(tmp_path / "two" / "b.safetensors", {"module.vrg.queries": torch.ones(6, 16)})
    refused(tmp_path / "two", "b.safetensors", "another file holds", r"1: vrg\.queries")


# ---------------------------------------------------------------------- files that are no checkpoint


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 7, 200, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    """Catches a download that broke off."""
    path = saved(tmp_path / f"all{suffix}", whole())
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    refused(path, f"all{suffix}", "fetch it again|more than named")


def test_a_truncated_or_missing_shard_is_refused(tmp_path: Path) -> None:
    diffusers_folder(tmp_path, text_dim=4096)
    shard = sorted((tmp_path / "transformer").glob("*-of-*"))[1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    refused(tmp_path, shard.name, "damaged")
    shard.unlink()
    refused(tmp_path, "incomplete", shard.name)
    with pytest.raises(WeightError, match="incomplete"):
        checkpoint_files(tmp_path)


class Trap:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["trap.pt", "trap.ckpt", "trap.bin", "trap"])
def test_pickled_objects_are_refused_and_not_run(tmp_path: Path, name: str) -> None:
    """Catches a file that runs code on whoever opens it."""
    torch.save(whole() | {"trap": Trap(tmp_path / "ran")}, tmp_path / name)
    refused(tmp_path / name, name, "nothing of it was run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda: {"state_dict": whole(), "ema_state_dict": whole()}, "more than one state dict.*ema_state_dict"),
        (lambda: {"generator": whole(), "step": 3}, "no plain state dict.*generator"),
        (lambda: whole() | {"step": 3}, "no plain state dict.*step"),
        (lambda: {}, "no plain state dict.*nothing"),
        (lambda: {0: torch.ones(2)}, "no plain state dict"),
        (lambda: torch.ones(3), "no part of DiffST explains.*tensor"),
        (lambda: [torch.ones(3)], "no state dict.*list"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, value: Callable[[], Any], said: str) -> None:
    """Catches averaged and plain parameters taken by chance, and what is no state dict."""
    torch.save(value(), tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "x.pt", said)


def test_nothing_to_read(tmp_path: Path) -> None:
    """Catches a folder without anything taken for a checkpoint that changes nothing."""
    refused(tmp_path / "absent", "does not exist", "absent", r"method\.checkpoint")
    with pytest.raises(WeightError, match="does not exist"):
        checkpoint_files(tmp_path / "absent")
    refused(tmp_path, "holds no parameters", r"\.safetensors")
    (tmp_path / "README.md").write_text("soon")
    (tmp_path / ".hidden.pt").write_text("of a file manager")
    refused(tmp_path, "holds no parameters")
    (tmp_path / "transformer").mkdir()
    refused(tmp_path, "transformer", "no safetensors file")


def test_folders_that_nothing_explains_are_refused(tmp_path: Path) -> None:
    """Catches trained parts in a folder of their own passed over in silence."""
    saved(tmp_path / "all.pt", whole())
    (tmp_path / "logs").mkdir()
    assert open_trained(tmp_path).lacking == ()
    saved(tmp_path / "refiner" / "model.safetensors", {"x": torch.ones(1)})
    refused(tmp_path, "refiner/", "no part of DiffST explains")


def test_a_file_beside_that_is_no_state_dict_is_named(tmp_path: Path) -> None:
    """Catches a message that leaves open which file of the folder it means."""
    saved(tmp_path / "all.safetensors", whole())
    torch.save({"state": {}, "param_groups": []}, tmp_path / "optimizer.pt")
    refused(tmp_path, "optimizer.pt", "no plain state dict")
