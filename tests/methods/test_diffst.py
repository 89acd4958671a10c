"""DiffST as a method: frame counts, sizes, chunks, tiles, options, memory modes and forms, at toy width.

RAFT has no toy width, so that most tests take the flow between keyframes from IFNet_m, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.diffst import DiffST
from stvsr_bench.methods.diffst.method import _chunks
from stvsr_bench.methods.diffst.pipeline import Pipeline
from stvsr_bench.methods.diffst.step import SIGMA
from stvsr_bench.methods.diffusion import Geometry
from stvsr_bench.nn.windows import keep_ranges
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.video.color import to_float, to_uint8

FAST = {"mode": "flow_two"}
MULTI = {"key_flow": "ifnet"}


def clip(frames: int = 2, height: int = 10, width: int = 13) -> ArrayClip:
    generator = torch.Generator().manual_seed(frames)
    return ArrayClip(torch.randint(0, 256, (frames, 3, height, width), dtype=torch.uint8, generator=generator), "toy")


def ready(dtype: str = "float32", *, optimised: bool = True, device: str = "cpu", **knobs: Any) -> DiffST:
    method = DiffST(name="diffst", preset="tiny", **({"cfca": FAST} | knobs))
    method.optimised = optimised
    method.setup(device, dtype)
    return method


def restored(method: DiffST, given: ArrayClip, scale: int = 4, time_scale: int = 4, **request: Any) -> Frames:
    report = request.pop("report", None)
    return torch.cat(list(method.restore(given, Request(scale, time_scale, **request), report)))


def once(given: ArrayClip | None = None, scale: int = 2, time_scale: int = 4, **knobs: Any) -> Frames:
    return restored(ready(**knobs), given or clip(), scale, time_scale)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What diffusion is given, which then does nothing."""
    given: list[Tensor] = []

    def nothing(self: Pipeline, video: Tensor, context: Tensor) -> Tensor:
        given.append(video)
        return video

    monkeypatch.setattr(Pipeline, "diffuse", nothing)
    return given


@contextmanager
def calls(method: DiffST) -> Iterator[list[dict[str, Any]]]:
    """What the transformer is called with inside the block."""
    seen: list[dict[str, Any]] = []
    hook = method.part("transformer").register_forward_pre_hook(
        lambda _, args, given: seen.append(given), with_kwargs=True
    )
    try:
        yield seen
    finally:
        hook.remove()


# ---------------------------------------------------------------------- frames and sizes


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("time_scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("frames", [1, 2, 4])
def test_every_factor_gives_its_frames(frames: int, time_scale: int, pieces: list[Tensor]) -> None:
    """Catches padding in time that is not 4m + 1 or not cut off again."""
    out = once(clip(frames), 1, time_scale)
    assert out.shape == (time_scale * (frames - 1) + 1, 3, 10, 13)
    assert [piece.shape[2] % 4 for piece in pieces] == [1]
    assert pieces[0].shape[2] - len(out) in range(4)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("mode", [MULTI, FAST, {"mode": "interp"}])
def test_keyframes_come_through_aggregation_untouched(mode: dict[str, Any]) -> None:
    """Catches fused or rounded input frames, and frames that are not where they belong."""
    given = clip(3)
    out = once(given, 1, 4, cfca=mode)
    assert torch.equal(out[::4], given[0:3])
    assert not any(torch.equal(out[i], given[0:1][0]) for i in (1, 2, 3))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (9, 34)])
def test_frames_of_any_size_go_all_the_way(height: int, width: int) -> None:
    """Catches a frame that is below what flow, guidance, VAE or transformer take."""
    out = once(clip(2, height, width), 4, 3, cfca=MULTI)
    assert out.shape == (4, 3, 4 * height, 4 * width)
    assert out.float().std() > 0


def test_the_default_runs_with_raft() -> None:
    """Catches RAFT given frames below its 128 pixels, and a part that the default needs and the others do not."""
    method, report = ready(cfca={}), Report()
    out = restored(method, clip(2, 10, 13), 3, 2, report=report)
    assert out.shape == (3, 3, 30, 39)
    stages = ["flow", "cfca", "dape", "guidance", "prepare", "encode", "transformer", "decode", "finish"]
    assert [stage.name for stage in report.stages] == [f"restore/diffst.{name}" for name in stages]
    assert all(stage.frames == 3 for stage in report.stages)


def test_the_video_is_enlarged_limited_and_extended_by_its_edge(pieces: list[Tensor]) -> None:
    """Catches another interpolation, the range [0, 1], a limit after the change of range, padding by zeros."""
    given = clip(1)
    once(given, 4)
    once(given, 4, upsample="bicubic")
    for video, mode in zip(pieces, ("bilinear", "bicubic"), strict=True):
        assert video.shape == (1, 3, 1, 48, 64)
        assert video.dtype == torch.float32
        large = F.interpolate(to_float(given[0:1]), scale_factor=4, mode=mode, align_corners=False).clamp(0, 1)
        expected = F.pad(2 * large - 1, (0, 12, 0, 8), mode="replicate")
        assert torch.equal(video[0].transpose(0, 1), expected)


@pytest.mark.parametrize(("scale", "side"), [(1, 16), (2, 32), (3, 32), (4, 48)])
def test_zeros_extend_the_small_frame(pieces: list[Tensor], scale: int, side: int) -> None:
    """Catches sides that are no multiples of 16 with `pad_mode=zeros`, and padding that is not black."""
    out = once(clip(1, 10, 10), scale, pad_mode="zeros")
    assert out.shape[-2:] == (10 * scale, 10 * scale)
    assert pieces[0].shape[-2:] == (side, side)
    assert (pieces[0][..., 11 * scale :] == -1).all()
    assert (pieces[0][..., : 9 * scale] > -1).any()


def test_the_tail_is_seen_by_the_networks_and_cut_off(pieces: list[Tensor]) -> None:
    """Catches `tail=repeat` that changes the number of frames, or that chunks leave out."""
    expected = once(clip(3), 2, 4)
    assert torch.equal(once(clip(3), 2, 4, tail="repeat"), expected)
    assert [piece.shape[2] for piece in pieces] == [9, 13]
    assert torch.equal(pieces[1][:, :, 9:], pieces[1][:, :, 8:9].expand(-1, -1, 4, -1, -1))
    del pieces[:]
    assert torch.equal(once(clip(3), 2, 4, tail="repeat", chunk_length=5, chunk_overlap=1), expected)
    assert [piece.shape[2] for piece in pieces] == [5, 5, 5]
    assert torch.equal(pieces[-1][:, :, 1:], pieces[-1][:, :, 1:2].expand(-1, -1, 4, -1, -1))  # frames 7 to 11


# ---------------------------------------------------------------------- chunks and tiles


@pytest.mark.parametrize("total", [1, 32, 33, 34, 57, 58, 61, 97, 129, 200])
def test_chunks_are_whole_and_give_every_frame_once(total: int) -> None:
    """Catches a stretched or short last chunk, which is not 4m + 1, and frames that no chunk or two chunks give."""
    chunks = _chunks(total, 33, 9)
    if total <= 33:
        assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, total)]
        return
    assert {len(chunk) for chunk in chunks} == {33}
    assert [chunk.start for chunk in chunks[:-1]] == [24 * i for i in range(len(chunks) - 1)]
    assert chunks[-1].stop == total
    given = [frame for kept in keep_ranges(chunks) for frame in range(kept.start, kept.stop)]
    assert given == list(range(total))
    for chunk, kept in zip(chunks[1:], keep_ranges(chunks)[1:], strict=True):
        assert kept.start > chunk.start  # its first frame is coded as a picture


@pytest.mark.parametrize("length", [16, 48, 64, 80, 112, 144, 720, 2160])
def test_tiles_are_multiples_of_sixteen(length: int) -> None:
    """Catches tiles that the VAE and the transformer do not take, and pixels that no tile gives."""
    tiles = ready(tile={"size": [64, 64]})._tiles(length, 0)
    assert all(tile.start % 16 == 0 and len(tile) == min(64, -(-length // 16) * 16) for tile in tiles)
    assert all(a.stop - b.start >= 32 for a, b in pairwise(tiles))
    given = [pixel for kept in keep_ranges(tiles) for pixel in range(kept.start, kept.stop)]
    assert given == list(range(-(-length // 16) * 16))


@pytest.mark.parametrize("blend", ["cut", "blend"])
@pytest.mark.usefixtures("pieces")
def test_work_on_single_pixels_does_not_depend_on_chunks_and_tiles(blend: str) -> None:
    """Catches a chunk or tile that is taken from, or put, elsewhere than where it belongs."""
    given = clip(4, 23, 40)
    whole = once(given, 4, 4)
    tile = {"size": [48, 64], "blend": blend}
    split = ready(chunk_length=5, chunk_overlap=2, tile=tile)
    report = Report()
    out = restored(split, given, 4, 4, report=report)
    assert (out.int() - whole.int()).abs().max() <= (blend == "blend")
    assert report.plan["starts"] == [0, 3, 6, 8]
    assert (report.plan["windows"], report.plan["tile"]) == (4, [48, 64])
    assert torch.equal(once(given, 4, 4, chunk_length=13), whole)


def test_what_differs_at_the_edges_of_a_piece_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a merge that shows a chunk's first frame, coded as a picture, or the border of a tile."""

    def marked(self: Pipeline, video: Tensor, context: Tensor) -> Tensor:
        out = torch.zeros_like(video)
        out[:, :, 0] = 1
        out[..., :15, :] = out[..., -15:, :] = 1
        return out

    monkeypatch.setattr(Pipeline, "diffuse", marked)
    out = once(clip(4, 32, 8), 4, 4, chunk_length=5, chunk_overlap=3, tile={"size": [64, 32], "overlap": 16})
    assert (out[0] == 255).all()
    out = once(clip(4, 32, 8), 4, 4, chunk_length=5, chunk_overlap=3, tile={"size": [64, 64]})
    assert (out[1:, :, 15:-15] == 128).all()
    assert (out[:, :, :15] == 255).all()
    assert (out[:, :, -15:] == 255).all()


def test_a_cross_fade_is_not_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches `tile.blend=blend` that cuts."""
    levels = iter((-1.0, 1.0))
    monkeypatch.setattr(Pipeline, "diffuse", lambda self, video, context: torch.full_like(video, next(levels)))
    out = once(clip(1, 24, 16), 4, tile={"size": [64, 64], "blend": "blend"})
    column = out[0, 0, :, 0].int()
    assert (column[:32] == 0).all()
    assert (column[64:] == 255).all()
    assert (column[32:64].diff() > 0).all()


def test_the_vae_codes_tiles_in_tall_frames_only() -> None:
    """Catches tiles at 1024 pixels of height, where none are needed, and whole frames above."""
    method = DiffST(name="diffst", preset="tiny")
    assert method._vae_tile(1024) == (None, 0)
    assert method._vae_tile(1040) == (1024, 880)
    assert DiffST(name="diffst", vae_tile="none")._vae_tile(4320) == (None, 0)
    assert DiffST(name="diffst", vae_tile=64)._vae_tile(128) == (64, 48)


def test_tiles_of_the_vae_change_the_output_a_little() -> None:
    """Catches `vae_tile` that never reaches the VAE."""
    whole, tiled = once(clip(1, 24, 24), 4), once(clip(1, 24, 24), 4, vae_tile=64)
    assert not torch.equal(whole, tiled)


# ---------------------------------------------------------------------- the step in latents


def test_one_call_at_799_on_standardised_latents() -> None:
    """Catches a second call, another timestep, latents that are not (mean - m) / s, and another context."""
    method = ready()
    with calls(method) as seen:
        restored(method, clip(2), 2, 4)
    assert len(seen) == 1
    timestep = seen[0]["timestep"]
    assert (timestep.dtype, timestep.tolist()) == (torch.float32, [799.0])
    networks = method._ready()
    assert seen[0]["encoder_hidden_states"].shape == (1, *networks.guidance.text_shape)
    with torch.no_grad():
        frames = networks.cfca(to_float(clip(2)[0:2]), 4)
        video = F.interpolate(frames, scale_factor=2, mode="bilinear").clamp(0, 1) * 2 - 1
        video = F.pad(video.transpose(0, 1)[None], (0, 6, 0, 12, 0, 0), mode="replicate")
        mean = networks.vae.encode(video).latent_dist.mode()
    m, s = (torch.tensor(networks.vae_config[f"latents_{name}"]).view(1, -1, 1, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(seen[0]["hidden_states"], (mean - m) / s)


def test_without_a_velocity_the_vae_alone_is_left() -> None:
    """Catches latents that are decoded on the transformer's scale, and an update that adds something of its own."""
    method = ready()
    networks = method._ready()
    with torch.no_grad():
        networks.transformer.proj_out.weight.zero_()
        networks.transformer.proj_out.bias.fill_(0.5)  # the velocity
    out = restored(method, clip(1, 16, 16), 1, 4)
    with torch.no_grad():
        video = to_float(clip(1, 16, 16)[0:1]).transpose(0, 1)[None] * 2 - 1
        mean = networks.vae.encode(video).latent_dist.mode()
        s = torch.tensor(networks.vae_config["latents_std"]).view(1, -1, 1, 1, 1)
        expected = networks.vae.decode(mean - SIGMA * 0.5 * s).sample
    assert (out.int() - to_uint8((expected[0].transpose(0, 1) + 1) / 2).int()).abs().max() <= 1


def test_a_drawn_posterior_follows_the_seed() -> None:
    """Catches `posterior=sample` without noise, the same noise for every seed, and noise in the middle."""
    method = ready(posterior="sample")
    first, same, other = (restored(method, clip(1), 4, 4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    middle = ready()
    assert torch.equal(*(restored(middle, clip(1), 4, 4, seed=seed) for seed in (1, 2)))


# ---------------------------------------------------------------------- options


def _all_differ(outputs: list[Frames]) -> bool:
    return not any(torch.equal(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_the_rows_of_table_two_differ() -> None:
    """Catches an aggregation mode that is another one's."""
    assert _all_differ(
        [once(cfca={"mode": mode, "key_flow": "ifnet"}) for mode in ("interp", "flow_two", "flow_multi")]
    )


def test_the_rows_of_table_three_differ() -> None:
    """Catches guidance that never reaches the transformer."""
    assert _all_differ([once(clip(1), vrg={"guidance": guidance}) for guidance in ("text", "video", "video_text")])


def test_the_layouts_differ() -> None:
    """Catches a layout whose context the transformer does not take."""
    layouts: list[dict[str, Any]] = [{"fuse": fuse} for fuse in ("channel", "token", "direct")]
    assert _all_differ([once(clip(1), vrg=vrg) for vrg in (*layouts, {"fuse": "infvsr", "guidance": "video"})])


@pytest.mark.parametrize(
    "knobs",
    [
        {"cfca": {**MULTI, "keep_keyframes": False}},
        {"cfca": {**MULTI, "prop_mode": "fuse"}},
        {"cfca": {**MULTI, "chain": True}},
        {"cfca": {**MULTI, "share_flow": True}},
        {"cfca": {**MULTI, "fb_alpha": [0.0, 0.0]}},
        {"cfca": MULTI, "vrg": {"frame_pos": True}},
        {"cfca": MULTI, "vrg": {"feature": "raw"}},
        {"cfca": MULTI, "vrg": {"keyframes": 2}},
        {"cfca": MULTI, "timestep": 399.0},
        {"cfca": MULTI, "sigma": 0.95},
        {"cfca": MULTI, "prompt": "sharp"},
    ],
    ids=[
        "keep_keyframes",
        "prop_mode",
        "chain",
        "share_flow",
        "fb_alpha",
        "frame_pos",
        "feature",
        "keyframes",
        "timestep",
        "sigma",
        "prompt",
    ],
)
def test_every_switch_moves_pixels(knobs: dict[str, Any]) -> None:
    """Catches a switch that is accepted and then forgotten."""
    assert not torch.equal(once(clip(3), 2, 2, **knobs), once(clip(3), 2, 2, cfca=MULTI))


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"cfca": {"mode": "flow"}}, r"cfca\.mode"),
        ({"cfca": {"modes": "flow_two"}}, r"no option 'cfca\.modes'"),
        ({"cfca": "flow_two"}, "cfca is a group"),
        ({"cfca": {"key_updates": 0}}, r"cfca\.key_updates is a number"),
        ({"cfca": {"fb_alpha": [0.01]}}, r"cfca\.fb_alpha"),
        ({"cfca": {"fb_alpha": [0.01, "a"]}}, r"cfca\.fb_alpha"),
        ({"cfca": {"chain": 1}}, r"cfca\.chain is a switch"),
        ({"vrg": {"guidance": "image"}}, r"vrg\.guidance"),
        ({"vrg": {"num_queries": True}}, r"vrg\.num_queries"),
        ({"upsample": "nearest"}, "upsample"),
        ({"pad_mode": "mirror"}, "pad_mode"),
        ({"tail": "drop"}, "tail"),
        ({"posterior": "mode"}, "posterior"),
        ({"timestep": 0.799}, "timestep"),
        ({"sigma": 0}, "sigma"),
        ({"prompt": None}, "prompt is a text"),
        ({"chunk_length": 32}, "chunk_length"),
        ({"chunk_length": -3, "chunk_overlap": -5}, "'diffst': chunk_length"),
        ({"chunk_length": 9}, "chunk_overlap"),
        ({"chunk_overlap": -1}, "chunk_overlap"),
        ({"tile": {"size": [40, 64]}}, r"tile\.size"),
        ({"tile": {"size": [32, 64]}}, r"tile\.size"),
        ({"tile": {"size": 64}}, r"tile\.size"),
        ({"tile": {"overlap": 24}}, r"tile\.overlap"),
        ({"tile": {"blend": "linear"}}, r"tile\.blend"),
        ({"vae_tile": 40}, "vae_tile"),
        ({"vae_tile": "never"}, "vae_tile"),
    ],
)
def test_wrong_options_are_refused_before_any_work(knobs: dict[str, Any], complaint: str) -> None:
    """Catches an option that is misspelt or out of range, and would else be ignored or fail deep in a network."""
    with pytest.raises(ConfigError, match=complaint):
        DiffST(name="diffst", **knobs)


@pytest.mark.parametrize("vrg", [{"fuse": "infvsr"}, {"num_queries": 7}])
def test_options_that_do_not_go_together_are_refused(vrg: dict[str, Any]) -> None:
    """Catches text in a layout that has no place for it, and channels joined with another number of tokens."""
    with pytest.raises(ConfigError):
        ready(vrg=vrg)


def test_the_id_tells_the_options_that_move_pixels() -> None:
    """Catches options of a group that are missing in the id, and memory options in it."""
    method = DiffST(name="diffst", preset="tiny", memory="low", compile=True, cfca={"chain": True}, tail="repeat")
    assert method.method_id == "diffst[cfca.chain=true,preset=tiny,tail=repeat]"
    assert DiffST(name="diffst", cfca={"chain": False}, memory="low").method_id == "diffst"
    assert {"memory", "compile"}.isdisjoint(method.identity())


# ---------------------------------------------------------------------- parameters


def test_nothing_runs_silently_without_what_the_paper_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a full-size run without the official file, which exists nowhere, once everything else is there."""
    monkeypatch.setattr(
        "stvsr_bench.weights.service.state", lambda weight: "absent" if weight == "diffst/official" else "present"
    )
    method = DiffST(name="diffst")
    assert not method.untrained
    with pytest.raises(WeightError, match="official"):
        method.setup()


def test_the_toy_is_untrained_and_uses_no_file() -> None:
    """Catches a toy that is taken for a trained method."""
    method = ready()
    assert method.untrained
    assert method.weights_hashes() == {}


# ---------------------------------------------------------------------- memory, precision, forms


def test_memory_modes_move_no_pixel() -> None:
    """Catches a part that is not on the device when it runs, and pieces that are not the same in every mode."""
    given = clip(3)
    outputs = []
    for memory in ("normal", "low", "lowest"):
        report = Report()
        outputs.append(restored(ready(cfca=MULTI, memory=memory), given, 2, 2, report=report))
        assert report.plan["memory"]["mode"] == memory
        assert report.plan["retries"] == []
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_running_out_of_memory_lowers_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a retry that draws other noise, or work that is outside of what is retried."""
    expected = restored(ready(posterior="sample"), clip(2), 4, 4)
    method, report = ready(posterior="sample", memory="normal"), Report()
    decode, failures = method._ready().vae.decode, iter([True])

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(failures, False):
            raise MemoryError("no more")
        return decode(*args, **kwargs)

    monkeypatch.setattr(method._ready().vae, "decode", failing)
    assert torch.equal(restored(method, clip(2), 4, 4, report=report), expected)
    assert [retry["memory"] for retry in report.plan["retries"]] == ["normal"]
    assert report.plan["memory"]["mode"] == "low"


@pytest.mark.parametrize(
    ("knobs", "frames", "height", "width"),
    [
        ({}, 13, 48, 64),
        ({"chunk_length": 5, "chunk_overlap": 1}, 5, 48, 64),
        ({"tile": {"size": [48, 48]}}, 13, 48, 48),
        ({"tail": "repeat"}, 17, 48, 64),
    ],
)
@pytest.mark.usefixtures("pieces")
def test_memory_is_planned_for_the_largest_piece(
    monkeypatch: pytest.MonkeyPatch, knobs: dict[str, Any], frames: int, height: int, width: int
) -> None:
    """Catches an estimate of the whole clip where tiles or chunks bound the work, or of frames before padding."""
    planned: list[Geometry] = []
    plan_memory = DiffST.plan_memory

    def watched(self: DiffST, geometry: Geometry, report: Report) -> None:
        planned.append(geometry)
        plan_memory(self, geometry, report)

    monkeypatch.setattr(DiffST, "plan_memory", watched)
    once(clip(4), 4, 4, **knobs)
    assert planned == [Geometry(frames, height, width)]


def test_estimates_grow_with_frames_and_fall_with_the_mode() -> None:
    """Catches an estimate that forgets the size of the work, VAE tiles, or that the video waits elsewhere."""
    method = ready(cfca=MULTI)
    small, large = Geometry(5, 64, 64), Geometry(33, 2048, 2048)
    for part in ("vae", "transformer", "flow", "cfca"):
        assert 0 < method.working_bytes(part, small, "normal") <= method.working_bytes(part, large, "normal")
    assert method.working_bytes("vae", large, "low") <= method.working_bytes("vae", large, "normal")
    whole = ready(cfca=MULTI, vae_tile="none")
    assert whole.working_bytes("vae", large, "normal") > method.working_bytes("vae", large, "normal")
    assert whole.working_bytes("vae", large, "low") < whole.working_bytes("vae", large, "normal")


def test_the_plain_form_is_the_optimised_one() -> None:
    """Catches an optimisation that changes the arithmetic: at most one level of rounding lies between them."""
    plain, fast = (once(clip(3), 2, 2, cfca=MULTI, optimised=optimised) for optimised in (False, True))
    assert (plain.int() - fast.int()).abs().max() <= 1


def test_bfloat16_is_close_and_exact_where_it_says_so() -> None:
    """Catches a network that does not run in bfloat16, and flow, norms or positions in it."""
    method, report = ready("bfloat16", cfca=MULTI), Report()
    out = restored(method, clip(3), 2, 2, report=report)
    difference = (out.int() - once(clip(3), 2, 2, cfca=MULTI).int()).abs().float()
    assert 0 < difference.mean() < 2
    networks = method._ready()
    assert networks.cfca.ifnet is not None
    assert networks.cfca.psi is not None
    exact = {networks.transformer.rope.freqs_cos, networks.transformer.scale_shift_table}
    assert {tensor.dtype for tensor in (*exact, *networks.cfca.ifnet.parameters())} == {torch.float32}
    half = (
        networks.transformer.proj_out,
        networks.vae.decoder.conv_in,
        networks.cfca.psi.first,
        networks.guidance.projector,
    )
    assert {part.weight.dtype for part in half} == {torch.bfloat16}
    assert report.plan["precision"]["transformer"] == "bfloat16"
    assert report.plan["precision"]["step"] == "float32"


@pytest.mark.parametrize("knobs", [{}, {"chunk_length": 5, "chunk_overlap": 1, "tile": {"size": [64, 64]}}])
def test_work_can_be_counted_on_the_meta_device(knobs: dict[str, Any]) -> None:
    """Catches values that are looked at, constants on another device, and pieces that cannot be joined there."""
    method, report = ready("bfloat16", device="meta", cfca=MULTI, **knobs), Report()
    with calls(method) as seen:
        method.rehearse(torch.empty(3, 3, 10, 24, device="meta"), Request(4, 4), report)
    assert len(seen) == (4 if knobs else 1)
    assert {stage.name.rpartition(".")[2] for stage in report.stages} >= {"flow", "encode", "transformer", "decode"}


def test_equal_requests_give_equal_pixels_and_the_clip_is_not_changed() -> None:
    """Catches state that one clip leaves to the next, such as the VAE's history."""
    given = clip(2)
    before = given[0:2].clone()
    method = ready()
    first = restored(method, given, 2, 4)
    restored(method, clip(3), 2, 2)
    assert torch.equal(restored(method, given, 2, 4), first)
    assert torch.equal(given[0:2], before)
    assert torch.equal(once(given), first)


def test_floats_are_those_that_are_rounded() -> None:
    """Catches another path for training and counting than for clips."""
    method, given = ready(), clip(2)
    out = method.restore_float(to_float(given[0:2]), Request(2, 4, name="toy"))
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert torch.equal(to_uint8(out), restored(method, given, 2, 4))


@pytest.mark.usefixtures("pieces")
def test_a_still_clip_stays_still() -> None:
    """Catches frames between equal keyframes that differ from them."""
    frame = clip(1)[0:1]
    out = once(ArrayClip(frame.expand(3, -1, -1, -1), "still"), 1, 4, cfca={"mode": "interp"})
    assert (out == frame).all()


def test_progress_is_told_within_a_clip() -> None:
    """Catches minutes without a sign of life: every long loop counts up to its end."""
    told: list[tuple[str, int, int]] = []
    progress: Callable[[str, int, int], None] = lambda what, done, total: told.append((what, done, total))  # noqa: E731
    restored(ready(), clip(2), 2, 4, report=Report(progress=progress))
    assert [line for line in told if line[0] == "encode pieces"] == [("encode pieces", i, 2) for i in (1, 2)]
    assert [line for line in told if line[0] == "transformer blocks"] == [("transformer blocks", i, 2) for i in (1, 2)]
    assert [line for line in told if line[0] == "decode pieces"] == [("decode pieces", i, 2) for i in (1, 2)]
    assert told[:3] == [("aggregate frames", i, 5) for i in (1, 4, 5)]
    del told[:]
    chunked = ready(chunk_length=1, chunk_overlap=0)
    restored(chunked, clip(2), 1, 1, report=Report(progress=progress))
    assert ("chunk 2 of 2: decode pieces", 1, 1) in told
