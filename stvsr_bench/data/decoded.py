"""What decoding gave, kept for as long as the files stay as they are, so that a second look need not decode again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from stvsr_bench.core.atomic import write_json
from stvsr_bench.core.errors import ResultError
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.paths import data_root
from stvsr_bench.data.integrity import Checked
from stvsr_bench.data.inventory import Item
from stvsr_bench.data.manifest import MANIFEST_VERSION, Entry
from stvsr_bench.video.hashed import files_state


def manifests_root() -> Path:
    """Return the folder of manifests that no other place was named for: ``manifests`` in the data root."""
    return data_root() / "manifests"


def recall(item: Item) -> Checked | None:
    """Return what decoding ``item`` gave when its files were last seen in their present state, or ``None``."""
    path = _note(item)
    try:
        kept = None if path is None else json.loads(path.read_text(encoding="utf-8"))
        return None if kept is None else Checked(item, Entry(**kept["entry"]), (), tuple(kept["warnings"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent or damaged: only a shortcut


def remember(checked: Checked) -> None:
    """Keep what decoding a whole clip gave; nothing is kept of one that has faults."""
    path = _note(checked.item)
    if path is None or checked.entry is None or checked.faults:
        return
    try:
        write_json(path, {"entry": asdict(checked.entry), "warnings": list(checked.warnings)})
    except ResultError:
        return  # only a shortcut; the data root may be a folder that cannot be written


def _note(item: Item) -> Path | None:
    state = None if item.pixels is None else files_state(item.pixels)
    if state is None:
        return None
    return manifests_root() / ".decoded" / f"{digest([MANIFEST_VERSION, state, item.clip, item.role])}.json"
