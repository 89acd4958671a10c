"""Mean absolute error in 8-bit levels."""

from collections.abc import Sequence

from stvsr_bench.metrics.base import FrameBatch, Metric


class AbsoluteError(Metric):
    """Mean of ``|prediction - ground truth|`` over the samples of a frame."""

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        error = (batch.u8("pred").double() - batch.u8("gt").double()).abs()
        return error.mean(dim=(1, 2, 3)).tolist()
