"""The programs that metrics call instead of computing themselves; imports no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stvsr_bench.core.errors import MetricError
from stvsr_bench.core.paths import user_path

FFMPEG_VARIABLE = "STVSR_BENCH_FFMPEG"
LIBVMAF = "ffmpeg with libvmaf"
"""``MetricInfo.program`` of metrics that need ffmpeg's filter ``libvmaf``."""

_SECONDS = 30  # for a program to list what it can


def missing_program(name: str) -> MetricError | None:
    """Return why the program ``name`` cannot be called here, or ``None``.

    Args:
        name: ``LIBVMAF``, or the name of a program on the search path.
    """
    if name != LIBVMAF:
        if shutil.which(name) is not None:
            return None
        return MetricError(f"the program '{name}' is not on the search path", action=f"install {name}")
    try:
        ffmpeg_with_libvmaf()
    except MetricError as error:
        return error
    return None


def ffmpeg_with_libvmaf() -> Path:
    """Return an ffmpeg that has the filter ``libvmaf``.

    $STVSR_BENCH_FFMPEG decides where it is set; else the first counts of the one that the package imageio-ffmpeg
    brings (pinned, so that two machines run the same build) and the one on the search path.

    Raises:
        MetricError: there is none; what was tried is told.
    """
    tried = []
    for origin, path in _candidates():
        fault = _fault(path)
        if fault is None:
            return path
        tried.append(f"{origin} '{path}' {fault}")
    raise MetricError(
        "no ffmpeg with the filter libvmaf",
        got="; ".join(tried) or "none installed",
        accepted=f"the package imageio-ffmpeg, an ffmpeg on the search path, or one named by ${FFMPEG_VARIABLE}",
        action="pip install 'stvsr-bench[vmaf]'",
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    named = os.environ.get(FFMPEG_VARIABLE)
    if named:
        yield f"${FFMPEG_VARIABLE}", user_path(named)
        return
    brought = _brought()
    if brought is not None:
        yield "imageio-ffmpeg's", brought
    found = shutil.which("ffmpeg")
    if found is not None:
        yield "the search path's", Path(found)


def _brought() -> Path | None:
    """The program that imageio-ffmpeg brings; its wheels for some platforms bring none."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


@cache
def _fault(ffmpeg: Path) -> str | None:
    """Why ``ffmpeg`` will not do, or ``None``; builds differ in their filters, so it is asked."""
    try:
        listed = subprocess.run(
            [ffmpeg, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run ({error})"
    filters = {words[1] for line in listed.stdout.splitlines() if len(words := line.split()) > 1}
    return None if "libvmaf" in filters else "has no filter libvmaf"
