"""Quality of single frames without ground truth, by pyiqa."""

from __future__ import annotations

from stvsr_bench.metrics.info import MEAN, MetricInfo

_PYIQA = "Apache-2.0; pyiqa PolyForm-Noncommercial-1.0.0"


def _pyiqa(
    identifier: str,
    model: str,
    title: str,
    conventions: str,
    source: str,
    licence: str,
    weights: tuple[str, ...],
    *,
    unit: str = "0-1",
    higher_is_better: bool = True,
    side: int = 1,
    aliases: tuple[str, ...] = (),
) -> MetricInfo:
    return MetricInfo(
        id=identifier,
        version=1,
        title=title,
        conventions=f"8-bit RGB scaled to [0, 1], no border cut; {conventions}; {MEAN}; as pyiqa 0.1.16's '{model}'",
        unit=unit,
        higher_is_better=higher_is_better,
        reference="none",
        level="frame",
        entry="stvsr_bench.metrics.pyiqa_metrics:PyiqaMetric",
        params={"model": model},
        min_height=side,
        min_width=side,
        needs=("pyiqa",),
        weights=weights,
        licence=f"{_PYIQA}; weights {licence}",
        source=f"{source}; computed by pyiqa",
        aliases=aliases,
    )


_CLIP = "whole frame without resize, CLIP RN50 (OpenAI) without positional embedding"
_MANIQA = (
    "20 crops of 224×224 on a uniform grid, sides up to 224 enlarged to 225, ViT-B/8, weighted patches; {} checkpoint"
)

FACTS: tuple[MetricInfo, ...] = (
    _pyiqa(
        "clipiqa_rn50",
        "clipiqa",
        "CLIP-IQA",
        f"{_CLIP}, mean over five pairs of opposite prompts",
        "Wang et al. 2023 (arXiv:2207.12396)",
        "MIT (OpenAI CLIP)",
        ("clipiqa/rn50",),
        side=31,
        aliases=("clipiqa", "clip_iqa"),
    ),
    _pyiqa(
        "clipiqa_plus_rn50",
        "clipiqa+",
        "CLIP-IQA+",
        f"{_CLIP}, learned prompts; not comparable with CLIP-IQA",
        "Wang et al. 2023 (arXiv:2207.12396)",
        "MIT (OpenAI CLIP), prompts S-Lab License 1.0, non-commercial",
        ("clipiqa/rn50", "clipiqa/prompts"),
        side=31,
        aliases=("clipiqa_plus",),
    ),
    _pyiqa(
        "musiq_koniq",
        "musiq",
        "MUSIQ",
        "patches of 32×32 at the original size and at longer sides 224 and 384 (torch's bicubic); KonIQ-10k checkpoint",
        "Ke et al. 2021 (arXiv:2108.05997)",
        "Apache-2.0 (google-research), converted by pyiqa",
        ("musiq/koniq",),
        unit="0-100",
        aliases=("musiq",),
    ),
    _pyiqa(
        "maniqa_koniq",
        "maniqa",
        "MANIQA",
        _MANIQA.format("KonIQ-10k"),
        "Yang et al. 2022 (arXiv:2204.08958)",
        "Apache-2.0 (IIGROUP/MANIQA)",
        ("maniqa/koniq",),
        aliases=("maniqa",),
    ),
    _pyiqa(
        "maniqa_pipal",
        "maniqa-pipal",
        "MANIQA (PIPAL)",
        f"{_MANIQA.format('PIPAL')}; another scale than the KonIQ-10k checkpoint",
        "Yang et al. 2022 (arXiv:2204.08958)",
        "Apache-2.0 (IIGROUP/MANIQA)",
        ("maniqa/pipal",),
    ),
    _pyiqa(
        "ilniqe",
        "ilniqe",
        "ILNIQE",
        "RGB × 255 rounded, resized to 524×524, blocks of 84×84; distance to a model of pristine pictures",
        "Zhang et al. 2015 (doi:10.1109/TIP.2015.2426416)",
        "not stated (authors' model, as pyiqa carries it)",
        ("ilniqe/template",),
        unit="distance",
        higher_is_better=False,
        side=4,
    ),
    _pyiqa(
        "nrqm",
        "nrqm",
        "NRQM",
        "Y of YIQ × 255; DCT, Gaussian-mixture and SVD features, three random forests; always on the CPU",
        "Ma et al. 2017 (doi:10.1016/j.cviu.2016.12.009)",
        "not stated (authors' model, as pyiqa carries it)",
        ("nrqm/forests",),
        unit="0-10",
        side=45,
        aliases=("ma",),
    ),
)
