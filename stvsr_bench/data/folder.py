"""Anyone's own clips: ``dataset=folder dataset.root=… dataset.name=…``, no card to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, get_args

from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard, DatasetKind
from stvsr_bench.core.errors import ConfigError, DataError, nearest
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.protocol import Role


class FolderDataset(Dataset):
    """A folder, or one video file, without a card of its own.

    Its kind follows from the files: GT and LQ for every clip make it ``real``, other GT ``synthetic``, no GT
    ``no_gt``; ``dataset.kind`` overrides. Clips that lie in no role folder count as LQ for ``auto``; a protocol named
    on purpose may use them as GT.

    Args:
        card: the card of ``folder``.
        options: those of :class:`Dataset`; ``root`` is required; ``name`` is the dataset's id (default: the folder's
            name); ``kind`` overrides what the files tell.

    Raises:
        ConfigError: ``root`` is missing, ``kind`` is unknown, or ``name`` is that of a registered dataset.
    """

    OPTIONS: ClassVar[frozenset[str]] = Dataset.OPTIONS | {"kind"}

    def __init__(self, card: DatasetCard, options: dict[str, Any] | None = None) -> None:
        super().__init__(card, options)
        if self.options.get("root") is None:
            raise ConfigError(
                "dataset=folder needs the folder of your clips",
                accepted="dataset.root=FOLDER, and dataset.name=NAME to call it in results",
                action="add dataset.root=…",
            )
        kinds = get_args(DatasetKind)
        if self.options.get("kind") not in (None, *kinds):
            raise ConfigError(
                "dataset.kind is unknown", got=str(self.options["kind"]), accepted=", ".join(kinds), action="correct it"
            )
        if self.name.partition("[")[0] in set(registry.datasets()) - {card.name}:
            raise ConfigError(
                f"'{self.name}' is the name of a registered dataset",
                accepted="a name of your own, so that results of your clips are never taken for that benchmark's",
                action=f"add dataset.name=my_{self.name}, or use dataset={self.name.partition('[')[0]}",
            )

    @property
    def name(self) -> str:
        given = self.options.get("name")
        if given not in (None, ""):
            return str(given)
        root = self.locate()
        return (root.stem if root.is_file() else root.name) or self.card.name

    @property
    def kind(self) -> DatasetKind:
        given: DatasetKind | None = self.options.get("kind")
        if given is not None:
            return given
        clips = self.layout.clips.values()
        if not any(clip.gt for clip in clips):
            return "no_gt"
        return "real" if all(clip.gt and clip.lq for clip in clips) else "synthetic"

    def absence(self, root: Path) -> DataError:
        near = nearest(root.name, [p.name for p in root.parent.iterdir()]) if root.parent.is_dir() else []
        return DataError(
            f"the folder of dataset '{self.name}' does not exist",
            got=f"dataset.root={root}",
            accepted="a folder of clips, or one video file" + (f"; beside it lie {', '.join(near)}" if near else ""),
            action="correct dataset.root; relative paths count from where you are",
        )

    @property
    def plain_roles(self) -> frozenset[Role]:
        if self.options.get("kind") is None:
            return frozenset({"gt", "lq"})
        return super().plain_roles
