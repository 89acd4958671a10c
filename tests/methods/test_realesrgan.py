"""Real-ESRGAN as a method: names, tiles, checkpoints, memory, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ConfigError, IncompatibleError, MethodError, WeightError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.methods.realesrgan import RealEsrgan
from stvsr_bench.methods.realesrgan.networks import VARIANTS, network_of, tiny_network
from stvsr_bench.methods.realesrgan.picture import enhance
from stvsr_bench.methods.realesrgan.rrdbnet import RRDBNet
from stvsr_bench.methods.realesrgan.srvgg import SRVGGNetCompact
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.weights import service

REQUEST = Request(4, 1)


def _clip(count: int, height: int, width: int) -> ArrayClip:
    generator = torch.Generator().manual_seed(3)
    return ArrayClip(torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator))


def _tiny(**knobs: object) -> RealEsrgan:
    method = build_method("realesrgan", {"preset": "tiny", **knobs})
    assert isinstance(method, RealEsrgan)
    method.setup()
    return method


def _restore(method: RealEsrgan, clip: ArrayClip, scale: int = 4, report: Report | None = None) -> Frames:
    return torch.cat(list(method.restore(clip, Request(scale, 1), report)))


def test_the_id_names_the_parameters_and_all_that_moves_pixels() -> None:
    def name(**knobs: object) -> str:
        return build_method("realesrgan", knobs).method_id

    assert name() == name(tile_pad=32) == "realesrgan[x4plus_ncnn_fp16]"
    assert name(variant="animevideov3_ncnn_fp16") == "realesrgan[animevideov3_ncnn_fp16]"
    assert name(tile=100) == name(tile=100, tile_pad=10) == "realesrgan[x4plus_ncnn_fp16,tile=100,tile_pad=10]"
    assert name(tile=64, pre_pad=10) == "realesrgan[x4plus_ncnn_fp16,pre_pad=10,tile=64,tile_pad=10]"
    assert name(preset="tiny") == "realesrgan[x4plus_ncnn_fp16,preset=tiny]"


def test_context_without_tiles_is_no_part_of_the_identity() -> None:
    plain, other = (build_method("realesrgan", {"tile_pad": pad}) for pad in (10, 32))
    assert plain.identity() == other.identity()
    tiled = [build_method("realesrgan", {"tile": 64, "tile_pad": pad}).identity() for pad in (10, 32)]
    assert tiled[0] != tiled[1] != plain.identity()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_names_a_weight_and_has_a_tiny_network(variant: str) -> None:
    method = build_method("realesrgan", {"variant": variant})
    assert isinstance(method, RealEsrgan)
    assert list(method.weights_hashes()) == [f"realesrgan/{variant}"]
    assert type(tiny_network(variant)) is type(VARIANTS[variant]())
    assert _restore(_tiny(variant=variant), _clip(2, 12, 9)).shape == (2, 3, 48, 36)


def test_tiny_is_untrained_and_full_size_needs_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "state", lambda weight: "absent")
    assert _tiny().untrained
    assert not _tiny().weights_hashes()
    full = build_method("realesrgan", {"variant": "animevideov3_ncnn_fp16"})
    assert not full.untrained
    allowed = build_method("realesrgan", {"variant": "animevideov3_ncnn_fp16", "allow_untrained": True})
    assert allowed.untrained
    assert not allowed.weights_hashes()
    allowed.setup()
    assert torch.cat(list(allowed.restore(_clip(1, 8, 8), REQUEST))).shape == (1, 3, 32, 32)
    monkeypatch.setattr(service, "state", lambda weight: "present")
    assert not build_method("realesrgan", {"allow_untrained": True}).untrained


def test_frames_do_not_depend_on_their_neighbours() -> None:
    method, clip = _tiny(), _clip(5, 20, 24)
    whole = _restore(method, clip)
    for i in range(5):
        assert torch.equal(_restore(method, ArrayClip(clip.frames[i : i + 1])), whole[i : i + 1])


def test_tiles_change_the_pixels_only_near_their_edges() -> None:
    clip = _clip(1, 40, 40)
    whole = _restore(_tiny(), clip)
    report = Report()
    tiled = _restore(_tiny(tile=20, tile_pad=2), clip, report=report)
    assert not torch.equal(tiled, whole)
    assert torch.equal(tiled[..., :24, :24], whole[..., :24, :24])
    assert torch.equal(_restore(_tiny(tile=20, tile_pad=20), clip), whole)
    assert torch.equal(_restore(_tiny(tile=64), clip), whole)
    assert (report.plan["tile"], report.plan["tile_pad"]) == (20, 2)


def test_memory_that_runs_out_never_turns_tiles_on(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _tiny()

    def full(frames: torch.Tensor, request: Request) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    monkeypatch.setattr(method, "restore_float", full)
    with pytest.raises(MethodError, match=r"ran out of memory.*method\.tile"):
        _restore(method, _clip(4, 64, 64))


def test_half_precision_is_close() -> None:
    method, clip = _tiny(), _clip(1, 16, 16)
    exact = _restore(method, clip)
    method.setup(dtype="float16")
    assert int((_restore(method, clip).int() - exact.int()).abs().max()) <= 2


def test_the_plain_form_is_the_same_arithmetic() -> None:
    method, clip = _tiny(), _clip(2, 17, 23)
    fast = _restore(method, clip)
    method.optimised = False
    method.setup()
    assert int((_restore(method, clip).int() - fast.int()).abs().max()) <= 1


# ------------------------------------------------------------------ checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a small network in the official layout: ``params_ema`` is the one to take."""

    def write(net: torch.nn.Module, **entries: object) -> Path:
        seed_parameters(net, "wanted")
        wanted = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        path = tmp_path / "net.pth"
        torch.save(entries or {"params": {k: v + 1 for k, v in wanted.items()}, "params_ema": wanted}, path)
        return path

    return write


@pytest.mark.parametrize(
    ("net", "scale"),
    [
        (RRDBNet(4, 4, 1, 2), 4),
        (RRDBNet(2, 4, 1, 2), 2),
        (RRDBNet(1, 4, 2, 2), 1),
        (SRVGGNetCompact(3, 4, 1), 3),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(16, 20), (17, 23), (1, 1)])
def test_a_checkpoint_says_which_network_it_is(
    net: RRDBNet | SRVGGNetCompact, scale: int, height: int, width: int, checkpoint: Callable[..., Path]
) -> None:
    path = checkpoint(net)
    method = build_method("realesrgan", {"variant": "checkpoint", "checkpoint_file": str(path)})
    assert isinstance(method, RealEsrgan)
    assert not method.untrained
    assert method.scales == {scale}
    assert method.factors() == (scale, 1)
    assert method.method_id == f"realesrgan[checkpoint-{method.weights_hashes()['checkpoint'][:8]}]"
    assert str(path) not in str(method.identity())
    method.setup()
    out = _restore(method, _clip(1, height, width), scale)
    assert out.shape == (1, 3, height * scale, width * scale)
    assert repr(method._network) == repr(net)
    assert torch.equal(next(iter(method._checkpoint_network.parameters())), next(iter(net.parameters())))
    if scale != 4:
        with pytest.raises(IncompatibleError, match=f"φs {scale}, not 4"):
            method.restore(_clip(1, 8, 8), REQUEST)


def test_checkpoints_that_cannot_be_used_are_refused(tmp_path: Path, checkpoint: Callable[..., Path]) -> None:
    def build(path: Path) -> RealEsrgan:
        method = build_method("realesrgan", {"variant": "checkpoint", "checkpoint_file": str(path)})
        method.setup()
        assert isinstance(method, RealEsrgan)
        return method

    with pytest.raises(WeightError, match="does not exist"):
        build(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(WeightError, match=r"text\.pth"):
        build(tmp_path / "text.pth")
    with pytest.raises(WeightError, match="belongs to no network"):
        build(checkpoint(RRDBNet(4, 4, 1, 2), params={"layer.weight": torch.zeros(2, 2)}))
    state = RRDBNet(4, 4, 1, 2).state_dict()
    for change in ("missing", "unexpected"):
        broken = dict(state)
        if change == "missing":
            del broken["conv_hr.bias"]
        else:
            broken["conv_extra.bias"] = torch.zeros(1)
        with pytest.raises(WeightError, match=f"1 {change}: conv_"):
            build(checkpoint(RRDBNet(4, 4, 1, 2), params=broken))


def test_a_network_is_recognised_by_its_tensors_only() -> None:
    for net in (RRDBNet(2, 6, 3, 4), SRVGGNetCompact(3, 5, 4)):
        assert repr(network_of(net.state_dict())) == repr(net)
    with pytest.raises(WeightError, match="belongs to no network"):
        network_of({})
    with pytest.raises(WeightError, match="belongs to no network"):  # nothing tells the activation
        network_of(SRVGGNetCompact(2, 4, 1, "relu").state_dict())


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"variant": "x4"}, "no variant 'x4'"),
        ({"tile": -1}, "tile is no number of pixels"),
        ({"tile": 1.5}, "tile is no number of pixels"),
        ({"pre_pad": True}, "pre_pad is no number of pixels"),
        ({"variant": "checkpoint"}, "do not fit together"),
        ({"checkpoint_file": "x.pth"}, "do not fit together"),
        ({"variant": "checkpoint", "checkpoint_file": "x.pth", "preset": "tiny"}, "do not fit together"),
    ],
)
def test_options_that_make_no_sense_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_method("realesrgan", knobs)


def test_padding_and_tiles_that_do_not_fit_the_frame(checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"pre_pad=8 for frames of 20×8"):
        _restore(_tiny(pre_pad=8), _clip(1, 8, 20))
    path = checkpoint(RRDBNet(2, 4, 1, 2))
    for tiles, fits in (({"tile": 8, "tile_pad": 2}, True), ({"tile": 8, "tile_pad": 3}, False), ({"tile": 7}, False)):
        method = build_method("realesrgan", {"variant": "checkpoint", "checkpoint_file": str(path), **tiles})
        assert isinstance(method, RealEsrgan)
        method.setup()
        if fits:
            assert _restore(method, _clip(1, 17, 21), 2).shape == (1, 3, 34, 42)
        else:
            with pytest.raises(ConfigError, match="multiples of 2 for a network of scale 2"):
                _restore(method, _clip(1, 24, 24), 2)


# ------------------------------------------------------------------ pictures


def test_a_dark_picture_of_16_bits_stays_one_unless_guessed() -> None:
    net = tiny_network("x4plus")
    seed_parameters(net, "picture")
    image = np.random.default_rng(0).integers(0, 200, (20, 24, 3)).astype(np.uint16)
    kept, guessed = enhance(net, image, pre_pad=0), enhance(net, image, pre_pad=0, guess_range=True)
    assert (kept.dtype, guessed.dtype) == (np.uint16, np.uint8)
    assert np.array_equal(guessed, enhance(net, image.astype(np.uint8), pre_pad=0))
