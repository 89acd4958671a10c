"""Networks of pyiqa with parameters from our weights service: pyiqa itself never fetches anything here.

pyiqa (PolyForm Noncommercial 1.0.0) is an optional package: it is imported only when one of its metrics is set up.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvsr_bench.core.errors import MetricError, WeightError
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

Tensors = Mapping[str, torch.Tensor]
Model = Callable[[torch.Tensor], torch.Tensor]
"""Takes one frame ``(1, 3, H, W)``, float32 RGB in [0, 1], and returns its score."""


def build_model(name: str, weights: Sequence[str], device: torch.device) -> Model:
    """Return pyiqa's metric ``name`` with the given parameters.

    Args:
        name: what pyiqa calls it.
        weights: ids of its weights, in the order that the metric's facts list them.
        device: where it runs.

    Raises:
        MetricError: pyiqa is not installed, or its version does not offer this metric in the way known here.
        WeightError: the weights cannot be had or do not fit.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise MetricError(
            f"pyiqa's metric '{name}' cannot be built: the package pyiqa cannot be imported",
            got=str(error),
            action="pip install 'stvsr-bench[iqa]' (pyiqa's licence allows non-commercial use only)",
        ) from error
    tensors = [service.load_weight(weight) for weight in weights]
    try:
        return _BUILDERS[name](pyiqa, name, tensors, device)
    except (TypeError, AttributeError, KeyError, ImportError) as error:
        raise MetricError(
            f"pyiqa's metric '{name}' cannot be built",
            got=f"pyiqa {getattr(pyiqa, '__version__', 'of unknown version')}: {type(error).__name__}: {error}",
            accepted="pyiqa 0.1.16",
            action="pip install pyiqa==0.1.16",
        ) from error


def _create(pyiqa: Any, name: str, device: torch.device, **options: Any) -> Any:
    return pyiqa.create_metric(name, device=device, **options)


def _musiq(pyiqa: Any, name: str, tensors: Sequence[Tensors], device: torch.device) -> Model:
    metric = _create(pyiqa, name, device, pretrained=False)
    load_strict(metric.net, dict(tensors[0]))
    return _scores(metric)


def _maniqa(pyiqa: Any, name: str, tensors: Sequence[Tensors], device: torch.device) -> Model:
    module = importlib.import_module("pyiqa.archs.maniqa_arch")
    timm = module.timm
    # the constructor asks timm for a trained ViT although the checkpoint holds its parameters too
    untrained = types.SimpleNamespace(create_model=lambda model, **_: timm.create_model(model, pretrained=False))
    with _replaced(module, "timm", untrained):
        metric = _create(pyiqa, name, device, pretrained=False)
    load_strict(metric.net, dict(tensors[0]))
    return _scores(metric)


def _clipiqa(pyiqa: Any, name: str, tensors: Sequence[Tensors], device: torch.device) -> Model:
    with _pkg_resources():
        module = importlib.import_module("pyiqa.archs.clipiqa_arch")
        networks = importlib.import_module("pyiqa.archs.clip_model")

    def load(*_: Any, **__: Any) -> torch.nn.Module:
        try:
            network: torch.nn.Module = networks.build_model(dict(tensors[0]))
        except (KeyError, RuntimeError) as error:
            raise WeightError("CLIP's parameters do not fit pyiqa's network", got=str(error)[:300]) from error
        return network.float()

    with _replaced(module, "load", load):
        metric = _create(pyiqa, name, device, pretrained=False)
    if len(tensors) > 1:
        prompts = metric.net.prompt_learner.ctx
        if set(tensors[1]) != {"ctx"} or tensors[1]["ctx"].shape != prompts.shape:
            raise WeightError(
                "the learned prompts do not fit",
                got=", ".join(f"{key} {list(value.shape)}" for key, value in tensors[1].items()),
                accepted=f"ctx {list(prompts.shape)}",
            )
        prompts.data = tensors[1]["ctx"].to(prompts)
    return _scores(metric)


def _ilniqe(pyiqa: Any, name: str, tensors: Sequence[Tensors], device: torch.device) -> Model:
    cells = np.empty((1, 4), dtype=object)
    for number in range(4):
        cells[0, number] = tensors[0][f"templateModel.{number}"].numpy()
    return _from_mat(pyiqa, name, device, {"templateModel": cells})


def _nrqm(pyiqa: Any, name: str, tensors: Sequence[Tensors], device: torch.device) -> Model:
    forests: dict[int, dict[int, np.ndarray[Any, Any]]] = {}
    linear = None
    for key, tensor in tensors[0].items():
        if re.fullmatch(r"model\.\d+-linear", key):
            linear = tensor.numpy()
        elif found := re.fullmatch(r"model\.\d+-rf\.(\d+)\.(\d+)-\w+", key):
            forests.setdefault(int(found[1]), {})[int(found[2])] = tensor.numpy()
    if (
        linear is None
        or sorted(forests) != [0, 1, 2]
        or any({0, 1, 4, 5, 6} - set(trees) for trees in forests.values())
    ):
        raise WeightError(
            "NRQM's parameters do not fit",
            got=", ".join(sorted(tensors[0])[:8]),
            accepted="model.linear, and in each of three model.rf the fields 0, 1, 4, 5, 6 of a forest",
        )
    cells = np.empty((1, 3), dtype=object)
    for number, trees in forests.items():  # pyiqa goes by the position of the fields
        cells[0, number] = {f"f{position}": trees.get(position, np.zeros((0, 0))) for position in range(max(trees) + 1)}
    return _from_mat(pyiqa, name, torch.device("cpu"), {"model": {"linear": linear, "rf": cells}})


def _from_mat(pyiqa: Any, name: str, device: torch.device, content: dict[str, Any]) -> Model:
    """Build a metric that reads its parameters from a MATLAB file, which is made for it and removed."""
    import scipy.io

    with tempfile.TemporaryDirectory(prefix="stvsr_bench_mat_") as folder:
        path = Path(folder) / "model.mat"
        scipy.io.savemat(path, content)
        metric = _create(pyiqa, name, device, pretrained_model_path=str(path))
    return _scores(metric, device)


def _scores(metric: Any, device: torch.device | None = None) -> Model:
    metric.net.eval().requires_grad_(False)

    @torch.inference_mode()
    def score(frame: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = metric(frame if device is None else frame.to(device))
        return value

    return score


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    """Have ``module`` see another object under ``name`` inside the block."""
    kept = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, kept)


@contextmanager
def _pkg_resources() -> Iterator[None]:
    """Give openai-clip the one thing that it wants of ``pkg_resources``, which setuptools 81 removed."""
    if "pkg_resources" in sys.modules or importlib.util.find_spec("pkg_resources") is not None:
        yield
        return
    import packaging.version

    stand_in = types.ModuleType("pkg_resources")
    stand_in.packaging = packaging  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]


_BUILDERS: dict[str, Callable[[Any, str, Sequence[Tensors], torch.device], Model]] = {
    "clipiqa": _clipiqa,
    "clipiqa+": _clipiqa,
    "musiq": _musiq,
    "maniqa": _maniqa,
    "maniqa-pipal": _maniqa,
    "ilniqe": _ilniqe,
    "nrqm": _nrqm,
}
