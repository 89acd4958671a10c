"""The luma of two clips as files, and the program that scores them with libvmaf."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.programs import ffmpeg_with_libvmaf

_DISTORTED, _REFERENCE, _LOG = "distorted.yuv", "reference.yuv", "vmaf.json"
_GRAY = b"\x80"  # a chroma sample of 4:2:0; VMAF reads luma only


class VmafSpool:
    """Collects one clip's luma on disk and scores it with every model that was asked for, in one run of the program.

    The files hold raw 8-bit 4:2:0 frames, 1.5 bytes for each pixel of each side, in the folder of temporary files
    ($TMPDIR); they go when the last user releases the spool, at the latest when it is collected.

    Args:
        clip: the clip's name, for messages.
    """

    def __init__(self, clip: str) -> None:
        self.clip = clip
        self.frames = 0
        self._size: tuple[int, int] | None = None
        self._models: dict[Hashable, str] = {}
        self._scores: dict[str, list[float]] = {}
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="stvsr_bench_vmaf_"))
        except OSError as error:
            raise self._unwritable(error) from error
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def open(self) -> bool:
        """Whether the files are still there."""
        return self._remove.alive

    def use(self, user: Hashable, model: str) -> None:
        """Note that ``user`` wants the scores of ``model``."""
        self._models[user] = model

    def release(self, user: Hashable) -> None:
        """Note that ``user`` is done; the files go with the last one."""
        self._models.pop(user, None)
        if not self._models:
            self._remove()

    def append(self, distorted: torch.Tensor, reference: torch.Tensor) -> None:
        """Write the next frames.

        Args:
            distorted: luma of the restored frames, uint8 ``(T, H, W)``.
            reference: luma of the ground truth, of the same shape.

        Raises:
            MetricError: shapes differ, or the disk is full.
        """
        size = (int(distorted.shape[1]), int(distorted.shape[2]))
        if distorted.shape != reference.shape or self._size not in (None, size):
            raise MetricError(
                f"clip '{self.clip}': VMAF was given frames that do not match",
                got=f"{tuple(distorted.shape)} and {tuple(reference.shape)} after {self._size}",
                accepted="equal counts and one size; libvmaf would repeat the last frame without a word",
            )
        self._size = size
        chroma = _GRAY * (2 * ((size[0] + 1) // 2) * ((size[1] + 1) // 2))
        try:
            for name, planes in ((_DISTORTED, distorted), (_REFERENCE, reference)):
                with (self.folder / name).open("ab") as file:
                    for plane in planes:
                        file.write(plane.contiguous().numpy().data)
                        file.write(chroma)
        except OSError as error:
            raise self._unwritable(error) from error
        self.frames += len(distorted)
        self._scores = {}

    def scores(self, model: str) -> Sequence[float]:
        """Return the scores of all frames by ``model``, computing those of every model in use the first time.

        Raises:
            MetricError: the program is absent, fails, or returns another number of frames.
        """
        if model not in self._scores:
            self._scores = self._run(dict.fromkeys([*self._models.values(), model]))
        return self._scores[model]

    def _run(self, models: Mapping[str, None]) -> dict[str, list[float]]:
        height, width = self._size or (0, 0)
        raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", "25"]  # the rate has no effect
        names = {model: f"model{number}" for number, model in enumerate(models)}
        chosen = "|".join(rf"version={model}\\:name={name}" for model, name in names.items())
        threads = max(1, torch.get_num_threads())
        graph = f"[0:v][1:v]libvmaf=model={chosen}:n_threads={threads}:log_fmt=json:log_path={_LOG}"
        command: list[str | Path] = [
            *(ffmpeg_with_libvmaf(), "-hide_banner", "-nostdin", "-loglevel", "error"),
            *(*raw, "-i", _DISTORTED),  # the distorted one first: swapped inputs give other scores without a word
            *(*raw, "-i", _REFERENCE),
            *("-lavfi", graph, "-f", "null", "-"),
        ]
        try:
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise self._failed(f"exit status {done.returncode}: {done.stderr.strip()[-400:]}")
            frames = json.loads((self.folder / _LOG).read_text(encoding="utf-8"))["frames"]
            found = {model: [float(frame["metrics"][name]) for frame in frames] for model, name in names.items()}
            numbers = [int(frame["frameNum"]) for frame in frames]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error
        if numbers != list(range(self.frames)):
            raise self._failed(f"scores of frames {numbers[:3]} … ({len(numbers)}), {self.frames} were given")
        return found

    def _failed(self, got: str) -> MetricError:
        return MetricError(
            f"clip '{self.clip}': ffmpeg's libvmaf failed",
            got=got,
            action="try another build: pip install imageio-ffmpeg, or name one with $STVSR_BENCH_FFMPEG",
        )

    def _unwritable(self, error: OSError) -> MetricError:
        return MetricError(
            f"clip '{self.clip}': VMAF's temporary files cannot be written to '{tempfile.gettempdir()}'",
            got=os.strerror(error.errno) if error.errno else str(error),
            accepted="room for 3 bytes for each pixel of the clip",
            action="free space, or name another folder with $TMPDIR",
        )
