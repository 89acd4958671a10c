"""Quality of whole clips."""

from __future__ import annotations

from stvsr_bench.metrics.info import MetricInfo

_SMALLEST = 32  # a fragment; the reference's grid needs one

_SEED = "frames and offsets drawn with numpy's and torch's generators seeded by the clip's name (unseeded in the code)"
_GRIDS = {
    "reference": "frames with a side below 224 are enlarged, but the grid keeps the size before, as in the code",
    "fixed": "frames with a side below 224 are enlarged and the grid laid on the enlarged frame (the code does not)",
}
_CLIPS = "one value per clip, then mean over clips"


def _dover(score: str, *, variant: str = "", aliases: tuple[str, ...] = ()) -> MetricInfo:
    grid, antialias = "fixed" if variant == "fixedgrid" else "reference", variant != "noaa"
    technical = (
        "technical view: 3 stretches of 32 frames two apart, short clips read in a circle, 7×7 fragments of 32×32 px, "
        f"offsets shared by 32 frames, {_GRIDS[grid]}"
    )
    filtering = "with antialiasing (torchvision 0.17 on)" if antialias else "without antialiasing (older torchvision)"
    aesthetic = (
        "aesthetic view: one frame of each 32nd part (below 32 frames: frame 0, 32 times) resized to 224×224, bilinear "
        f"{filtering}"
    )
    formula = {
        "fused": f"{technical}; {aesthetic}; sigmoid(0.6104 t + 0.3896 a) of the standardised scores",
        "technical": f"{technical}; sigmoid of the standardised score; SeedVR prints it × 100",
        "aesthetic": f"{aesthetic}; sigmoid of the standardised score",
    }[score]
    words = {"fixedgrid": " (fixed grid)", "noaa": " (no antialias)", "": ""}[variant]
    return MetricInfo(
        id=f"dover_{score}" + (f"_{variant}" if variant else ""),
        version=1,
        title=f"DOVER {score}{words}",
        conventions=f"8-bit RGB; {formula}; {_SEED}; {_CLIPS}",
        unit="0-1",
        higher_is_better=True,
        reference="none",
        level="clip",
        entry="stvsr_bench.metrics.dover.metric:Dover",
        params={"score": score, "grid": grid, "antialias": antialias},
        min_height=1 if score == "aesthetic" else _SMALLEST,
        min_width=1 if score == "aesthetic" else _SMALLEST,
        weights=("dover/dover",),
        licence="Apache-2.0; weights S-Lab License 1.0 (DOVER), non-commercial",
        source="Wu et al. 2023 (arXiv:2211.04894); code of VQAssessment/DOVER, evaluate_a_set_of_videos.py",
        aliases=aliases,
    )


def _fastervqa(sampling: str, *, grid: str = "reference", aliases: tuple[str, ...] = ()) -> MetricInfo:
    frames = {
        "cli": "32 consecutive frames in the middle, as the code's vqa.py takes them",
        "dataset": "8 stretches of 4 frames two apart, as the code's data set class takes them",
    }[sampling]
    return MetricInfo(
        id=f"fastervqa_{sampling}" + ("_fixedgrid" if grid == "fixed" else ""),
        version=1,
        title=f"FasterVQA {sampling}" + (" (fixed grid)" if grid == "fixed" else ""),
        conventions=f"8-bit RGB; {frames}; short clips read in a circle; 7×7 fragments of 32×32 px, offsets shared by "
        f"8 frames, {_GRIDS[grid]}; sigmoid((score − 0.14759505) / 0.03613452); {_SEED}; {_CLIPS}",
        unit="0-1",
        higher_is_better=True,
        reference="none",
        level="clip",
        entry="stvsr_bench.metrics.fastervqa:FasterVqa",
        params={"sampling": sampling, "grid": grid},
        min_height=_SMALLEST,
        min_width=_SMALLEST,
        weights=("fastervqa/fastervqa",),
        licence="Apache-2.0; weights MIT (FAST-VQA)",
        source="Wu et al. 2023 (arXiv:2210.05357); code of VQAssessment/FAST-VQA-and-FasterVQA, f3dvqa-b.yml",
        aliases=aliases,
    )


FACTS: tuple[MetricInfo, ...] = (
    _dover("fused", aliases=("dover",)),
    _dover("technical"),
    _dover("aesthetic"),
    _dover("fused", variant="fixedgrid"),
    _dover("technical", variant="fixedgrid"),
    _dover("fused", variant="noaa"),
    _dover("aesthetic", variant="noaa"),
    _fastervqa("cli", aliases=("fastervqa",)),
    _fastervqa("dataset"),
    _fastervqa("cli", grid="fixed"),
    _fastervqa("dataset", grid="fixed"),
)
