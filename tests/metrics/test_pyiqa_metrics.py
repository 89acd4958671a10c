"""What pyiqa computes gets its parameters from our weights service, gives pyiqa's own numbers, and fetches nothing."""

from __future__ import annotations

import io
import math
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from stvsr_bench.core.errors import MetricError, WeightError
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.pyiqa_metrics import PyiqaMetric
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.weights import service
from stvsr_bench.weights.mat import read_mat

Tensors = dict[str, torch.Tensor]
Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
CPU = torch.device("cpu")
PYIQA = sorted(info.id for info in CATALOG.values() if "pyiqa" in info.needs)
pyiqa = pytest.importorskip("pyiqa", reason="the extra 'iqa' is not installed")

EXHAUSTIVE = pytest.mark.skipif(
    os.environ.get("STVSR_BENCH_EXHAUSTIVE") != "1", reason="minutes for a frame; STVSR_BENCH_EXHAUSTIVE=1 runs it"
)


class ReachedError(AssertionError):
    """Something looked outside this machine."""


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ReachedError(f"{args} {kwargs}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def mat(**variables: Any) -> bytes:
    data = io.BytesIO()
    scipy.io.savemat(data, variables)
    return data.getvalue()


def template() -> bytes:
    """A file as the authors of ILNIQE published theirs, with made-up numbers."""
    random = np.random.RandomState(3)
    cells = np.empty((1, 4), dtype=object)
    directions = np.linalg.qr(random.standard_normal((468, 430)))[0]
    cells[0, 0], cells[0, 1] = random.standard_normal((1, 430)), np.diag(random.uniform(1, 2, 430))
    cells[0, 2], cells[0, 3] = random.standard_normal((468, 1)), directions
    return mat(templateModel=cells)


def forests() -> bytes:
    """A file as pyiqa carries NRQM's forests: sixty trees of one split each."""
    random = np.random.RandomState(4)
    cells = np.empty((1, 3), dtype=object)
    leaves = np.zeros((2, 60), dtype=np.int32)
    for number in range(3):
        cells[0, number] = {
            "lDau": np.vstack([np.full((1, 60), 2, dtype=np.int32), leaves]),
            "rDau": np.vstack([np.full((1, 60), 3, dtype=np.int32), leaves]),
            "nodestatus": np.zeros((3, 60), dtype=np.int8),
            "nrnodes": 3.0,
            "upper": 10 ** random.uniform(-3, 2, (3, 60)),
            "avnode": random.uniform(0, 10, (3, 60)),
            "mbest": np.vstack([random.randint(1, 13, (1, 60)).astype(np.int32), leaves]),
        }
    return mat(model={"linear": np.array([[0.5], [0.2], [0.3], [0.4]]), "rf": cells, "name": "text is left out"})


def tiny_clip() -> Tensors:
    """CLIP with a ResNet of toy width; pyiqa reads the sizes from the tensors."""
    from stvsr_bench.metrics.pyiqa_models import _pkg_resources

    with _pkg_resources():
        from pyiqa.archs.clip_model import CLIP

    torch.manual_seed(0)
    return CLIP(32, 64, (1, 1, 1, 1), 8, None, 77, 49408, 64, 1, 1).state_dict()


def random_state(name: str) -> Tensors:
    """Random parameters of pyiqa's own network ``name``, made without any file."""
    torch.manual_seed(0)
    return {
        key: value.clone()
        for key, value in pyiqa.create_metric(name, device=CPU, pretrained=False).net.state_dict().items()
    }


MADE: dict[str, Callable[[], Tensors]] = {
    "clipiqa/rn50": tiny_clip,
    "clipiqa/prompts": lambda: {"ctx": torch.randn(2, 16, 64, generator=torch.Generator().manual_seed(1))},
    "musiq/koniq": lambda: random_state("musiq"),
    "ilniqe/template": lambda: {k: torch.from_numpy(v) for k, v in read_mat(template()).items()},
    "nrqm/forests": lambda: {k: torch.from_numpy(v) for k, v in read_mat(forests()).items()},
}


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Tensors:
    """Parameters by name ``weight:key``; what is changed here is what the service gives."""
    changed: Tensors = {}
    made: dict[str, Tensors] = {}

    def load(weight: str) -> Tensors:
        if weight not in made:
            made[weight] = MADE[weight]()
        tensors = made[weight]
        for name, tensor in changed.items():
            owner, _, key = name.partition(":")
            if owner == weight:
                tensors[key] = tensor
        return tensors

    monkeypatch.setattr(service, "load_weight", load)
    return changed


LIGHT = ("clipiqa_rn50", "clipiqa_plus_rn50", "musiq_koniq", "nrqm")
light = pytest.mark.parametrize("name", LIGHT)


def frames(noise: Noise, count: int = 2, height: int = 64, width: int = 81) -> torch.Tensor:
    """Smooth pictures with some noise."""
    coarse = noise(count, height // 8 + 1, width // 8 + 1, 1).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (smooth + noise(count, height, width, 2).float() / 16).clamp(0, 255).to(torch.uint8)


def test_every_metric_of_pyiqa_is_tested_here() -> None:
    assert {*LIGHT, "ilniqe", "maniqa_koniq", "maniqa_pipal"} == set(PYIQA)


@light
def test_frames_alone_together_and_forgotten(name: str, weights: Tensors, noise: Noise) -> None:
    info, pred = CATALOG[name], frames(noise, 2)
    metric = build_metric(info)
    with pytest.raises(MetricError, match=r"call setup\(device\)"):
        metric.score(FrameBatch(pred, None, [0, 1]), None)
    metric.setup("cpu")
    results = []
    for size in (2, 1):
        metric.start("clip", 2)
        for start in range(0, 2, size):
            part = slice(start, start + size)
            metric.update(FrameBatch(pred[part], None, range(2)[part]))
        results.append(metric.compute())
    assert results[0] == results[1]
    assert results[0].n == 2
    assert results[0].values[0] != results[0].values[1]
    with_gt = build_metric(info)
    with_gt.setup("cpu")
    with_gt.update(FrameBatch(pred, pred.flip(3), [0, 1]))
    assert with_gt.compute() == results[0]  # ground truth changes nothing
    metric.close()
    with pytest.raises(MetricError, match=r"call setup\(device\)"):
        metric.score(FrameBatch(pred, None, [0, 1]), None)


@light
def test_black_frames_give_a_number_or_say_why_not(name: str, weights: Tensors, run: Run) -> None:
    result = run(CATALOG[name], torch.zeros(1, 3, 64, 81, dtype=torch.uint8), None)
    assert result.n + len(result.excluded) == 1
    if result.n:
        assert math.isfinite(result.value or math.nan)
    else:
        assert result.excluded[0].reason


@light
def test_the_smallest_size(name: str, weights: Tensors, run: Run, noise: Noise) -> None:
    info = CATALOG[name]
    assert run(info, noise(1, info.min_height, info.min_width), None).n == 1
    if info.min_height > 1:
        with pytest.raises(MetricError, match="too small"):
            run(info, noise(1, info.min_height - 1, info.min_width), None)


def reference(name: str, folder: Path, weight: str) -> Any:
    """What pyiqa is, used as its documentation says, with the same parameters in a file."""
    if name in ("ilniqe", "nrqm"):
        path = folder / "published.mat"
        path.write_bytes(template() if name == "ilniqe" else forests())
    else:
        path = folder / "published.pth"
        torch.save(MADE[weight](), path)
    return pyiqa.create_metric(name, device=CPU, pretrained_model_path=str(path))


@pytest.mark.parametrize("name", ["musiq_koniq", "nrqm", pytest.param("ilniqe", marks=EXHAUSTIVE)])
def test_the_number_is_pyiqas_own(name: str, weights: Tensors, run: Run, noise: Noise, tmp_path: Path) -> None:
    info, pred = CATALOG[name], frames(noise, 1, 96, 131)
    expected = float(reference(str(info.params["model"]), tmp_path, info.weights[0])(pred.float() / 255))
    assert run(info, pred, None).value == expected


@pytest.mark.parametrize("name", ["ilniqe", "nrqm"])
def test_a_frame_without_statistics_is_left_out(name: str, noise: Noise) -> None:
    """What pyiqa does on a black frame: its solver finds the matrix singular."""

    def singular(frame: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(frame[0, 0, :2, :2] * 0) if float(frame.max()) == 0 else frame.mean()

    metric = build_metric(CATALOG[name])
    assert isinstance(metric, PyiqaMetric)
    metric._model = singular
    pred = noise(3, 64, 64)
    pred[1] = 0
    metric.update(FrameBatch(pred, None, range(3)))
    result = metric.compute()
    assert (result.n, [e.index for e in result.excluded]) == (2, [1])
    assert "finds no value, as for a flat frame" in result.excluded[0].reason


def test_clipiqa_is_pyiqas_own(weights: Tensors, run: Run, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual way reads CLIP through pyiqa's loader; it is given the same parameters."""
    pred = frames(noise, 1)
    value = run(CATALOG["clipiqa_rn50"], pred, None).value
    import pyiqa.archs.clipiqa_arch as arch
    from pyiqa.archs.clip_model import build_model

    with monkeypatch.context() as patch:
        patch.setattr(arch, "load", lambda *_: build_model(tiny_clip()).float())
        assert float(pyiqa.create_metric("clipiqa", device=CPU)(pred.float() / 255)) == value
    prompted = run(CATALOG["clipiqa_plus_rn50"], pred, None).value
    assert prompted != value
    weights["clipiqa/prompts:ctx"] = torch.zeros(2, 16, 64)
    assert run(CATALOG["clipiqa_plus_rn50"], pred, None).value != prompted


def test_maniqa_takes_the_whole_network_from_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built as released; that the ViT's parameters are the checkpoint's shows without the half minute of a forward."""
    import pyiqa.archs.maniqa_arch as arch

    from stvsr_bench.metrics import pyiqa_models

    built: list[Any] = []
    real = pyiqa_models._scores
    monkeypatch.setattr(pyiqa_models, "_scores", lambda metric, *a: built.append(metric.net) or real(metric, *a))
    asked: list[bool] = []
    create = arch.timm.create_model

    def record(model: str, pretrained: bool) -> torch.nn.Module:
        asked.append(pretrained)
        return create(model, pretrained=pretrained)

    monkeypatch.setattr(arch.timm, "create_model", record)
    state: Tensors = {}

    def load(weight: str) -> Tensors:
        assert weight in ("maniqa/koniq", "maniqa/pipal")
        return state

    monkeypatch.setattr(service, "load_weight", load)
    with pytest.raises(WeightError, match="missing"):
        build_metric(CATALOG["maniqa_koniq"]).setup("cpu")
    names = _maniqa_state(arch)
    assert names["vit.pos_embed"].shape == (1, 785, 768)
    assert sum(v.numel() * v.element_size() for v in names.values()) == 543_207_208  # the file: 543,335,435 bytes
    state |= names
    state["vit.cls_token"] = torch.full_like(state["vit.cls_token"], 0.25)
    build_metric(CATALOG["maniqa_koniq"]).setup("cpu")
    assert torch.equal(built[-1].state_dict()["vit.cls_token"], state["vit.cls_token"])
    assert not built[-1].training
    build_metric(CATALOG["maniqa_pipal"]).setup("cpu")
    assert [net.swintransformer1.scale for net in built[-2:]] == [0.8, 0.13]  # each checkpoint was trained with its own
    assert asked
    assert not any(asked)
    with pytest.raises(WeightError, match="unexpected"):
        state["other"] = torch.zeros(1)
        build_metric(CATALOG["maniqa_koniq"]).setup("cpu")


def _maniqa_state(arch: Any) -> Tensors:
    from types import SimpleNamespace

    timm = arch.timm
    arch.timm = SimpleNamespace(create_model=lambda name, **_: timm.create_model(name, pretrained=False))
    try:
        return dict(arch.MANIQA(pretrained=False).state_dict())
    finally:
        arch.timm = timm


def test_parameters_that_do_not_fit_are_refused(weights: Tensors) -> None:
    for key, tensor, match in (
        ("musiq/koniq:other", torch.zeros(1), "unexpected"),
        ("clipiqa/prompts:ctx", torch.zeros(4, 64), "learned prompts do not fit; got ctx"),
        ("clipiqa/rn50:visual.conv1.weight", torch.zeros(3, 3, 3, 3), "CLIP's parameters do not fit"),
    ):
        weights.clear()
        weights[key] = tensor
        name = {"musiq": "musiq_koniq", "clipiqa": "clipiqa_plus_rn50"}[key.partition("/")[0]]
        with pytest.raises(WeightError, match=match):
            build_metric(CATALOG[name]).setup("cpu")


def test_forests_without_a_field_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {k: v for k, v in MADE["nrqm/forests"]().items() if "4-upper" not in k}
    monkeypatch.setattr(service, "load_weight", lambda weight: tensors)
    with pytest.raises(WeightError, match="NRQM's parameters do not fit"):
        build_metric(CATALOG["nrqm"]).setup("cpu")


def test_without_pyiqa_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from stvsr_bench.metrics import availability, pyiqa_models

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyiqa", None)
        with pytest.raises(MetricError, match=r"pip install 'stvsr-bench\[iqa\]'"):
            pyiqa_models.build_model("musiq", (), CPU)
    monkeypatch.setattr(availability, "_installed", lambda package: package != "pyiqa")
    problem = availability.lacking(CATALOG["musiq_koniq"])
    assert problem is not None
    assert "needs the package pyiqa" in str(problem)
    assert availability.lacking(CATALOG["psnr_rgb"]) is None


def test_another_version_of_pyiqa_is_told_of(weights: Tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(*args: Any, **kwargs: Any) -> None:
        raise TypeError("unexpected keyword argument 'pretrained'")

    info = CATALOG["musiq_koniq"]
    service.load_weight(info.weights[0])
    monkeypatch.setattr(pyiqa, "create_metric", other)
    with pytest.raises(MetricError, match=r"pip install pyiqa==0\.1\.16"):
        build_metric(info).setup("cpu")


def test_pyiqa_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, stvsr_bench.metrics.pyiqa_metrics, stvsr_bench.metrics.vmaf; "
        "assert not {'pyiqa', 'timm', 'imageio_ffmpeg'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
