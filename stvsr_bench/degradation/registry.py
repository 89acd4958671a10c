"""The degradations that make LQ frames from GT frames, by id."""

from __future__ import annotations

from stvsr_bench.degradation.clipwise import CLIPWISE, ClipDegradation
from stvsr_bench.degradation.framewise import FRAMEWISE, FrameDegradation

Degradation = FrameDegradation | ClipDegradation
"""``per_frame`` tells them apart: the first kind may be applied to any frames, the second to whole clips only."""

DEGRADATIONS: dict[str, Degradation] = {**FRAMEWISE, **CLIPWISE}
"""Every degradation that protocols may name."""
