"""A builder of run folders that follows the schema which evaluation writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stvsr_bench.report.facts import MetricFacts

FACTS = {
    "psnr_y_crop4": MetricFacts("dB", True, 1, True),
    "ssim_y_crop4": MetricFacts("0-1", True, 1, True),
    "lpips": MetricFacts("0-1", False, 1, True),
    "flicker": MetricFacts("0-1", True, 1, False),
}


def score(all_: float | None, key: float | None = None, inter: float | None = None, **more: Any) -> dict[str, Any]:
    reason = more.get("reason") or (None if all_ is not None else "no ground truth")

    def subset(value: float | None, n: int) -> dict[str, Any]:
        return {"value": value, "n": n if value is not None else 0, "reason": None if value is not None else "none"}

    return {
        "version": more.get("version", 1), "key": "k", "value": all_, "n": 3 if all_ is not None else 0,
        "reason": reason, "values": [all_] * 3, "index": [0, 1, 2],
        "subsets": {"key": subset(key, 2), "interpolated": subset(inter, 1)},
    }  # fmt: skip


@pytest.fixture
def facts() -> dict[str, MetricFacts]:
    return FACTS


@pytest.fixture
def make_score() -> Callable[..., dict[str, Any]]:
    """Return a function that makes the stored score of one clip."""
    return score


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder; every argument that tables must ignore can be varied."""

    def make(
        method: str = "bicubic",
        values: Mapping[str, Mapping[str, Any] | float | None] | None = None,
        *,
        root: str = "runs",
        run_id: str = "r0",
        metrics: Sequence[str] = ("psnr_y_crop4",),
        dataset: str = "demo",
        protocol: str = "bi-x4t2",
        expected: int | None = None,
        planned: Sequence[str] | None = None,
        failed: Sequence[str] = (),
        seconds: float = 1.0,
        device: str = "cpu",
        devices: Mapping[str, str] | None = None,
        hashes: str = "h",
        **fields: Any,
    ) -> Path:
        values = {"a": 25.0, "b": 27.0} if values is None else values
        planned = list(planned or [*values, *failed])
        folder = tmp_path / root / method / dataset / protocol / run_id
        (folder / "samples").mkdir(parents=True)
        run = {
            "schema_version": 1, "run_id": run_id,
            "method": {
                "id": method, "name": method, "version": fields.get("method_version", 1), "label": method,
                "knobs": fields.get("knobs", {}), "card_version": 1, "status": "runnable",
                "untrained": fields.get("untrained", False), "preset": fields.get("preset"), "weights": {},
            },
            "dataset": {
                "id": dataset, "name": dataset, "variant": None, "kind": "synthetic", "version": 1,
                "expected": len(planned) if expected is None else expected, "samples": planned,
            },
            "protocol": {"id": protocol, "version": 1},
            "metrics": list(metrics), "seed": fields.get("seed", 0), "dtype": "float32",
            "partial": fields.get("partial"), "config": {}, "code": {"version": "0", "commit": None, "dirty": None},
            "packages": {}, "python": "3.11", "device": device, "machine": "x", "created": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(run))
        for name in [*values, *failed]:
            value = values.get(name)
            scores = value if isinstance(value, Mapping) else {metrics[0]: score(value)}
            sample = {
                "schema_version": 1, "sample": name, "status": "failed" if name in failed else "ok",
                "reason": {"type": "ClipError", "message": "broken"} if name in failed else None,
                "restore": None if name in failed else {
                    "key": "k", "output_hash": hashes + method + name, "frames": 3, "height": 8, "width": 8,
                    "plan": {}, "notes": [], "lq": {}, "outputs": {"kind": "png", "path": f"outputs/{name}"},
                    "stages": [
                        {"name": "restore/vsr", "seconds": seconds, "peak_bytes": 2**20, "frames": 2},
                        {"name": "restore/vfi", "seconds": 2 * seconds, "peak_bytes": None, "frames": 3},
                    ],
                    "frame_rate": None, "device": (devices or {}).get(name, device), "torch": "2.11",
                    "commit": fields.get("commit"),
                },
                "gt": None, "scored": [0, 3], "key_frames": [0, 2], "notes": [],
                "scores": {} if name in failed else scores,
                "timing": {"restore_seconds": seconds, "score_seconds": 0, "wall_seconds": seconds},
            }  # fmt: skip
            (folder / "samples" / f"{name}.json").write_text(json.dumps(sample))
        return folder

    return make
