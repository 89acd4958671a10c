"""The dataset `demo`: rendered on first use, checked to the bit on every use."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2

from stvsr_bench.core.atomic import TEMPORARY_PREFIX, atomic_folder
from stvsr_bench.core.errors import ClipError, DataError, ResultError
from stvsr_bench.core.hashing import clip_hash, frame_digest
from stvsr_bench.core.locks import file_lock
from stvsr_bench.core.paths import DATA_VARIABLE, share_dir
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.demo.photographs import Pixels
from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import FRAMES, SCENES
from stvsr_bench.data.manifest import read_manifest
from stvsr_bench.video.reading import open_clip

_log = logging.getLogger(__name__)
_ROLE = "GT"
_LOCK = ".lock"


class DemoDataset(Dataset):
    """Four short clips that need no download: ``<root>/GT/<clip>/00000000.png`` …

    Whole clips whose pixels have the committed hashes are used as they are; otherwise they are rendered, once, however
    many processes ask for them.
    """

    def prepare(self, root: Path) -> None:
        """Render the clips into ``root`` unless they are there, whole and equal to the bit.

        Raises:
            DataError: ``root`` holds other files or cannot be written, or this machine renders other pixels.
        """
        expected = manifest()
        if _present(root) == expected:
            return
        try:
            _refuse_foreign(root)
            with file_lock(root / _LOCK):
                if _present(root) != expected:
                    _refuse_foreign(root)
                    for left_over in root.glob(f"{TEMPORARY_PREFIX}*"):  # of a process that was killed
                        shutil.rmtree(left_over)
                    _log.info("rendering the demo clips into %s (once, some seconds)", root)
                    with atomic_folder(root / _ROLE) as folder:
                        _render_all(folder, expected)
        except (OSError, ResultError) as error:
            raise DataError(
                f"dataset 'demo' cannot be rendered into '{root}'",
                got=(error.strerror or str(error)) if isinstance(error, OSError) else error.got,
                accepted="a writable folder with 10 MB of free space",
                action=f"set ${DATA_VARIABLE} to such a folder, or pass dataset.root=FOLDER",
            ) from error


def manifest() -> dict[str, str]:
    """Return the committed sha256 of every clip (``core.hashing.clip_hash`` of its frames).

    Raises:
        DataError: ``datasets/demo/manifest.csv`` of the installation cannot be read.
    """
    return {entry.clip: entry.sha256 for entry in read_manifest(share_dir() / "datasets/demo/manifest.csv").entries}


def _frame_name(t: int) -> str:
    return f"{t:08d}.png"


def _hash(frames: Iterable[Pixels]) -> str:
    return clip_hash(frame_digest(frame.tobytes(), *frame.shape[:2]) for frame in frames)


def _render_all(folder: Path, expected: dict[str, str]) -> None:
    for name, scene in SCENES.items():
        frames = [render(scene, t) for t in range(FRAMES)]
        found = _hash(frames)
        if found != expected[name]:
            raise DataError(
                f"dataset 'demo': clip '{name}' comes out differently on this machine",
                got=f"pixels with sha256 {found[:12]}…",
                accepted=f"sha256 {expected[name][:12]}…",
                action="report this with the output of `stvsr-bench doctor`; scores of other pixels are not comparable",
            )
        (folder / name).mkdir()
        for t, frame in enumerate(frames):
            _, encoded = cv2.imencode(".png", frame[..., ::-1])
            (folder / name / _frame_name(t)).write_bytes(encoded.tobytes())


def _present(root: Path) -> dict[str, str]:
    """Return the hashes of the clips in ``root`` that are whole: every frame, and nothing else, can be read."""
    found = {}
    names = [_frame_name(t) for t in range(FRAMES)]
    for clip in SCENES:
        folder = root / _ROLE / clip
        try:
            if _visible(folder) == names:
                found[clip] = _hash(open_clip(folder, clip)[:].permute(0, 2, 3, 1).numpy())
        except (OSError, ClipError):
            continue
    return found


def _visible(folder: Path) -> list[str]:
    """Names in ``folder`` as readers of frames see them: sorted, without hidden files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _refuse_foreign(root: Path) -> None:
    """Raise before anything is written beside, or instead of, files that are not ours."""
    frames = {_frame_name(t) for t in range(FRAMES)}
    ours = {root: {_ROLE}, root / _ROLE: set(SCENES), **{root / _ROLE / clip: frames for clip in SCENES}}
    for folder, names in ours.items():
        foreign = set(_visible(folder)) - names if folder.is_dir() else set()
        if foreign:
            raise DataError(
                f"dataset 'demo' is not rendered into '{root}', as other files lie there",
                got=str(folder / min(foreign)),
                accepted="a folder of its own",
                action="pass another dataset.root or leave it out",
            )
