"""A made checkpoint in the official layout: the real classes at toy width, two shards with an index, the TE LoRA."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stvsr_bench.methods.osdenhancer.configs import TINY
from stvsr_bench.methods.osdenhancer.texture import TE_RANK, WRAPPED
from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer
from stvsr_bench.methods.osdenhancer.vae import STVSRVae
from stvsr_bench.nn.seeded import seed_parameters

SHARDS = [f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2)]
SINGLE = "diffusion_pytorch_model.safetensors"
INDEX = f"{SINGLE}.index.json"
Tensors = dict[str, Tensor]


@cache
def toy_transformer() -> Tensors:
    """The transformer's parameters under the names of our class, float32."""
    network = STVSRTransformer.from_config(TINY.transformer)
    seed_parameters(network, "toy")
    return dict(network.state_dict())


@cache
def toy_vae() -> Tensors:
    """The VAE's parameters, float32."""
    vae = STVSRVae.from_config(TINY.vae)
    seed_parameters(vae, "toy")
    return dict(vae.state_dict())


def toy_prompt() -> Tensor:
    """The prompt's embedding."""
    return torch.randn(TINY.prompt_shape, generator=torch.Generator().manual_seed(3))


def wrapped_layers() -> list[str]:
    """The layers that upstream wraps: 6 in each of 2 blocks, and the last one."""
    names = [name.removesuffix(".weight") for name in toy_transformer() if name.endswith(".weight")]
    return [name for name in names if WRAPPED.fullmatch(name)]


def te_lora(layer: str, size: float = 0.5) -> tuple[Tensor, Tensor]:
    """A layer's pair A, B, whose product is ``size`` times as large as the layer's weight."""
    weight = toy_transformer()[f"{layer}.weight"]
    generator = torch.Generator().manual_seed(sum(layer.encode()))
    a = torch.randn(TE_RANK, weight.shape[1], generator=generator)
    b = torch.randn(weight.shape[0], TE_RANK, generator=generator)
    return a, b * (size * weight.norm() / (b @ a).norm())


def official(merged: float = 1.0, *, te: bool = True) -> Tensors:
    """The transformer as upstream stores it; ``merged`` times the TE LoRA is in the base weights."""
    stored = dict(toy_transformer())
    for layer in wrapped_layers():
        a, b = te_lora(layer)
        stored[f"{layer}.base_layer.weight"] = stored.pop(f"{layer}.weight") + merged * (b @ a)
        stored[f"{layer}.base_layer.bias"] = stored.pop(f"{layer}.bias")
        if te:
            stored |= {f"{layer}.lora_A.TE_lora.weight": a, f"{layer}.lora_B.TE_lora.weight": b}
    return stored


def write_checkpoint(
    folder: Path,
    transformer: Tensors | None = None,
    *,
    vae: Tensors | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> Path:
    """Write a checkpoint as upstream does: ``dtype`` but for the deformable convolutions, two shards and an index."""
    parts = {"transformer": TINY.transformer, "vae": TINY.vae, "scheduler": TINY.scheduler}
    for name, config in parts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps({"_class_name": "Any", "unknown_key": 1, **config}))
    stored = {name: as_stored(tensor, dtype) for name, tensor in (transformer or official()).items()}
    names = sorted(stored)
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    for shard, half in zip(SHARDS, halves, strict=True):
        save_file({name: stored[name] for name in half}, folder / "transformer" / shard)
    table = {name: shard for shard, half in zip(SHARDS, halves, strict=True) for name in half}
    (folder / "transformer" / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": table}))
    kept = {
        name: as_stored(tensor, torch.float32 if "dcn_pack" in name else dtype)
        for name, tensor in (vae or toy_vae()).items()
    }
    save_file(kept, folder / "vae" / SINGLE)
    (folder / "prompt_embeddings").mkdir(exist_ok=True)
    save_file({"prompt_embedding": toy_prompt().to(dtype)}, folder / "prompt_embeddings" / "empty.safetensors")
    return folder


def as_stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor`` in ``dtype``, where it is of floating point."""
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
