"""Learned distances between frames."""

from __future__ import annotations

from stvsr_bench.metrics.info import MEAN, MetricInfo

_LPIPS_LICENCE = "Apache-2.0; heads BSD-2-Clause (lpips); trunk BSD-3-Clause (torchvision), trained on ImageNet"


def _lpips(net: str, trunk: str, minimum: int, note: str, aliases: tuple[str, ...]) -> MetricInfo:
    return MetricInfo(
        id=f"lpips_{net}_v0.1",
        version=1,
        title=f"LPIPS {'AlexNet' if net == 'alex' else 'VGG16'}",
        conventions=f"8-bit RGB scaled to [-1, 1], no resize and no border cut; {note}; unit features over channels, "
        f"weighted squared difference, mean over space, sum of five layers; {MEAN}",
        unit="0-1",
        higher_is_better=False,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.lpips:Lpips",
        params={"net": net},
        min_height=minimum,
        min_width=minimum,
        weights=(f"lpips/{trunk}", f"lpips/heads_{net}"),
        licence=_LPIPS_LICENCE,
        source="Zhang et al. 2018 (arXiv:1801.03924); package lpips 0.1.4; same numbers as pyiqa's lpips",
        aliases=aliases,
    )


def _cropped(identifier: str, title: str, frames: str, minimum: int, skip: tuple[int, int], source: str) -> MetricInfo:
    return MetricInfo(
        id=identifier,
        version=1,
        title=title,
        conventions=f"as lpips_alex_v0.1, on TecoGAN's centre crop of the frames (crop_8x8: multiples of 32, at least "
        f"16 pixels less), made before the trunk; {frames}; {MEAN}",
        unit="0-1",
        higher_is_better=False,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.lpips:Lpips",
        params={"net": "alex", "crop": "crop_8x8"},
        min_height=48,
        min_width=48,
        min_frames=minimum,
        skip=skip,
        weights=("lpips/alexnet", "lpips/heads_alex"),
        licence=_LPIPS_LICENCE,
        source=source,
    )


def _stlpips(net: str, minimum: int, trunk: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    return MetricInfo(
        id=f"stlpips_{net}",
        version=1,
        title=f"ST-LPIPS {'AlexNet' if net == 'alex' else 'VGG16'}",
        conventions=f"8-bit RGB scaled to [-1, 1], no resize and no border cut; {trunk} with blurred halvings, trained "
        f"to tolerate shifts; unit features over channels, weighted squared difference, mean over space, sum of five "
        f"layers; not comparable with LPIPS; {MEAN}",
        unit="0-1",
        higher_is_better=False,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.stlpips:StLpips",
        params={"net": net},
        min_height=minimum,
        min_width=minimum,
        weights=(f"stlpips/{net}",),
        licence="Apache-2.0; weights BSD-2-Clause (ShiftTolerant-LPIPS)",
        source="Ghildyal and Liu 2022 (arXiv:2207.13686); package stlpips_pytorch 0.0.2; same numbers as pyiqa's "
        f"{'stlpips' if net == 'alex' else 'stlpips-vgg'}",
        aliases=aliases,
    )


_DISTS = MetricInfo(
    id="dists",
    version=1,
    title="DISTS",
    conventions="8-bit RGB scaled to [0, 1], no resize and no border cut; VGG16 with L2 pooling, the frame and five "
    "layers; weighted similarity of means and of structure, population moments over the whole map, constants 1e-6; "
    f"{MEAN}",
    unit="0-1",
    higher_is_better=False,
    reference="full",
    level="frame",
    entry="stvsr_bench.metrics.dists:Dists",
    weights=("lpips/vgg16", "dists/alpha_beta"),
    licence="Apache-2.0; weights MIT (DISTS); trunk BSD-3-Clause (torchvision), trained on ImageNet",
    source="Ding et al. 2020 (arXiv:2004.07728); package DISTS_pytorch 0.1 without its demo's resize; same numbers as "
    "pyiqa's dists",
)

_NIQE_SPACES = {
    "yiq": "Y of YIQ (0.299R + 0.587G + 0.114B, full range), rounded to 8 bits",
    "gray": "OpenCV's gray (0.299R + 0.587G + 0.114B, full range), rounded to 8 bits",
    "y": "Y of MATLAB BT.601 (16 + 65.481R + 128.553G + 24.966B, RGB in 0-1), rounded to 8 bits",
}
_NIQE_FORMS = {
    "pyiqa": ("float64 with a float32 window", "pyiqa 0.1.16 niqe"),
    "basicsr": ("float32", "BasicSR 1.4.2 calculate_niqe"),
}


def _niqe(form: str, space: str, crop: int, note: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    rounding, code = _NIQE_FORMS[form]
    return MetricInfo(
        id=f"niqe_{form}_{space}" + (f"_crop{crop}" if crop else ""),
        version=1,
        title=f"NIQE {space.upper()} ({form}{f', crop {crop}' if crop else ''})",
        conventions=f"{_NIQE_SPACES[space]}; {f'{crop} pixels cut off every side' if crop else 'no border cut'}; "
        "blocks of 96×96 pixels at full and at half size, what is over at the right and below is left out, no choice "
        "of sharp blocks; "
        f"distance from the pristine model of natural images; {rounding}, which flat areas show; {MEAN}",
        unit="distance",
        higher_is_better=False,
        reference="none",
        level="frame",
        entry="stvsr_bench.metrics.niqe:Niqe",
        params={"space": {"y": "ycbcr_rounded"}.get(space, f"{space}_rounded"), "crop": crop, "form": form},
        min_height=96 + 2 * crop,
        min_width=192 + 2 * crop,
        weights=("niqe/pristine",),
        licence="Apache-2.0; pristine model Apache-2.0 (BasicSR)",
        source=f"Mittal et al. 2013 (doi:10.1109/LSP.2012.2227726); {code}, {note}",
        aliases=aliases,
    )


FACTS = (
    _lpips("alex", "alexnet", 31, "AlexNet, what papers print as LPIPS", ("lpips", "lpips_alex")),
    _lpips("vgg", "vgg16", 16, "VGG16, usually a training loss; not comparable with AlexNet", ("lpips_vgg",)),
    _cropped(
        "lpips_crop_8x8",
        "LPIPS AlexNet (crop_8x8)",
        "all frames",
        1,
        (0, 0),
        "TecoGAN metrics.py without its choice of frames; package lpips 0.1.4",
    ),
    _cropped(
        "lpips_tecogan",
        "LPIPS (TecoGAN)",
        "first and last two frames left out",
        5,
        (2, 2),
        "TecoGAN metrics.py, unmodified: frames 2 … N − 3; package lpips 0.1.4",
    ),
    _stlpips("alex", 21, "an AlexNet", ("stlpips",)),
    _stlpips("vgg", 18, "a VGG16"),
    _DISTS,
    _niqe("pyiqa", "yiq", 0, "its default", ("niqe", "niqe_pyiqa")),
    _niqe("pyiqa", "y", 0, 'color_space="ycbcr"', ("niqe_pyiqa_ycbcr",)),
    _niqe("pyiqa", "y", 4, 'color_space="ycbcr", crop_border=4', ("niqe_pyiqa_ycbcr_crop4",)),
    _niqe("basicsr", "y", 0, "its default", ("niqe_basicsr",)),
    _niqe("basicsr", "y", 4, "crop_border=4"),
    _niqe("basicsr", "gray", 0, 'convert_to="gray"'),
)
