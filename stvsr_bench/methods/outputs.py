"""Outputs made elsewhere: frames or videos on disk take the place of a restoration, and are scored like one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av

from stvsr_bench.core import registry
from stvsr_bench.core.errors import ConfigError, DataError, nearest
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.slug import slug, unslug
from stvsr_bench.methods.base import ANY_DTYPE, Method, Report, Request
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.reading import IMAGE_EXTS, VIDEO_EXTS, open_clip

_LOSSLESS = frozenset({"ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "r210", "v210"})


class Outputs(Method):
    """Reads ``dir/<sample>/`` (frames) or ``dir/<sample>.mkv|mp4|…`` instead of restoring; its id is ``label``.

    Number and size of the frames must be what the protocol asks for: nothing is cut, padded or resized.

    Args:
        dir: folder that holds one folder of frames or one video per sample, called like the sample.
        label: what to call the method that made them; not the name of a registered method.
        scale: φs they were made with; ``None``: whatever the protocol says.
        time_scale: φt, likewise.
    """

    task = "stvsr"
    chunking = "own"
    tiling = "own"
    dtypes = ANY_DTYPE
    neutral_knobs = frozenset({"dir", "label"})

    def __init__(
        self,
        *,
        name: str,
        dir: str | os.PathLike[str] | None = None,
        label: str | None = None,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        if dir is None or label is None:
            missing = "method.dir" if dir is None else "method.label"
            raise ConfigError(
                f"method=outputs needs {missing}",
                got="nothing",
                accepted="method.dir=FOLDER with one folder of frames or one video per sample, and method.label=NAME",
            )
        self.dir = Path(dir).expanduser().absolute()
        self._label = _checked_label(str(label))
        if not self.dir.is_dir():
            raise DataError(
                f"the outputs folder of '{self._label}' does not exist",
                got=f"'{self.dir}'",
                action="correct method.dir",
            )

    @property
    def method_id(self) -> str:
        """The label."""
        return self._label

    def identity(self) -> dict[str, object]:
        """Nothing: the label is the id, and :meth:`sample_key` tells the files."""
        return {}

    def sample_key(self, sample: str) -> str | None:
        """A digest of names, sizes and modification times of the sample's files: changed files are scored again.

        Raises:
            DataError: the sample has no outputs, or more than one.
        """
        path = self.find(sample)
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        return digest([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files])

    def find(self, sample: str) -> Path:
        """Return the folder or video that holds the outputs of ``sample``, by its name or its name as a file name.

        Raises:
            DataError: there is none, or more than one.
        """
        names = list(dict.fromkeys([sample, slug(sample)]))
        found = [self.dir / n for n in names if (self.dir / n).is_dir()]
        found += [p for n in names for p in self.dir.glob("*") if p.suffix.lower() in VIDEO_EXTS and p.stem == n]
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(
                f"the outputs of sample '{sample}' are there more than once",
                got=", ".join(f"'{p.name}'" for p in sorted(found)),
                accepted="one folder of frames or one video",
                action=f"leave one of them in '{self.dir}'",
            )
        present = sorted(_sample_names(self.dir))
        close = nearest(sample, present) or present[:12]
        raise DataError(
            f"'{self._label}' has no outputs for sample '{sample}'",
            got=f"'{self.dir}' with {len(present)} clip(s)" + (f", nearest: {', '.join(close)}" if close else ""),
            accepted=f"a folder '{sample}' of {'/'.join(sorted(e[1:] for e in IMAGE_EXTS))} frames, or a video "
            f"'{sample}.mkv' or the like",
            action="name the outputs like the samples",
        )

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        path = self.find(request.name)
        made = open_clip(path, request.name)
        got = (len(made), made.height, made.width)
        frames = (len(clip) - 1) * request.time_scale + 1
        wanted = (request.sample_frames or frames, *request.size(clip.height, clip.width))
        if got != wanted:
            raise DataError(
                f"the outputs of '{self._label}' for sample '{request.name}' do not fit the protocol",
                got=f"{got[0]} frames of {got[1]}x{got[2]} (height x width) in '{path}'",
                accepted=f"{wanted[0]} frames of {wanted[1]}x{wanted[2]}"
                + ("" if request.sample_frames is None else f": windows of {frames} frames in a row"),
                action=f"make them again: {len(clip)} LQ frames{'' if request.sample_frames is None else ' a window'}, "
                f"φs = {request.scale}, φt = {request.time_scale}",
            )
        report.notes.extend(made.notes)
        if path.is_file():
            report.notes.extend(_coding_note(path))
        report.plan.update(source="outputs")
        first = request.first_frame
        yield from made.select(range(first, first + frames)).blocks(self.chunk)


def _sample_names(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in VIDEO_EXTS):
            yield unslug(path.name if path.is_dir() else path.stem)


def _checked_label(label: str) -> str:
    registered = registry.methods()
    stages = [part.partition("[")[0] for part in label.split("+")]
    if not label.strip() or label != label.strip() or not label.isprintable():
        reason = "empty, or with blanks at its ends or characters that cannot be printed"
    elif all(part in registered for part in stages):
        reason = f"'{label}', which is the id of a registered method"
    else:
        return label
    raise ConfigError(
        "method.label is not a name for outputs made elsewhere",
        got=reason,
        accepted="a name of its own, for example bicubic_official",
        action="choose another method.label",
    )


def _coding_note(path: Path) -> list[str]:
    """Say so when the video's coding cannot hold the frames exactly."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        codec, pixels = context.name, context.pix_fmt or "unknown"
    if codec in _LOSSLESS and pixels.startswith(("gbr", "rgb", "bgr", "0rgb", "0bgr")):
        return []
    return [f"the outputs were read from {codec} video ({pixels}): lossy coding or colour conversion moves the scores"]
