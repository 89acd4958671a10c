"""PSNR and SSIM: every variant that papers print."""

from __future__ import annotations

from stvsr_bench.metrics.info import MEAN, MetricInfo

_SPACES = {
    "rgb": "8-bit RGB, the three channels together",
    "y": "Y of MATLAB BT.601 (16 + 65.481R + 128.553G + 24.966B, RGB in 0-1), float, not rounded",
}


def _psnr(space: str, crop: int, *, suffix: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    border = f"{crop} pixels cut off every side" if crop else "no border cut"
    return MetricInfo(
        id=f"psnr_{space}{suffix}",
        version=1,
        title=f"PSNR {space.upper()}" + (f" (crop {crop})" if crop else ""),
        conventions=f"{_SPACES[space]}; {border}; 10 log10(255² / MSE); {MEAN}; identical frames give no value",
        unit="dB",
        higher_is_better=True,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.psnr:Psnr",
        params={"space": space, "crop": crop},
        min_height=2 * crop + 1,
        min_width=2 * crop + 1,
        source="BasicSR calculate_psnr (crop_border, test_y_channel) and MATLAB rgb2ycbcr on doubles",
        aliases=aliases,
    )


def _ssim(space: str, crop: int, *, suffix: str, aliases: tuple[str, ...] = ()) -> MetricInfo:
    border = f"{crop} pixels cut off every side" if crop else "no border cut"
    channels = {"rgb": "8-bit RGB, mean of the three channels", "y": _SPACES["y"]}[space]
    return MetricInfo(
        id=f"ssim_{space}{suffix}",
        version=1,
        title=f"SSIM {space.upper()}" + (f" (crop {crop})" if crop else ""),
        conventions=f"{channels}; {border}; 11×11 Gaussian window, sigma 1.5, valid part only, population moments; "
        f"K 0.01 and 0.03, data range 255; contrast-structure term not clipped; no downsampling; {MEAN}",
        unit="0-1",
        higher_is_better=True,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.ssim:Ssim",
        params={"space": space, "crop": crop},
        min_height=2 * crop + 11,
        min_width=2 * crop + 11,
        source="Wang et al. 2004 (doi:10.1109/TIP.2003.819861); BasicSR calculate_ssim, MATLAB ssim.m",
        aliases=aliases,
    )


FACTS = (
    _psnr("rgb", 0, suffix="", aliases=("psnr_rgb_crop0",)),
    _psnr("rgb", 4, suffix="_crop4"),
    _psnr("y", 0, suffix="_crop0", aliases=("psnr_y_bt601_crop0",)),
    _psnr("y", 4, suffix="_crop4", aliases=("psnr_y_bt601_crop4",)),
    _ssim("rgb", 0, suffix="", aliases=("ssim_rgb_crop0",)),
    _ssim("rgb", 4, suffix="_crop4"),
    _ssim("y", 0, suffix="_crop0", aliases=("ssim_y_bt601_crop0",)),
    _ssim("y", 4, suffix="_crop4", aliases=("ssim_y_bt601_crop4",)),
)
