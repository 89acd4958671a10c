"""Groups of metrics, as ``conf/metrics/`` lists them; imports no torch."""

from __future__ import annotations

import yaml

from stvsr_bench.core.errors import CardError, UnknownNameError
from stvsr_bench.core.paths import conf_dir
from stvsr_bench.metrics.registry import known_metrics, metric_info

AUTO = "auto"
"""Stands for the group that a protocol names, and is no group itself."""
_WHERE = "see `stvsr-bench list metrics` and docs/metrics.md"


def known_groups() -> list[str]:
    """Return the names of the groups, in alphabetical order."""
    return sorted(path.stem for path in (conf_dir() / "metrics").glob("*.yaml") if path.stem != AUTO)


def group_ids(name: str) -> list[str]:
    """Return the metric ids of the group ``name``.

    Raises:
        UnknownNameError: there is no such group.
        CardError: its file is no list of ids.
    """
    path = conf_dir() / "metrics" / f"{name}.yaml"
    if name not in known_groups():
        raise UnknownNameError("metrics group", name, known_groups(), _WHERE)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    ids = content.get("ids") if isinstance(content, dict) else None
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise CardError(f"'{path}' lists no metrics", got=repr(content), accepted="ids: a list of metric ids")
    return ids


def parse_metrics(text: str) -> dict[str, bool]:
    """Return the metric ids that a comma-separated text of ids, aliases and groups names.

    Returns:
        Whether each was named itself; those that only a group brings may be left out where they cannot run.

    Raises:
        UnknownNameError: a part is neither; the nearest names are listed.

    >>> parse_metrics("fast,lpips")["lpips_alex_v0.1"], parse_metrics("fast,lpips")["psnr_y_crop4"]
    (True, False)
    """
    groups = known_groups()
    found: dict[str, bool] = {}
    for name in (item.strip() for item in text.split(",")):
        if name in groups:
            found |= {identifier: found.get(identifier, False) for identifier in group_ids(name)}
            continue
        try:
            found[metric_info(name).id] = True
        except UnknownNameError as error:
            names = [n for info in known_metrics().values() for n in (info.id, *info.aliases)]
            raise UnknownNameError("metric or group", name, [*names, *groups], _WHERE) from error
    return found
