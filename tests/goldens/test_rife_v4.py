"""RIFE 4.0 against reference values of another implementation: blocks, reduced networks, and the published weights.

Every case of the set's ``config.json`` is compared, whatever it is called and however large it is; cases of the 3.x
models, which are not part of the product, are named and left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from stvsr_bench.core.weight_card import Pypi
from stvsr_bench.nn.flow_refine import warped_context
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.strict import load_strict

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def folder(goldens: Path) -> Path:
    """The golden set; skips where it is absent."""
    if not (goldens / "rife_v4" / "config.json").is_file():
        pytest.skip(f"golden set is absent: {goldens / 'rife_v4'}")
    return goldens / "rife_v4"


@pytest.fixture(scope="module")
def config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def _load(folder: Path, config: dict[str, Any], file: str) -> Tensors:
    """Read a file of the set, which must be the one that the config names."""
    facts = config["files"][file]
    assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == facts["sha256"], f"{file} is damaged"
    return load_file(folder / file)


def _reduced(folder: Path, config: dict[str, Any], gain: list[float] | None, optimised: bool) -> Rife4:
    facts = config["reduced"]
    weights = _load(folder, config, facts["weights"])
    assert tensor_hash(weights) == facts["tensor_hash"]
    network = Rife4(facts["widths"], facts["refine_c"], optimised=optimised)
    load_strict(network, weights)
    if gain is not None:
        with torch.no_grad():
            network.block1.lastconv.weight *= torch.tensor(gain, dtype=torch.float32).view(1, -1, 1, 1)
    return _laid_out(network)


def _laid_out(network: Rife4) -> Rife4:
    layout = torch.channels_last if network.optimised else torch.contiguous_format
    return network.eval().requires_grad_(False).to(memory_format=layout)


def _tolerances(case: dict[str, Any]) -> dict[str, float]:
    """Image-like values, flow and logit; wider where flows reach hundreds of pixels (the set's README)."""
    gain = case.get("block1_lastconv_weight_gain_per_output_channel") is not None
    wide = bool(case.get("doubled")) or gain
    return {"image": 3e-4 if wide else 1e-4, "flow": 3e-3 if wide else 1e-3, "logit": 1e-3}


def _check(case: dict[str, Any], found: Tensors, expected: Tensors) -> tuple[int, float]:
    """Compare every expected tensor; return their number and the worst difference relative to its tolerance."""
    assert set(found) == set(expected), f"{case['name']}: not all tensors are compared"
    assert expected
    tolerances, worst = _tolerances(case), 0.0
    for name, reference in expected.items():
        kind = "flow" if "flow" in name else "logit" if name.startswith(("logit", "out_mask")) else "image"
        difference = float((found[name].double() - reference.double()).abs().max())
        assert found[name].shape == reference.shape
        assert difference <= tolerances[kind], f"{case['name']}: {name} differs by {difference}"
        worst = max(worst, difference / tolerances[kind])
    return len(expected), worst


def _run_blocks(network: Rife4, case: dict[str, Any], tensors: Tensors) -> tuple[Tensors, Tensors]:
    found: Tensors = {}
    for call in case["calls"]:
        number = call["index"]
        block = network.get_submodule(call["block"])
        out = block(tensors[f"x{number}"], tensors.get(f"flow{number}"), call["scale"])
        found[f"out_flow{number}"], found[f"out_mask{number}"] = out[:, :4], out[:, 4:]
    return found, {name: tensor for name, tensor in tensors.items() if name.startswith("out_")}


def _run_network(network: Rife4, case: dict[str, Any], tensors: Tensors) -> tuple[Tensors, Tensors]:
    pair = torch.cat([tensors["img0_u8"], tensors["img1_u8"]], 1).float() / 255
    height, width = pair.shape[-2:]
    if "padded_hw" in case:
        multiple = max(128, int(128 / case["scale"]))
        padded = [padded_length(height, multiple), padded_length(width, multiple)]
        assert padded == list(case["padded_hw"])
        pair = F.pad(pair, (0, padded[1] - width, 0, padded[0] - height))
    time = torch.tensor(case["timestep"], dtype=torch.float32).expand(len(pair))
    options = {"flow_scale": case["scale"], "ensemble": case["ensemble"]}
    history: list[tuple[Tensor, Tensor]] = []
    plain = network(pair, time, **options, refine=False, history=history)
    assert bool(plain.doubled.any()) is case["doubled"]
    found = {"output": plain.output, "mask": torch.sigmoid(plain.logit)}
    for number, (flow, logit) in enumerate(history):
        found |= {f"flow{number}": flow, f"logit{number}": logit}
    expected = {name: tensor for name, tensor in tensors.items() if not name.startswith("img")}
    if "output_refined" in expected:
        found["output_refined"] = network(pair, time, **options).output
    if any(name.startswith("context") for name in expected):
        warped, _ = warped_context(network.contextnet(pair[:, :3]), network.contextnet(pair[:, 3:]), plain.flow)
        found |= {f"context0_f{level}": feature for level, feature in enumerate(warped, 1)}
    found |= {f"{name}_s4": tensor[..., ::4, ::4] for name, tensor in found.items()}
    found |= {name: found[name][..., :height, :width] for name in ("output", "output_refined") if name in found}
    return {name: found[name] for name in expected if name in found}, expected


def _expected_count(cases: list[dict[str, Any]]) -> int:
    """Number of results that the config lists for these cases."""
    total = 0
    for case in cases:
        names = case["tensors"]
        total += sum(n.startswith("out_") for n in names) if case["kind"] == "block" else len(names) - 2
    return total


@pytest.mark.parametrize("optimised", [True, False], ids=["optimised", "plain"])
def test_reduced_networks(
    folder: Path, config: dict[str, Any], optimised: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [case for case in config["cases"] if case["model"] == "reduced"]
    assert cases
    compared, worst = 0, 0.0
    with torch.inference_mode():
        for case in cases:
            gain = case.get("block1_lastconv_weight_gain_per_output_channel")
            network = _reduced(folder, config, gain, optimised)
            tensors = _load(folder, config, case["file"])
            assert {name: list(tensor.shape) for name, tensor in tensors.items()} == case["tensors"]
            run = {"block": _run_blocks, "network": _run_network}[case["kind"]]
            count, ratio = _check(case, *run(network, case, tensors))
            compared, worst = compared + count, max(worst, ratio)
    with capsys.disabled():
        print(f"\nrife_v4: {compared} tensors of {len(cases)} reduced cases, at most {worst:.2f} of the tolerance")
    assert compared == _expected_count(cases)


def test_published_weights(
    folder: Path, config: dict[str, Any], require_weights: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    real = [case for case in config["cases"] if case["kind"] not in ("block", "network")]
    cases = [case for case in real if case["model"] == "4.0"]
    left_out = [case["name"] for case in real if case["model"] != "4.0"]
    assert cases
    require_weights("rife/4.0")
    network = Rife4()
    load_strict(network, service.load_weight("rife/4.0"))
    network = _laid_out(network)
    compared, worst = 0, 0.0
    with torch.inference_mode():
        for case in cases:
            tensors = _load(folder, config, case["file"])
            assert {name: list(tensor.shape) for name, tensor in tensors.items()} == case["tensors"]
            count, ratio = _check(case, *_run_network(network, case, tensors))
            compared, worst = compared + count, max(worst, ratio)
    with capsys.disabled():
        print(f"\nrife_v4: {compared} tensors of {len(cases)} cases with the published weights, ", end="")
        print(f"at most {worst:.2f} of the tolerance; left out, models 3.x: {', '.join(left_out) or 'none'}")
    assert compared == _expected_count(cases)


def test_the_network_has_exactly_the_official_keys(config: dict[str, Any]) -> None:
    listed = {name: shape for name, shape in config["state_dict_4.0"].items() if not name.startswith("block_tea.")}
    assert {name: list(tensor.shape) for name, tensor in Rife4().state_dict().items()} == listed


def test_the_card_names_the_file_that_the_set_was_made_with(config: dict[str, Any]) -> None:
    facts = config["real_weights"]["4.0"]
    (channel,) = service.weight_spec("rife/4.0").channels
    assert isinstance(channel, Pypi)
    assert f"{channel.distribution} {channel.version}" == facts["package"]
    assert [(m.path, m.sha256) for m in channel.members] == [(facts["member"], facts["member_sha256"])]
    assert channel.sha256 == config["wheels"][channel.file]
