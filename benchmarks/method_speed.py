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
    memory=low,lowest,…     memory modes of a method that has them: plain and optimised run in the first one, each other
                            is a further form, and how far its frames are from those of the first is shown
    count=true              restore nothing: count the floating-point operations of each stage on the meta device
    frames=FILE             real frames instead of a drawn texture: the uint8 images (…, 3, h, w) of a safetensors file
    json=PATH               write the figures there as well

The ground truth is made at output size, the LQ frames from it. For each stage there are its time, waited for on the
device, its peak memory, its floating-point operations, counted while the form warms up, and what fraction they are of
the rate that the device reaches in a square matrix product of the same dtype, measured in the same run. Forms of a
diffusion method are measured one after another, because two of its networks may not fit beside one another; those of
others in turns. On CUDA, float16 is measured too, and how far its PSNR is from that of float32. Nothing here reads
video files or computes perceptual metrics: av, decord, scikit-image and pyiqa need not be installed, and the run fails
if anything imports one of them.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # for the module beside this one, however this one is started

from method_forms import Form, build, forms_of, parameters, runners_of
from method_tables import show
from method_work import count_without_running, product_rate, stage_rows

from stvsr_bench.core.errors import BenchError, ConfigError
from stvsr_bench.methods.base import Method, Request
from stvsr_bench.methods.diffusion import MODES
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
    "memory": None,
    "count": False,
    "frames": None,
    "json": None,
}


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
    for key in ("compile", "count"):
        if not isinstance(options[key], bool):
            raise ConfigError(f"option {key}", got=repr(options[key]), accepted="true or false")
    modes = [] if options["memory"] is None else str(options["memory"]).split(",")
    if not set(modes) <= {"auto", *MODES}:
        raise ConfigError("option memory", got=options["memory"], accepted=f"some of {', '.join(('auto', *MODES))}")
    options["memory"] = modes
    options["device"] = options["device"] or ("cuda:0" if torch.cuda.is_available() else "cpu")
    return options, knobs


def request_for(method: Method, shape: tuple[int, int, int]) -> Request:
    """Return the request whose output has ``shape``, at the factors that are fixed or usual; else ×4 and φt 2.

    Raises:
        ConfigError: no whole number of LQ frames and pixels gives that shape.
    """
    scale, time_scale = method.factors()
    usual_scale, usual_time_scale = method.usual_factors or (4, 2)
    scale, time_scale = scale or usual_scale, time_scale or usual_time_scale
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


def psnr(frames: Frames, truth: Frames) -> float:
    """DB over all values of both clips."""
    return float(10 * torch.log10(255**2 / (frames.double() - truth.double()).square().mean()))


def lq_clip(truth: Frames, request: Request) -> ArrayClip:
    """The LQ clip of a ground truth: every φt-th frame, shrunk."""
    small = to_float(truth[:: request.time_scale])
    if request.scale > 1:
        small = F.interpolate(small, scale_factor=1 / request.scale, mode="bicubic", antialias=True).clamp(0, 1)
    return ArrayClip(to_uint8(small), name="speed")


def measure(options: dict[str, Any], knobs: dict[str, Any]) -> dict[str, Any]:
    """Run every form and return all figures."""
    if options["threads"] is not None:
        torch.set_num_threads(options["threads"])
    device, dtype = options["device"], options["dtype"]
    method = build(options, knobs)
    forms = forms_of(options, method)
    request = request_for(method, options["shape"])
    truth = ground_truth(options["shape"], options["frames"])
    clip = lq_clip(truth, request)
    figures = {
        "method": method.method_id,
        "untrained": method.untrained,
        "shape": options["shape"],
        "lq": [len(clip), clip.height, clip.width],
        "scale": request.scale,
        "time_scale": request.time_scale,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if options["count"]:
        flop = count_without_running(method, figures["lq"], request, dtype)
        return {**figures, "device": "meta", "dtype": dtype, "flop": flop}
    runners = runners_of(forms, options, knobs, clip, request)
    rates = {form.dtype: product_rate(torch.device(device), getattr(torch, form.dtype)) for form in forms}
    plain, best = runners[0], runners[1]
    for runner in runners:
        form = runner.form
        form.frames_per_second = len(truth) / statistics.median(form.seconds)
        form.psnr = psnr(runner.output, truth)
        form.largest_difference = int((runner.output.int() - plain.output.int()).abs().max())
        form.difference_to_optimised = int((runner.output.int() - best.output.int()).abs().max())
        counted = best.work if runner.work is None else runner.work
        operations = None if counted is None else counted.flop
        form.stages = stage_rows(runner.runs, operations, rates[form.dtype]["flop_per_second"])
    half = [form.psnr - forms[1].psnr for form in forms if form.dtype != dtype]
    return {
        **figures,
        "product_rate": rates,
        "forms": [asdict(form) for form in forms],
        "ratio": statistics.median(forms[0].seconds) / statistics.median(forms[1].seconds),
        "ratio_cpu_seconds": min(forms[0].cpu_seconds) / min(forms[1].cpu_seconds),
        "ratio_compiled": _ratio(forms[0], forms, "compiled"),
        "psnr_float16_minus_float32": half[0] if half else None,
    }


def _ratio(plain: Form, forms: Sequence[Form], name: str) -> float | None:
    for form in forms:
        if form.name == name:
            return statistics.median(plain.seconds) / statistics.median(form.seconds)
    return None


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
