"""Golden values of the temporal metrics: tOF, tLP, FloLPIPS, warping errors, VBench."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from metric_claims import Claim, Golden

from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.flolpips import FloLpips
from stvsr_bench.metrics.functional.background import clip_input, consistency
from stvsr_bench.metrics.functional.flickering import flickering
from stvsr_bench.metrics.functional.warping import halved, lai_error, occluded, warping_error
from stvsr_bench.metrics.pair_flow import PwcFlow
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.metrics.tlp import Tlp
from stvsr_bench.nn.pwcnet import full_flow
from stvsr_bench.weights import service

WEIGHTS = {"lpips/alexnet": "alexnet", "lpips/heads_alex": "lpips_lin_alex_v0.1", "pwcnet/default": "pwcnet"}
"""Our weights, and what the set calls its seeded ones."""
TOF = {
    "tecogan_all_pairs": "tof_tecogan_all_pairs",
    "uint8_gray_no_crop_all_pairs": "tof_u8_uncropped",
    "float_gray_no_crop_all_pairs": "tof_bf_stvsr",
}
TLP = {"x100_no_crop_all_pairs": "tlp_uncropped", "x100_crop_8x8_all_pairs": "tlp_crop_8x8"}


@contextmanager
def weights_of(golden: Golden) -> Iterator[None]:
    """Let metrics load the seeded weights of the set."""
    with patch.object(service, "load_weight", lambda weight: golden.weights(WEIGHTS[weight])):
        yield


@lru_cache(maxsize=16)
def ready(golden: Golden, metric: str) -> Metric:
    """A metric with the weights of the set."""
    scorer = build_metric(CATALOG[metric])
    with weights_of(golden):
        scorer.setup("cpu")
    return scorer


def batches(golden: Golden, clip: str, kind: str) -> Iterator[FrameBatch]:
    """A pair of clips, two frames at a time."""
    pred, gt = golden.clip(f"{clip}.{kind}"), golden.clip(f"{clip}.gt")
    for begin in range(0, len(pred), 2):
        end = min(begin + 2, len(pred))
        yield FrameBatch(pred[begin:end], gt[begin:end], range(begin, end), clip=clip)


@lru_cache(maxsize=64)
def scored(golden: Golden, clip: str, kind: str, metric: str) -> MetricResult:
    """One metric on one pair of clips."""
    scorer = ready(golden, metric)
    scorer.start(clip, len(golden.clip(f"{clip}.gt")))
    for batch in batches(golden, clip, kind):
        scorer.update(batch)
    return scorer.compute()


def by_name(ids: dict[str, str]) -> Callable[[Golden, re.Match[str]], dict[str, Any]]:
    """Compute the metric that the file calls by the last group of the pattern."""

    def compute(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
        result = scored(golden, match[1], match[2], ids[match[3]])
        assert result.n == len(result.values)
        return {"per_frame": list(result.values), "mean": result.value}

    return compute


def change(golden: Golden, match: re.Match[str]) -> list[float]:
    """LPIPS of every pair of frames of one side of a clip."""
    scorer = ready(golden, "tlp_uncropped")
    assert isinstance(scorer, Tlp)
    found: list[float] = []
    previous = None
    for batch in batches(golden, match[1], match[2]):
        found += scorer.changes(batch, previous, "gt" if match[3] == "lp_gt" else "pred")
        previous = batch.tail()
    return found


def flow_differences(golden: Golden, match: re.Match[str]) -> list[float]:
    """Mean size of the components of the difference of flows, for every pair."""
    scorer = ready(golden, "flolpips")
    assert isinstance(scorer, FloLpips)
    found: list[float] = []
    previous = None
    for batch in batches(golden, match[1], match[2]):
        found += [float(d.abs().double().mean()) for d in scorer.flow_differences(batch, previous)]
        previous = batch.tail()
    return found


def triplets(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """FloLPIPS of the odd frames between their true neighbours."""
    scorer = ready(golden, "flolpips")
    assert isinstance(scorer, FloLpips)
    pred, gt = golden.clip(f"{match[1]}.{match[2]}"), golden.clip(f"{match[1]}.gt")
    values = [scorer.triplet(gt[t - 1], gt[t + 1], pred[t], gt[t]) for t in range(1, len(gt) - 1, 2)]
    return {"per_frame": values, "mean": math.fsum(values) / len(values)}


def _flows(golden: Golden, name: str) -> torch.Tensor:
    return golden.flows[name].permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def masks(golden: Golden, clip: str) -> list[torch.Tensor]:
    """Occlusion by our rule from the stored flows; it may differ from the stored mask in 0.05 % of the pixels."""
    forward, backward = _flows(golden, f"{clip}.fw_flow"), _flows(golden, f"{clip}.bw_flow")
    found = [occluded(f[None], b[None]) for f, b in zip(forward, backward, strict=True)]
    stored = golden.flows[f"{clip}.occ"].bool()
    off = [float((a != b).float().mean()) for a, b in zip(found, stored, strict=True)]
    assert max(off) <= 5e-4, f"{clip}: masks differ in up to {max(off):.3%} of the pixels"
    return found


def lai(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """Lai's warping error with the stored flows and masks."""
    frames = golden.clip(f"{match[1]}.{match[2]}").permute(0, 2, 3, 1).contiguous()
    flows = golden.flows[f"{match[1]}.fw_flow"]
    hidden = golden.flows[f"{match[1]}.occ"].bool()
    values, own = (
        [lai_error(frames[t], frames[t + 1], flow, mask[t]) for t, flow in enumerate(flows)]
        for mask in (hidden, masks(golden, match[1]))
    )
    assert all(abs(a - b) <= 1e-3 * a for a, b in zip(values, own, strict=True))
    return {"per_frame": values, "mean": math.fsum(values) / len(values)}


def ewarp(golden: Golden, match: re.Match[str]) -> float:
    """E* from the stored half-size flows."""
    frames = [halved(frame[None]) for frame in golden.clip(f"{match[1]}.{match[2]}").float().div(255)]
    forward, backward = (_flows(golden, f"{match[1]}.{match[2]}.half_{way}_flow") for way in ("fw", "bw"))
    values = [
        warping_error(frames[t], frames[t + 1], f[None], occluded(f[None], b[None]))
        for t, (f, b) in enumerate(zip(forward, backward, strict=True))
    ]
    return 1000 * math.fsum(values) / len(values)


def still(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """VBench temporal flickering: mean difference of every pair, and the score."""
    frames = golden.clip(f"{match[1]}.{match[2]}")
    values = flickering(frames[:-1], frames[1:])
    score = scored(golden, match[1], match[2], "vbench_temporal_flickering").value
    return {"mae": [255 * (1 - value) for value in values], "score": score}


def _at(tensor: torch.Tensor, text: str) -> list[float]:
    """``tensor`` at places written as ``0,:,1,2``."""
    place = tuple(slice(None) if part == ":" else int(part) for part in text.split(","))
    values: list[float] = tensor[place].tolist()
    return values


def background(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """VBench background consistency from seeded features, and what CLIP is shown of the ground truth."""
    shown = clip_input(golden.clip(f"{match[1]}.gt"))
    random = np.random.RandomState(golden.expected["meta"]["seed"])
    features = torch.from_numpy(random.standard_normal((len(shown), 64)).astype(np.float32) * 0.3 + 1)
    values = [consistency(features[0], a, b) for a, b in pairwise(features)]
    found: dict[str, Any] = {"score": math.fsum(values) / len(values)}
    for name in golden.expected["videos"][match[1]]["vbench_bc"]:
        if name == "clip_input_shape":
            found[name] = list(shown.shape)
        elif name in ("clip_input_mean", "clip_input_std"):
            channels = shown.double().permute(1, 0, 2, 3).flatten(1)
            found[name] = (channels.mean(1) if name.endswith("mean") else channels.std(1)).tolist()
        elif name.startswith("clip_input_probe"):
            found[name] = [_at(shown, place) for place in re.findall(r"\[([^\]]+)\]", name)]
    return found


def pwc_flow(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """PWC-Net's flow from the first true frame to the second; every pixel is compared with the stored one."""
    with weights_of(golden):
        network = PwcFlow("pwcnet/default", torch.device("cpu"))
    first, second = golden.clip(f"{match[1]}.gt")[:2, None].float().div(255)
    flow = full_flow(network.between(first, second), *first.shape[-2:])
    off = float((flow[0] - golden.flows[f"{match[1]}.pwc_flow_gt_0_1"]).abs().max())
    assert off <= 2e-3, f"{match[1]}: flow differs by up to {off:.2g} px"
    found: dict[str, Any] = {"shape": list(flow.shape)}
    for name, component in (("u", flow[0, 0].double()), ("v", flow[0, 1].double())):
        found[f"mean_{name}"] = float(component.mean())
        found[f"std_{name}"] = float(component.std())
    for name in golden.expected["videos"][match[1]]["pwc_flow_gt_0_1"]:
        if name.startswith("probe_uv_at"):
            found[name] = [_at(flow, f"0,:,{place}") for place in re.findall(r"\[([^\]]+)\]", name)]
    return found


def _flolpips(value: float) -> float:
    return 1e-4 * abs(value) + 1e-6


def _lpips(value: float) -> float:
    return max(1e-6, 1e-4 * abs(value))


def _relative(value: float) -> float:
    return 1e-5 * abs(value)


_PAIR = r"pairs/(.+)/(bic|blend|gt)"
_VIDEO = r"videos/([^/]+)"
CLAIMS: list[Claim] = [
    *(Claim(rf"{_PAIR}/tof/({name})", by_name(TOF), 1e-4) for name in TOF),
    *(Claim(rf"{_PAIR}/tlp/({name})", by_name(TLP), 1e-4) for name in TLP),
    Claim(rf"{_PAIR}/tlp/(lp_gt|lp_out)", change, _lpips),
    Claim(rf"{_PAIR.replace('|gt', '')}/flolpips/(video_mode)", by_name({"video_mode": "flolpips"}), _flolpips),
    Claim(rf"{_PAIR}/flolpips/flow_diff_abs_mean", flow_differences, 2e-3),
    Claim(rf"{_PAIR}/flolpips/triplet_mode_odd_frames", triplets, _flolpips),
    Claim(rf"{_PAIR}/tecogan_script/(tOF)", by_name({"tOF": "tof_tecogan"}), 1e-4),
    Claim(rf"{_PAIR}/tecogan_script/(tLP100)", by_name({"tLP100": "tlp_tecogan"}), 1e-4),
    Claim(rf"{_PAIR}/xvfi_script/(tOF)", by_name({"tOF": "tof_xvfi"}), 1e-4),
    Claim(rf"{_VIDEO}/pwc_flow_gt_0_1", pwc_flow, 2e-3),
    Claim(
        rf"{_VIDEO}/warp/occluded_fraction",
        lambda golden, match: [float(mask.double().mean()) for mask in masks(golden, match[1])],
        5e-4,
    ),
    Claim(rf"{_VIDEO}/warp/lai_gt_flow/(gt|bic|blend)", lai, _relative),
    Claim(rf"{_VIDEO}/warp/ewarp_star_evalcrafter_x1000/(gt|bic|blend)", ewarp, lambda value: 1e-4 * abs(value)),
    Claim(rf"{_VIDEO}/warp/vbench_tf/(gt|bic|blend)/mae", lambda g, m: still(g, m)["mae"], 255e-7),
    Claim(rf"{_VIDEO}/warp/vbench_tf/(gt|bic|blend)/score", lambda g, m: still(g, m)["score"], 1e-7),
    Claim(rf"{_VIDEO}/vbench_bc/score", lambda g, m: background(g, m)["score"], 1e-6),
    Claim(
        rf"{_VIDEO}/vbench_bc/(clip_input_[^/]+)",
        lambda g, m: background(g, m)[m[2]],
        lambda value: 1e-5 * max(1.0, abs(value)),
    ),
]
