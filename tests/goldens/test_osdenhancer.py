"""OSDEnhancer against its golden set: every tensor of every case, by both forms of our networks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import osd_transformer
import osd_vae
import pytest
import torch
from diffusers.schedulers.scheduling_dpm_cogvideox import CogVideoXDPMScheduler
from osd_case import Case, cases, load
from safetensors.torch import save_file
from torch import Tensor

from stvsr_bench.methods.base import Request
from stvsr_bench.methods.osdenhancer.configs import RELEASED
from stvsr_bench.methods.osdenhancer.method import OSDEnhancer
from stvsr_bench.methods.osdenhancer.pipeline import OneStep, one_step
from stvsr_bench.methods.osdenhancer.preparation import (
    initial,
    initial_video,
    padding_of,
    residual,
    residual_video,
    unpad,
)
from stvsr_bench.nn.windows import Span

Values = dict[str, Tensor]

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "osdenhancer"
CASES = cases(FOLDER)
PIPELINES = [
    path for path in CASES if json.loads((path / "config.json").read_text("utf-8"))["spec"]["kind"] == "pipeline"
]
FORMS = {"optimised": True, "plain": False}

RELATIVE, ABSOLUTE, ABSOLUTE_PREPROC = 1e-5, 5e-5, 5e-6


# ---------------------------------------------------------------------- what is computed


def _preproc(case: Case, *, optimised: bool = True) -> Values:
    """Blending, enlarging, residual, padding and its undoing, and the step; they have one form only."""
    del optimised
    values: Values = {}
    for number, about in enumerate(case.config["spec"]["variants"]):
        video, scale, time_scale = case.inputs[f"v{number}.video"], about["spatial_scale"], about["temporal_scale"]
        span = Span(0, (video.shape[1] - 1) * time_scale + 1)
        init = torch.stack([initial(frames, span, scale, time_scale) for frames in video])
        res = torch.stack([residual(frames, span, scale, time_scale) for frames in video])
        padding = padding_of(len(span), init.shape[-2], init.shape[-1])
        asked = (span, scale, time_scale, padding, torch.float32)
        padded = torch.cat([initial_video(frames, *asked) for frames in video])
        assert torch.equal(unpad(padded, padding), (init * 2 - 1).transpose(1, 2))
        pads = [padding.frames, padding.left, padding.right, padding.top, padding.bottom]
        values |= {
            f"v{number}.init": init,
            f"v{number}.res": res,
            f"v{number}.init_padded_bcthw": padded,
            f"v{number}.res_padded_bcthw": torch.cat([residual_video(frames, *asked) for frames in video]),
            f"v{number}.pads_t_l_r_t_b": torch.tensor(pads),
        }
    scheduler = CogVideoXDPMScheduler.from_config(dict(_scheduler(case)))
    velocity, latents, steps = (case.inputs[f"sched.{name}"] for name in ("v_pred", "z_in", "timesteps"))
    values["sched.z_out"] = one_step(scheduler, velocity, latents, steps)
    values["sched.alphas_cumprod_f64"] = scheduler.alphas_cumprod
    return values


def _scheduler(case: Case) -> Any:
    """The scheduler of the case; where it has none, the one that all of the set have, or the published one."""
    for path in (case.folder / "config.json", *sorted(case.folder.parent.glob("*/config.json"))):
        found = json.loads(path.read_text(encoding="utf-8")).get("scheduler")
        if found is not None:
            return found
    return RELEASED.scheduler


def _pipeline(case: Case, *, optimised: bool = True) -> Values:
    """The method on the case's video with the case's noise, and every tensor on its way."""
    return _run(case, _checkpoint(case), optimised=optimised, replay=False)


KINDS: dict[str, Callable[..., Values]] = {
    "preproc": _preproc,
    "pipeline": _pipeline,
    **osd_transformer.KINDS,
    **osd_vae.KINDS,
}
"""What computes the outputs of a case of each kind; all take ``optimised``."""


def _run(case: Case, checkpoint: Path, *, optimised: bool, replay: bool) -> Values:
    """Restore through the method, with noise drawn as the official run drew it (``replay``) or with the noise given."""
    about = case.config["call"]
    method = OSDEnhancer(
        name="osdenhancer",
        checkpoint=checkpoint,
        chunk_length=about["chunk_length"],
        overlap=1 if about["overlap"] is None else about["overlap"],
    )
    method.optimised = optimised
    noise = _Noise(case)
    values: Values = {}
    with pytest.MonkeyPatch.context() as patch:
        _record(patch, values, None if replay else noise)
        if replay:
            generator = torch.Generator().manual_seed(case.config["torch_manual_seed"])
            patch.setattr(method, "generator", lambda request: generator)
        method.setup()
        assert not method.untrained
        request = Request(about["spatial_scale"], about["temporal_scale"])
        values["output"] = method.restore_float(case.inputs["video"][0], request)[None]
        method.close()
    assert replay or noise.used == len(case.inputs) - 1, "not all of the case's noise was asked for"
    return values


class _Noise:
    """The case's noise, in the order in which the official run drew it."""

    def __init__(self, case: Case) -> None:
        self.inputs = case.inputs
        self.used = 0

    def __call__(self, shape: torch.Size) -> Tensor:
        chunk, which = divmod(self.used, 2)
        self.used += 1
        given = self.inputs[f"chunk{chunk}.noise_{('init', 'res')[which]}"]
        assert given.shape == shape
        return given


def _record(patch: pytest.MonkeyPatch, values: Values, noise: _Noise | None) -> None:
    """Have every chunk leave copies of its tensors in ``values``, and take ``noise`` where there is some."""
    encode, sample, velocity, restrict = OneStep.encode, OneStep.sample, OneStep.velocity, OneStep.restrict
    encoded: list[Tensor] = []

    def encoding(self: OneStep, video: Tensor) -> Tensor:
        encoded.append(encode(self, video).clone())
        chunk, which = divmod(len(encoded) - 1, 2)
        values[f"chunk{chunk}.{('init', 'res')[which]}_moments"] = encoded[-1]
        return encoded[-1].clone()

    def sampling(self: OneStep, moments: Tensor, draw: Callable[[torch.Size], Tensor]) -> Tensor:
        return sample(self, moments, draw if noise is None else noise)

    def moving(self: OneStep, hidden: Tensor, masked: Tensor) -> Tensor:
        chunk = f"chunk{len(encoded) // 2 - 1}"
        values[f"{chunk}.transformer_hidden_in"] = hidden.clone()
        values[f"{chunk}.transformer_res_in"] = masked.clone()
        out = velocity(self, hidden, masked)
        values[f"{chunk}.transformer_out"] = out.clone()
        return out

    def restricting(self: OneStep, stepped: Tensor, count: int) -> Tensor:
        out = restrict(self, stepped, count)
        values[f"chunk{len(encoded) // 2 - 1}.decoder_input"] = out.clone()
        return out

    replaced = {"encode": encoding, "sample": sampling, "velocity": moving, "restrict": restricting}
    for name, wrapper in replaced.items():
        patch.setattr(OneStep, name, wrapper)


_WRITTEN: dict[Path, Path] = {}
"""Checkpoint folders of cases, official ones and those written from single files."""


@pytest.fixture(autouse=True, scope="module")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder in the official layout for each pipeline: its own, or one made of its single file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path_factory.mktemp("cache")))
        for path in PIPELINES:
            case = load(path)
            _WRITTEN[path] = case.checkpoint or _written(case, tmp_path_factory.mktemp("checkpoint"))
        yield
    _WRITTEN.clear()


def _checkpoint(case: Case) -> Path:
    return _WRITTEN[case.folder]


def _written(case: Case, folder: Path) -> Path:
    spec = case.config["spec"]
    configs = {
        "transformer/config.json": spec["transformer"],
        "vae/config.json": spec["vae"],
        "scheduler/scheduler_config.json": _scheduler(case),
    }
    tensors = {
        "transformer/diffusion_pytorch_model.safetensors": case.part("transformer"),
        "vae/diffusion_pytorch_model.safetensors": case.part("vae"),
        "prompt_embeddings/empty.safetensors": {"prompt_embedding": case.weights["prompt_embedding"]},
    }
    for name in (*configs, *tensors):
        (folder / name).parent.mkdir(exist_ok=True)
    for name, config in configs.items():
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    for name, part in tensors.items():
        save_file({key: tensor.contiguous() for key, tensor in part.items()}, folder / name)
    return folder


# ---------------------------------------------------------------------- how it is compared


def _compare(case: Case, found: Values) -> tuple[int, float]:
    """Compare every tensor of the case's inventory once; return their number and the largest relative difference."""
    expected, inventory = case.expected(), case.config["outputs"]
    assert set(expected) == set(inventory), f"{case.name}: its files and its inventory do not agree"
    assert set(found) >= set(inventory), f"{case.name}: not computed: {sorted(set(inventory) - set(found))}"
    worst, compared = 0.0, 0
    for name, (dtype, shape) in inventory.items():
        reference, value = expected[name], found[name]
        assert list(value.shape) == shape == list(reference.shape), name
        if not reference.is_floating_point():
            assert torch.equal(value, reference), name
        else:
            assert str(value.dtype) == f"torch.{dtype}", name
            worst = max(worst, _close(case, name, value, reference))
        compared += 1
    return compared, worst


def _close(case: Case, name: str, value: Tensor, reference: Tensor) -> float:
    off, size = value.double() - reference.double(), reference.double()
    largest = float(off.abs().max())
    assert largest == largest, f"{case.name}: {name} holds NaN"
    if case.kind == "preproc":
        assert largest <= ABSOLUTE_PREPROC, f"{case.name}: {name} differs by {largest}"
        return largest
    relative = float(off.norm() / size.norm().clamp_min(1e-30))
    allowed = ABSOLUTE * max(1.0, float(size.abs().max()))
    assert relative <= RELATIVE, f"{case.name}: {name} differs by {relative} in relative L2"
    assert largest <= allowed, f"{case.name}: {name} differs by {largest} of {allowed}"
    return max(largest, relative)


_COMPARED: dict[tuple[Path, str], tuple[int, float]] = {}


def _compared(path: Path, form: str) -> tuple[int, float]:
    if (path, form) not in _COMPARED:
        case = load(path)
        assert case.kind in KINDS, f"{case.name}: nothing computes a case of kind '{case.kind}'"
        _COMPARED[path, form] = _compare(case, KINDS[case.kind](case, optimised=FORMS[form]))
    return _COMPARED[path, form]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", CASES, ids=[path.name for path in CASES])
def test_case(path: Path, form: str) -> None:
    compared, worst = _compared(path, form)
    print(f"osdenhancer {path.name}, {form}: {compared} tensors compared, largest difference {worst:.3g}")
    assert compared


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", PIPELINES, ids=[path.name for path in PIPELINES])
def test_the_seeded_generator_draws_what_the_official_run_drew(path: Path, form: str) -> None:
    case = load(path)
    compared, worst = _compare(case, _run(case, _checkpoint(case), optimised=FORMS[form], replay=True))
    print(f"osdenhancer {path.name}, {form}, replayed: {compared} tensors, largest difference {worst:.3g}")


def test_every_tensor_of_the_set_is_compared(goldens: Path) -> None:
    folder = goldens / "osdenhancer"
    if not folder.is_dir():
        pytest.skip(f"golden set is absent: {folder}")
    listed = {path: len(json.loads((path / "config.json").read_text("utf-8"))["outputs"]) for path in cases(folder)}
    assert list(listed) == CASES
    assert set(listed) == {path for path in folder.iterdir() if path.is_dir()}
    for form in FORMS:
        counts = [_compared(path, form)[0] for path in CASES]
        print(f"osdenhancer, {form}: {len(counts)} cases, {sum(counts)} tensors compared")
        assert counts == list(listed.values())
    assert CASES


def test_the_files_are_those_of_the_manifest(goldens: Path) -> None:
    manifest = goldens / "osdenhancer" / "MANIFEST.sha256"
    if not manifest.is_file():
        pytest.skip(f"the set has no {manifest.name}")
    for line in manifest.read_text(encoding="utf-8").splitlines():
        expected, name = line.split(maxsplit=1)
        found = hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest()
        assert found == expected, f"{name} is not the published file"
