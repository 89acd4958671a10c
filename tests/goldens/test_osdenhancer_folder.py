"""The golden set's folder in the official layout: case 07 doubles as a test of loading."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from osd_case import load
from safetensors.torch import load_file, save_file

from stvsr_bench.methods.osdenhancer.checkpoint import Checkpoint, open_checkpoint
from stvsr_bench.methods.osdenhancer.configs import Configs
from stvsr_bench.methods.osdenhancer.texture import WRAPPED
from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer, rope_tables
from stvsr_bench.methods.osdenhancer.vae import STVSRVae
from stvsr_bench.weights.stored import StoredTensors, find_tensors


def test_every_official_folder_loads(goldens: Path) -> None:
    """Every value as stored; the TE LoRA, which is noise there, is not mistaken for a merged one."""
    folders = sorted((goldens / "osdenhancer").glob("*/ckpt"))
    if not folders:
        pytest.skip(f"no folder in the official layout below {goldens / 'osdenhancer'}")
    compared = 0
    for folder in folders:
        checkpoint = open_checkpoint(folder)
        with torch.device("meta"):
            network = STVSRTransformer.from_config(checkpoint.configs.transformer)
            vae = STVSRVae.from_config(checkpoint.configs.vae)
        check = checkpoint.load_transformer(network, torch.float32)
        checkpoint.load_vae(vae, torch.float32)
        layers = sum(WRAPPED.fullmatch(name.removesuffix(".weight")) is not None for name in network.state_dict())
        assert (check.outcome, check.layers) == ("not merged", layers)
        stored = {name: each for file in checkpoint.transformer.files for name, each in load_file(file).items()}
        kept = {name.replace(".base_layer.", "."): each for name, each in stored.items() if ".TE_lora." not in name}
        (of_vae,) = checkpoint.vae.files
        for found, expected in ((network.state_dict(), kept), (vae.state_dict(), load_file(of_vae))):
            assert set(found) == set(expected)
            for name, tensor in found.items():
                assert torch.equal(tensor, expected[name]), name
            compared += len(found)
        prompt = load_file(folder / "prompt_embeddings" / "empty.safetensors")["prompt_embedding"]
        assert torch.equal(checkpoint.load_prompt(torch.float32), prompt[None])
    print(f"osdenhancer: {len(folders)} official folders, {compared} tensors compared")
    assert compared > 300


def test_the_texture_expert_added_once(goldens: Path, tmp_path: Path) -> None:
    """Where a case says what the transformer gives with the TE LoRA added, ``apply_te`` gives it."""
    paths = [path.parent for path in sorted((goldens / "osdenhancer").glob("*/config.json"))]
    cases = [case for case in map(load, paths) if case.kind == "transformer"]
    if not cases:
        pytest.skip(f"no case of a transformer below {goldens / 'osdenhancer'}")
    for case in cases:
        folder = tmp_path / case.name
        folder.mkdir()
        save_file(case.weights, folder / "diffusion_pytorch_model.safetensors")
        stored = find_tensors(folder)
        config = case.config["spec"]["config"]
        checkpoint = Checkpoint(folder, Configs(config, {}, {}), stored, StoredTensors(folder, {}))
        for apply_te, name in ((False, "output"), (True, "output_te_applied")):
            with torch.device("meta"):
                network = STVSRTransformer.from_config(config)
            checkpoint.load_transformer(network, torch.float32, apply_te=apply_te)
            network.eval().requires_grad_(False)
            latents, residual = case.inputs["hidden_states"], case.inputs["res_hidden_states"]
            _, frames, _, height, width = latents.shape
            rope = rope_tables(config, frames, height, width, latents.device)
            prompt, time = case.inputs["encoder_hidden_states"], case.inputs["timestep"]
            found, expected = network(latents, prompt, residual, time, rope), case.expected()[name]
            assert (found - expected).norm() <= 1e-5 * expected.norm(), (case.name, name)
