"""Which metrics exist and what each id stands for; imports no torch, so that listing them stays instant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stvsr_bench.core.errors import MetricError, UnknownNameError

_ID = re.compile(r"[a-z0-9][a-z0-9_.]*")
_ENTRY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class MetricInfo:
    """The facts about one metric id; the id owns every convention that moves the number.

    A plug-in publishes an object of this class, or a list of them, under the entry-point group ``stvsr_bench.metrics``.

    Attributes:
        id: name in configurations and result files: lower-case letters, digits, ``_`` and ``.``.
        version: raised by any change that moves a number.
        title: column title.
        conventions: colour, border, rounding, window and reduction, in words.
        unit: «dB», «0-1», «px/frame», …
        higher_is_better: direction.
        reference: ``full`` needs ground truth, ``none`` does not.
        level: one value per ``frame``, or per ``pair`` of consecutive frames.
        entry: ``module:Class`` of the ``Metric`` subclass, called as ``Class(info, **params)``.
        params: what the class is told beyond the info.
        min_height: fewest rows it can score.
        min_width: fewest columns it can score.
        min_frames: fewest frames it can score.
        weights: ids of the weights that it reads, as ``stvsr-bench list weights`` shows them.
        licence: licence of the arithmetic and of any weights.
        source: the paper, and the reference code whose numbers it reproduces.
        aliases: other names that users may write; results always carry ``id``.
    """

    id: str
    version: int
    title: str
    conventions: str
    unit: str
    higher_is_better: bool
    reference: Literal["full", "none"]
    level: Literal["frame", "pair"]
    entry: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    min_height: int = 1
    min_width: int = 1
    min_frames: int = 1
    weights: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    source: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse facts that cannot be right, where a plug-in's author sees it at once."""
        for name in (self.id, *self.aliases):
            if not _ID.fullmatch(name):
                raise MetricError(
                    f"metric name {name!r} is not valid", accepted="a-z, 0-9, '_' and '.', no leading '_'"
                )
        if not _ENTRY.fullmatch(self.entry):
            raise MetricError(
                f"metric '{self.id}': wrong entry", got=repr(self.entry), accepted="'package.module:Class'"
            )
        if self.version < 1:
            raise MetricError(f"metric '{self.id}': wrong version", got=str(self.version), accepted="1 or more")
        for key, value, allowed in (
            ("reference", self.reference, ("full", "none")),
            ("level", self.level, ("frame", "pair")),
        ):
            if value not in allowed:
                raise MetricError(f"metric '{self.id}': wrong {key}", got=repr(value), accepted=" or ".join(allowed))


_MEAN = "per frame, then mean over frames, then mean over clips"
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
        conventions=f"{_SPACES[space]}; {border}; 10 log10(255² / MSE); {_MEAN}; identical frames give no value",
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
        f"K 0.01 and 0.03, data range 255; contrast-structure term not clipped; no downsampling; {_MEAN}",
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


_FLICKERING = MetricInfo(
    id="vbench_temporal_flickering",
    version=1,
    title="VBench temporal flickering",
    conventions="8-bit RGB; (255 − mean |frame t+1 − frame t|) / 255 over all samples of a pair, mean over pairs, then "
    "over clips; motion lowers it and blur or repeated frames raise it, so it is no quality score on moving video",
    unit="0-1",
    higher_is_better=True,
    reference="none",
    level="pair",
    entry="stvsr_bench.metrics.temporal_flickering:TemporalFlickering",
    min_frames=2,
    source="VBench (arXiv:2311.17982), temporal_flickering.py; sums are exact here, float32 there (about 1e-7)",
    aliases=("temporal_flickering",),
)


def _lpips(net: str, trunk: str, minimum: int, note: str, aliases: tuple[str, ...]) -> MetricInfo:
    return MetricInfo(
        id=f"lpips_{net}_v0.1",
        version=1,
        title=f"LPIPS {'AlexNet' if net == 'alex' else 'VGG16'}",
        conventions=f"8-bit RGB scaled to [-1, 1], no resize and no border cut; {note}; unit features over channels, "
        f"weighted squared difference, mean over space, sum of five layers; {_MEAN}",
        unit="0-1",
        higher_is_better=False,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.lpips:Lpips",
        params={"net": net},
        min_height=minimum,
        min_width=minimum,
        weights=(f"lpips/{trunk}", f"lpips/heads_{net}"),
        licence="Apache-2.0; heads BSD-2-Clause (lpips); trunk BSD-3-Clause (torchvision), trained on ImageNet",
        source="Zhang et al. 2018 (arXiv:1801.03924); package lpips 0.1.4; same numbers as pyiqa's lpips",
        aliases=aliases,
    )


_ALL = (
    _psnr("rgb", 0, suffix="", aliases=("psnr_rgb_crop0",)),
    _psnr("rgb", 4, suffix="_crop4"),
    _psnr("y", 0, suffix="_crop0", aliases=("psnr_y_bt601_crop0",)),
    _psnr("y", 4, suffix="_crop4", aliases=("psnr_y_bt601_crop4",)),
    _ssim("rgb", 0, suffix="", aliases=("ssim_rgb_crop0",)),
    _ssim("rgb", 4, suffix="_crop4"),
    _ssim("y", 0, suffix="_crop0", aliases=("ssim_y_bt601_crop0",)),
    _ssim("y", 4, suffix="_crop4", aliases=("ssim_y_bt601_crop4",)),
    _lpips("alex", "alexnet", 31, "AlexNet, what papers print as LPIPS", ("lpips", "lpips_alex")),
    _lpips("vgg", "vgg16", 16, "VGG16, usually a training loss; not comparable with AlexNet", ("lpips_vgg",)),
    _FLICKERING,
)

CATALOG: dict[str, MetricInfo] = {info.id: info for info in _ALL}
"""The metrics that ship with the package, by id."""


def find_metric(name: str, infos: Iterable[MetricInfo] | None = None) -> MetricInfo:
    """Return the metric whose id or alias is ``name``.

    Args:
        name: id or alias.
        infos: where to look; default: ``CATALOG``.

    Raises:
        UnknownNameError: nothing has that name.

    >>> find_metric("psnr_y_bt601_crop4").id
    'psnr_y_crop4'
    """
    known = list(CATALOG.values() if infos is None else infos)
    for info in known:
        if info.id == name:
            return info
    for info in known:
        if name in info.aliases:
            return info
    raise UnknownNameError("metric", name, [n for info in known for n in (info.id, *info.aliases)])
