"""OSDEnhancer's checkpoint folder: what is loaded, what is refused and why, and the check of the TE LoRA."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_osdenhancer import (
    INDEX,
    SHARDS,
    SINGLE,
    Tensors,
    official,
    te_lora,
    toy_prompt,
    toy_transformer,
    toy_vae,
    wrapped_layers,
    write_checkpoint,
)

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.osdenhancer.checkpoint import open_checkpoint
from stvsr_bench.methods.osdenhancer.configs import RELEASED, TINY
from stvsr_bench.methods.osdenhancer.texture import TE_RANK, WRAPPED, check_texture, ratio
from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer
from stvsr_bench.methods.osdenhancer.vae import STVSRVae
from stvsr_bench.weights.stored import as_own

BLOCK = "transformer_blocks.0."
TO_Q = f"{BLOCK}attn1.to_q"


def meta_transformer() -> STVSRTransformer:
    with torch.device("meta"):
        return STVSRTransformer.from_config(TINY.transformer)


def meta_vae() -> STVSRVae:
    with torch.device("meta"):
        return STVSRVae.from_config(TINY.vae)


def load_transformer(folder: Path, dtype: torch.dtype = torch.float32, *, apply_te: bool = False) -> Tensors:
    network = meta_transformer()
    open_checkpoint(folder).load_transformer(network, dtype, apply_te=apply_te)
    return dict(network.state_dict())


def assert_equal(found: Tensors, expected: Tensors) -> None:
    assert set(found) == set(expected)
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


# ---------------------------------------------------------------------- what is loaded


def test_parameter_counts() -> None:
    """Specification, section 4."""
    with torch.device("meta"):
        transformer = STVSRTransformer.from_config(RELEASED.transformer)
        vae = STVSRVae.from_config(RELEASED.vae)
    counts = [sum(each.numel() for each in part.parameters()) for part in (transformer, vae)]
    assert counts == [5_869_929_088, 250_883_619]
    assert sum(counts) == 6_120_812_707
    names = [name.removesuffix(".weight") for name in transformer.state_dict() if name.endswith(".weight")]
    assert sum(WRAPPED.fullmatch(name) is not None for name in names) == 253


def test_the_transformer_is_the_base_layers(tmp_path: Path) -> None:
    """In float32 and float32 files: every value as stored, the TE LoRA's left out."""
    found = load_transformer(write_checkpoint(tmp_path, official(0.0), dtype=torch.float32))
    assert_equal(found, toy_transformer())


def test_bfloat16_loses_nothing(tmp_path: Path) -> None:
    network = meta_transformer()
    open_checkpoint(write_checkpoint(tmp_path, official(0.0))).load_transformer(network, torch.bfloat16)
    assert {each.dtype for each in network.parameters()} == {torch.bfloat16}
    assert not any(each.is_meta for each in (*network.parameters(), *network.buffers()))
    assert_equal(dict(network.state_dict()), {k: v.bfloat16() for k, v in toy_transformer().items()})


def test_parameters_are_their_own(tmp_path: Path) -> None:
    """They outlive the files and share no memory: what one run changes, no other sees."""
    folder = write_checkpoint(tmp_path / "a", official(0.0), dtype=torch.float32)
    network = meta_transformer()
    open_checkpoint(folder).load_transformer(network, torch.float32)
    shutil.rmtree(folder)
    assert_equal(dict(network.state_dict()), toy_transformer())
    assert len({each.untyped_storage().data_ptr() for each in network.parameters()}) == len(list(network.parameters()))


def test_plain_names_are_taken_too(tmp_path: Path) -> None:
    mixed = official(0.0)
    plain = {name: mixed.pop(f"{TO_Q}.base_layer.{name}") for name in ("weight", "bias")}
    mixed |= {f"{TO_Q}.{name}": tensor for name, tensor in plain.items()}
    assert_equal(load_transformer(write_checkpoint(tmp_path / "a", mixed, dtype=torch.float32)), toy_transformer())
    whole = write_checkpoint(tmp_path / "b", dict(toy_transformer()), dtype=torch.float32)
    assert_equal(load_transformer(whole), toy_transformer())


def test_one_file_without_an_index(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, official(0.0), dtype=torch.float32)
    tensors = {k: v for shard in SHARDS for k, v in load_file(folder / "transformer" / shard).items()}
    for name in (*SHARDS, INDEX):
        (folder / "transformer" / name).unlink()
    save_file(tensors, folder / "transformer" / SINGLE)
    assert_equal(load_transformer(folder), toy_transformer())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dcn_weights", ["rounded", "float32"])
def test_deformable_convolutions_stay_float32(dtype: torch.dtype, dcn_weights: Any, tmp_path: Path) -> None:
    vae = meta_vae()
    open_checkpoint(write_checkpoint(tmp_path)).load_vae(vae, dtype, dcn_weights=dcn_weights)
    assert not any(each.is_meta for each in (*vae.parameters(), *vae.buffers()))
    deformable = 0
    for name, found in vae.state_dict().items():
        stored = toy_vae()[name]
        if ".dcn_pack." in name:
            deformable += 1
            assert found.dtype == torch.float32
            expected = stored.to(dtype).float() if dcn_weights == "rounded" else stored
        else:
            assert found.dtype == dtype
            expected = stored.bfloat16().to(dtype)
        assert torch.equal(found, expected), name
    assert deformable == 24


def test_the_prompt(tmp_path: Path) -> None:
    prompt = open_checkpoint(write_checkpoint(tmp_path)).load_prompt(torch.float32)
    assert torch.equal(prompt, toy_prompt().bfloat16().float()[None])


def test_configurations_are_what_the_files_say(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    edit_json(folder / "vae" / "config.json", scaling_factor=0.9, sample_height=96)
    configs = open_checkpoint(folder).configs
    assert (configs.vae["scaling_factor"], configs.vae["sample_height"]) == (0.9, 96)
    assert "_class_name" not in configs.scheduler
    assert configs.scheduler["snr_shift_scale"] == 1.0


def test_stale_shards_are_left_alone(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, official(0.0), dtype=torch.float32)
    stale = "diffusion_pytorch_model-00003-of-00003.safetensors"
    save_file({f"{TO_Q}.base_layer.weight": torch.zeros(1)}, folder / "transformer" / stale)
    (folder / "README.md").write_text("")
    checkpoint = open_checkpoint(folder)
    (note,) = checkpoint.notes
    assert f"transformer/{stale}" in note
    assert len(checkpoint.files) == 8
    assert f"transformer/{stale}" not in checkpoint.files
    assert_equal(load_transformer(folder), toy_transformer())


# ---------------------------------------------------------------------- what is refused


def edit_json(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; ``None`` removes one."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def without(name: str) -> Tensors:
    tensors = official()
    del tensors[name]
    return tensors


FAULTS: dict[str, tuple[Callable[[], Tensors], str]] = {
    "missing": (lambda: without("norm_final.bias"), r"do not fit STVSRTransformer; got 1 missing: norm_final\.bias;"),
    "missing base layer": (lambda: without(f"{TO_Q}.base_layer.weight"), rf"{TO_Q}: no such layer"),
    "missing TC": (lambda: without(f"{BLOCK}ff.proj_out_TC_lora.lora_B.weight"), "1 missing: .*proj_out_TC_lora"),
    "extra": (lambda: official() | {"norm_final.scale": torch.ones(3)}, r"1 unexpected: norm_final\.scale"),
    "another shape": (
        lambda: official() | {"norm_final.bias": torch.ones(3)},
        r"1 of another shape: norm_final\.bias \[3\] instead of \[32\]",
    ),
    "another dtype": (
        lambda: official() | {"norm_final.bias": torch.ones(32, dtype=torch.int32)},
        r"of a dtype that no parameter has: norm_final\.bias I32.*BF16, F16, F32",
    ),
    "both forms": (
        lambda: official() | {f"{TO_Q}.weight": torch.ones(32, 32)},
        rf"stand twice .*'base_layer'; got {TO_Q}\.weight",
    ),
    "base layer of no wrapped one": (
        lambda: without("norm_final.bias") | {"norm_final.base_layer.bias": torch.ones(32)},
        r"1 missing: norm_final\.bias; 1 unexpected: norm_final\.base_layer\.bias",
    ),
    "half a TE pair": (lambda: without(f"{TO_Q}.lora_A.TE_lora.weight"), rf"{TO_Q}: lora_A is missing"),
    "TE of another shape": (
        lambda: official() | {f"{TO_Q}.lora_A.TE_lora.weight": torch.ones(64, 32)},
        rf"lora_A\.TE_lora\.weight \[64, 32\] BF16 instead of \[{TE_RANK}, 32\]",
    ),
    "TE of no wrapped layer": (
        lambda: official() | {"norm_final.lora_A.TE_lora.weight": torch.ones(TE_RANK, 32)},
        "norm_final: no such layer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tensors_that_do_not_fit_are_listed(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    network = meta_transformer()
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, make()))
    with pytest.raises(WeightError, match=message) as caught:
        checkpoint.load_transformer(network, torch.float32)
    assert "2026-06-25 or later" in str(caught.value)
    assert all(each.is_meta for each in network.parameters())  # untouched


OLD: dict[str, tuple[str, str]] = {
    "TC": (r"attn1.to_q_TC_lora.lora_A.weight", r"attn1.to_q.lora_A.TR_lora.weight"),
    "TE": (r".TE_lora.", r".SE_lora."),
    "default adapter": (r".TE_lora.", r".default."),
}


@pytest.mark.parametrize("kind", OLD)
def test_old_names_are_recognised(kind: str, tmp_path: Path) -> None:
    """What exactly the files before June 2026 are called is not known: LoRA names of any other form are enough."""
    new, old = OLD[kind]
    stored = {name.replace(new, old): tensor for name, tensor in official().items()}
    assert stored.keys() != official().keys()
    with pytest.raises(WeightError, match=r"unexpected: .*files from before 2026-06-25.*download"):
        load_transformer(write_checkpoint(tmp_path, stored))


def test_a_vae_that_does_not_fit(tmp_path: Path) -> None:
    vae = {name: tensor for name, tensor in toy_vae().items() if "up_deformable_blocks.3" not in name}
    with pytest.raises(WeightError, match=r"do not fit STVSRVae.*missing: decoder\.up_def.*and VAE config"):
        open_checkpoint(write_checkpoint(tmp_path, vae=vae)).load_vae(meta_vae(), torch.float32)


@pytest.mark.parametrize(
    "name",
    [
        *("transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"),
        *("prompt_embeddings/empty.safetensors", f"transformer/{SHARDS[1]}", f"vae/{SINGLE}", f"transformer/{INDEX}"),
    ],
)
@pytest.mark.parametrize("damage", ["absent", "truncated", "empty"])
def test_files_that_are_no_whole_files(name: str, damage: str, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path) / name
    data = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    with pytest.raises(WeightError) as caught:
        open_checkpoint(tmp_path).load_prompt(torch.float32)
    said = str(caught.value)
    assert name in said or (damage == "absent" and file.name in said)


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"there is no folder '.*nowhere'; accepted: a folder with transformer/"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(WeightError, match=r"is no OSDEnhancer checkpoint; got no transformer/config\.json, vae"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.pop("norm_final.bias"), r"1 not in the index: norm_final\.bias.*mixed"),
        (lambda table: table.update({"extra": SHARDS[0]}), r"1 absent: extra"),
        (
            lambda table: table.update({"norm_final.bias": "gone.safetensors"}),
            r"is incomplete; got no gone\.safe",
        ),
        (lambda table: table.update({"norm_final.bias": "../a.safetensors"}), "outside its folder"),
        (lambda table: table.clear(), "no table of tensors"),
    ],
)
def test_an_index_that_disagrees(change: Callable[[dict[str, str]], Any], message: str, tmp_path: Path) -> None:
    index = write_checkpoint(tmp_path) / "transformer" / INDEX
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))
    with pytest.raises(WeightError, match=message):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("transformer/config.json", {"num_layers": None}, "incomplete; got no num_layers"),
        ("transformer/config.json", {"num_layers": "2"}, "'num_layers' makes no sense; got '2'"),
        ("vae/config.json", {"scaling_factor": None}, "scaling_factor: Field required"),
        ("vae/config.json", {"scaling_factor": "0.7"}, "scaling_factor: Input should be a valid number"),
        ("vae/config.json", {"block_out_channels": [8, 8, 8]}, "this VAE cannot be built; got .* of 3 levels"),
        ("vae/config.json", {"block_out_channels": 8}, "block_out_channels: Input should be a valid list"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "any"}, "beta_schedule: Input should be 'linear'"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "prediction_type: Input should be 'v_pred"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 100}, "num_train_timesteps: .* equal to 400"),
    ],
)
def test_configurations_that_make_no_sense(file: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    edit_json(write_checkpoint(tmp_path) / file, **changes)
    with pytest.raises(WeightError, match=message) as caught:
        open_checkpoint(tmp_path)
    assert str(tmp_path / file) in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [{"other": torch.ones(7, 24)}, {"prompt_embedding": torch.ones(7, 23)}, {"prompt_embedding": torch.ones(24)}, {}],
)
def test_a_prompt_that_does_not_fit(tensors: Tensors, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    save_file(tensors, folder / "prompt_embeddings" / "empty.safetensors")
    with pytest.raises(WeightError, match=r"no prompt embedding that fits.*accepted: prompt_embedding \[tokens, 24\]"):
        open_checkpoint(folder).load_prompt(torch.float32)


# ---------------------------------------------------------------------- the TE LoRA


def test_the_ratio_of_one_layer() -> None:
    """Against the product written out, in float64."""
    generator = torch.Generator().manual_seed(0)
    base, a, b = (torch.randn(shape, generator=generator) for shape in ((40, 24), (8, 24), (40, 8)))
    product = b.double() @ a.double()
    expected = ((base.double() * product).sum() / product.square().sum()).item()
    assert ratio(base, a, b) == pytest.approx(expected, rel=1e-5)
    assert ratio(base, a, torch.zeros_like(b)) is None


@pytest.mark.parametrize(
    ("merged", "outcome", "said"),
    [
        (1.0, "merged", "not added again"),
        (0.0, "not merged", "method.apply_te=true adds it once"),
        (0.5, "unclear", "do not tell"),
        (2.0, "unclear", "do not tell"),
    ],
)
def test_outcomes(merged: float, outcome: str, said: str, tmp_path: Path) -> None:
    check = check_texture(open_checkpoint(write_checkpoint(tmp_path, official(merged))).transformer)
    assert check.outcome == outcome
    assert check.layers == len(wrapped_layers()) == 13
    assert check.median == pytest.approx(merged, abs=0.1)
    assert check.mean == pytest.approx(merged, abs=0.1)
    assert said in check.text
    assert f"TE LoRA {outcome}: " in check.text


@pytest.mark.parametrize("te", ["none", "zero"])
def test_nothing_to_check(te: str, tmp_path: Path) -> None:
    stored = official(0.0, te=te == "zero")
    stored = {name: tensor * (0 if ".lora_B.TE_lora." in name else 1) for name, tensor in stored.items()}
    check = check_texture(open_checkpoint(write_checkpoint(tmp_path, stored)).transformer)
    assert (check.outcome, check.median) == ("absent", None)
    assert "nothing to check" in check.text


def test_layers_that_disagree_are_unclear(tmp_path: Path) -> None:
    one, other = official(1.0), official(0.0)
    half = {f"{layer}.base_layer.weight" for layer in wrapped_layers()[::2]}
    stored = {name: (one if name in half else other)[name] for name in one}
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, stored))
    assert check_texture(checkpoint.transformer).outcome == "unclear"


@pytest.mark.parametrize("outcome", ["merged", "not merged"])
def test_it_is_never_applied_by_default(outcome: str, tmp_path: Path) -> None:
    """Base weights are loaded as they are, whatever the check says."""
    stored = official(1.0 if outcome == "merged" else 0.0)
    network = meta_transformer()
    check = open_checkpoint(write_checkpoint(tmp_path, stored, dtype=torch.float32)).load_transformer(
        network, torch.float32
    )
    assert check.outcome == outcome
    for layer in wrapped_layers():
        assert torch.equal(network.state_dict()[f"{layer}.weight"], stored[f"{layer}.base_layer.weight"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_applied_once_on_request(dtype: torch.dtype, tmp_path: Path) -> None:
    found = load_transformer(write_checkpoint(tmp_path, official(0.0), dtype=torch.float32), dtype, apply_te=True)
    expected = dict(toy_transformer())
    for layer in wrapped_layers():
        a, b = te_lora(layer)
        expected[f"{layer}.weight"] = expected[f"{layer}.weight"] + b @ a
    assert_equal(found, {name: tensor.to(dtype) for name, tensor in expected.items()})


@pytest.mark.parametrize(("merged", "te", "message"), [(1.0, True, "got TE LoRA merged"), (0.0, False, "stores none")])
def test_it_is_not_applied_twice(merged: float, te: bool, message: str, tmp_path: Path) -> None:
    network = meta_transformer()
    checkpoint = open_checkpoint(write_checkpoint(tmp_path, official(merged, te=te)))
    with pytest.raises(ConfigError, match=f"apply_te=true.*{message}"):
        checkpoint.load_transformer(network, torch.float32, apply_te=True)
    assert all(each.is_meta for each in network.parameters())


# ---------------------------------------------------------------------- memory


def test_each_tensor_is_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak is the parameters and one tensor: nothing else of the file is ever made a copy of."""
    made: list[int] = []
    real = as_own

    def counting(dtype: torch.dtype) -> Callable[[str, torch.Tensor], torch.Tensor]:
        convert = real(dtype)

        def copied(name: str, tensor: torch.Tensor) -> torch.Tensor:
            own = convert(name, tensor)
            assert own.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()
            made.append(own.untyped_storage().nbytes())
            return own

        return copied

    monkeypatch.setattr("stvsr_bench.methods.osdenhancer.checkpoint.as_own", counting)
    network = meta_transformer()
    open_checkpoint(write_checkpoint(tmp_path)).load_transformer(network, torch.bfloat16)
    held = sum(each.untyped_storage().nbytes() for each in network.parameters())
    assert sum(made) == held == sum(2 * each.numel() for each in toy_transformer().values())
