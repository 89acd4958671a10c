"""PSNR and SSIM: every variant that papers and their codes print."""

from __future__ import annotations

from typing import Any

from stvsr_bench.metrics.info import MEAN, MetricInfo

_SPACES = {
    "rgb": "8-bit RGB, the three channels together",
    "y": "Y of MATLAB BT.601 (16 + 65.481R + 128.553G + 24.966B, RGB in 0-1), float, not rounded",
    "yiq": "Y of YIQ (0.299R + 0.587G + 0.114B, full range), not rounded",
    "yiq_rounded": "Y of YIQ (0.299R + 0.587G + 0.114B, full range), rounded to 8 bits",
    "ycbcr_rounded": "Y of BT.601 (16 … 235), rounded to 8 bits",
    "dove_y": "0.257R + 0.504G + 0.098B + 0.0625 (RGB in 0-1), float, not rounded",
    "dove_y_rounded": "0.257R + 0.504G + 0.098B + 0.0625 (RGB in 0-1), rounded to 8 bits",
}
_FLOOR = "10 log10(1 / (MSE + 1e-8)) on 0-1, so identical frames give 80 dB"
_WINDOW = "11×11 Gaussian window, sigma 1.5, valid part only, population moments; K 0.01 and 0.03, data range 255"
_CROP_8X8 = "centre crop of TecoGAN (crop_8x8: multiples of 32, at least 16 pixels less)"
_UNIFORM = "7×7 uniform window, sample covariance, K 0.01 and 0.03, data range = maximum − minimum of the output's Y"
_PYIQA = "pyiqa 0.1.16; the arithmetic here is our own"


def _border(crop: int) -> str:
    return f"{crop} pixels cut off every side" if crop else "no border cut"


def _fact(entry: str, identifier: str, title: str, conventions: str, side: int, **more: Any) -> MetricInfo:
    psnr = "Psnr" in entry
    return MetricInfo(
        **{
            "id": identifier,
            "version": 1,
            "title": title,
            "conventions": conventions,
            "unit": "dB" if psnr else "0-1",
            "higher_is_better": True,
            "reference": "full",
            "level": "frame",
            "entry": f"stvsr_bench.metrics.{'psnr' if psnr else 'ssim'}:{entry}",
            "min_height": side,
            "min_width": side,
            **more,
        }
    )


def _psnr(space: str, crop: int, *, suffix: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    return _fact(
        "Psnr",
        f"psnr_{space}{suffix}",
        f"PSNR {space.upper()}" + (f" (crop {crop})" if crop else ""),
        f"{_SPACES[space]}; {_border(crop)}; 10 log10(255² / MSE); {MEAN}; identical frames give no value",
        2 * crop + 1,
        params={"space": space, "crop": crop},
        source="BasicSR calculate_psnr (crop_border, test_y_channel) and MATLAB rgb2ycbcr on doubles",
        aliases=aliases,
    )


def _ssim(space: str, crop: int, *, suffix: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    channels = {"rgb": "8-bit RGB, mean of the three channels", "y": _SPACES["y"]}[space]
    return _fact(
        "Ssim",
        f"ssim_{space}{suffix}",
        f"SSIM {space.upper()}" + (f" (crop {crop})" if crop else ""),
        f"{channels}; {_border(crop)}; {_WINDOW}; contrast-structure term not clipped; no downsampling; {MEAN}",
        2 * crop + 11,
        params={"space": space, "crop": crop},
        source="Wang et al. 2004 (doi:10.1109/TIP.2003.819861); BasicSR calculate_ssim, MATLAB ssim.m",
        aliases=aliases,
    )


def _floored(identifier: str, title: str, space: str, crop: int, source: str, **more: Any) -> MetricInfo:
    return _fact(
        "Psnr",
        identifier,
        title,
        f"{_SPACES[space]}; {_border(crop)}; {_FLOOR}; {MEAN}",
        2 * crop + 1,
        params={"space": space, "crop": crop, "floor": 1e-8},
        source=source,
        **more,
    )


def _clipped(identifier: str, title: str, space: str, crop: int, source: str, **more: Any) -> MetricInfo:
    channels = "8-bit RGB, mean of the three channels" if space == "rgb" else _SPACES[space]
    return _fact(
        "Ssim",
        identifier,
        title,
        f"{channels}; {_border(crop)}; {_WINDOW}; contrast-structure term clipped at 0; no downsampling; {MEAN}",
        2 * crop + 11,
        params={"space": space, "crop": crop, "clip": True},
        source=source,
        **more,
    )


_DOVE = "DOVE eval_metrics.py --test_y_channel, which gives this one channel to pyiqa"
_TECOGAN = "TecoGAN metrics.py, unmodified: frames 2 … N − 3"
_XVFI = "XVFI metrics_evaluation_X_Test: frames 1 … N − 2"

FACTS = (
    _psnr("rgb", 0, suffix="", aliases=("psnr_rgb_crop0",)),
    _psnr("rgb", 4, suffix="_crop4"),
    _psnr("y", 0, suffix="_crop0", aliases=("psnr_y_bt601_crop0",)),
    _psnr("y", 4, suffix="_crop4", aliases=("psnr_y_bt601_crop4",)),
    _ssim("rgb", 0, suffix="", aliases=("ssim_rgb_crop0",)),
    _ssim("rgb", 4, suffix="_crop4"),
    _ssim("y", 0, suffix="_crop0", aliases=("ssim_y_bt601_crop0",)),
    _ssim("y", 4, suffix="_crop4", aliases=("ssim_y_bt601_crop4",)),
    _floored("psnr_rgb_pyiqa", "PSNR RGB (pyiqa)", "rgb", 0, f"pyiqa psnr; {_PYIQA}", aliases=("psnr_pyiqa",)),
    _floored("psnr_yiq_pyiqa", "PSNR Y of YIQ (pyiqa)", "yiq", 0, f"pyiqa psnry; {_PYIQA}", aliases=("psnry_pyiqa",)),
    _floored(
        "psnr_y_pyiqa_crop4", "PSNR Y (pyiqa, crop 4)", "y", 4, f"pyiqa psnry, color_space=ycbcr, crop 4; {_PYIQA}"
    ),
    _clipped("ssim_pyiqa", "SSIM (pyiqa)", "yiq_rounded", 0, f"pyiqa ssim; {_PYIQA}", aliases=("ssim_yiq_pyiqa",)),
    _clipped("ssim_rgb_pyiqa", "SSIM RGB (pyiqa)", "rgb", 0, f"pyiqa ssimc; {_PYIQA}", aliases=("ssimc_pyiqa",)),
    _clipped(
        "ssim_y_pyiqa_crop4",
        "SSIM Y (pyiqa, crop 4)",
        "ycbcr_rounded",
        4,
        f"pyiqa ssim, color_space=ycbcr, crop 4; {_PYIQA}",
    ),
    _floored("psnr_dove_y", "PSNR Y (DOVE)", "dove_y", 0, _DOVE),
    _clipped("ssim_dove_y", "SSIM Y (DOVE)", "dove_y_rounded", 0, _DOVE),
    _fact(
        "Psnr",
        "psnr_tecogan",
        "PSNR (TecoGAN)",
        f"{_SPACES['y']}; {_CROP_8X8}; first and last two frames left out; per frame, then mean over frames, then over "
        "clips; identical frames give no value",
        48,
        params={"space": "y", "crop": "crop_8x8"},
        skip=(2, 2),
        min_frames=5,
        source=_TECOGAN,
    ),
    _fact(
        "UniformSsim",
        "ssim_tecogan",
        "SSIM (TecoGAN)",
        f"{_SPACES['y']}; {_CROP_8X8}; {_UNIFORM}; first and last two frames left out; {MEAN}",
        48,
        params={"crop": "crop_8x8"},
        skip=(2, 2),
        min_frames=5,
        source=_TECOGAN,
    ),
    _fact(
        "Psnr",
        "psnr_xvfi",
        "PSNR (XVFI)",
        f"{_SPACES['rgb']}; no border cut; 10 log10(255² / MSE); first and last frame left out; {MEAN}; "
        "identical frames give no value",
        1,
        params={"space": "rgb", "crop": 0},
        skip=(1, 1),
        min_frames=3,
        source=_XVFI,
    ),
    _fact(
        "UniformSsim",
        "ssim_xvfi",
        "SSIM (XVFI)",
        f"{_SPACES['y']}; no border cut; {_UNIFORM}; first and last frame left out; {MEAN}",
        7,
        params={"crop": 0},
        skip=(1, 1),
        min_frames=3,
        source=_XVFI,
    ),
    _fact(
        "PooledPsnr",
        "psnr_rgb_pooled",
        "PSNR RGB (pooled)",
        f"{_SPACES['rgb']}; no border cut; one MSE over all frames of a clip, then mean over clips; "
        "identical clips give no value",
        1,
        params={"space": "rgb", "crop": 0},
        level="clip",
        source="what codes print that average squared errors before the logarithm",
    ),
)
