"""Real-ESRGAN against the golden set: every case of its ``config.json``, with random and with published parameters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stvsr_bench.methods.base import Request
from stvsr_bench.methods.realesrgan import RealEsrgan
from stvsr_bench.methods.realesrgan.method import read_checkpoint
from stvsr_bench.methods.realesrgan.networks import RealEsrganNet, network_of
from stvsr_bench.methods.realesrgan.picture import enhance
from stvsr_bench.methods.realesrgan.rrdbnet import RRDBNet
from stvsr_bench.methods.realesrgan.srvgg import SRVGGNetCompact
from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.video.color import to_float
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.known import known_weights
from stvsr_bench.weights.ncnn import read_ncnn
from stvsr_bench.weights.strict import load_strict

Case = dict[str, Any]
Values = dict[str, Tensor]
Networks = Callable[[str], RealEsrganNet]

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "realesrgan"
CONFIG: dict[str, Any] = json.loads((FOLDER / "config.json").read_text()) if FOLDER.is_dir() else {"cases": {}}
CASES: dict[str, Case] = CONFIG["cases"]

ATOL = 1e-4
MOST_SAMPLES_OFF = 0.001
MOST_SAMPLES_OFF_RESIZED = 0.005
INPUTS = ("input", "image", "frames")
COMPARED: dict[str, int] = {}
"""Tensors compared in this process, by case."""


def _built(arch: str, args: dict[str, Any]) -> RealEsrganNet:
    if arch == "RRDBNet":
        return RRDBNet(args["scale"], args["num_feat"], args["num_block"], args["num_grow_ch"])
    assert arch == "SRVGGNetCompact"
    return SRVGGNetCompact(args["upscale"], args["num_feat"], args["num_conv"], args["act_type"])


def _weight(model: str) -> str:
    wanted = CONFIG["models"][model]["tensor_hash"]
    found = [name for name, spec in known_weights().items() if spec.tensor_hash == wanted]
    assert len(found) == 1, f"no card names the parameters {wanted} of {model}"
    return found[0]


@pytest.fixture(scope="module")
def networks(goldens: Path, require_weights: Callable[..., None]) -> Networks:
    """A function that gives a model its network; skips or fails where published parameters cannot be had."""
    kept: dict[str, RealEsrganNet] = {}

    def network(name: str) -> RealEsrganNet:
        if name not in kept:
            model = CONFIG["models"][name]
            if model["file"] is None:
                from stvsr_bench.weights.service import load_weight

                require_weights(_weight(name))
                tensors = load_weight(_weight(name))
            else:
                tensors = load_file(goldens / "realesrgan" / model["file"])
            assert tensor_hash(tensors) == model["tensor_hash"]
            net = _built(model["arch"], model["args"])
            assert sum(parameter.numel() for parameter in net.parameters()) == model["parameters"]
            load_strict(net, tensors)
            kept[name] = net.eval()
        return kept[name]

    return network


def _inputs_of(net: torch.nn.Module, names: dict[str, str], x: Tensor) -> tuple[Tensor, Values]:
    """The output for ``x``, and what the layers named by ``names`` got (``in:``) or gave (``out:``)."""
    seen: Values = {}
    hooks = []
    for label, name in names.items():
        way, _, path = name.partition(":")

        def keep(module: Any, args: Any, out: Any, label: str = label, way: str = way) -> None:
            del module
            seen[label] = (args[0] if way == "in" else out).clone()

        hooks.append(net.get_submodule(path).register_forward_hook(keep))
    out = net(x)
    for hook in hooks:
        hook.remove()
    return out, seen


def _network(case: Case, values: Values, networks: Networks) -> Values:
    net = networks(case["model"])
    names = {"body1": "out:body.1", "before_shuffle": "out:body"}
    if isinstance(net, RRDBNet):
        outputs = {"conv_first": "conv_first", "rdb": "body.0.rdb1", "rrdb0": "body.0", "body": "body"}
        names = {label: f"out:{path}" for label, path in outputs.items()}
        names |= {"trunk": "in:conv_up1", "up1": "in:conv_up2", "up2": "in:conv_hr", "hr": "in:conv_last"}
    output, seen = _inputs_of(net, names, values["input"])
    for label in {"trunk", "up1"} & set(seen):  # the next layer gets it with every pixel repeated 2×2
        seen[label] = seen[label][..., ::2, ::2]
    return {"output": output, **seen, **{f"{label}_corner": value[..., :24, :24] for label, value in seen.items()}}


def _enhance(case: Case, values: Values, networks: Networks) -> Values:
    image = values["image"].numpy().astype(case["image_dtype"])
    result = enhance(networks(case["model"]), image, guess_range=True, **case["options"])
    assert result.dtype == case["result_dtype"]
    return {"result": torch.from_numpy(result.astype(np.int32))}


def _real(case: Case, values: Values, networks: Networks) -> Values:
    """Through the method: its floats, and its 8-bit stream."""
    networks(case["model"])  # skips or fails where the parameters cannot be had
    frames = values["frames"].permute(0, 3, 1, 2).contiguous()
    method = RealEsrgan(name="realesrgan", variant=_weight(case["model"]).split("/")[1])
    assert not method.untrained
    method.setup()
    request = Request(4, 1)
    results = {"output_u8": torch.cat(list(method.restore(ArrayClip(frames), request))).permute(0, 2, 3, 1)}
    if "output" in case["tensors"]:
        results["output"] = method.restore_float(to_float(frames), request)
    if "output_corner" in case["tensors"]:
        results["output_corner"] = method.restore_float(to_float(frames[-1:]), request)[..., -64:, -64:]
    method.close()
    return results


def _ncnn(case: Case, values: Values, networks: Networks) -> Values:
    del networks
    param, bin = ((FOLDER / case[part]).read_bytes() for part in ("param", "bin"))
    tensors = read_ncnn(param, bin)
    assert tensor_hash(tensors) == case["tensor_hash"]
    crlf = FOLDER / case["param"].replace(".param", "_crlf.param")
    if crlf.is_file():
        assert b"\r\n" in crlf.read_bytes()
        assert tensor_hash(read_ncnn(crlf.read_bytes(), bin)) == case["tensor_hash"]
    net = _built(case["arch"], case["args"])
    load_strict(net, tensors)
    assert repr(network_of(tensors)) == repr(net)
    return {"output": net(values["input"]), **{f"state.{name}": tensor for name, tensor in tensors.items()}}


def _checkpoint(case: Case, values: Values, networks: Networks) -> Values:
    del networks
    tensors = read_checkpoint(FOLDER / case["checkpoint"])
    net = network_of(tensors)
    assert repr(net) == repr(_built(case["arch"], case["args"]))
    load_strict(net, tensors)
    return {"output": net(values["input"])}


KINDS = {"network": _network, "enhance": _enhance, "real": _real, "ncnn": _ncnn, "checkpoint": _checkpoint}


def _compare(name: str, case: Case, result: Tensor, expected: Tensor) -> None:
    assert result.shape == expected.shape, name
    if name.startswith("state."):
        assert torch.equal(result, expected), name
    elif expected.dtype.is_floating_point:
        torch.testing.assert_close(result, expected, rtol=0, atol=ATOL, msg=lambda m: f"{name}: {m}")
    else:
        off = (result.int() - expected.int()).abs()
        sixteen = case.get("result_dtype") == "uint16"
        assert int(off.max()) <= (2 if sixteen else 1), name
        resized = case.get("options", {}).get("outscale") is not None
        most = MOST_SAMPLES_OFF_RESIZED if resized else MOST_SAMPLES_OFF
        assert sixteen or float((off > 0).float().mean()) <= most, name


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_case(name: str, networks: Networks) -> None:
    """Every tensor of one case, to the tolerance that the set's README asks for."""
    case = CASES[name]
    values = load_file(FOLDER / f"{name}.safetensors")
    results = KINDS[case["kind"]](case, values, networks)
    expected = {label: value for label, value in values.items() if label not in INPUTS}
    compared = 0
    for label, value in expected.items():
        _compare(label, case, results[label], value)
        compared += 1
    COMPARED[name] = compared
    assert set(expected) == set(case["tensors"]) - set(INPUTS)
    assert {label for label in results if label.startswith("state.")} <= set(expected)


def test_count(goldens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was compared is what ``config.json`` lists, and nothing is stored that it does not."""
    with capsys.disabled():
        print(f"\nrealesrgan: {sum(COMPARED.values())} tensors of {len(COMPARED)} cases compared; ", end="")
        print(f"not run here: {', '.join(name for name in CASES if name not in COMPARED) or 'none'}")
    listed = {name: len(set(case["tensors"]) - set(INPUTS)) for name, case in CASES.items()}
    assert {name: listed[name] for name in COMPARED} == COMPARED
    stored = {path.stem for path in (goldens / "realesrgan").glob("*.safetensors")}
    assert stored == set(CASES) | {Path(model["file"]).stem for model in CONFIG["models"].values() if model["file"]}
