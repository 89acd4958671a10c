"""What ``stvsr-bench doctor`` checks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from packaging.requirements import Requirement

import stvsr_bench
from stvsr_bench.core import registry
from stvsr_bench.core.environment import code_state
from stvsr_bench.core.errors import BenchError, ConfigError, DataError
from stvsr_bench.core.paths import data_root, search_roots, share_dir, user_path
from stvsr_bench.evaluation.checks import Check, attempt
from stvsr_bench.evaluation.weights import summary
from stvsr_bench.weights.cache import cache_dir

FREE_BYTES = 1 << 30


def checks() -> Iterator[Check]:
    """Yield every check."""
    state = code_state()
    commit = f", commit {str(state['commit'])[:10]}{' (changed)' if state['dirty'] else ''}" if state["commit"] else ""
    yield Check(
        "Python 3.11 or newer", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.machine()}"
    )
    yield attempt("stvsr-bench", lambda: f"{stvsr_bench.__version__}{commit}, files in {share_dir()}")
    yield from _packages()
    yield attempt("devices compute", _device)
    yield attempt("frames survive PNG and FFV1 bit for bit", _round_trip)
    yield attempt("mp4 can be written and read (H.264)", _mp4)
    yield attempt("folders scanned for methods and datasets", lambda: ", ".join(map(str, search_roots())))
    yield from _names()
    yield attempt("the data folder", lambda: _folder(data_root()))
    yield attempt("the results folder", lambda: _folder(user_path("results/runs")))
    yield attempt("the weights cache", lambda: _folder(cache_dir()))
    yield attempt("weights", summary)
    yield attempt("the Hugging Face package `datasets` is not shadowed", _datasets_package)


def _packages() -> Iterator[Check]:
    try:
        required = importlib.metadata.requires("stvsr-bench") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("stvsr-bench is installed as a package", False, "no metadata: install with pip install .")
        return
    for text in required:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(f"package {need.name}", False, f"absent; needed: {need.specifier}; pip install '{need}'")
            continue
        fits = need.specifier.contains(version, prereleases=True)
        yield Check(f"package {need.name}", fits, f"{version}{'' if fits else f', needed: {need.specifier}'}")


def _device() -> str:
    import torch

    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    for name in names:
        product = torch.eye(8, device=name) @ torch.arange(64.0, device=name).view(8, 8)
        if product.sum().item() != 2016:
            raise ConfigError(f"device {name} computes wrongly", got=str(product.sum().item()), accepted="2016")
    details = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return ", ".join([f"cpu ({torch.get_num_threads()} threads)", *details])


def _round_trip() -> str:
    import torch

    from stvsr_bench.video.reading import open_clip
    from stvsr_bench.video.writing import open_writer

    frames = torch.randint(0, 256, (3, 3, 18, 22), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("png", "frames"), ("ffv1", "clip.mkv")):
            path = Path(folder) / name
            with open_writer(path, kind, 18, 22, Fraction(24)) as writer:
                writer.write(frames)
            if not torch.equal(open_clip(path)[:], frames):
                raise ConfigError(f"{kind} does not give back what was written", action="reinstall av and opencv")
    return "OpenCV and PyAV agree"


def _mp4() -> str:
    import torch

    from stvsr_bench.video.reading import open_clip
    from stvsr_bench.video.writing import open_writer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with open_writer(path, "mp4", 16, 16, Fraction(25)) as writer:
            writer.write(torch.full((5, 3, 16, 16), 90, dtype=torch.uint8))
        return f"{len(open_clip(path))} frames"


def _names() -> Iterator[Check]:
    scans: tuple[tuple[str, Callable[[], registry.Names]], ...] = (
        ("methods", registry.methods),
        ("datasets", registry.datasets),
    )
    for kind, scan in scans:
        try:
            names = scan()
        except BenchError as error:
            yield Check(f"{kind} can be listed", False, str(error))
            continue
        for problem in names.problems:
            yield Check(kind, False, str(problem))
        wrong = []
        for entry in names.values():
            try:
                _ = entry.card
            except BenchError as error:
                wrong.append(str(error))
        yield Check(f"cards of {len(names)} {kind}", not wrong, "; ".join(wrong))
    from stvsr_bench.metrics.registry import known_metrics, metric_problems

    problems = metric_problems()
    yield Check(f"{len(known_metrics())} metrics", not problems, "; ".join(map(str, problems)))


def _folder(path: Path) -> str:
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not os.access(existing, os.W_OK):
        raise DataError(f"'{path}' cannot be written", got=f"no right to write in {existing}", action="choose another")
    free = shutil.disk_usage(existing).free
    if free < FREE_BYTES:
        raise DataError(f"'{path}' has little room", got=f"{free / 2**30:.1f} GiB free", accepted="at least 1 GiB")
    return f"{path}, {free / 2**30:.0f} GiB free" + ("" if path.exists() else " (made when needed)")


def _datasets_package() -> str:
    spec = importlib.util.find_spec("datasets")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "`import datasets` does not find the Hugging Face package",
            got="nothing" if spec is None else f"the folder {list(spec.submodule_search_locations or [])}",
            action="pip install datasets; there must be no datasets/__init__.py in the current folder",
        )
    return str(Path(spec.origin).parent)
