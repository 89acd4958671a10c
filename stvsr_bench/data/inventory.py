"""Every clip of a dataset as it is stored, role by role, before any protocol or option changes how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stvsr_bench.core.errors import BenchError
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.sample import SourceSample
from stvsr_bench.video.clip import Clip, MappedClip, SelectedClip
from stvsr_bench.video.reading import open_clip


@dataclass(frozen=True)
class Item:
    """One clip in one role, open but not decoded.

    Attributes:
        clip: the card's name of the clip, which renamed copies share; else its name on disk.
        found_as: its name on disk.
        role: ``gt``, ``lq`` (``lq/BIx4`` where several kinds of LQ lie side by side), or ``plain`` where nothing says
            which of the two it is.
        pixels: the stored frames; ``None`` where they cannot be opened.
        error: why they cannot.
    """

    clip: str
    found_as: str
    role: str
    pixels: Clip | None
    error: BenchError | None = None

    @property
    def label(self) -> str:
        """The clip for messages: «000 = archpeople (gt)»."""
        return f"{self.found_as if self.found_as == self.clip else f'{self.found_as} = {self.clip}'} ({self.role})"


def inventory(dataset: Dataset, sources: Sequence[SourceSample]) -> list[Item]:
    """Return what is stored of ``sources``, clip by clip in their order, GT before LQ.

    LQ that is stored at GT size is returned as it is stored, whatever ``dataset.lq_size`` makes of it, and all kinds
    of LQ are returned where ``dataset.lq_role`` does not choose one. A clip that has no partner is simply not there.

    Args:
        dataset: the dataset.
        sources: its clips, or some of them.
    """
    layout = dataset.layout
    asked = dataset.options.get("lq_role")
    lq_roles = layout.lq_roles if asked is None else (asked,)
    items = []
    for source in sources:
        paths = layout.clips[source.name]
        name = dataset.canonical(source.name)
        plain_role = next(iter(dataset.plain_roles)) if len(dataset.plain_roles) == 1 else "plain"
        wanted: list[tuple[str, Path | None, Clip | None]] = [
            ("gt", paths.gt, source.gt),
            (plain_role, paths.plain, source.plain or (source.gt if plain_role == "gt" else source.lq)),
        ]
        for role in lq_roles:
            # Opened anew where the sample has none to give: several kinds of LQ, or a size that nothing explains.
            given = source.lq if len(lq_roles) == 1 else None
            wanted.append(("lq" if len(lq_roles) == 1 else f"lq/{role}", paths.lq.get(role), given))
        for role, path, clip in wanted:
            if path is None:
                continue
            pixels, error = (stored(clip), None) if clip is not None else _open(path, source.name)
            variant = dataset.options.get("variant")
            most = None if variant is None else dataset.card.variants[variant].cut_to
            if pixels is not None and most is not None and len(pixels) > most:
                pixels = pixels.select(range(most))
            items.append(Item(name, source.name, role, pixels, error))
    return items


def _open(path: Path, name: str) -> tuple[Clip | None, BenchError | None]:
    try:
        return open_clip(path, name), None
    except BenchError as error:
        return None, error


def stored(clip: Clip) -> Clip:
    """Return the frames behind ``clip`` as they are stored: selections stay, changes of the pixels are taken off."""
    if isinstance(clip, MappedClip):
        return stored(clip.source)
    if isinstance(clip, SelectedClip):
        inner = stored(clip.source)
        return clip if inner is clip.source else inner.select(clip.indices, clip.frame_rate)
    return clip
