"""The published parameters through this machine's own index: every tensor hash that a card states is met."""

from __future__ import annotations

import os

import pytest

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Pypi, WeightSpec
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash
from stvsr_bench.weights.pypi import find_file, pip_settings

REAL = {
    weight: spec
    for weight, spec in service.known_weights().items()
    if any(isinstance(channel, Pypi) for channel in spec.channels)
}


def reachable(spec: WeightSpec) -> bool:
    channel = next(channel for channel in spec.channels if isinstance(channel, Pypi))
    return any(isinstance(found, str) for found in find_file(channel, pip_settings()))


@pytest.mark.xdist_group("real_weights")  # what comes in one download is fetched once anyway; this keeps waiting short
@pytest.mark.parametrize("weight", REAL)
def test_the_published_tensors(weight: str) -> None:
    spec = REAL[weight]
    try:
        tensors = service.load_weight(weight)
    except WeightError as error:
        if os.environ.get("STVSR_BENCH_REQUIRE_WEIGHTS") == "1" or (not service.is_offline() and reachable(spec)):
            raise
        pytest.skip(f"{weight} cannot be had here: {error}")
    assert tensor_hash(tensors) == spec.tensor_hash
    assert all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in tensors.values())


def test_the_weights_of_metrics_are_known() -> None:
    assert len(REAL) >= 8
    for weight in ("lpips/alexnet", "lpips/heads_alex", "lpips/vgg16", "lpips/heads_vgg", "dists/alpha_beta"):
        assert REAL[weight].faults() == []
