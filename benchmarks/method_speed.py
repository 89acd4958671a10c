"""How fast a method restores: its plain eager form beside its optimised form, measured in turns in one run.

    python benchmarks/method_speed.py method=rife shape=5x256x384 [OPTION=VALUE …]

`shape` is that of the output: frames, height, width. Options:

    method.KEY=VALUE        a knob of the method, for example method.ensemble=true or method.time_scale=4
    repeats=3               measured restorations of each form, after one that warms up
    device=cpu|cuda:N       default: cuda:0 where there is one
    dtype=float32           arithmetic of both forms
    threads=N               CPU threads; default: what torch takes
    weights=real|random     published parameters, fetched where the cache lacks them, or seeded ones of full size
    compile=true            measure torch.compile of the optimised form as a third one
    frames=FILE             real frames instead of a drawn texture: the uint8 images (…, 3, h, w) of a safetensors file
    json=PATH               write the figures there as well

The ground truth is made at output size, the LQ frames from it. On CUDA, float16 is measured too, and how far its PSNR
is from that of float32. Nothing here reads video files or computes perceptual metrics: av, decord, scikit-image and
pyiqa need not be installed, and the run fails if anything imports one of them.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from rich.console import Console
from rich.table import Table

from stvsr_bench.core.errors import BenchError, ConfigError
from stvsr_bench.methods.base import Method, Report, Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.video.clip import ArrayClip, Frames
from stvsr_bench.video.color import to_float, to_uint8

NEVER = ("av", "decord", "skimage", "pyiqa")
DEFAULTS: dict[str, Any] = {
    "method": None,
    "shape": None,
    "repeats": 3,
    "device": None,
    "dtype": "float32",
    "threads": None,
    "weights": "real",
    "compile": False,
    "frames": None,
    "json": None,
}


@dataclass
class Form:
    """One way to run the method, and what it took.

    Attributes:
        name: ``plain``, ``optimised``, ``compiled`` or ``optimised float16``.
        dtype: of its arithmetic.
        setup_seconds: loading and warming up.
        seconds: wall time of each measured restoration.
        cpu_seconds: processor time of each, all threads together.
        peak_bytes: most accelerator memory; ``None`` on a CPU.
        frames_per_second: output frames, at the median wall time.
        psnr: dB over all frames and channels against the ground truth.
        largest_difference: 8-bit levels from the plain form.
    """

    name: str
    dtype: str
    setup_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    frames_per_second: float = 0.0
    psnr: float = 0.0
    largest_difference: int = 0


def parse(arguments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options and the method's knobs.

    Raises:
        ConfigError: an argument is no ``OPTION=VALUE``, or an option is unknown, missing or has a wrong value.
    """
    options, knobs = dict(DEFAULTS), {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or (key not in options and not key.startswith("method.")):
            raise ConfigError("unknown option", got=argument, accepted=", ".join(f"{k}=…" for k in options))
        value = yaml.safe_load(text) if key not in ("method", "shape", "json", "frames") else text
        if key.startswith("method."):
            knobs[key.removeprefix("method.")] = value
        else:
            options[key] = value
    if options["method"] is None or options["shape"] is None:
        raise ConfigError("method and shape are needed", accepted="method=NAME shape=FRAMESxHEIGHTxWIDTH")
    try:
        frames, height, width = (int(part) for part in options["shape"].split("x"))
    except ValueError:
        raise ConfigError("option shape", got=options["shape"], accepted="FRAMESxHEIGHTxWIDTH of the output") from None
    options["shape"] = (frames, height, width)
    for key in ("repeats", "threads"):
        if options[key] is not None and (not isinstance(options[key], int) or options[key] < 1):
            raise ConfigError(f"option {key}", got=repr(options[key]), accepted="a whole number from 1")
    if options["weights"] not in ("real", "random"):
        raise ConfigError("option weights", got=repr(options["weights"]), accepted="real, random")
    options["device"] = options["device"] or ("cuda:0" if torch.cuda.is_available() else "cpu")
    return options, knobs


def request_for(method: Method, shape: tuple[int, int, int]) -> Request:
    """Return the request whose output has ``shape``; ×4 and, for interpolation, φt 2 where nothing fixes the factors.

    Raises:
        ConfigError: no whole number of LQ frames and pixels gives that shape.
    """
    scale, time_scale = method.factors()
    scale, time_scale = scale or 4, time_scale or 2
    frames, height, width = shape
    if min(shape) < 1 or (frames - 1) % time_scale or height % scale or width % scale:
        raise ConfigError(
            f"no LQ clip gives this shape at φs {scale} and φt {time_scale}",
            got="x".join(map(str, shape)),
            accepted=f"k·{time_scale} + 1 frames, sides that are multiples of {scale}",
        )
    return Request(scale, time_scale)


def ground_truth(shape: tuple[int, int, int], file: str | None) -> Frames:
    """A clip of ``shape``: a drifting texture, or the images of a file, enlarged and played to and fro."""
    frames, height, width = shape
    if file is None:
        grain = torch.rand(1, 3, height // 8 + frames, width // 8 + frames, generator=torch.Generator().manual_seed(0))
        picture = F.interpolate(grain, scale_factor=8, mode="bicubic").clamp(0, 1)[0]
        return to_uint8(torch.stack([picture[:, 2 * i : 2 * i + height, 3 * i : 3 * i + width] for i in range(frames)]))
    from safetensors.torch import load_file

    images = [t.reshape(-1, *t.shape[-3:]) for _, t in sorted(load_file(file).items()) if t.dtype == torch.uint8]
    images = [t for t in images if t.shape[1] == 3 and t.shape[1:] == images[0].shape[1:]]
    if not images:
        raise ConfigError("option frames", got=file, accepted="a safetensors file with uint8 images (…, 3, h, w)")
    clip = torch.cat(images)
    order = [*range(len(clip)), *range(len(clip) - 2, 0, -1)]
    clip = clip[[order[i % len(order)] for i in range(frames)]]
    return to_uint8(F.interpolate(to_float(clip), size=(height, width), mode="bicubic").clamp(0, 1))


@contextmanager
def parameters(kind: str) -> Iterator[None]:
    """With ``random``, keep published parameters out of reach, so that seeded ones of full size take their place."""
    if kind == "real":
        yield
        return
    changed = {"STVSR_BENCH_WEIGHTS": "", "HF_HUB_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in changed}
    with tempfile.TemporaryDirectory() as empty:
        os.environ.update(changed | {"STVSR_BENCH_WEIGHTS": empty})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


class Runner:
    """A method set up in one form, ready to restore the clip again and again."""

    def __init__(self, form: Form, method: Method, clip: ArrayClip, request: Request, device: str) -> None:
        self.form, self.method, self.clip, self.request = form, method, clip, request
        start = time.perf_counter()
        for part in (method, *(stage for _, stage in getattr(method, "stages", tuple)())):
            part.optimised = form.name != "plain"
        method.setup(device, form.dtype)
        if form.name == "compiled":
            for name, value in vars(method).items():
                if isinstance(value, torch.nn.Module):
                    value.compile()
                    print(f"compiled: {name}, a {type(value).__name__}")
        self.output = self.restore()
        form.setup_seconds = time.perf_counter() - start

    def restore(self) -> Frames:
        """One restoration of the clip."""
        report = Report()
        blocks = torch.cat(list(self.method.restore(self.clip, self.request, report)))
        peaks = [stage.peak_bytes for stage in report.stages if stage.peak_bytes is not None]
        self.form.peak_bytes = max(peaks, default=None)
        return blocks

    def measure(self) -> None:
        """One restoration that counts."""
        wall, processor = time.perf_counter(), time.process_time()
        self.restore()
        self.form.cpu_seconds.append(time.process_time() - processor)
        self.form.seconds.append(time.perf_counter() - wall)


def psnr(frames: Frames, truth: Frames) -> float:
    """DB over all values of both clips."""
    return float(10 * torch.log10(255**2 / (frames.double() - truth.double()).square().mean()))


def measure(options: dict[str, Any], knobs: dict[str, Any]) -> dict[str, Any]:
    """Run every form in turns and return all figures."""
    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    if options["weights"] == "random":
        knobs = {"allow_untrained": True, **knobs}
    device, dtype = options["device"], options["dtype"]
    forms = [Form("plain", dtype), Form("optimised", dtype)]
    if options["compile"]:
        forms.append(Form("compiled", dtype))
    method = build_method(options["method"], knobs)
    half = device.startswith("cuda") and dtype == "float32" and "float16" in method.dtypes
    if half:
        forms.append(Form("optimised float16", "float16"))
    request = request_for(method, options["shape"])
    truth = ground_truth(options["shape"], options["frames"])
    small = to_float(truth[:: request.time_scale])
    if request.scale > 1:
        small = F.interpolate(small, scale_factor=1 / request.scale, mode="bicubic", antialias=True).clamp(0, 1)
    clip = ArrayClip(to_uint8(small), name="speed")
    runners = [Runner(form, build_method(options["method"], knobs), clip, request, device) for form in forms]
    for _ in range(options["repeats"]):
        for runner in runners:
            runner.measure()
    for runner in runners:
        form = runner.form
        form.frames_per_second = len(truth) / statistics.median(form.seconds)
        form.psnr = psnr(runner.output, truth)
        form.largest_difference = int((runner.output.int() - runners[0].output.int()).abs().max())
    plain, best = forms[0], forms[1]
    return {
        "method": runners[0].method.method_id,
        "untrained": runners[0].method.untrained,
        "shape": options["shape"],
        "lq": [len(clip), clip.height, clip.width],
        "scale": request.scale,
        "time_scale": request.time_scale,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "forms": [asdict(form) for form in forms],
        "ratio": statistics.median(plain.seconds) / statistics.median(best.seconds),
        "ratio_cpu_seconds": min(plain.cpu_seconds) / min(best.cpu_seconds),
        "ratio_compiled": _ratio(plain, forms, "compiled"),
        "psnr_float16_minus_float32": forms[-1].psnr - best.psnr if half else None,
    }


def _ratio(plain: Form, forms: Sequence[Form], name: str) -> float | None:
    for form in forms:
        if form.name == name:
            return statistics.median(plain.seconds) / statistics.median(form.seconds)
    return None


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    shape, lq = ("×".join(map(str, figures[key])) for key in ("shape", "lq"))
    mark = ", untrained" if figures["untrained"] else ""
    table = Table(title=f"{figures['method']}{mark}: {lq} → {shape}, {figures['device']}, {figures['threads']} threads")
    for heading in ("form", "dtype", "seconds", "CPU seconds", "frames/s", "peak MB", "PSNR (dB)", "levels off plain"):
        table.add_column(heading, justify="left" if heading in ("form", "dtype") else "right")
    for form in figures["forms"]:
        peak = "–" if form["peak_bytes"] is None else f"{form['peak_bytes'] / 1e6:.0f}"
        table.add_row(
            form["name"],
            form["dtype"],
            f"{statistics.median(form['seconds']):.3f}",
            f"{min(form['cpu_seconds']):.3f}",
            f"{form['frames_per_second']:.2f}",
            peak,
            f"{form['psnr']:.4f}",
            str(form["largest_difference"]),
        )
    console = Console(width=110)
    console.print(table)
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


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write the JSON file, and check what was imported."""
    try:
        options, knobs = parse(arguments)
        with parameters(options["weights"]):
            figures = measure(options, knobs)
    except BenchError as error:
        raise SystemExit(str(error)) from error
    show(figures)
    if options["json"] is not None:
        Path(options["json"]).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    found = [name for name in NEVER if name in sys.modules]
    if found:
        raise SystemExit(f"imported, though a bare machine lacks them: {', '.join(found)}")


if __name__ == "__main__":
    main(sys.argv[1:])
