"""Opening clips: a folder of frames or a video file."""

from __future__ import annotations

import os
from pathlib import Path

from stvsr_bench.core.errors import ClipError
from stvsr_bench.video.clip import Clip
from stvsr_bench.video.files import VideoFileClip
from stvsr_bench.video.frames import FrameFolderClip, list_frames
from stvsr_bench.video.names import IMAGE_EXTS, VIDEO_EXTS, natural_key

__all__ = [
    "IMAGE_EXTS",
    "VIDEO_EXTS",
    "FrameFolderClip",
    "VideoFileClip",
    "list_frames",
    "natural_key",
    "open_clip",
]


def open_clip(path: str | os.PathLike[str], name: str | None = None) -> Clip:
    """Open a folder of frames or a video file as a lazy clip.

    Args:
        path: the folder or the file.
        name: the clip's name; default: the folder's name, or the file's without its ending.

    Raises:
        ClipError: nothing is there, or it is no clip, or not a whole one.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolderClip(path, name)
    if not path.exists():
        raise ClipError(
            f"there is no clip at '{path}'",
            got="neither a file nor a folder",
            accepted="a folder of images or a video file",
            action=f"check the path (relative paths start at '{Path.cwd()}')",
        )
    if path.suffix.lower() in IMAGE_EXTS:
        raise ClipError(
            f"'{path}' is one image, not a clip",
            accepted="a folder of images or a video file",
            action=f"name its folder '{path.parent}'",
        )
    return VideoFileClip(path, name)
