"""OSDEnhancer's transformer: both forms, the stock class, positions, masks, and where the adapters act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor, nn
from toy_transformer import TEXT, TINY
from toy_transformer import inputs as _inputs
from toy_transformer import network as _network

from stvsr_bench.methods.osdenhancer import blocks
from stvsr_bench.methods.osdenhancer.masks import ResidualPatchEmbed, patchify, unpatchify
from stvsr_bench.methods.osdenhancer.transformer import TransformerConfig, rope_tables
from stvsr_bench.nn.seeded import seed_parameters


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def _adapters(network: nn.Module) -> list[blocks.TCLora]:
    return [module for module in network.modules() if isinstance(module, blocks.TCLora)]


# ---------------------------------------------------------------------- both forms


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("patch_size_t", [2, None])
def test_both_forms_agree_to_the_bit(batch: int, patch_size_t: int | None) -> None:
    inputs = _inputs(batch)
    inputs["rope"] = rope_tables(TINY | {"patch_size_t": patch_size_t}, 4, 6, 8)
    plain, fast = (_network(optimised=form, patch_size_t=patch_size_t)(**inputs) for form in (False, True))
    assert plain.shape == (batch, 4, 4, 6, 8)
    torch.testing.assert_close(fast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("tokens", [1, 2, TEXT, 7, 28, 29])
def test_working_on_some_tokens_at_a_time_changes_rounding_only(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    inputs = _inputs(2)
    whole = _network()(**inputs)
    monkeypatch.setattr(blocks, "CHUNK_TOKENS", tokens)  # text and image share a part, or the text has several
    torch.testing.assert_close(_network()(**inputs), whole, rtol=1e-5, atol=2e-6)


def test_inputs_are_left_alone() -> None:
    inputs = _inputs()
    before = {name: value.clone() for name, value in inputs.items() if isinstance(value, Tensor)}
    _network()(**inputs)
    for name, value in before.items():
        assert torch.equal(inputs[name], value), name


@pytest.mark.parametrize("optimised", [True, False])
def test_bfloat16_stays_close_to_float32(optimised: bool) -> None:
    exact = _network(optimised=False)(**_inputs())
    network = _network(optimised=optimised, dtype=torch.bfloat16)
    rounded = network(**_inputs(dtype=torch.bfloat16))
    assert rounded.dtype == torch.bfloat16
    assert 1e-4 < _relative(rounded, exact) <= 3e-2


def test_heads_are_turned_in_float32() -> None:
    rope = rope_tables(TINY, 2, 6, 8)
    assert {table.dtype for table in rope} == {torch.float32}
    heads = torch.randn(1, 2, 12, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = blocks.turned(heads.double(), (rope[0].double(), rope[1].double()))
    assert torch.equal(blocks.turned(heads, rope), exact.bfloat16())


# ---------------------------------------------------------------------- against the stock class


@pytest.mark.parametrize("optimised", [True, False], ids=["optimised", "plain"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_size_t": None, "patch_bias": True},
        {"patch_size_t": None},
        {"attention_bias": False, "flip_sin_to_cos": False, "freq_shift": 1, "timestep_activation_fn": "gelu"},
        {"norm_elementwise_affine": False, "norm_eps": 1e-2, "out_channels": 6},
        {"ofs_embed_dim": 12},
    ],
    ids=str,
)
def test_without_adapters_it_is_the_stock_transformer(changes: dict[str, Any], optimised: bool) -> None:
    network = _network(optimised=optimised, **changes)
    for adapter in _adapters(network):
        adapter.lora_B.weight.zero_()
    stock: Any = CogVideoXTransformer3DModel(**(TINY | changes))  # type: ignore[no-untyped-call]
    own = {name: value for name, value in network.state_dict().items() if "TC_lora" not in name and "res_" not in name}
    stock.eval().load_state_dict(own)
    inputs = _inputs(2) | {"rope": rope_tables(TINY | changes, 4, 6, 8)}
    ofs = {"ofs": torch.tensor([2.0, 3.0])} if "ofs_embed_dim" in changes else {}
    expected = stock(
        hidden_states=inputs["latents"],
        encoder_hidden_states=inputs["prompt"],
        timestep=inputs["timestep"],
        image_rotary_emb=inputs["rope"],
        **ofs,
    ).sample
    torch.testing.assert_close(network(**inputs, **ofs), expected, rtol=0, atol=0)


def test_every_normalisation_has_its_own_eps() -> None:
    """The goldens cannot see these: a wrong one moves the output by less than their tolerance."""
    for eps in (1e-5, 3e-4):
        found = {
            name: module.eps
            for name, module in _network(norm_eps=eps).named_modules()
            if isinstance(module, nn.LayerNorm)
        }
        expected = {"norm_final": eps, "norm_out.norm": eps}
        for block in ("transformer_blocks.0", "transformer_blocks.1"):
            expected |= {f"{block}.{name}": eps for name in ("norm1.norm", "norm2.norm")}
            expected |= {f"{block}.attn1.{name}": 1e-6 for name in ("norm_q", "norm_k")}
        assert found == expected


# ---------------------------------------------------------------------- positions and patches


def test_positions_are_whole_numbers_whatever_the_size() -> None:
    cosines, sines = rope_tables(TINY, 6, 60, 80)  # larger than the size trained on
    assert cosines.shape == sines.shape == (3 * 30 * 40, 16)
    angle = torch.atan2(sines, cosines).view(3, 30, 40, 16)
    assert [round(float(a), 5) for a in angle[2, 1, 3, [0, 4, 10]]] == [2.0, 1.0, 3.0]  # t, h, w: 4, 6 and 6 channels
    assert torch.equal(angle[..., 0::2], angle[..., 1::2])  # neighbouring channels turn together
    assert torch.equal(rope_tables(TINY, 5, 60, 80)[0], cosines)  # an incomplete token counts


@pytest.mark.parametrize(("height", "width"), [(6, 8), (12, 20), (24, 6), (14, 90)])
def test_positions_of_the_older_kind_are_those_of_the_stock_pipeline(height: int, width: int) -> None:
    config = TINY | {"patch_size_t": None}
    grid = (height // 2, width // 2)
    crop = get_resize_crop_region_for_grid(grid, 20 // 2, 12 // 2)  # type: ignore[no-untyped-call]
    expected = get_3d_rotary_pos_embed(16, crop, grid, 5)
    for found, table in zip(rope_tables(config, 5, height, width), expected, strict=True):
        assert torch.equal(found, table)


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_patches_can_be_put_together_again(frames: int) -> None:
    latents = torch.arange(2 * 4 * 3 * 4 * 6).view(2, 4, 3, 4, 6)
    tokens = patchify(latents, 2, frames)
    assert tokens.shape == (2, 4 // frames * 2 * 3, 3 * frames * 4)
    assert torch.equal(tokens[0, 1].view(3, frames, 2, 2), latents[0, :frames, :, 0:2, 2:4].transpose(0, 1))
    assert torch.equal(unpatchify(tokens, 2, frames, 4, 6), latents)


# ---------------------------------------------------------------------- masks and adapters


@pytest.mark.parametrize("optimised", [True, False])
def test_masks_are_affine_and_signed(optimised: bool) -> None:
    patch = ResidualPatchEmbed(TransformerConfig.of(TINY), optimised=optimised)
    seed_parameters(patch, "masks")
    residual = 3 * _inputs()["residual_latents"]
    masks = patch(residual)
    magnitude = patchify(residual, 2, 2).abs().clamp(max=1)
    for found, layer in ((masks.mask, patch.res_proj), (masks.hidden(slice(None)), patch.res_ff0_proj)):
        torch.testing.assert_close(found, magnitude @ layer.weight.T + layer.bias)
        assert found.min() < -1 < 1 < found.max()
    torch.testing.assert_close(masks.hidden(slice(3, 9)), masks.hidden(slice(None))[:, 3:9])
    assert torch.equal(patch(-residual).mask, masks.mask)
    zero = patch(torch.zeros_like(residual))
    assert torch.equal(zero.mask, patch.res_proj.bias.expand_as(zero.mask))


@pytest.mark.parametrize("optimised", [True, False])
def test_adapters_act_on_image_tokens_only(optimised: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    layer, lora = nn.Linear(6, 8), blocks.TCLora(6, 8)
    tokens, mask = (torch.randn(2, n, c, generator=generator) for n, c in ((9, 6), (5, 8)))
    found = blocks.adapted(layer, lora, tokens, mask, 4, optimised=optimised)
    delta = tokens @ lora.lora_A.weight.T @ lora.lora_B.weight.T
    torch.testing.assert_close(found[:, :4], layer(tokens)[:, :4], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[:, 4:], layer(tokens)[:, 4:] + mask * delta[:, 4:])
    assert lora.lora_A.weight.shape == (128, 6)


@pytest.mark.parametrize("optimised", [True, False])
def test_each_layer_of_the_feed_forward_has_its_own_mask(optimised: bool) -> None:
    network = _network(optimised=optimised, num_layers=1)
    feed_forward = network.get_submodule("transformer_blocks.0.ff")
    state = feed_forward.state_dict()
    masks = network.res_patch(_inputs()["residual_latents"])
    tokens = torch.randn(1, TEXT + 24, 32, generator=torch.Generator().manual_seed(3))

    def layer(x: Tensor, name: str, lora: str, mask: Tensor) -> Tensor:
        out: Tensor = x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
        out[:, TEXT:] += mask * (x[:, TEXT:] @ state[f"{lora}.lora_A.weight"].T @ state[f"{lora}.lora_B.weight"].T)
        return out

    hidden = layer(tokens, "net.0.proj", "net.0.proj_TC_lora", masks.hidden(slice(None)))
    expected = layer(nn.functional.gelu(hidden, approximate="tanh"), "net.2", "proj_out_TC_lora", masks.mask)
    torch.testing.assert_close(feed_forward(tokens.clone(), TEXT, masks), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimised", [True, False])
def test_text_is_untouched_by_adapters_but_through_attention(optimised: bool) -> None:
    """In a block whose image tokens text cannot see (values zero), text is what it is without adapters."""
    network = _network(optimised=optimised, num_layers=1)
    block = network.transformer_blocks[0]
    inputs = _inputs()
    kept: list[Tensor] = []
    block.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
    assert isinstance(block, blocks.STVSRBlock)
    for linear in (block.attn1.to_v, block.attn1.to_v_TC_lora.lora_B):
        linear.weight.zero_()
    network(**inputs)
    for adapter in _adapters(network):
        adapter.lora_B.weight.zero_()
    network(**inputs)
    assert torch.equal(kept[0][:, :TEXT], kept[1][:, :TEXT])
    assert _relative(kept[0][:, TEXT:], kept[1][:, TEXT:]) > 1e-2


@pytest.mark.parametrize("optimised", [True, False])
@pytest.mark.parametrize("part", ["to_q", "to_k", "to_v", "to_out", "proj", "proj_out"])
def test_every_adapter_counts(part: str, optimised: bool) -> None:
    network = _network(optimised=optimised)
    inputs = _inputs()
    before = network(**inputs)
    chosen = [module for name, module in network.named_modules() if name.endswith(f".{part}_TC_lora")]
    assert len(chosen) == 2
    for module in chosen:
        module.get_parameter("lora_B.weight").zero_()
    assert _relative(network(**inputs), before) > 1e-3
