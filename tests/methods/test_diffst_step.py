"""DiffST's one step: the stored share of noise, the update, what the network is told, and the scale of latents."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.step import SIGMA, TIMESTEP, OneStep, latent_scale

DEFAULTS = inspect.signature(AutoencoderKLWan.__init__).parameters
WAN = {name: DEFAULTS[name].default for name in ("latents_mean", "latents_std", "z_dim")}


def latents(seed: int = 0, batch: int = 1) -> Tensor:
    return torch.randn(batch, 16, 3, 4, 6, generator=torch.Generator().manual_seed(seed))


def tiny_transformer() -> WanTransformer3DModel:
    torch.manual_seed(0)
    network = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=32, ffn_dim=48, num_layers=1, freq_dim=16
    )
    with torch.no_grad():
        network.proj_out.weight.normal_()
    return network.eval().requires_grad_(False)


def test_sigma_is_the_nearest_entry_of_the_shifted_table() -> None:
    """Catches the index reading (0.952), a second shift (0.952 too), shift 3 and t / 1000 in place of the table."""
    s = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    table = 5 * s / (1 + 4 * s)
    nearest = table[(1000 * table - TIMESTEP).abs().argmin()].item()
    assert abs(nearest - SIGMA) < 5e-11
    assert TIMESTEP == 799
    assert OneStep() == OneStep(799, 0.7990620491)


def test_the_step_undoes_the_noise() -> None:
    """Catches a velocity of the other sign, and 1 - sigma in the place of sigma."""
    clean, noise = latents(1).double(), latents(2).double()
    step = OneStep()
    noisy = (1 - step.sigma) * clean + step.sigma * noise
    out = step.update(noisy, noise - clean)
    torch.testing.assert_close(out, clean.float(), rtol=0, atol=1e-6)


def test_without_velocity_nothing_moves() -> None:
    """Catches latents that are scaled or noised on the way."""
    z = latents()
    assert torch.equal(OneStep().update(z, torch.zeros_like(z)), z)


def test_the_update_is_float32_whatever_the_network() -> None:
    """Catches an update in the velocity's bfloat16, which loses five digits of the latents."""
    z, v = latents(1), latents(2).bfloat16()
    out = OneStep().update(z, v)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), z.double() - SIGMA * v.double(), rtol=0, atol=5e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_is_told_799(dtype: torch.dtype) -> None:
    """Catches sigma in the place of the timestep, its index, a timestep rounded to 800 by bfloat16, a second call."""
    network = tiny_transformer().to(dtype)
    told: list[Tensor] = []
    network.condition_embedder.timesteps_proj.register_forward_pre_hook(lambda _, given: told.append(given[0]))
    z, context = latents(batch=2), torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(3))
    out = OneStep()(network, z, context)
    assert [(t.tolist(), t.dtype) for t in told] == [([799.0, 799.0], torch.float32)]
    velocity = network(z.to(dtype), torch.tensor([799.0, 799.0]), context.to(dtype).expand(2, -1, -1))[0]
    assert velocity.std() > 0.01
    assert out.dtype == torch.float32
    assert torch.equal(out, z - SIGMA * velocity.float())


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"timestep": 0.799}, "share of noise"),
        ({"timestep": 1001}, "1 to 1000"),
        ({"timestep": float("nan")}, "1 to 1000"),
        ({"timestep": True}, "1 to 1000"),
        ({"sigma": 0}, "above 0"),
        ({"sigma": 799}, "above 0"),
        ({"sigma": "0.8"}, "above 0"),
    ],
)
def test_values_out_of_range_are_refused(bad: dict[str, Any], complaint: str) -> None:
    """Catches the two numbers given in each other's place."""
    with pytest.raises(ConfigError, match=complaint):
        OneStep(**bad)


def test_scaling_latents_is_undone() -> None:
    """Catches z * s without the mean, 1 / s stored as s, and constants that broadcast over time instead of channels."""
    scale, mu = latent_scale(WAN), 3 * latents()
    z = scale(mu)
    assert z.dtype == torch.float32
    torch.testing.assert_close(scale.inverse(z), mu, rtol=0, atol=1e-6)
    for channel in range(16):
        expected = (mu[:, channel] - WAN["latents_mean"][channel]) / WAN["latents_std"][channel]
        torch.testing.assert_close(z[:, channel], expected, rtol=0, atol=2e-6)


def test_latents_of_the_stated_statistics_become_standard() -> None:
    """Catches mean and deviation in each other's place."""
    mean, std = (torch.tensor(WAN[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    draws = mean + std * torch.randn(2, 16, 9, 32, 32, generator=torch.Generator().manual_seed(0))
    z = latent_scale(WAN)(draws).transpose(0, 1).flatten(1)
    torch.testing.assert_close(z.mean(1), torch.zeros(16), rtol=0, atol=0.03)
    torch.testing.assert_close(z.std(1), torch.ones(16), rtol=0, atol=0.03)


def test_bfloat16_latents_are_scaled_in_float32() -> None:
    """Catches constants that are rounded with the VAE."""
    scale, mu = latent_scale(WAN), latents().bfloat16()
    assert torch.equal(scale(mu), scale(mu.float()))
    assert scale.inverse(mu).dtype == torch.float32


def test_scaling_serves_training_after_inference() -> None:
    """Catches constants that were made in inference mode, which backward refuses."""
    scale = latent_scale(WAN)
    for device in ("cpu", "meta"):  # the second, because to be on a device of their own they have to be moved there
        with torch.inference_mode():
            scale(latents().to(device))
        mu = latents().to(device).requires_grad_()
        scale(mu).sum().backward()
        assert mu.grad is not None
        if device == "cpu":
            torch.testing.assert_close(mu.grad[0, :, 0, 0, 0], 1 / torch.tensor(WAN["latents_std"]))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"latents_mean": WAN["latents_mean"][:15]}, "latents_mean"),
        ({"latents_std": None}, "latents_std"),
        ({"latents_std": [0.0, *WAN["latents_std"][1:]]}, "above 0"),
        ({"latents_mean": [float("inf"), *WAN["latents_mean"][1:]]}, "latents_mean"),
        ({"z_dim": 48}, "z_dim: 48"),
    ],
)
def test_unusable_statistics_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        latent_scale({**WAN, **change})


def test_latents_with_other_channels_are_refused() -> None:
    """Catches one statistic that broadcasts over whatever comes."""
    with pytest.raises(ConfigError, match="other channels"):
        latent_scale(WAN)(torch.zeros(1, 4, 3, 4, 4))
