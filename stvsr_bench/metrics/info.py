"""The facts about one metric id; imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stvsr_bench.core.errors import MetricError

_ID = re.compile(r"[a-z0-9][a-z0-9_.]*")
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class MetricInfo:
    """The facts about one metric id; the id owns every convention that moves the number.

    A plug-in publishes an object of this class, or a list of them, under the entry-point group ``stvsr_bench.metrics``.

    Attributes:
        id: name in configurations and result files: lower-case letters, digits, ``_`` and ``.``.
        version: raised by any change that moves a number.
        title: column title.
        conventions: colour, border, rounding, window and reduction, in words.
        unit: «dB», «0-1», «px/frame», …
        higher_is_better: direction.
        reference: ``full`` needs ground truth, ``none`` does not.
        level: one value per ``frame``, per ``pair`` of consecutive frames, or one for the whole ``clip``.
        entry: ``module:Class`` of the ``Metric`` subclass, called as ``Class(info, **params)``.
        params: what the class is told beyond the info.
        min_height: fewest rows it can score.
        min_width: fewest columns it can score.
        min_frames: fewest frames it can score.
        skip: values left out at the clip's beginning and end, where the reference code does so.
        needs: packages that it imports beyond those always installed, as pip names them.
        program: what it calls as a program of its own, or ``None``.
        weights: ids of the weights that it reads, as ``stvsr-bench list weights`` shows them.
        licence: licence of the arithmetic and of any weights.
        source: the paper, and the reference code whose numbers it reproduces.
        aliases: other names that users may write; results always carry ``id``.
    """

    id: str
    version: int
    title: str
    conventions: str
    unit: str
    higher_is_better: bool
    reference: Literal["full", "none"]
    level: Literal["frame", "pair", "clip"]
    entry: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    min_height: int = 1
    min_width: int = 1
    min_frames: int = 1
    skip: tuple[int, int] = (0, 0)
    needs: tuple[str, ...] = ()
    program: str | None = None
    weights: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    source: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse facts that cannot be right, where a plug-in's author sees it at once."""
        for name in (self.id, *self.aliases):
            if not _ID.fullmatch(name):
                raise MetricError(
                    f"metric name {name!r} is not valid", accepted="a-z, 0-9, '_' and '.', no leading '_'"
                )
        if not _ENTRY.fullmatch(self.entry):
            raise MetricError(
                f"metric '{self.id}': wrong entry", got=repr(self.entry), accepted="'package.module:Class'"
            )
        if self.version < 1:
            raise MetricError(f"metric '{self.id}': wrong version", got=str(self.version), accepted="1 or more")
        for key, value, allowed in (
            ("reference", self.reference, ("full", "none")),
            ("level", self.level, ("frame", "pair", "clip")),
        ):
            if value not in allowed:
                raise MetricError(f"metric '{self.id}': wrong {key}", got=repr(value), accepted=" or ".join(allowed))


MEAN = "per frame, then mean over frames, then mean over clips"
"""The usual reduction, in words."""
MEAN_PAIRS = "per pair of consecutive frames, then mean over pairs, then mean over clips"
