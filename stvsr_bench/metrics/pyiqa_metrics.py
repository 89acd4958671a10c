"""The no-reference metrics that pyiqa computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import FrameBatch, Metric
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.pyiqa_models import Model, build_model
from stvsr_bench.nn.precision import use_exact_float32


class PyiqaMetric(Metric):
    """A no-reference metric of pyiqa, given one frame at a time, so that no value depends on the batch.

    Args:
        info: the catalogue's facts; its ``weights`` are given to pyiqa.
        model: what pyiqa calls the metric.
    """

    def __init__(self, info: MetricInfo, *, model: str) -> None:
        super().__init__(info)
        self.model_name = model
        self._model: Model | None = None

    def setup(self, device: torch.device | str) -> None:
        """Build the network with the published parameters.

        Raises:
            MetricError: pyiqa is absent, or another version than the one known here.
            WeightError: the weights cannot be had.
        """
        super().setup(device)
        use_exact_float32(self.device)
        self._model = build_model(self.model_name, self.info.weights, self.device)

    def close(self) -> None:
        """Free the network."""
        self._model = None

    def score(self, batch: FrameBatch, previous: FrameBatch | None) -> Sequence[float]:
        if self._model is None:
            raise MetricError(f"metric '{self.info.id}' is not set up", action="call setup(device) before update")
        return [self._one(self._model, frame) for frame in batch.rgb("pred")]

    @staticmethod
    def _one(model: Model, frame: torch.Tensor) -> float:
        try:
            return float(model(frame[None]))
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # flat frames have no statistics to solve for
            return math.nan

    def why_excluded(self, value: float) -> str:
        return f"pyiqa's {self.model_name} finds no value, as for a flat frame"
