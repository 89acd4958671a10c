import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.reading import FrameFolderClip, list_frames, natural_key, open_clip

UNUSUAL = "walk (1), ä=b ~.png"


def fill(folder: Path, names: list[str], size: tuple[int, int] = (12, 16)) -> Path:
    """Write one flat image per name; image i has the value 7·i."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        data = cv2.imencode(Path(name).suffix, np.full((*size, 3), 7 * i, np.uint8))[1]
        (folder / name).write_bytes(data.tobytes())
    return folder


def test_natural_order() -> None:
    names = ["f10", "f9", "f1", "F2", "a-2-1", "a-10-1", "a-2-10", "007", "6"]
    assert sorted(names, key=natural_key) == ["6", "007", "a-2-1", "a-2-10", "a-10-1", "f1", "F2", "f9", "f10"]


def test_any_naming_pattern_in_natural_order(tmp_path: Path) -> None:
    names = [f"im {i} of 12 (x4).PNG" for i in range(1, 13)]
    clip = open_clip(fill(tmp_path / UNUSUAL, names))
    assert (len(clip), clip.height, clip.width) == (12, 12, 16)
    assert clip.name == UNUSUAL
    assert clip.frame_rate is None
    assert clip[:].amax((1, 2, 3)).tolist() == [7 * i for i in range(12)]
    assert [Path(f).name for f in clip.files()] == names


def test_slices_indices_blocks_and_views(tmp_path: Path) -> None:
    clip = open_clip(fill(tmp_path / "c", [f"{i:03d}.png" for i in range(10)]), name="given")
    assert clip.name == "given"
    assert clip[2:5].shape == (3, 3, 12, 16)
    assert clip[-1].unique().tolist() == [63]
    assert clip.read([5, 1, 5]).amax((1, 2, 3)).tolist() == [35, 7, 35]
    assert [len(b) for b in clip.blocks(4)] == [4, 4, 2]
    view = clip.select(range(0, 10, 3), Fraction(5))
    assert (len(view), view.frame_rate) == (4, 5)
    assert view[1].unique().tolist() == [21]
    with pytest.raises(IndexError):
        clip[10]
    assert torch.equal(pickle.loads(pickle.dumps(clip))[:], clip[:])


def test_litter_is_left_out_and_foreign_files_are_noted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", ["0.png", "1.png"])
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    clip = FrameFolderClip(folder)
    assert len(clip) == 2
    assert clip.notes == ()
    (folder / "notes.txt").write_text("x")
    assert FrameFolderClip(folder).notes == ("1 files that are no images were left out: notes.txt",)


def test_gap_in_the_numbers_is_noted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", [f"f{i}.png" for i in (0, 2, 4, 8, 10)])
    assert FrameFolderClip(folder).notes == ("frame numbers are not evenly spaced ('f8.png' follows 'f4.png')",)


def test_mixed_formats_are_an_error_but_spellings_are_not(tmp_path: Path) -> None:
    assert len(list_frames(fill(tmp_path / "same", ["0.jpg", "1.JPEG", "2.jpeg"]))) == 3
    with pytest.raises(ClipError, match=r"mixes image formats; got 2 .png, 1 .jpg"):
        list_frames(fill(tmp_path / "mixed", ["0.png", "0.jpg", "1.png"]))


def test_no_frames(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClipError, match="holds no frame; got 0 other files and 0 folders"):
        open_clip(tmp_path / "empty")
    fill(tmp_path / "outer" / "inner", ["0.png"])
    with pytest.raises(ClipError, match="0 other files and 1 folders"):
        open_clip(tmp_path / "outer")
    with pytest.raises(ClipError, match="there is no clip at"):
        open_clip(tmp_path / "absent")
    with pytest.raises(ClipError, match="one image, not a clip"):
        open_clip(tmp_path / "outer" / "inner" / "0.png")


def test_another_size_in_frame_3(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", [f"{i}.png" for i in range(5)])
    (folder / "3.png").write_bytes(cv2.imencode(".png", np.zeros((12, 17, 3), np.uint8))[1].tobytes())
    clip = open_clip(folder)
    assert len(clip[:3]) == 3
    with pytest.raises(ClipError, match=r"frame 3 \('.*3\.png'\) has another size; got 17x12; accepted: 16x12"):
        clip[:]


def test_an_unreadable_frame_fails_when_it_is_read(tmp_path: Path) -> None:
    folder = fill(tmp_path / "c", [f"{i}.png" for i in range(5)])
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 2])
    clip = open_clip(folder)
    assert clip[3].unique().tolist() == [21]
    with pytest.raises(ClipError, match=r"2\.png"):
        clip[1:4]
    (folder / "0.png").write_bytes(b"")
    with pytest.raises(ClipError, match="empty"):
        open_clip(folder)


def test_threads_read_the_same(tmp_path: Path) -> None:
    clip = open_clip(fill(tmp_path / "c", [f"{i}.png" for i in range(30)]))
    with ThreadPoolExecutor(4) as pool:
        assert [int(f[0, 0, 0]) for f in pool.map(clip.__getitem__, range(30))] == [7 * i for i in range(30)]


def test_real_frames(shared_data: Path) -> None:
    clip = open_clip(shared_data / "Vid4" / "walk" / "hr")
    assert (len(clip), clip.height, clip.width, clip.notes) == (31, 480, 720, ())
    path = clip.files()[8]
    assert path.endswith("hr_09.webp")
    assert np.array_equal(clip[8].permute(1, 2, 0).numpy(), cv2.imread(path)[..., ::-1])
