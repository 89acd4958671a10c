"""The temporal-flickering metric of VBench."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.functional.flickering import flickering


class TemporalFlickering(Metric):
    """Stillness of every pair of consecutive frames; needs no ground truth and no weights."""

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        frames = batch.u8("pred")
        if previous is not None:
            frames = torch.cat([previous.u8("pred"), frames])
        return flickering(frames[:-1], frames[1:])
