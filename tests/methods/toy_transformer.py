"""OSDEnhancer's transformer at toy width, with inputs for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer, rope_tables
from stvsr_bench.nn.seeded import seed_parameters

TINY: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 12,
    "text_embed_dim": 10,
    "patch_size": 2,
    "patch_size_t": 2,
    "patch_bias": False,
    "norm_eps": 1e-5,
    "sample_height": 12,
    "sample_width": 20,
    "use_rotary_positional_embeddings": True,
}
OFFICIAL = TINY | {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "num_layers": 42,
    "in_channels": 16,
    "out_channels": 16,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "sample_height": 96,
    "sample_width": 170,
}
TEXT = 5


def network(*, optimised: bool = True, dtype: torch.dtype = torch.float32, **changes: Any) -> STVSRTransformer:
    """A toy network whose adapters, masks and normalisations all count."""
    made = STVSRTransformer.from_config(TINY | changes, optimised=optimised)
    seed_parameters(made, "test", "osdenhancer")
    for name, parameter in made.named_parameters():
        if "norm" in name and ".linear." not in name:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return made.eval().requires_grad_(False).to(dtype)


def inputs(
    batch: int = 1, frames: int = 4, height: int = 6, width: int = 8, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """Arguments of the forward call: noise, and the tables of its size."""
    generator = torch.Generator().manual_seed(7)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    return {
        "latents": noise(batch, frames, 4, height, width),
        "prompt": noise(batch, TEXT, 10),
        "residual_latents": noise(batch, frames, 4, height, width),
        "timestep": torch.full((batch,), 399),
        "rope": rope_tables(TINY, frames, height, width),
    }
