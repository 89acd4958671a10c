"""Wan's transformer and VAE as DiffST runs them, against diffusers' own classes; and how many parameters there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn
from toy_diffst import seeded

from stvsr_bench.methods.diffst import settings
from stvsr_bench.methods.diffst.aggregation import CFCA, counted_parameters
from stvsr_bench.methods.diffst.guidance import VideoGuidance
from stvsr_bench.methods.diffst.wan import (
    TINY_TRANSFORMER,
    TINY_VAE,
    TRANSFORMER,
    VAE,
    WanVae,
    build_transformer,
    exact_parts,
)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------- parameters


def test_all_parts_together_have_the_printed_number_of_parameters() -> None:
    """Catches another width or depth anywhere: the paper's table 5 prints 1,581.46 M."""
    with torch.device("meta"):
        guidance = VideoGuidance(layout=settings.VRG["fuse"], num_queries=settings.VRG["num_queries"])
        cfca = CFCA(**{name: value for name, value in settings.CFCA.items() if not name.startswith(("key_", "vfi"))})
    vae = WanVae.build(VAE)
    parts = {
        "transformer": count(build_transformer(TRANSFORMER, guidance.context_dim, past_text_layers=False)),
        "vae": count(vae),
        "attention": count(guidance.attention),
        "queries": guidance.queries.numel(),
        "projector": count(guidance.projector),
        **counted_parameters(cfca),
    }
    assert parts == {
        "transformer": 1_418_996_800,
        "vae": 126_892_531,
        "attention": 1_050_624,
        "queries": 262_144,
        "projector": 18_878_464,
        "psi": 4_669_635,
        "ifnet": 10_710_780,
    }
    total = sum(parts.values())
    assert total == 1_581_460_978
    assert f"{total / 1e6:,.2f} M" == "1,581.46 M"
    halves = [count(vae.encoder) + count(vae.quant_conv), count(vae.decoder) + count(vae.post_quant_conv)]
    assert [round(half / 1e6, 2) for half in halves] == [53.60, 73.30]


def test_a_context_of_another_width_changes_the_first_text_layer_only() -> None:
    """Catches `infvsr` (512 channels) and `direct` (past the text layers) built on the stock text layers."""
    assert count(build_transformer(TRANSFORMER, 512, past_text_layers=False)) == 1_413_491_776
    direct = build_transformer(TRANSFORMER, 1536, past_text_layers=True)
    assert isinstance(direct.condition_embedder.text_embedder, nn.Identity)
    assert count(direct) == 1_418_996_800 - (4096 + 1) * 1536 - (1536 + 1) * 1536


# ---------------------------------------------------------------------- transformer


def _transformers() -> tuple[Any, Any]:
    stock: Any = WanTransformer3DModel(**TINY_TRANSFORMER)
    seeded(stock, "wan")
    ours = build_transformer(TINY_TRANSFORMER, TINY_TRANSFORMER["text_dim"], past_text_layers=False)
    ours.load_state_dict(stock.state_dict(), assign=True)
    return stock, ours.eval()


@torch.no_grad()
def test_a_transformer_without_memory_is_the_stock_one_once_it_is_filled() -> None:
    """Catches constants lost on the meta device: positions, of which no state dict knows."""
    stock, ours = _transformers()
    assert not any(tensor.is_meta for tensor in (*ours.parameters(), *ours.buffers()))
    assert [name for name, _ in ours.named_buffers()] == [name for name, _ in stock.named_buffers()]
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), stock.buffers(), strict=True))
    given = (noise(1, 4, 2, 4, 6), torch.tensor([799.0]), noise(1, 9, TINY_TRANSFORMER["text_dim"]))
    assert torch.equal(ours(*given)[0], stock(*given)[0])


def test_what_stays_float32_is_what_diffusers_keeps() -> None:
    """Catches norms, modulation, time or positions in bfloat16, and anything else kept out of it."""
    stock, _ = _transformers()
    kept = {id(t) for part in exact_parts(stock) for t in ([part] if isinstance(part, Tensor) else _tensors(part))}
    for name, tensor in (*stock.named_parameters(), *stock.named_buffers()):
        wanted = any(key in name.split(".") for key in WanTransformer3DModel._keep_in_fp32_modules)
        assert (id(tensor) in kept) == wanted, name


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


# ---------------------------------------------------------------------- VAE


def _vaes(*, optimised: bool = True) -> tuple[Any, WanVae]:
    stock: Any = AutoencoderKLWan(**TINY_VAE)
    seeded(stock, "vae")
    ours = WanVae.build({**TINY_VAE, "unknown": 1}, optimised=optimised)
    ours.load_state_dict(stock.state_dict(), assign=True)
    return stock, ours.eval()


@torch.no_grad()
@pytest.mark.parametrize("optimised", [True, False])
@pytest.mark.parametrize("frames", [1, 5, 9])
def test_the_vae_is_the_stock_one_to_the_bit(frames: int, optimised: bool) -> None:
    """Catches a wrong cut in time, a history that is not dropped between calls, a limit that is left out."""
    stock, ours = _vaes(optimised=optimised)
    for seed in (1, 2):  # the second call finds what the first one left
        video = noise(1, 3, frames, 16, 32, seed=seed)
        moments = ours.moments(video)
        assert torch.equal(moments, stock.encode(video).latent_dist.parameters)
        latents = 40 * moments[:, :4]
        decoded = ours.decode(latents).sample
        assert torch.equal(decoded, stock.decode(latents).sample)
        assert torch.equal(decoded, ours.decode(latents, return_dict=False)[0])
    assert float(decoded.abs().max()) == 1  # the limit is reached, so that it is tested


@torch.no_grad()
@pytest.mark.parametrize("optimised", [True, False])
def test_tiles_of_the_vae_are_the_stock_ones(optimised: bool) -> None:
    """Catches tiles of another side or stride, tiles where frames are small enough, and a switch that stays on."""
    stock, ours = _vaes(optimised=optimised)
    video = noise(1, 3, 5, 48, 64)
    plain = ours.moments(video)
    stock.enable_tiling(32, 32, 16, 16)
    ours.tile(32, 16)
    latents = 10 * plain[:, :4]
    moments = ours.moments(video)
    assert torch.equal(moments, stock.encode(video).latent_dist.parameters)
    assert not torch.equal(moments, plain)
    assert torch.equal(ours.decode(latents).sample, stock.decode(latents).sample)
    small = video[..., :32, :32]
    ours.tile(64, 48)
    assert torch.equal(ours.moments(video), plain)
    ours.tile(32, 16)
    inside = ours.moments(small)
    ours.tile(None)
    assert torch.equal(ours.moments(small), inside)
    assert torch.equal(ours.moments(video), plain)


@torch.no_grad()
def test_the_vae_tells_how_far_it_is_and_decodes_to_where_it_is_asked_to() -> None:
    """Catches a decoded video on the network's device in the low memory modes, and silence during long work."""
    _, ours = _vaes()
    told: list[tuple[int, int]] = []
    ours.progress = lambda done, total: told.append((done, total))
    ours.output_device = torch.device("meta")  # any other than that of the network
    moments = ours.moments(noise(1, 3, 9, 16, 16))
    assert told == [(1, 3), (2, 3), (3, 3)]
    decoded = ours.decode(moments[:, :4]).sample
    assert told[3:] == [(1, 3), (2, 3), (3, 3)]
    assert (decoded.device.type, decoded.shape) == ("meta", (1, 3, 9, 16, 16))


@pytest.mark.parametrize("shape", [(2, 16, 16), (4, 16, 16), (8, 16, 16), (5, 20, 16), (5, 16, 12)])
def test_frames_that_the_stock_vae_drops_are_refused(shape: tuple[int, int, int]) -> None:
    """Catches padding that was forgotten: the stock class drops the surplus frames without a word."""
    _, ours = _vaes()
    with pytest.raises(ValueError, match=r"are no 4m \+ 1 frames"):
        ours.moments(noise(1, 3, *shape))
