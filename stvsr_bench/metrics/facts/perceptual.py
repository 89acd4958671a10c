"""Learned distances between frames."""

from __future__ import annotations

from stvsr_bench.metrics.info import MEAN, MetricInfo


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
        licence="Apache-2.0; heads BSD-2-Clause (lpips); trunk BSD-3-Clause (torchvision), trained on ImageNet",
        source="Zhang et al. 2018 (arXiv:1801.03924); package lpips 0.1.4; same numbers as pyiqa's lpips",
        aliases=aliases,
    )


FACTS = (
    _lpips("alex", "alexnet", 31, "AlexNet, what papers print as LPIPS", ("lpips", "lpips_alex")),
    _lpips("vgg", "vgg16", 16, "VGG16, usually a training loss; not comparable with AlexNet", ("lpips_vgg",)),
)
