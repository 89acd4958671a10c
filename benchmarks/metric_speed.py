"""How fast clips are scored: the suite beside the usual way, one metric after another, in turns in one run.

    python benchmarks/metric_speed.py GT [OPTION=VALUE …]

GT is a folder of frames or a video; the output that is scored is its bicubic ×4 down-up version. Options:

    frames=N                only the first N frames
    repeats=2               measured rounds of each way, of which the best counts
    threads=1               CPU threads of torch and OpenCV; 0 takes all
    set=main|more|fast      PSNR, SSIM, LPIPS, tOF, tLP and Lai's warping error; with DISTS and FloLPIPS; group fast
    device=cpu|cuda:N       where the suite runs; the usual way is only measured on the CPU
    json=PATH               write the figures there as well

The usual way: pyiqa's PSNR and SSIM (Y) with their defaults, the lpips package, OpenCV's Farneback flow twice for tOF,
lpips again twice for tLP, Farneback forward and backward with Lai's mask and torch's grid_sample for the warping error,
pyiqa's DISTS, and for FloLPIPS the flow network (here the suite's own PWC-Net: its published form needs CUDA) on every
pair with lpips' layers. Each opens the frames it is given in memory; decoding is not counted for either way. Published
parameters, except PWC-Net's, which PyPI does not carry: seeded ones of the same size, the same for both.

The suite is measured three times: alone, filling the store of ground-truth features, and reading from it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.metrics.base import FrameBatch, Metric, build_metric
from stvsr_bench.metrics.catalog import CATALOG, find_metric
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.video.reading import open_clip
from stvsr_bench.weights.service import load_weight

MAIN = ("psnr", "ssim", "lpips", "tof", "tlp", "warp")
MORE = (*MAIN, "dists", "flolpips")
IDS = {
    "psnr": "psnr_rgb_pyiqa",
    "ssim": "ssim_pyiqa",
    "lpips": "lpips_alex_v0.1",
    "tof": "tof_tecogan_all_pairs",
    "tlp": "tlp_uncropped",
    "warp": "warping_error_lai",
    "dists": "dists",
    "flolpips": "flolpips",
}
"""The suite's ids of what the usual way computes."""
TOLERANCE = {"psnr": 1e-3, "ssim": 1e-6, "lpips": 1e-6, "tof": 1e-4, "tlp": 1e-4, "dists": 1e-6, "flolpips": 1e-5}
"""Accepted difference of a clip's value; the warping error is compared to 1e-3 of itself (a few mask pixels flip)."""
BATCH = 2


class UsualWay:
    """What people run today, each metric on its own."""

    def __init__(self, names: Sequence[str], flow_network: torch.nn.Module | None) -> None:
        import lpips
        import pyiqa

        self.names = names
        self.psnr = pyiqa.create_metric("psnr", device="cpu")
        self.ssim = pyiqa.create_metric("ssim", device="cpu")
        self.lpips = lpips.LPIPS(pretrained=False, net="alex", pnet_rand=True, verbose=False).eval()
        _load_lpips(self.lpips)
        self.flow_network = flow_network
        self.dists: Any = None
        if "dists" in names:
            self.dists = _empty_dists().eval()
            _load_dists(self.dists)

    @torch.no_grad()
    def values(self, pred: torch.Tensor, gt: torch.Tensor) -> dict[str, float]:
        """The clip's value of every metric."""
        functions: dict[str, Callable[[torch.Tensor, torch.Tensor], float]] = {
            "psnr": lambda p, g: _mean(float(self.psnr(a, b)) for a, b in _float(p, g)),
            "ssim": lambda p, g: _mean(float(self.ssim(a, b)) for a, b in _float(p, g)),
            "lpips": lambda p, g: _mean(float(self.lpips(2 * a - 1, 2 * b - 1)) for a, b in _float(p, g)),
            "tof": _tof,
            "tlp": self._tlp,
            "warp": _warping_error,
            "dists": lambda p, g: _mean(float(self.dists(a, b)) for a, b in _float(p, g)),
            "flolpips": self._flolpips,
        }
        return {name: functions[name](pred, gt) for name in self.names}

    def _tlp(self, pred: torch.Tensor, gt: torch.Tensor) -> float:
        def change(frames: torch.Tensor) -> list[float]:
            scaled = frames.float() / 127.5 - 1
            return [float(self.lpips(a[None], b[None])) for a, b in pairwise(scaled)]

        return _mean(100 * abs(a - b) for a, b in zip(change(gt), change(pred), strict=True))

    def _flolpips(self, pred: torch.Tensor, gt: torch.Tensor) -> float:
        assert self.flow_network is not None
        total = []
        p, g = pred.float() / 255, gt.float() / 255
        for t in range(len(gt) - 1):
            difference = self.flow_network(g[t : t + 1], g[t + 1 : t + 2]) - self.flow_network(
                p[t : t + 1], p[t + 1 : t + 2]
            )
            a, b = (self.lpips.net(self.lpips.scaling_layer(2 * x - 1)) for x in (p[t : t + 1], g[t : t + 1]))
            score = 0.0
            for layer in range(5):
                u, v = (x[layer] / (x[layer].square().sum(1, keepdim=True).sqrt() + 1e-10) for x in (a, b))
                distance = self.lpips.lins[layer].model((u - v) ** 2)
                small = F.interpolate(difference, distance.shape[2:], mode="bilinear", align_corners=False)
                size = small.square().sum(1, keepdim=True).sqrt()
                score += float((distance * size / size.sum()).sum())
            total.append(score)
        return _mean(total)


def _float(pred: torch.Tensor, gt: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(p[None].float() / 255, g[None].float() / 255) for p, g in zip(pred, gt, strict=True)]


def _mean(values: Any) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


def _gray(frames: torch.Tensor) -> list[np.ndarray]:
    return [cv2.cvtColor(np.ascontiguousarray(f.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY) for f in frames]


def _farneback(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload, no-any-return]


def _crop_8x8(flow: np.ndarray) -> np.ndarray:
    def side(length: int) -> tuple[int, int]:
        size = length // 32 * 32
        while size > length - 16:
            size -= 32
        return (length - size) // 2, size

    (y, h), (x, w) = side(flow.shape[0]), side(flow.shape[1])
    return flow[y : y + h, x : x + w]


def _tof(pred: torch.Tensor, gt: torch.Tensor) -> float:
    p, g = _gray(pred), _gray(gt)
    return _mean(
        float(
            np.linalg.norm(_crop_8x8(_farneback(g[t], g[t + 1])) - _crop_8x8(_farneback(p[t], p[t + 1])), axis=2).mean()
        )
        for t in range(len(g) - 1)
    )


def _warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = torch.stack([2 * (x + flow[:, 0]) / (width - 1) - 1, 2 * (y + flow[:, 1]) / (height - 1) - 1], -1)
    return F.grid_sample(image, at, padding_mode="border", align_corners=True)


def _occluded(forward: torch.Tensor, backward: torch.Tensor) -> torch.Tensor:
    warped = _warp(backward, forward)
    mismatch = (warped + forward).square().sum(1) > 0.01 * (warped.square() + forward.square()).sum(1) + 0.5
    right = F.pad(forward[..., 1:] - forward[..., :-1], (0, 1)).square().sum(1)
    down = F.pad(forward[..., 1:, :] - forward[..., :-1, :], (0, 0, 0, 1)).square().sum(1)
    return mismatch | (right + down > 0.01 * forward.square().sum(1) + 0.002)


def _warping_error(pred: torch.Tensor, gt: torch.Tensor) -> float:
    gray, errors = _gray(gt), []
    frames = pred.float() / 255
    for t in range(len(gray) - 1):
        forward, backward = (
            torch.from_numpy(_farneback(gray[a], gray[b])).permute(2, 0, 1)[None] for a, b in ((t, t + 1), (t + 1, t))
        )
        visible = (~_occluded(forward, backward)).float()[:, None].expand(1, 3, -1, -1)
        difference = (_warp(frames[t + 1 : t + 2], forward) - frames[t : t + 1]).square() * visible
        errors.append(float(difference.sum() / visible.sum()))
    return _mean(errors)


def _load_lpips(package: torch.nn.Module) -> None:
    state = package.state_dict()
    trunk, heads = load_weight("lpips/alexnet"), load_weight("lpips/heads_alex")
    for name in state:
        last = name.split(".")[-1]
        if name.startswith("net."):
            state[name] = trunk[f"features.{name.split('.')[2]}.{last}"]
        elif name.startswith("lin"):
            index = name.split(".")[1] if name.startswith("lins") else name[3]
            state[name] = heads[f"lin{index}.model.1.weight"]
    package.load_state_dict(state)


def _empty_dists() -> torch.nn.Module:
    """DISTS of pyiqa, without the download of VGG16 that its constructor makes."""
    from unittest.mock import patch

    import torchvision

    plain = torchvision.models.vgg16
    with patch.object(torchvision.models, "vgg16", lambda **_: plain(weights=None)):
        from pyiqa.archs.dists_arch import DISTS

        return DISTS(pretrained=False)  # type: ignore[no-any-return]


def _load_dists(package: torch.nn.Module) -> None:
    state = package.state_dict()
    trunk, ends = load_weight("lpips/vgg16"), load_weight("dists/alpha_beta")
    for name in state:
        parts = name.split(".")
        if name in ends:
            state[name] = ends[name]
        elif parts[0].startswith("stage") and parts[-1] in ("weight", "bias"):
            state[name] = trunk[f"features.{parts[1]}.{parts[-1]}"]
    package.load_state_dict(state)


def suite(
    metrics: Sequence[Metric], pred: torch.Tensor, gt: torch.Tensor, device: str, store: FeatureStore | None
) -> dict[str, float | None]:
    """Score a clip with the suite."""
    for metric in metrics:
        metric.start("clip", len(pred))
    for begin in range(0, len(pred), BATCH):
        end = min(begin + BATCH, len(pred))
        batch = FrameBatch(pred[begin:end], gt[begin:end], range(begin, end), device, "clip", store)
        for metric in metrics:
            metric.update(batch)
    return {metric.info.id: metric.compute().value for metric in metrics}


def _seeded_flow() -> dict[str, torch.Tensor]:
    from stvsr_bench.nn.pwcnet import PwcNet
    from stvsr_bench.nn.seeded import seed_parameters

    network = PwcNet()
    seed_parameters(network, "benchmark")
    return network.state_dict()


def _use_seeded_flow(tensors: dict[str, torch.Tensor]) -> None:
    """Let FloLPIPS read seeded parameters; PyPI does not carry the published ones."""
    from stvsr_bench.weights import service

    load = service.load_weight

    def seeded(weight: str, *rest: Any) -> dict[str, torch.Tensor]:
        return tensors if "pwc" in weight else load(weight, *rest)

    service.load_weight = seeded


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found = {"frames": "0", "repeats": "2", "threads": "1", "set": "main", "device": "cpu", "json": ""}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in found:
            sys.exit(f"unknown option {key!r}; known: {', '.join(found)}")
        found[key] = value
    return found


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def main(path: str, *arguments: str) -> None:
    """Measure and print."""
    options = _options(arguments)
    threads = int(options["threads"]) or os.cpu_count() or 1
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    clip = open_clip(Path(path))
    gt = clip[: int(options["frames"]) or len(clip)]
    pred = imresize(imresize(gt, Fraction(1, 4)), output_size=(clip.height, clip.width))
    device, repeats = options["device"], int(options["repeats"])
    fast = options["set"] == "fast"
    names = {"main": MAIN, "more": MORE, "fast": ()}[options["set"]]
    if fast:
        from stvsr_bench.metrics.groups import group_ids

        infos = [find_metric(name) for name in group_ids("fast")]
    else:
        infos = [CATALOG[IDS[name]] for name in names]
    network = None
    if "flolpips" in names:
        from stvsr_bench.nn.pwcnet import PwcNet

        tensors = _seeded_flow()
        _use_seeded_flow(tensors)
        network = PwcNet().eval()
        network.load_state_dict(tensors)
    metrics = [build_metric(info) for info in infos]
    for metric in metrics:
        metric.setup(device)
    usual = UsualWay(names, network) if names and device == "cpu" else None
    best: dict[str, float] = {}
    theirs: dict[str, float] = {}
    ours: dict[str, float | None] = {}

    def keep(name: str, seconds: float) -> None:
        best[name] = min(seconds, best.get(name, math.inf))

    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats):
            if usual is not None:
                seconds, theirs = _timed(lambda: usual.values(pred, gt))
                keep("usual way", seconds)
            seconds, ours = _timed(lambda: suite(metrics, pred, gt, device, None))
            keep("suite", seconds)
            with FeatureStore(Path(folder) / str(turn)) as store:
                seconds, filled = _timed(lambda s=store: suite(metrics, pred, gt, device, s))  # type: ignore[misc]
                keep("suite, filling the store", seconds)
            with FeatureStore(Path(folder) / str(turn)) as store:
                seconds, cached = _timed(lambda s=store: suite(metrics, pred, gt, device, s))  # type: ignore[misc]
                keep("suite, ground truth stored", seconds)
            assert filled == cached == ours, "the store changed a value"
    shape = f"{len(gt)} frames of {clip.width}×{clip.height}"
    print(f"{shape}, {device}, {threads} thread(s), {platform.processor() or platform.machine()}, best of {repeats}")
    for name, seconds in best.items():
        ratio = f"{best['usual way'] / seconds:6.2f}×" if "usual way" in best else ""
        print(f"  {name:28s} {seconds:8.2f} s {len(gt) / seconds:8.2f} frames/s {ratio}")
    for name in names if usual is not None else ():
        mine, other = ours[IDS[name]], theirs[name]
        accepted = TOLERANCE.get(name, 1e-3 * other)
        assert mine is not None
        print(f"  {name:10s} usual {other:.7f}, suite {mine:.7f}, difference {abs(mine - other):.1e}")
        if abs(mine - other) > accepted:
            sys.exit(f"{name}: the two ways differ by more than {accepted:.1e}")
    if options["json"]:
        Path(options["json"]).write_text(json.dumps({"shape": shape, "threads": threads, "seconds": best}, indent=1))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
