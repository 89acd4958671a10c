"""The numbers of README.md that need no weights are the golden ones."""

from __future__ import annotations

import math
import re
from pathlib import Path

from stvsr_bench.report.regression import GoldenKey, read_golden


def mean(repository: Path, method: str, protocol: str, metric: str, frames: str) -> float:
    values = read_golden(repository / "results" / "golden" / "demo.json").values
    found = [
        value
        for key, value in values.items()
        if key[:5] == GoldenKey(method, "demo@1", f"{protocol}@1", f"{metric}@1", frames, "")[:5] and value is not None
    ]
    assert len(found) == 4
    return math.fsum(found) / 4


def test_the_demo_table(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(bicubic\+\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["bicubic+dis_flow", "bicubic+blend"]
    for method, *cells in rows:
        for cell, (metric, frames, digits) in zip(
            cells,
            (
                ("psnr_y_crop4", "all", 2),
                ("psnr_y_crop4", "key", 2),
                ("psnr_y_crop4", "interpolated", 2),
                ("ssim_y_crop4", "all", 4),
            ),
            strict=True,
        ):
            value = mean(repository, method, "bi-x4t2", metric, frames)
            assert cell.strip("* ") == f"{value:.{digits}f}", (method, metric, frames)


def test_flow_beats_blending_on_interpolated_frames(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    flow, blend = (mean(repository, m, "gt-t2", "psnr_y_crop4", "interpolated") for m in ("dis_flow", "blend"))
    assert f"{flow:.2f} dB with `dis_flow` and {blend:.2f} dB with `blend`" in text
    assert flow > blend
    after = [mean(repository, f"bicubic+{m}", "bi-x4t2", "psnr_y_crop4", "interpolated") for m in ("dis_flow", "blend")]
    assert after[0] > after[1]
