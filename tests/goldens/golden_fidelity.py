"""Golden values of the frame metrics: PSNR and SSIM in every variant."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from metric_claims import Claim, Golden

from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.result import MetricResult

PSNR = {
    "basicsr_rgb_crop0": "psnr_rgb",
    "basicsr_rgb_crop4": "psnr_rgb_crop4",
    "basicsr_y_crop0": "psnr_y_crop0",
    "basicsr_y_crop4": "psnr_y_crop4",
    "pyiqa_psnr": "psnr_rgb_pyiqa",
    "pyiqa_psnry": "psnr_yiq_pyiqa",
    "pyiqa_psnry_ycbcr_crop4": "psnr_y_pyiqa_crop4",
    "dove_eval_test_y_channel": "psnr_dove_y",
}
SSIM = {
    "basicsr_rgb_crop0": "ssim_rgb",
    "basicsr_rgb_crop4": "ssim_rgb_crop4",
    "basicsr_y_crop0": "ssim_y_crop0",
    "basicsr_y_crop4": "ssim_y_crop4",
    "pyiqa_ssim": "ssim_pyiqa",
    "pyiqa_ssimc": "ssim_rgb_pyiqa",
    "pyiqa_ssim_ycbcr_crop4": "ssim_y_pyiqa_crop4",
    "dove_eval_test_y_channel": "ssim_dove_y",
}
INF = float("inf")


@lru_cache(maxsize=64)
def scored(golden: Golden, pair: str, metric: str) -> MetricResult:
    """One metric on one pair of clips of the set (``walk_a/bic``), two frames at a time."""
    clip, kind = pair.rsplit("/", 1)
    pred, gt = golden.clip(f"{clip}.{kind}"), golden.clip(f"{clip}.gt")
    scorer = build_metric(CATALOG[metric])
    scorer.setup("cpu")
    scorer.start(clip, len(pred))
    for begin in range(0, len(pred), 2):
        end = min(begin + 2, len(pred))
        scorer.update(FrameBatch(pred[begin:end], gt[begin:end], range(begin, end), clip=clip))
    return scorer.compute()


def values(result: MetricResult) -> dict[str, Any]:
    """A result in the form of the file; identical frames are infinite there and without value here."""
    frames = [INF if value is None else value for value in result.values]
    return {"per_frame": frames, "mean": INF if result.value is None else result.value}


def by_name(ids: dict[str, str]) -> Callable[[Golden, re.Match[str]], dict[str, Any]]:
    """Compute the metric that the file calls by the last group of the pattern."""
    return lambda golden, match: values(scored(golden, match[1], ids[match[2]]))


_PAIR = r"pairs/(.+/(?:bic|blend|gt))"
CLAIMS = [
    *(Claim(rf"{_PAIR}/psnr/({name})", by_name(PSNR), 1e-3 if "basicsr" not in name else 1e-4) for name in PSNR),
    *(Claim(rf"{_PAIR}/ssim/({name})", by_name(SSIM), 3e-6 if "basicsr" not in name else 1e-6) for name in SSIM),
    Claim(
        rf"{_PAIR}/psnr/pooled_mse_rgb", lambda golden, match: scored(golden, match[1], "psnr_rgb_pooled").value, 1e-4
    ),
    Claim(rf"{_PAIR}/tecogan_script/(PSNR)", by_name({"PSNR": "psnr_tecogan"}), 1e-4),
    Claim(rf"{_PAIR}/tecogan_script/(SSIM)", by_name({"SSIM": "ssim_tecogan"}), 1e-6),
    Claim(rf"{_PAIR}/xvfi_script/(PSNR)", by_name({"PSNR": "psnr_xvfi"}), 1e-4),
    Claim(rf"{_PAIR}/xvfi_script/(SSIM)", by_name({"SSIM": "ssim_xvfi"}), 1e-6),
]
