"""Golden values of the perceptual frame metrics: LPIPS, DISTS and NIQE."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from golden_video import recipe
from metric_claims import Claim, Golden

from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.vgg import Vgg16Features
from stvsr_bench.weights import service

LPIPS = {
    "lpips_alex": "lpips_alex_v0.1",
    "pyiqa_lpips": "lpips_alex_v0.1",
    "lpips_alex_crop_8x8": "lpips_crop_8x8",
}
NIQE = {
    "basicsr_y_crop0": "niqe_basicsr_y",
    "basicsr_y_crop4": "niqe_basicsr_y_crop4",
    "basicsr_gray_crop0": "niqe_basicsr_gray",
    "pyiqa_default_yiq": "niqe_pyiqa_yiq",
    "pyiqa_ycbcr": "niqe_pyiqa_y",
    "pyiqa_ycbcr_crop4": "niqe_pyiqa_y_crop4",
}
STORED = {
    "lpips/alexnet": "alexnet",
    "lpips/heads_alex": "lpips_lin_alex_v0.1",
    "dists/alpha_beta": "dists_alpha_beta",
}
"""Our weights, and what the set calls those that it stores."""


@contextmanager
def weights_of(golden: Golden) -> Iterator[None]:
    """Let metrics load the parameters of the set: stored, or by its recipe."""

    def load(weight: str) -> dict[str, torch.Tensor]:
        if weight == "niqe/pristine":
            with np.load(golden.folder / "niqe_pris_params.npz", allow_pickle=False) as file:
                return {name: torch.from_numpy(file[name]) for name in file.files}
        if weight == "lpips/vgg16":
            seed = int(golden.expected["meta"]["seed"])
            shapes = {key: tuple(value.shape) for key, value in Vgg16Features().state_dict().items()}
            made = {key: recipe(key, shape, seed) for key, shape in shapes.items()}
            digest = hashlib.sha256(b"".join(made[key].half().numpy().tobytes() for key in sorted(made)))
            assert digest.hexdigest() == golden.expected["weights_sha256_fp16_sorted_keys"]["vgg16_features"]
            return made
        return golden.weights(STORED[weight])

    with patch.object(service, "load_weight", load):
        yield


@lru_cache(maxsize=16)
def ready(golden: Golden, metric: str) -> Metric:
    """A metric with the parameters of the set."""
    scorer = build_metric(CATALOG[metric])
    with weights_of(golden):
        scorer.setup("cpu")
    return scorer


@lru_cache(maxsize=32)
def scored(golden: Golden, clip: str, kind: str, metric: str) -> MetricResult:
    """One metric on one pair of clips, two frames at a time."""
    scorer = ready(golden, metric)
    pred, gt = golden.clip(f"{clip}.{kind}"), golden.clip(f"{clip}.gt")
    scorer.start(clip, len(pred))
    for begin in range(0, len(pred), 2):
        end = min(begin + 2, len(pred))
        scorer.update(FrameBatch(pred[begin:end], gt[begin:end], range(begin, end), clip=clip))
    return scorer.compute()


def by_name(ids: dict[str, str]) -> Callable[[Golden, re.Match[str]], dict[str, Any]]:
    """Compute the metric that the file calls by the last group of the pattern."""

    def compute(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
        result = scored(golden, match[1], match[2], ids[match[3]])
        assert result.n == len(result.values)
        return {"per_frame": list(result.values), "mean": result.value}

    return compute


def niqe(golden: Golden, match: re.Match[str]) -> float | None:
    """NIQE of the one frame ``niqe.<kind>``."""
    scorer = ready(golden, NIQE[match[2]])
    frame = golden.clip(f"niqe.{match[1]}")
    scorer.start("niqe", len(frame))
    scorer.update(FrameBatch(frame, None, range(len(frame))))
    return scorer.compute().value


_PAIR = r"pairs/(.+)/(bic|blend|gt)"
CLAIMS = [
    Claim(rf"{_PAIR}/lpips/({'|'.join(LPIPS)})", by_name(LPIPS), 1e-6),
    Claim(rf"{_PAIR}/tecogan_script/(LPIPS)", by_name({"LPIPS": "lpips_tecogan"}), 1e-6),
    Claim(rf"{_PAIR}/dists/(pyiqa_dists)", by_name({"pyiqa_dists": "dists"}), 1e-6),
    # both codes' rounding is kept, so that far less than the 1e-2 of the README is left; ties of luma remain
    Claim(rf"niqe/([^/]+)/({'|'.join(NIQE)})", niqe, 1e-2),
]
