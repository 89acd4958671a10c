"""The RIFE of the paper against the golden set: every case that its ``config.json`` names, whatever it is called.

Three kinds: reduced networks whose parameters are stored, full-width networks whose parameters are made by the set's
recipe, and the warp alone. What a case is follows from the config and from the tensors: the parameters tell the
network, the files tell which results there are.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stvsr_bench.methods.base import Request
from stvsr_bench.methods.rife import Rife
from stvsr_bench.methods.rife.checkpoint import network_of
from stvsr_bench.nn.flow_refine import warped_context
from stvsr_bench.nn.ifnet_paper import SCALES, IFNet, Interpolated
from stvsr_bench.nn.padding import padded_length
from stvsr_bench.nn.warp import backward_warp, flow_warp
from stvsr_bench.weights.strict import load_strict

Tensors = dict[str, Tensor]
Facts = dict[str, Any]

ATOL_FLOW, ATOL_IMAGE = 1e-3, 1e-4
"""What the set's README allows for flow in pixels and for everything else."""


@pytest.fixture(scope="module")
def folder(goldens: Path) -> Path:
    """The golden set; skips where it is absent."""
    if not (goldens / "rife" / "config.json").is_file():
        pytest.skip(f"golden set is absent: {goldens / 'rife'}")
    return goldens / "rife"


@pytest.fixture(scope="module")
def config(folder: Path) -> Facts:
    found: Facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def _load(folder: Path, config: Facts, file: str) -> Tensors:
    """Read a file of the set, which must be the one that the config names."""
    assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == config["sha256"][file], f"{file} is damaged"
    return load_file(folder / file)


def _variant(tensors: Mapping[str, Tensor]) -> str:
    return {6: "paper", 7: "paper_m"}[tensors["block0.conv0.0.0.weight"].shape[1]]


def _network(tensors: Mapping[str, Tensor], optimised: bool) -> IFNet:
    """The network of official tensors, through the product's own loader."""
    students = {name: tensor for name, tensor in tensors.items() if not name.startswith("block_tea.")}
    network = network_of(students, _variant(tensors), optimised=optimised)
    layout = torch.channels_last if optimised else torch.contiguous_format
    return network.eval().requires_grad_(False).to(memory_format=layout)


def _padded(case: Facts, image: Tensor) -> Tensor:
    """``image`` as the method pads it, which must be what the config says."""
    scale = case.get("flow_scale", 1.0)
    multiple = max(32, int(32 / scale))
    height, width = (padded_length(side, multiple) for side in image.shape[-2:])
    assert multiple == case.get("pad_multiple", multiple)
    assert [height, width] == case.get("padded_hw", [height, width])
    assert case.get("scale_list", [4 / scale, 2 / scale, 1 / scale]) == [entry / scale for entry in SCALES]
    return torch.nn.functional.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))


def _run(network: IFNet, case: Facts, tensors: Tensors) -> Tensors:
    """Everything that the network finds for a case, by the names that the set uses."""
    images = tensors["img0"], tensors["img1"]
    height, width = images[0].shape[-2:]
    pair = torch.cat([_padded(case, image) for image in images], 1)
    time = torch.tensor(case["timestep"], dtype=torch.float32).expand(len(pair)) if network.timed else None
    options = {"flow_scale": case.get("flow_scale", 1.0)}
    history: list[Interpolated] = []
    last = network(pair, time, **options, history=history)
    found = {f"flow{number}": step.flow for number, step in enumerate(history)}
    found |= {f"merged{number}": step.blend for number, step in enumerate(history[:-1])}
    found |= {"mask": last.mask, "merged2": last.output, "output": last.output[..., :height, :width]}
    found["merged2_unrefined"] = network(pair, time, **options, refine=False).output
    if "output_tta" in tensors:
        found["output_tta"] = network(pair, time, **options, tta=True).output[..., :height, :width]
    assert network.contextnet is not None
    features = network.contextnet(pair[:, :3]), network.contextnet(pair[:, 3:])
    for side, levels in enumerate(warped_context(*features, last.flow, cached=network.optimised)):
        found |= {f"context{side}_f{level}": warped for level, warped in enumerate(levels, 1)}
    return found


def _check(name: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[int, float]:
    """Compare every expected tensor; return their number and the worst difference relative to its tolerance."""
    assert expected, name
    worst = 0.0
    for key, reference in expected.items():
        assert key in found, f"{name}: {key} is not computed"
        assert found[key].shape == reference.shape, f"{name}: {key}"
        assert torch.isfinite(found[key]).all(), f"{name}: {key}"
        difference = float((found[key].double() - reference.double()).abs().max())
        tolerance = ATOL_FLOW if key.startswith("flow") else ATOL_IMAGE
        assert difference <= tolerance, f"{name}: {key} differs by {difference}"
        worst = max(worst, difference / tolerance)
    return len(expected), worst


def _results(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name not in ("img0", "img1")}


def _stored(folder: Path, config: Facts, case: Facts) -> Tensors:
    model = config["models"][case["model"]]
    return _load(folder, config, model["weights"])


def _recipe(full: Facts) -> Tensors:
    """The parameters of a full-width network, made as the set's README says."""
    tensors = {}
    for name, shape in full["state_dict"].items():
        values = np.random.RandomState(zlib.crc32(name.encode()) ^ full["recipe_seed"]).standard_normal(shape)
        transposed = "lastconv" in name or name.removesuffix(".0.weight") in {f"unet.up{i}" for i in range(4)}
        if len(shape) == 4:
            fan = shape[0] * 4 if transposed else shape[1] * shape[2] * shape[3]
            values = values * np.sqrt(1.6 / fan)
        else:
            values = values * 0.05 if name.endswith(".bias") else 0.25 + 0.1 * values
        tensors[name] = torch.from_numpy(np.asarray(values).astype(np.float32))
        if name.endswith("lastconv.weight"):
            tensors[name] *= full["lastconv_gain"]
        if name == "unet.conv.weight":
            tensors[name] *= full["unet_conv_gain"]
    for name, sums in full["weight_sums"].items():
        values = tensors[name].double().numpy()
        assert [values.sum(), np.abs(values).sum()] == pytest.approx(sums, rel=1e-6), f"{name} is not the set's"
    return tensors


@pytest.mark.parametrize("optimised", [True, False], ids=["optimised", "plain"])
def test_reduced_networks(folder: Path, config: Facts, optimised: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards against: a wrong channel order, flow not scaled, corners aligned otherwise, other padding, swapped t."""
    cases = config["cases"]
    assert cases
    compared, listed, worst = 0, 0, 0.0
    with torch.inference_mode():
        for case in cases:
            tensors = _load(folder, config, case["file"])
            assert {name: list(tensor.shape) for name, tensor in tensors.items()} == case["tensors"]
            network = _network(_stored(folder, config, case), optimised)
            count, ratio = _check(case["name"], _run(network, case, tensors), _results(tensors))
            compared, listed, worst = compared + count, listed + len(case["tensors"]) - 2, max(worst, ratio)
    with capsys.disabled():
        print(f"\nrife: {compared} tensors of {len(cases)} reduced cases, at most {worst:.3f} of the tolerance")
    assert compared == listed


@pytest.mark.parametrize("optimised", [True, False], ids=["optimised", "plain"])
def test_full_width_networks(folder: Path, config: Facts, optimised: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert config["full_width"]
    compared, worst = 0, 0.0
    with torch.inference_mode():
        for full in config["full_width"]:
            tensors = _load(folder, config, full["file"])
            found = _run(_network(_recipe(full), optimised), full, tensors)
            count, ratio = _check(full["file"], found, _results(tensors))
            compared, worst = compared + count, max(worst, ratio)
    with capsys.disabled():
        cases = len(config["full_width"])
        print(f"\nrife: {compared} tensors of {cases} full-width cases, at most {worst:.3f} of the tolerance")


def test_the_method_restores_the_outputs(
    folder: Path, config: Facts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole method with a checkpoint in the official layout: padding, times, test-time augmentation, crop."""
    compared, worst, left_out = 0, 0.0, []
    for case in config["cases"]:
        weights = _stored(folder, config, case)
        path = tmp_path / case["model"] / "flownet.pkl"
        path.parent.mkdir(exist_ok=True)
        torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, path)
        tensors, variant = _load(folder, config, case["file"]), _variant(weights)
        time = Fraction(case["timestep"]).limit_denominator(64) if variant == "paper_m" else Fraction(1, 2)
        keys = {"output", "output_tta"} & set(tensors)
        if variant == "paper_m" and abs(time - case["timestep"]) > 1e-7:  # no φt gives this time
            left_out += [f"{case['name']} {key}" for key in keys]
            continue
        for key in keys:
            method = Rife(
                name="rife",
                variant=variant,
                flow_scale=case["flow_scale"],
                tta=key == "output_tta",
                checkpoint=path.parent,
            )
            method.setup()
            pairs = torch.stack([tensors["img0"], tensors["img1"]], 1)
            out = torch.cat(
                [method.restore_float(pair, Request(1, time.denominator))[time.numerator][None] for pair in pairs]
            )
            count, ratio = _check(f"{case['name']} by the method", {key: out}, {key: tensors[key]})
            compared, worst = compared + count, max(worst, ratio)
    with capsys.disabled():
        print(f"\nrife: {compared} outputs by the whole method, at most {worst:.3f} of the tolerance; ", end="")
        print(f"left out, at times that no φt up to 64 gives: {', '.join(left_out) or 'none'}")
    assert compared + len(left_out) == sum(
        name.startswith("output") for case in config["cases"] for name in case["tensors"]
    )


def test_warp(folder: Path, config: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    """Our warp counts in pixels and does not align corners; the reference aligns them, from -1 to 1: one map."""
    tensors = _load(folder, config, config["warp"]["file"])
    worst = 0.0
    for number in range(config["warp"]["n"]):
        source, flow, expected = (tensors[f"{name}{number}"] for name in ("input", "flow", "output"))
        for result in (flow_warp(source, flow), flow_warp(source, flow, cached=False), backward_warp(source, flow)):
            worst = max(worst, _check(f"warp {number}", {"output": result}, {"output": expected})[1])
    with capsys.disabled():
        print(f"\nrife: {config['warp']['n']} warps in three forms, at most {worst:.3f} of the tolerance")
    assert len(tensors) == 3 * config["warp"]["n"] > 0


def test_every_file_of_the_set_is_used(config: Facts) -> None:
    used = {facts["file"] for facts in (*config["cases"], *config["full_width"], config["warp"])}
    assert used | {config["models"][case["model"]]["weights"] for case in config["cases"]} == set(config["sha256"])


def test_the_networks_have_exactly_the_official_keys(folder: Path, config: Facts) -> None:
    """With the training block everything that the official files hold, at full and at reduced width."""
    for full in config["full_width"]:
        timed = full["state_dict"]["block0.conv0.0.0.weight"][1] == 7
        with torch.device("meta"):
            network = IFNet(timed=timed, teacher=True)
            students = IFNet(timed=timed)
            blocks = IFNet(timed=timed, refine=False)
        assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == full["state_dict"]
        numbers = [sum(p.numel() for p in net.parameters()) for net in (network, students, blocks)]
        assert numbers[0] == full["n_params"]
        assert numbers == ([10_710_780, 10_073_710, 6_821_835] if timed else [10_708_215, 10_071_550, 6_819_675])
    for model in config["models"].values():
        weights = _load(folder, config, model["weights"])
        widths = [model["widths"][block] for block in ("block0", "block1", "block2", "block_tea")]
        network = IFNet(widths, model["refine_c"], timed=_variant(weights) == "paper_m", teacher=True)
        load_strict(network, weights)
        assert sum(p.numel() for p in network.parameters()) == model["n_params"]
        assert len(weights) == model["n_keys"]
