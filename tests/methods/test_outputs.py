"""Outputs made elsewhere: found by name, checked, never altered."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from stvsr_bench.core.errors import BenchError, ClipError, ConfigError, DataError
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.methods.outputs import Outputs
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.video.writing import open_writer

LQ = ArrayClip(torch.zeros(3, 3, 8, 12, dtype=torch.uint8))
REQUEST = Request(2, 2, name="my clip (1)")


def _frames(count: int = 5, height: int = 16, width: int = 24) -> Frames:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def _write(path: Path, kind: str, frames: Frames) -> None:
    with open_writer(path, kind, frames.shape[2], frames.shape[3], Fraction(24)) as writer:  # type: ignore[arg-type]
        writer.write(frames)


def _method(folder: Path) -> Outputs:
    method = build_method("outputs", {"dir": str(folder), "label": "elsewhere"})
    assert isinstance(method, Outputs)
    method.setup()
    return method


@pytest.mark.parametrize("name", ["my clip (1)", "my%20clip%20%281%29"])
@pytest.mark.parametrize(("kind", "suffix"), [("png", ""), ("ffv1", ".mkv")])
def test_frames_and_lossless_video_come_back_to_the_bit(tmp_path: Path, name: str, kind: str, suffix: str) -> None:
    frames, report = _frames(), Report()
    _write(tmp_path / f"{name}{suffix}", kind, frames)
    assert torch.equal(torch.cat(list(_method(tmp_path).restore(LQ, REQUEST, report))), frames)
    assert not any("lossy" in note for note in report.notes)


def test_lossy_video_is_noted(tmp_path: Path) -> None:
    _write(tmp_path / "my clip (1).mp4", "mp4", _frames())
    report = Report()
    assert len(torch.cat(list(_method(tmp_path).restore(LQ, REQUEST, report)))) == 5
    assert any("h264" in note and "lossy" in note for note in report.notes)


@pytest.mark.parametrize(
    ("frames", "got"),
    [(_frames(4), "4 frames of 16x24"), (_frames(6), "6 frames of 16x24"), (_frames(5, 16, 20), "5 frames of 16x20")],
)
def test_other_counts_and_sizes_are_refused(tmp_path: Path, frames: Frames, got: str) -> None:
    _write(tmp_path / "my clip (1)", "png", frames)
    with pytest.raises(DataError) as caught:
        list(_method(tmp_path).restore(LQ, REQUEST))
    assert got in str(caught.value)
    assert "accepted: 5 frames of 16x24" in str(caught.value)


def test_a_missing_sample_lists_what_is_there(tmp_path: Path) -> None:
    _write(tmp_path / "my clip (2)", "png", _frames())
    with pytest.raises(DataError, match=r"no outputs for sample 'my clip \(1\)'.*nearest: my clip \(2\)"):
        list(_method(tmp_path).restore(LQ, REQUEST))


def test_a_sample_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "my clip (1)", "png", _frames())
    _write(tmp_path / "my clip (1).mkv", "ffv1", _frames())
    with pytest.raises(DataError, match="more than once"):
        _method(tmp_path).find("my clip (1)")


def test_a_damaged_frame_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path / "my clip (1)", "png", _frames())
    victim = sorted((tmp_path / "my clip (1)").iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:60])
    with pytest.raises(ClipError):
        list(_method(tmp_path).restore(LQ, REQUEST))


def test_changed_files_change_the_key_and_other_samples_do_not(tmp_path: Path) -> None:
    _write(tmp_path / "a", "png", _frames())
    _write(tmp_path / "b", "png", _frames())
    method = _method(tmp_path)
    before = method.sample_key("a"), method.sample_key("b")
    assert before == (method.sample_key("a"), method.sample_key("b"))
    _write(tmp_path / "a", "png", _frames())
    assert method.sample_key("a") != before[0]
    assert method.sample_key("b") == before[1]


def test_the_label_is_the_id_and_the_folder_is_not(tmp_path: Path) -> None:
    method = _method(tmp_path)
    assert (method.method_id, method.label, method.identity()) == ("elsewhere", "elsewhere", {})


@pytest.mark.parametrize(
    "label", ["", " ", "a\nb", " mine", "bicubic", "diffst", "bicubic+dis_flow", "dis_flow[preset=fast]+bicubic"]
)
def test_labels_that_mislead_are_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(ConfigError, match="label"):
        build_method("outputs", {"dir": str(tmp_path), "label": label})


@pytest.mark.parametrize("label", ["mine", "DiffST (official)", "bicubic+mine", "日本"])
def test_other_labels_are_accepted(tmp_path: Path, label: str) -> None:
    assert build_method("outputs", {"dir": str(tmp_path), "label": label}).method_id == label


def test_folder_and_label_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs method\.dir"):
        build_method("outputs", {"label": "x"})
    with pytest.raises(ConfigError, match=r"needs method\.label"):
        build_method("outputs", {"dir": str(tmp_path)})
    with pytest.raises(BenchError, match="does not exist"):
        build_method("outputs", {"dir": str(tmp_path / "no"), "label": "x"})
