"""VBench background consistency: the formula by hand, the first frame across batches, the encoder's attention."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.core.errors import WeightError
from stvsr_bench.metrics.background_consistency import BackgroundConsistency
from stvsr_bench.metrics.base import FrameBatch, build_metric
from stvsr_bench.metrics.catalog import CATALOG
from stvsr_bench.metrics.clip_vit import ClipVit, build_clip_vit
from stvsr_bench.metrics.functional.background import clip_input, consistency
from stvsr_bench.metrics.result import MetricResult
from stvsr_bench.nn.seeded import seed_parameters

Run = Callable[..., MetricResult]
Noise = Callable[..., torch.Tensor]
INFO = CATALOG["vbench_background_consistency"]


def test_negative_likeness_counts_as_0() -> None:
    east, west, north = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 2.0]])
    assert consistency(east, east, east) == 1
    assert consistency(east, west, west) == 0.5
    assert consistency(east, north, west) == 0
    assert consistency(east, east, torch.tensor([1.0, 1.0])) == pytest.approx(0.5**0.5)


def test_each_frame_is_compared_with_the_one_before_and_with_the_first(run: Run, noise: Noise) -> None:
    frames = noise(4, 50, 70)
    metric = build_metric(INFO)
    assert isinstance(metric, BackgroundConsistency)
    metric.setup("cpu")
    network = metric.network
    assert network is not None
    with torch.inference_mode():
        features = F.normalize(torch.cat([network(clip_input(f[None])) for f in frames]).double(), dim=1)
    wanted = [
        (max(0.0, float(features[t - 1] @ features[t])) + max(0.0, float(features[0] @ features[t]))) / 2
        for t in range(1, 4)
    ]
    for batch in (1, 2, 4):
        assert run(INFO, frames, None, batch=batch).values == pytest.approx(wanted, abs=1e-9)


def test_a_clip_of_equal_frames_gives_1(run: Run, noise: Noise) -> None:
    frames = noise(1, 40, 40).expand(3, -1, -1, -1)
    assert run(INFO, frames, None).values == pytest.approx((1, 1), abs=1e-12)


def test_a_second_clip_starts_with_its_own_first_frame(run: Run, noise: Noise) -> None:
    first, second = noise(3, 40, 44, 1), noise(3, 40, 44, 2)
    metric = build_metric(INFO)
    metric.setup("cpu")
    for frames in (first, second):
        metric.start("clip", 3)
        metric.update(FrameBatch(frames, None, range(3)))
    assert metric.compute() == run(INFO, second, None)


@pytest.mark.parametrize("size", [(224, 224), (100, 173), (300, 240), (1, 1)])
def test_what_clip_is_shown(size: tuple[int, int]) -> None:
    shown = clip_input(torch.full((1, 3, *size), 255, dtype=torch.uint8))
    assert shown.shape == (1, 3, 224, 224)
    assert shown[0, 0, 5, 9] == pytest.approx((1 - 0.48145466) / 0.26862954, rel=1e-5)


def test_the_middle_is_cut_out_and_overshoot_stays(noise: Noise) -> None:
    frames = torch.zeros(1, 3, 224, 424, dtype=torch.uint8)
    frames[..., 100:324] = noise(1, 224, 224)
    assert torch.allclose(clip_input(frames), clip_input(frames[..., 100:324]))
    edge = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    edge[..., 32:] = 255
    shown = clip_input(edge)
    assert float(shown[0, 0].max()) > (1 - 0.48145466) / 0.26862954 + 0.1


def test_the_encoder_against_its_definition() -> None:
    """Attention, QuickGELU and residuals written out once more, in float64."""
    network = ClipVit(width=128, layers=2, patch=4, grid=3, features=5)
    seed_parameters(network, "clip")
    for name in ("class_embedding", "positional_embedding", "proj"):  # not all of them have a fan-in
        torch.nn.init.normal_(network.get_parameter(name), std=0.2, generator=torch.Generator().manual_seed(1))
    network = network.double().eval()
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    p = dict(network.named_parameters())

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    patches = F.unfold(images, 4, stride=4).transpose(1, 2) @ p["conv1.weight"].flatten(1).T
    x = torch.cat([p["class_embedding"].expand(2, 1, -1), patches], 1) + p["positional_embedding"]
    x = norm(x, "ln_pre")
    for layer in range(2):
        at = f"transformer.resblocks.{layer}"
        y = norm(x, f"{at}.ln_1") @ p[f"{at}.attn.in_proj_weight"].T + p[f"{at}.attn.in_proj_bias"]
        q, k, v = (part.view(2, 10, 2, 64).transpose(1, 2) for part in y.chunk(3, -1))
        y = ((q @ k.transpose(-1, -2) / 8).softmax(-1) @ v).transpose(1, 2).reshape(2, 10, 128)
        x = x + y @ p[f"{at}.attn.out_proj.weight"].T + p[f"{at}.attn.out_proj.bias"]
        y = norm(x, f"{at}.ln_2") @ p[f"{at}.mlp.c_fc.weight"].T + p[f"{at}.mlp.c_fc.bias"]
        x = x + y / (1 + (-1.702 * y).exp()) @ p[f"{at}.mlp.c_proj.weight"].T + p[f"{at}.mlp.c_proj.bias"]
    wanted = norm(x[:, 0], "ln_post") @ p["proj"]
    assert torch.allclose(network(images), wanted, atol=1e-10)


def test_the_published_size_loads_strictly() -> None:
    names = ClipVit().state_dict()
    assert sum(tensor.numel() for tensor in names.values()) == 87_849_216
    tiny = ClipVit(width=64, layers=1, features=8).state_dict()
    assert build_clip_vit(tiny).proj.shape == (64, 8)
    with pytest.raises(WeightError, match="1 missing: ln_post"):
        build_clip_vit({name: tensor for name, tensor in tiny.items() if name != "ln_post.bias"})
    with pytest.raises(WeightError, match="no tensors of a CLIP vision transformer"):
        build_clip_vit({"a": torch.zeros(1)})
