"""OSDEnhancer's autoencoder: against diffusers' own and literal readings, its fast form against the plain one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX, CogVideoXDecoder3D
from torch import Tensor

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.osdenhancer.deformable import DeformableBlock, DeformableConv
from stvsr_bench.methods.osdenhancer.vae import STVSRVae
from stvsr_bench.methods.osdenhancer.vae_tiles import OVERLAP, check_tile
from stvsr_bench.nn.seeded import seed_parameters

RELEASED: dict[str, Any] = {
    "block_out_channels": [128, 256, 256, 512],
    "latent_channels": 16,
    "layers_per_block": 3,
    "norm_num_groups": 32,
    "sample_height": 480,
    "sample_width": 720,
    "scaling_factor": 0.7,
}
TINY = RELEASED | {
    "block_out_channels": [8, 16, 16, 24],
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "sample_height": 96,
    "sample_width": 80,
}


@pytest.fixture(autouse=True)
def _no_grad() -> Any:
    with torch.no_grad():
        yield


def _vae(*, optimised: bool = True, **changes: Any) -> STVSRVae:
    vae = STVSRVae.from_config(TINY | changes, optimised=optimised)
    seed_parameters(vae, "test", "vae")
    return vae.eval()


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _block(*, lower: int | None = 24, optimised: bool = True) -> DeformableBlock:
    block = DeformableBlock(16, lower, optimised=optimised)
    seed_parameters(block, "test", "block")
    return block.eval()


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


# ---------------------------------------------------------------------- construction


def test_parameters_are_as_many_as_released() -> None:
    with torch.device("meta"):
        vae = STVSRVae.from_config(RELEASED)
    blocks = [sum(p.numel() for p in block.parameters()) for block in vae.decoder.up_deformable_blocks]
    total = sum(p.numel() for p in vae.parameters())
    assert blocks == [9_433_824, 16_512_736, 4_971_488, 4_381_664]
    assert (total, total - sum(blocks)) == (250_883_619, 215_583_907)


def test_names_and_shapes_are_the_official_ones() -> None:
    with torch.device("meta"):
        state = STVSRVae.from_config(RELEASED).state_dict()
        stock = AutoencoderKLCogVideoX(scaling_factor=0.7).state_dict()
    own = {k: tuple(v.shape) for k, v in state.items() if k not in stock}
    assert {k: tuple(v.shape) for k, v in state.items() if k in stock} == {k: tuple(v.shape) for k, v in stock.items()}
    c = 256
    expected = {
        "ver_align.conv.weight": (c, 256, 3, 3),
        "align.offset_conv1.weight": (c, 2 * c, 3, 3),
        "align.offset_conv12.weight": (c, 2 * c, 3, 3),
        "align.offset_conv2.weight": (c, c, 3, 3),
        "align.dcn_pack.conv_offset.weight": (144, c, 3, 3),
        "align.dcn_pack.conv_mask.weight": (72, c, 3, 3),
        "align.dcn_pack.deform.weight": (c, c // 8, 3, 3),
        "attn.q_dwconv.weight": (c, 1, 3, 3),
        "attn.kv_dwconv.weight": (2 * c, 1, 3, 3),
    }
    expected |= {name.replace("weight", "bias"): shape[:1] for name, shape in expected.items()}
    expected |= {
        "attn.temperature": (8, 1, 1),
        "attn.q_proj.weight": (c, c, 1, 1),
        "attn.kv_proj.weight": (2 * c, c, 1, 1),
        "attn.project_out.weight": (c, c, 1, 1),
    }
    last = "decoder.up_deformable_blocks.3."
    assert {k.removeprefix(last): shape for k, shape in own.items() if k.startswith(last)} == expected
    first = {k.removeprefix("decoder.up_deformable_blocks.0.") for k in own if "blocks.0." in k}
    assert first == {k for k in expected if "ver_align" not in k and "offset_conv12" not in k}


def test_one_decoder_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    original = CogVideoXDecoder3D.__init__

    def counted(self: CogVideoXDecoder3D, *args: Any, **kwargs: Any) -> None:
        built.append(type(self).__name__)
        original(self, *args, **kwargs)

    monkeypatch.setattr(CogVideoXDecoder3D, "__init__", counted)
    STVSRVae.from_config(TINY)
    assert built == ["BidirectionalDecoder"]


def test_the_scaling_factor_is_the_files() -> None:
    assert STVSRVae.from_config(TINY | {"scaling_factor": 0.5, "something_new": 1}).scaling_factor == 0.5
    with pytest.raises(ConfigError, match="no scaling_factor"):
        STVSRVae.from_config({k: v for k, v in TINY.items() if k != "scaling_factor"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_out_channels": [8, 16, 16]}, "3 levels"),
        ({"block_out_channels": [8, 16, 16, 20]}, "multiples of 8"),
        ({"temporal_compression_ratio": 8}, "temporal_compression_ratio 8"),
        ({"use_post_quant_conv": True}, "use_post_quant_conv true"),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        STVSRVae.from_config(TINY | changes)


# ---------------------------------------------------------------------- decoder


@pytest.mark.parametrize("latents", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("optimised", [True, False])
def test_blocks_that_read_nothing_leave_the_stock_autoencoder(latents: int, optimised: bool) -> None:
    vae = _vae(optimised=optimised)
    for block in vae.decoder.up_deformable_blocks:
        block.attn.project_out.weight.zero_()
    stock = AutoencoderKLCogVideoX(**{k: tuple(v) if isinstance(v, list) else v for k, v in TINY.items()})
    stock.load_state_dict({k: v for k, v in vae.state_dict().items() if "deformable" not in k})
    z = _noise(1, 4, latents, 4, 6)
    x = _noise(1, 3, 4 * latents - 3, 32, 48)
    expected = stock.eval().decode(z).sample
    assert expected.shape[2] == (4 * latents - 3 if latents % 2 else 4 * latents)
    torch.testing.assert_close(vae.decode(z).sample, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vae.encode(x).latent_dist.mean, stock.encode(x).latent_dist.mean, rtol=0, atol=0)


@pytest.mark.parametrize("latents", [1, 2, 3, 4, 5])
def test_both_forms_are_equal(latents: int) -> None:
    fast, plain = _vae(), _vae(optimised=False)
    z = _noise(2, 4, latents, 4, 6)
    result, expected = fast.decode(z).sample, plain.decode(z).sample
    assert _distance(result, expected) < 2e-6
    for block in plain.decoder.up_deformable_blocks:
        block.attn.project_out.weight.zero_()
    still = _distance(plain.decode(z).sample, expected)
    assert still == 0 if latents == 1 else still > 0.01  # what was compared depends on the blocks


def test_levels_alternate_and_offsets_change_sign() -> None:
    decoder = _vae().decoder
    seen: list[dict[str, Any]] = []
    for block in decoder.up_deformable_blocks:
        block.register_forward_hook(
            lambda _, args, kwargs, out: seen.append({"lower": args[2], "offsets": out[2], **kwargs}), with_kwargs=True
        )
    decoder(_noise(1, 4, 3, 4, 6))
    assert [call["reverse"] for call in seen] == [True, False, True, False]
    assert seen[0]["lower"] is None
    for before, after in pairwise(seen):
        assert torch.equal(after["lower"], -before["offsets"])
    assert [call["offsets"].shape[2] for call in seen[:3]] == [2, 4, 8]
    assert seen[3]["offsets"] is None


# ---------------------------------------------------------------------- one block


def test_a_change_travels_in_the_blocks_direction_only() -> None:
    block, x, lower = _block(), _noise(1, 16, 5, 6, 8), _noise(1, 24, 2, 3, 4)
    changed = x.clone()
    changed[:, :, -1] += 1
    for reverse in (True, False):
        out, other = (block(frames, None, lower, reverse=reverse)[0] for frames in (x, changed))
        moved = [not torch.equal(out[:, :, t], other[:, :, t]) for t in range(5)]
        assert moved == ([True] * 5 if reverse else [False] * 4 + [True])


@pytest.mark.parametrize("optimised", [True, False])
def test_the_frame_before_a_chunk_reaches_it_forward_and_only_its_offsets_backward(optimised: bool) -> None:
    block, x, lower = _block(optimised=optimised), _noise(1, 16, 4, 6, 8), _noise(1, 24, 2, 3, 4)
    caches = [_noise(1, 16, 1, 6, 8, seed=seed) for seed in (1, 2)]
    (out, kept, offsets), (other, _, moved) = (block(x, cache, lower, reverse=True) for cache in caches)
    assert torch.equal(out, other)
    assert torch.equal(kept[:, :, 0], x[:, :, -1])
    assert torch.equal(offsets[:, :, 1:], moved[:, :, 1:])
    assert not torch.equal(offsets[:, :, 0], moved[:, :, 0])
    forward = [block(x, cache, lower, reverse=False)[0] for cache in caches]
    assert all(not torch.equal(forward[0][:, :, t], forward[1][:, :, t]) for t in range(4))


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_both_forms_of_a_block_are_equal(reverse: bool, cached: bool) -> None:
    fast, plain = _block(), _block(optimised=False)
    x, lower = _noise(2, 16, 4 if cached else 5, 6, 8), _noise(2, 24, 2, 3, 4)
    cache = _noise(2, 16, 1, 6, 8) if cached else None
    for result, expected in zip(
        fast(x, cache, lower, reverse=reverse), plain(x, cache, lower, reverse=reverse), strict=True
    ):
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "cached", "coarse_pairs", "expected"),
    [
        (5, False, 2, [0, 0, 1, 1]),  # first chunk of three latent frames
        (4, True, 2, [0, 0, 1, 1]),  # a later one of two
        (4, False, 1, [0, 0, 0]),  # first chunk of two: its first frame was doubled too
        (8, False, 3, [0, 0, 0, 1, 1, 2, 2]),
        (1, True, 1, [0]),
    ],
)
@pytest.mark.parametrize("reverse", [True, False])
def test_every_pair_of_frames_takes_the_hint_that_ends_where_it_does(
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    cached: bool,
    coarse_pairs: int,
    expected: list[int],
    reverse: bool,
) -> None:
    block, seen = _block(), []
    hints = _noise(1, 24, coarse_pairs, 3, 4)
    known = block.ver_align(hints)[:, :, ::2]
    original = block.align.offset_feature

    def watched(current: Tensor, neighbour: Tensor, lower: Tensor | None) -> Tensor:
        seen.append(next(i for i in range(coarse_pairs) if torch.equal(known[:, :, i], lower)))
        return original(current, neighbour, lower)

    monkeypatch.setattr(block.align, "offset_feature", watched)
    cache = _noise(1, 16, 1, 6, 8) if cached else None
    out, _, offsets = block(_noise(1, 16, frames, 6, 8), cache, hints, reverse=reverse)
    assert (seen[::-1] if reverse else seen) == expected
    assert out.shape[2] == frames
    assert offsets.shape[2] >= len(expected)


# ---------------------------------------------------------------------- deformable convolution


def _naive(conv: DeformableConv, x: Tensor, feature: Tensor) -> Tensor:
    """The sum over taps, written out: channel c is sampled with the offsets of its group and summed in its group."""
    offset, mask = conv.conv_offset(feature)[0], conv.conv_mask(feature).sigmoid()[0]
    weight, bias = conv.deform.weight, conv.deform.bias
    channels, height, width = x.shape[1:]
    each = channels // 8

    def at(c: int, row: float, column: float) -> float:
        total, top, left = 0.0, int(row // 1), int(column // 1)
        for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= i < height and 0 <= j < width:
                total += (1 - abs(row - i)) * (1 - abs(column - j)) * float(x[0, c, i, j])
        return total

    out = torch.zeros(1, channels, height, width, dtype=x.dtype)
    for o in range(channels):
        for i in range(height):
            for j in range(width):
                value = float(bias[o])
                for c in range(o // each * each, o // each * each + each):
                    for tap in range(9):
                        number = c // each * 9 + tap
                        row = i - 1 + tap // 3 + float(offset[2 * number, i, j])
                        column = j - 1 + tap % 3 + float(offset[2 * number + 1, i, j])
                        sample = at(c, row, column) * float(mask[number, i, j])
                        value += sample * float(weight[o, c % each, tap // 3, tap % 3])
                out[0, o, i, j] = value
    return out


def test_grouped_deformable_convolution_is_its_sum_written_out() -> None:
    conv = DeformableConv(16).double()
    seed_parameters(conv, "test", "dcn")
    x, feature = _noise(1, 16, 4, 5).double(), 2 * _noise(1, 16, 4, 5, seed=1).double()
    assert conv.conv_offset(feature).abs().max() > 2  # far enough to leave the frame
    torch.testing.assert_close(conv(x, feature), _naive(conv, x, feature), rtol=1e-10, atol=1e-10)


def test_alignment_and_attention_are_as_written_out() -> None:
    """Frame order, the doubled hint, the slope, and heads of neighbouring channels, spelled out with other means."""
    block = _block()
    align, attn = block.align, block.attn
    current, neighbour, hint = (_noise(1, 16, 5, 6, seed=seed) for seed in range(3))

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x / 10)

    feature = leaky(align.offset_conv1(torch.cat([current, neighbour], 1)))
    feature = leaky(align.offset_conv12(torch.cat([feature, hint + hint], 1)))
    feature = leaky(align.offset_conv2(feature))
    aligned = leaky(align.dcn_pack(neighbour, feature))
    for result, expected in zip(align(current, neighbour, hint), (aligned, feature), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)

    q = attn.q_dwconv(attn.q_proj(current))[0].flatten(1)
    k, v = attn.kv_dwconv(attn.kv_proj(aligned))[0].flatten(1).split(16)
    read = torch.empty(16, 30)
    for head in range(8):
        own = slice(2 * head, 2 * head + 2)
        cosine = torch.stack([torch.cosine_similarity(row, k[own]) for row in q[own]])
        read[own] = torch.softmax(cosine * attn.temperature[head], 1) @ v[own]
    expected = current + attn.project_out(read.view(1, 16, 5, 6))
    torch.testing.assert_close(attn(current, aligned), expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------- precision


def _deformable(vae: STVSRVae) -> dict[str, Tensor]:
    return {name: p.clone() for name, p in vae.named_parameters() if "dcn_pack" in name}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deformable_convolutions_stay_float32(dtype: torch.dtype) -> None:
    vae = _vae()
    before = _deformable(vae)
    vae.to("cpu", dtype)
    assert {p.dtype for name, p in vae.named_parameters() if "dcn_pack" not in name} == {dtype}
    assert vae.dtype == dtype
    assert all(p.dtype == torch.float32 and torch.equal(p, before[name]) for name, p in _deformable(vae).items())
    pack = _vae().decoder.up_deformable_blocks[0].align.dcn_pack
    pack.to("cpu", dtype, memory_format=torch.channels_last)
    assert pack.deform.weight.dtype == torch.float32
    assert pack.deform.weight.is_contiguous(memory_format=torch.channels_last)


def test_deformable_weights_are_rounded_as_the_official_loader_does() -> None:
    vae = _vae()
    before = _deformable(vae)
    vae.round_dcn_weights(torch.float32)
    assert all(torch.equal(p, before[name]) for name, p in _deformable(vae).items())
    vae.round_dcn_weights()
    for name, p in _deformable(vae).items():
        assert p.dtype == torch.float32
        assert torch.equal(p, before[name].to(torch.bfloat16).float())
    assert any(not torch.equal(p, before[name]) for name, p in _deformable(vae).items())
    for conv in (m for m in vae.modules() if isinstance(m, DeformableConv)):
        for p in conv.parameters():
            p.data = p.data.bfloat16()  # as a checkpoint that stores them so would leave them
    vae.round_dcn_weights()
    assert {p.dtype for p in _deformable(vae).values()} == {torch.float32}


def test_bfloat16_is_close_to_float32() -> None:
    exact, rough, plain = _vae(), _vae().to(torch.bfloat16), _vae(optimised=False).to(torch.bfloat16)
    z, x = _noise(1, 4, 3, 4, 6), _noise(1, 3, 9, 32, 48)
    result = rough.decode(z.bfloat16()).sample
    assert result.dtype == torch.bfloat16
    assert 1e-4 < _distance(result, exact.decode(z).sample) <= 3e-2
    assert _distance(plain.decode(z.bfloat16()).sample, result) <= 1e-2
    moments = rough.encode(x.bfloat16()).latent_dist.parameters
    assert _distance(moments, exact.encode(x).latent_dist.parameters) <= 3e-2


# ---------------------------------------------------------------------- tiles and progress


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("size", [(8, 10), (11, 6), (6, 9)])
def test_tiles_are_joined_as_diffusers_joins_them(size: tuple[int, int], offload: bool) -> None:
    vae = _vae()
    vae.enable_tiling()
    vae.offload_tiles = offload
    z = _noise(1, 4, 3, *size)
    assert torch.equal(vae.decode(z).sample, vae.tiled_decode(z).sample)
    x = _noise(1, 3, 5, 8 * size[0], 8 * size[1])
    assert torch.equal(vae.encode(x).latent_dist.parameters, vae.tiled_encode(x))


def test_a_frame_within_one_tile_is_not_cut() -> None:
    vae, tiled = _vae(), _vae()
    tiled.enable_tiling(48, 40)
    z, x = _noise(1, 4, 3, 6, 5), _noise(1, 3, 9, 48, 40)
    assert torch.equal(tiled.decode(z).sample, vae.decode(z).sample)
    assert torch.equal(tiled.encode(x).latent_dist.mean, vae.encode(x).latent_dist.mean)
    larger = _noise(1, 4, 3, 8, 10)
    assert _distance(tiled.decode(larger).sample, vae.decode(larger).sample) > 0.05


def test_tiles_come_from_the_configuration_or_are_given() -> None:
    vae = _vae()
    vae.enable_tiling()
    assert (vae.tile_sample_min_height, vae.tile_sample_min_width) == (48, 40)
    assert (vae.tile_latent_min_height, vae.tile_latent_min_width) == (6, 5)
    vae.enable_tiling(240, 360)
    assert (vae.tile_latent_min_height, vae.tile_latent_min_width) == (30, 45)
    with pytest.raises(ConfigError, match=r"height 200 with an overlap of 0\.1667") as caught:
        vae.enable_tiling(200, 360)
    assert caught.value.accepted == "heights such as 144, 192, 240, 288"
    assert vae.tile_sample_min_height == 240


@pytest.mark.parametrize("share", [1 / 6, 1 / 5, 1 / 4, 1 / 8, 0.5])
def test_accepted_tiles_lose_and_repeat_nothing(share: float) -> None:
    """The parts that tiles keep lie where the tiles came from: on the way in and on the way out."""
    fitting = []
    for side in range(8, 800, 8):
        try:
            check_tile((side, side), (share, share))
        except ConfigError:
            continue
        fitting.append(side)
        latents = side // 8
        assert int(side * (1 - share)) == 8 * (latents - int(latents * share))  # encoding: stride and kept part
        assert 8 * int(latents * (1 - share)) == side - int(side * share)  # decoding
    assert len(fitting) > 5


@pytest.mark.parametrize(
    ("tile", "wrong"), [((48, 44), "width 44"), ((0, 40), "height 0"), ((44, 41), "height 44 .*width 41")]
)
def test_tiles_off_the_grid_are_refused(tile: tuple[int, int], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        check_tile(tile, OVERLAP)


def test_progress_counts_every_chunk_of_every_tile() -> None:
    vae = _vae()
    seen: list[tuple[int, int]] = []
    vae.progress = lambda done, total: seen.append((done, total))
    vae.decode(_noise(1, 4, 5, 2, 3))
    assert seen == [(1, 2), (2, 2)]
    seen.clear()
    vae.enable_tiling()
    vae.decode(_noise(1, 4, 5, 6, 9))  # rows at 0 and 5, columns at 0, 4 and 8
    assert seen == [(i + 1, 12) for i in range(12)]
    seen.clear()
    vae.encode(_noise(1, 3, 17, 16, 24))
    assert seen == [(1, 2), (2, 2)]
