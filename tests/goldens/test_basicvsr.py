"""BasicVSR against the golden set: every case of its ``config.json``, with random and with published parameters."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stvsr_bench.methods.base import Request
from stvsr_bench.methods.basicvsr import BasicVSR
from stvsr_bench.methods.basicvsr.checkpoint import network_of
from stvsr_bench.methods.basicvsr.network import BasicVSRNet
from stvsr_bench.nn.spynet import SPyNet
from stvsr_bench.nn.warp import backward_warp, flow_warp
from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.video.color import to_float
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.known import known_weights

Case = dict[str, Any]
Values = dict[str, Tensor]

_GIVEN = os.environ.get("STVSR_BENCH_GOLDENS")
FOLDER = (Path(_GIVEN) if _GIVEN else Path(__file__).resolve().parents[3] / "shared" / "goldens") / "basicvsr"
CONFIG: dict[str, Any] = json.loads((FOLDER / "config.json").read_text()) if FOLDER.is_dir() else {"cases": []}
CASES: list[Case] = CONFIG["cases"]

ATOL, ATOL_OUTPUT = 1e-4, 5e-5
MOST_SAMPLES_OFF = 0.005


@pytest.fixture(scope="module")
def inputs(goldens: Path) -> Values:
    return load_file(goldens / "basicvsr" / "inputs.safetensors")


@pytest.fixture(scope="module")
def outputs(goldens: Path) -> Values:
    return load_file(goldens / "basicvsr" / "outputs.safetensors")


def _recipe(shapes: dict[str, list[int]], model: dict[str, Any]) -> Values:
    """SPyNet's random parameters, rebuilt as the set's README says."""
    tensors = {}
    for name, shape in shapes.items():
        if not name.startswith("spynet.") or name in ("spynet.mean", "spynet.std"):
            continue
        draw = np.random.RandomState(zlib.crc32(name.encode()) ^ model["recipe_seed"]).random_sample(shape)
        gain = model["spynet_gain_last"] if name.endswith("basic_module.8.weight") else model["spynet_gain"]
        bound = 0.05 if len(shape) == 1 else (3 / np.prod(shape[1:])) ** 0.5 * gain
        tensors[name] = torch.from_numpy(((2 * draw - 1) * bound).astype(np.float32))
    return tensors


@pytest.fixture(scope="module")
def reduced(goldens: Path) -> BasicVSRNet:
    model = CONFIG["reduced_model"]
    tensors = load_file(goldens / "basicvsr" / "reduced_weights.safetensors")
    tensors |= _recipe(CONFIG["full_model"]["state_dict"], model)
    own = SPyNet()
    tensors |= {"spynet.mean": own.mean, "spynet.std": own.std}
    assert tensor_hash(tensors) == model["tensor_hash_all"], "the random parameters are not those of the set"
    return network_of(tensors).eval()


Networks = Callable[[Case], BasicVSRNet]


@pytest.fixture(scope="module")
def networks(request: pytest.FixtureRequest, require_weights: Callable[..., None]) -> Networks:
    """A function that gives a case its network; skips or fails where published parameters cannot be had."""
    kept: dict[str, BasicVSRNet] = {}

    def network(case: Case) -> BasicVSRNet:
        if case["weights"] == "reduced":
            reduced: BasicVSRNet = request.getfixturevalue("reduced")
            return reduced
        weight = _weight(case)
        require_weights(weight)
        if weight not in kept:
            from stvsr_bench.weights.service import load_weight

            kept[weight] = network_of(load_weight(weight)).eval()
        return kept[weight]

    return network


def _weight(case: Case) -> str:
    wanted = CONFIG["real_weights"][case["weights"]]["tensor_hash"]
    found = [name for name, spec in known_weights().items() if spec.tensor_hash == wanted]
    assert len(found) == 1, f"no card names the parameters {wanted} of {case['name']}"
    return found[0]


def _images(inputs: Values, name: str) -> Tensor:
    return to_float(inputs[name].permute(0, 3, 1, 2).contiguous())


def _warp(case: Case, inputs: Values) -> Values:
    x, flow = inputs[f"{case['name']}/x"], inputs[f"{case['name']}/flow"]
    results = {padding: flow_warp(x, flow, padding=padding) for padding in case["outputs"]}
    for padding, result in results.items():  # two forms of one warp
        torch.testing.assert_close(backward_warp(x, flow, padding=padding), result, rtol=0, atol=ATOL)
    return results


def _spynet(case: Case, inputs: Values, networks: Networks) -> Values:
    net = networks(case).spynet
    ref, supp = _images(inputs, f"{case['name']}/ref"), _images(inputs, f"{case['name']}/supp")
    levels = net.levels(net.pyramid(ref), net.pyramid(supp))
    return {"flow": net(ref, supp), **{f"level{i}": flow for i, flow in enumerate(levels)}}


def _step(case: Case, inputs: Values, networks: Networks) -> Values:
    net, name = networks(case), case["name"]
    frame, state, flow = _images(inputs, f"{name}/frame"), inputs[f"{name}/feat_prev"], inputs[f"{name}/flow"]
    step = net.step_back if name.endswith("backward") else net.step_forth
    return {"warped": flow_warp(state, flow, padding="zeros"), "feat": step(frame, state, flow)}


def _reconstruct(case: Case, inputs: Values, networks: Networks) -> Values:
    name = case["name"]
    back, forth = inputs[f"{name}/feat_backward"], inputs[f"{name}/feat_forward"]
    return {"output": networks(case).reconstruct(_images(inputs, f"{name}/frame"), back, forth)}


def _whole(case: Case, inputs: Values, networks: Networks) -> Values:
    """All features and flows of the whole clip at once, and the 8-bit output of the streaming method."""
    net, name = networks(case), case["name"]
    frames = _images(inputs, f"{name}/lr")
    steps: dict[str, list[Tensor]] = {"step_back": [], "step_forth": []}
    with pytest.MonkeyPatch.context() as patch:
        for step, seen in steps.items():
            patch.setattr(net, step, _recorded(getattr(net, step), seen))
        output = net(frames)
    back, forth = torch.cat(steps["step_back"][::-1]), torch.cat(steps["step_forth"])
    results = {"feats_backward": back, "feats_forward": forth, "output": output}
    if len(frames) > 1:
        results["flows_backward"] = net.flows(frames, ahead=True)
        results["flows_forward"] = net.flows(frames, ahead=False)
    about = case["outputs"]
    if "feat_backward_first" in about:
        results["feat_backward_first"] = back[0, about["feat_backward_first"]["channels"]]
        results["feat_forward_last"] = forth[-1, about["feat_forward_last"]["channels"]]
    if "frame_mid_crop" in about:
        (top, left), (_, height, width) = about["frame_mid_crop"]["crop_yx"], about["frame_mid_crop"]["shape"]
        middle = output[case["frame_mid_index"]]
        results["frame_mid_crop"] = middle[:, top : top + height, left : left + width]
    if "output_u8" in about:
        results["output_u8"] = _streamed(case, inputs).permute(0, 2, 3, 1)
    return results


def _recorded(step: Callable[..., Tensor], seen: list[Tensor]) -> Callable[..., Tensor]:
    def record(*arguments: Tensor | None) -> Tensor:
        seen.append(step(*arguments))
        return seen[-1]

    return record


def _streamed(case: Case, inputs: Values) -> Tensor:
    method = BasicVSR(name="basicvsr", variant=_weight(case).split("/")[1])
    assert not method.untrained
    method.setup()
    clip = ArrayClip(inputs[f"{case['name']}/lr"].permute(0, 3, 1, 2).contiguous(), name=case["name"])
    blocks = torch.cat(list(method.restore(clip, Request(4, 1, name=clip.name))))
    method.close()
    return blocks


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
@torch.no_grad()
def test_case(case: Case, inputs: Values, outputs: Values, networks: Networks) -> None:
    """Every tensor of one case, to the tolerance that the set's README asks for."""
    kinds = {"spynet": _spynet, "step": _step, "reconstruct": _reconstruct, "whole": _whole, "whole_real": _whole}
    results = _warp(case, inputs) if case["kind"] == "warp" else kinds[case["kind"]](case, inputs, networks)
    compared = 0
    for name in case["outputs"]:
        expected, result = outputs[f"{case['name']}/{name}"], results[name]
        assert result.shape == expected.shape, name
        if expected.dtype == torch.uint8:
            off = (result.int() - expected.int()).abs()
            assert int(off.max()) <= 1, name
            assert float((off > 0).float().mean()) <= MOST_SAMPLES_OFF, name
        else:
            atol = ATOL_OUTPUT if name in ("output", "frame_mid_crop") else ATOL
            torch.testing.assert_close(result, expected, rtol=0, atol=atol, msg=partial("{}: {}".format, name))
        compared += 1
    print(f"basicvsr {case['name']}: {compared} tensors compared")
    assert compared == len(case["outputs"]) == sum(key.startswith(f"{case['name']}/") for key in outputs)


def test_every_stored_tensor_belongs_to_a_case(outputs: Values) -> None:
    assert set(outputs) == {f"{case['name']}/{name}" for case in CASES for name in case["outputs"]}
    print(f"basicvsr: {len(outputs)} tensors of {len(CASES)} cases")


def test_the_network_has_the_published_shapes(goldens: Path) -> None:
    del goldens
    model = CONFIG["full_model"]
    with torch.device("meta"):
        net = BasicVSRNet(model["num_feat"], model["num_block"])
    assert {name: list(tensor.shape) for name, tensor in net.state_dict().items()} == model["state_dict"]
    assert sum(parameter.numel() for parameter in net.parameters()) == model["n_params"]
