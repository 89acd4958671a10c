"""For `method_speed.py`: figures as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    shape, lq = ("×".join(map(str, figures[key])) for key in ("shape", "lq"))
    mark = ", untrained" if figures["untrained"] else ""
    console = Console(width=120)
    title = f"{figures['method']}{mark}: {lq} → {shape}, {figures['device']}"
    if "flop" in figures:
        console.print(f"{escape(title)}, {figures['dtype']}", highlight=False)
        for name, count in figures["flop"].items():
            console.print(f"{name}: {count / 1e9:.2f} GFLOP", highlight=False)
        return
    # escaped, because rich would take [paper] for a style
    table = Table(title=f"{escape(title)}, {figures['threads']} threads")
    for heading in (
        *("form", "dtype", "memory", "seconds", "CPU seconds", "frames/s", "peak MB", "PSNR (dB)"),
        *("levels off plain", "off optimised"),
    ):
        table.add_column(heading, justify="left" if heading in ("form", "dtype", "memory") else "right")
    for form in figures["forms"]:
        peak = "–" if form["peak_bytes"] is None else f"{form['peak_bytes'] / 1e6:.0f}"
        table.add_row(
            form["name"],
            form["dtype"],
            form["plan"].get("memory", {}).get("mode", "–"),
            f"{statistics.median(form['seconds']):.3f}",
            f"{min(form['cpu_seconds']):.3f}",
            f"{form['frames_per_second']:.2f}",
            peak,
            f"{form['psnr']:.4f}",
            str(form["largest_difference"]),
            str(form["difference_to_optimised"]),
        )
    console.print(table)
    console.print(stage_table(figures["forms"]))
    for dtype, rate in figures["product_rate"].items():
        console.print(f"square product in {dtype}, side {rate['side']}: {rate['flop_per_second'] / 1e9:.1f} GFLOP/s")
    for note in dict.fromkeys(note for form in figures["forms"] for note in form["notes"]):
        console.print(f"note: {note}", highlight=False)
    console.print(
        f"plain / optimised: {figures['ratio']:.2f} in wall time, {figures['ratio_cpu_seconds']:.2f} in CPU time"
    )
    if figures["ratio_compiled"] is not None:
        console.print(f"plain / compiled: {figures['ratio_compiled']:.2f} in wall time")
    change = figures["psnr_float16_minus_float32"]
    text = (
        "not measured (needs CUDA, dtype=float32 and a method with float16)" if change is None else f"{change:+.4f} dB"
    )
    console.print(f"PSNR of float16 less that of float32: {text}")


def stage_table(forms: Sequence[dict[str, Any]]) -> Table:
    """The stages of every form, below one another."""
    table = Table(title="stages, synchronised with the device")
    for heading in ("form", "stage", "seconds", "peak MB", "GFLOP", "GFLOP/s", "% of product"):
        table.add_column(heading, justify="left" if heading in ("form", "stage") else "right")

    def cell(value: float | None, scale: float, digits: int) -> str:
        return "–" if value is None else f"{value / scale:.{digits}f}"

    for form in forms:
        for number, row in enumerate(form["stages"]):
            table.add_row(
                form["name"] if number == 0 else "",
                row["name"],
                f"{row['seconds']:.3f}",
                cell(row["peak_bytes"], 1e6, 0),
                cell(row["flop"], 1e9, 2),
                cell(row["flop_per_second"], 1e9, 1),
                cell(row["fraction_of_product_rate"], 0.01, 1),
            )
    return table
