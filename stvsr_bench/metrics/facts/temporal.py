"""Metrics of motion and of change over time."""

from __future__ import annotations

from typing import Any

from stvsr_bench.metrics.info import MEAN_PAIRS, MetricInfo

_FARNEBACK = "Farneback flow (0.5, 3 levels, window 15, 3 iterations, poly 5/1.2) of whole frames"
_NORM = "mean over pixels of the Euclidean length of flow(gt) − flow(output)"
_U8 = "OpenCV gray rounded to 8 bits"
_FLOAT = "OpenCV gray of float RGB, not rounded"
_CROP = "TecoGAN's crop_8x8 (multiples of 32, at least 16 pixels less)"
_SCRIPT = "frames as TecoGAN's script: the first pair is (3rd, 4th) and the last but two frames end it, N − 5 pairs"
_POOLED = "the reference takes one mean over the pairs of all clips, the mean over clips here weighs clips alike"
_LPIPS = ("lpips/alexnet", "lpips/heads_alex")
_LPIPS_LICENCE = "heads BSD-2-Clause (lpips); trunk BSD-3-Clause (torchvision), trained on ImageNet"


def _pairs(entry: str, identifier: str, title: str, conventions: str, **more: Any) -> MetricInfo:
    return MetricInfo(
        **{
            "id": identifier,
            "version": 1,
            "title": title,
            "conventions": f"{conventions}; {MEAN_PAIRS}",
            "higher_is_better": False,
            "reference": "full",
            "level": "pair",
            "entry": f"stvsr_bench.metrics.{entry}",
            "min_frames": 2,
            **more,
        }
    )


def _tof(identifier: str, title: str, conventions: str, source: str, **more: Any) -> MetricInfo:
    side = 48 if more["params"].get("crop") else 1
    return _pairs(
        "tof:Tof",
        identifier,
        title,
        conventions,
        unit="px/frame",
        min_height=side,
        min_width=side,
        source=f"Chu et al. 2020 (arXiv:1811.09393); {source}; OpenCV 5 (other versions may differ by 0.5 %)",
        **more,
    )


def _tlp(identifier: str, title: str, frames: str, crop: bool, **more: Any) -> MetricInfo:
    side = 48 if crop else 31
    return _pairs(
        "tlp:Tlp",
        identifier,
        title,
        f"100 |LP(gt t, gt t+1) − LP(output t, output t+1)|, LP = LPIPS v0.1 AlexNet on {frames}",
        unit="×100",
        params={"crop": crop},
        min_height=side,
        min_width=side,
        weights=_LPIPS,
        licence=f"Apache-2.0; {_LPIPS_LICENCE}",
        source="Chu et al. 2020 (arXiv:1811.09393), TecoGAN metrics.py; package lpips 0.1.4",
        **more,
    )


def _flolpips(identifier: str, title: str, flow: str, network: str, side: int, weight: str, **more: Any) -> MetricInfo:
    return _pairs(
        "flolpips:FloLpips",
        identifier,
        title,
        "LPIPS v0.1 AlexNet of frame t, each layer's mean over space weighted by the size of flow(gt t → t+1) − "
        f"flow(output t → t+1) of {network}; the last frame has no value of its own; where the flows are equal every "
        "place counts the same, so identical clips give 0 (0/0 in the reference)",
        unit="0-1",
        params={"flow": flow},
        min_height=side,
        min_width=side,
        weights=(*_LPIPS, weight),
        **more,
    )


def _ewarp(identifier: str, title: str, scale: str, shown: str) -> MetricInfo:
    return _pairs(
        "warping_error:EWarp",
        identifier,
        title,
        f"1000 × squared difference of frame t+1 warped to t and frame t, RGB in 0-1, summed over channels, mean over "
        f"the pixels that are not occluded (Lai's rule); RAFT-things flow of the output itself, 20 updates, {shown}; "
        "frames halved (bilinear, not antialiased) and extended to multiples of 8, which stay; a static clip gives 0, "
        "so it is no quality score",
        unit="×1e-3",
        reference="none",
        params={"scale": scale},
        min_height=242,
        min_width=242,
        weights=("raft/things",),
        licence="Apache-2.0; RAFT BSD-3-Clause",
        source="Lai et al. 2018 (arXiv:1808.00449); EvalCrafter's compute_video_warping_error × 1000, which follow-ups "
        "of Upscale-A-Video and DOVE circulate as ewarp.py",
    )


FACTS = (
    _tof(
        "tof_tecogan",
        "tOF (TecoGAN)",
        f"{_U8}; {_FARNEBACK}, then {_CROP}; {_NORM}; {_SCRIPT}",
        "TecoGAN metrics.py",
        params={"rounded": True, "crop": True},
        skip=(2, 2),
    ),
    _tof(
        "tof_tecogan_all_pairs",
        "tOF (TecoGAN, all pairs)",
        f"{_U8}; {_FARNEBACK}, then {_CROP}; {_NORM}; every pair, not the script's range",
        "TecoGAN metrics.py",
        params={"rounded": True, "crop": True},
        aliases=("tof",),
    ),
    _tof(
        "tof_u8_uncropped",
        "tOF (uncropped)",
        f"{_U8}; {_FARNEBACK}, no crop; {_NORM}",
        "TecoGAN metrics.py without its crop and range",
        params={"rounded": True},
    ),
    _tof(
        "tof_bf_stvsr",
        "tOF (BF-STVSR)",
        f"{_FLOAT}; {_FARNEBACK}, no crop; {_NORM}; {_POOLED}",
        "BF-STVSR (XVFI's formula on all pairs)",
        params={"rounded": False},
    ),
    _tof(
        "tof_xvfi",
        "tOF (XVFI)",
        f"{_FLOAT}; {_FARNEBACK}, no crop; {_NORM}; all pairs but the last, and the first pair takes the output's "
        f"first frame for the ground truth's too, as the script does; {_POOLED}",
        "XVFI metrics_evaluation_X_Test",
        params={"rounded": False, "first_from_prediction": True},
        skip=(0, 1),
    ),
    _tlp("tlp_uncropped", "tLP", "whole frames", False, aliases=("tlp",)),
    _tlp("tlp_crop_8x8", "tLP (crop_8x8)", f"frames cut by {_CROP}; every pair", True),
    _tlp("tlp_tecogan", "tLP (TecoGAN)", f"frames cut by {_CROP}; {_SCRIPT}", True, skip=(2, 2)),
    _flolpips(
        "flolpips",
        "FloLPIPS",
        "pwcnet",
        "PWC-Net (pytorch-pwc, fed RGB)",
        31,
        "pwcnet/default",
        licence=f"Apache-2.0; PWC-Net CC BY-NC-SA 4.0 (non-commercial); {_LPIPS_LICENCE}",
        source="Danier et al. 2022 (arXiv:2207.08119), its video form without the round trip through 8-bit yuv420p",
        aliases=("flolpips_pwcnet",),
    ),
    _flolpips(
        "flolpips_raft",
        "FloLPIPS (RAFT)",
        "raft",
        "RAFT (torchvision large, C_T_SKHT_V2, 12 updates): another metric than flolpips, not comparable",
        121,
        "raft/large",
        licence=f"Apache-2.0; RAFT BSD-3-Clause (torchvision); {_LPIPS_LICENCE}",
        source="FloLPIPS (arXiv:2207.08119) with a flow network of free licence; no paper prints it",
    ),
    _pairs(
        "warping_error:LaiWarpingError",
        "warping_error_lai",
        "Warping error (Lai, GT flow)",
        "output frame t+1 warped to t along the ground truth's flow, RGB in 0-1, squared difference, mean over the "
        "samples that are not occluded (forward-backward rule and motion boundaries, from the ground truth); "
        f"{_U8}; {_FARNEBACK} in place of FlowNet2, whose parameters are not available, so no paper's number is met",
        unit="squared 0-1",
        source="Lai et al. 2018 (arXiv:1808.00449), evaluate_WarpError.py",
        aliases=("warping_error",),
    ),
    _ewarp("ewarp_evalcrafter", "E*warp (as circulated)", "unit", "shown frames in 0-1 where it expects 0-255"),
    _ewarp("ewarp_fixed", "E*warp (corrected)", "byte", "shown frames in 0-255 as it expects"),
    _pairs(
        "temporal_flickering:TemporalFlickering",
        "vbench_temporal_flickering",
        "VBench temporal flickering",
        "8-bit RGB; (255 − mean |frame t+1 − frame t|) / 255 over all samples of a pair; motion lowers it and blur or "
        "repeated frames raise it, so it is no quality score on moving video",
        unit="0-1",
        higher_is_better=True,
        reference="none",
        source="VBench (arXiv:2311.17982), temporal_flickering.py; sums are exact here, float32 there (about 1e-7)",
        aliases=("temporal_flickering",),
    ),
    _pairs(
        "background_consistency:BackgroundConsistency",
        "vbench_background_consistency",
        "VBench background consistency",
        "CLIP ViT-B/32 features in float32 of frames resized to 224 (shorter side, bicubic, not antialiased), middle "
        "224×224; mean of the cosines to the frame before and to the first frame, negative ones as 0; the whole clip, "
        f"not pieces of 2 s; {_POOLED}",
        unit="0-1",
        higher_is_better=True,
        reference="none",
        weights=("vbench/clip_vit_b32",),
        licence="Apache-2.0; CLIP MIT",
        source="VBench (arXiv:2311.17982), background_consistency.py",
        aliases=("background_consistency",),
    ),
)
