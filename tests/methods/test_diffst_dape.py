"""DAPE: the tower against another Swin, adapters merged and run apart, its tokens, and what loading refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor, nn
from transformers import SwinConfig, SwinModel

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.diffst.dape import Dape, load_dape, merge_adapters

WIDTH, DEPTHS, HEADS, WINDOW, SIDE = 16, (2, 2, 2), (2, 4, 8), 4, 64
BLOCKS = [(layer, block) for layer, depth in enumerate(DEPTHS) for block in range(depth)]
QKV = "visual_encoder.layers.{}.blocks.{}.attn.qkv.weight"


def tiny(**changes: Any) -> Dape:
    torch.manual_seed(0)
    settings = {"image_size": SIDE, "width": WIDTH, "depths": DEPTHS, "heads": HEADS, "window": WINDOW, "features": 24}
    return Dape(**{**settings, **changes}).eval().requires_grad_(False)


def ram_shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of RAM's image tower, written down apart from the code."""
    yield from (("image_proj.weight", (24, 4 * WIDTH)), ("image_proj.bias", (24,)))
    tower = "visual_encoder"
    yield from ((f"{tower}.patch_embed.proj.weight", (WIDTH, 3, 4, 4)), (f"{tower}.patch_embed.proj.bias", (WIDTH,)))
    yield from ((f"{tower}.{part}", (WIDTH,)) for part in ("patch_embed.norm.weight", "patch_embed.norm.bias"))
    yield from ((f"{tower}.norm.{part}", (4 * WIDTH,)) for part in ("weight", "bias"))
    for layer, block in BLOCKS:
        dim, at = WIDTH * 2**layer, f"{tower}.layers.{layer}.blocks.{block}"
        for part, out, inner in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            yield from ((f"{at}.{part}.weight", (out * dim, inner * dim)), (f"{at}.{part}.bias", (out * dim,)))
        yield from ((f"{at}.{part}.{leaf}", (dim,)) for part in ("norm1", "norm2") for leaf in ("weight", "bias"))
        yield f"{at}.attn.relative_position_bias_table", ((2 * WINDOW - 1) ** 2, HEADS[layer])
    for layer in (0, 1):
        dim, at = WIDTH * 2**layer, f"{tower}.layers.{layer}.downsample"
        yield f"{at}.reduction.weight", (2 * dim, 4 * dim)
        yield from ((f"{at}.norm.{part}", (4 * dim,)) for part in ("weight", "bias"))


@pytest.fixture(scope="module")
def ram() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, shape in ram_shapes():
        drawn = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            tensors[name] = 0.2 * drawn + ("norm" in name and name.endswith("weight"))
        else:
            tensors[name] = drawn if "table" in name else drawn / drawn[0].numel() ** 0.5
    return tensors


@pytest.fixture(scope="module")
def adapters() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for layer, block in BLOCKS:
        dim, at = WIDTH * 2**layer, f"visual_encoder.layers.{layer}.blocks.{block}.attn.qkv"
        tensors[f"{at}.lora_A"] = torch.randn(16, dim, generator=generator)
        tensors[f"{at}.lora_B"] = torch.randn(2 * dim, 8, generator=generator)
    return tensors


def frames(count: int = 2, height: int = SIDE, width: int = SIDE) -> Tensor:
    """Coloured patches of about eight pixels, so that tokens differ from place to place."""
    patches = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(3)).round(decimals=1)
    return F.interpolate(patches, (height, width), mode="nearest")


def reference(ram: dict[str, Tensor], adapters: dict[str, Tensor] | None) -> Callable[[Tensor], Tensor]:
    """The Swin of transformers with RAM's weights; adapters run beside queries and values, never merged."""
    config = SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=WIDTH, depths=list(DEPTHS), num_heads=list(HEADS), window_size=WINDOW
    )
    model = SwinModel(config, add_pooling_layer=False).eval()
    state = {
        "embeddings.patch_embeddings.projection.weight": ram["visual_encoder.patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": ram["visual_encoder.patch_embed.proj.bias"],
    }
    for leaf in ("weight", "bias"):
        state[f"embeddings.norm.{leaf}"] = ram[f"visual_encoder.patch_embed.norm.{leaf}"]
        state[f"layernorm.{leaf}"] = ram[f"visual_encoder.norm.{leaf}"]
        for layer, block in BLOCKS:
            old, new = f"visual_encoder.layers.{layer}.blocks.{block}", f"encoder.layers.{layer}.blocks.{block}"
            for part, rows in zip("qkv", ram[f"{old}.attn.qkv.{leaf}"].chunk(3), strict=True):
                state[f"{new}.attention.{part}_proj.{leaf}"] = rows
            for theirs, ours in (
                *(("attention.o_proj", "attn.proj"), ("mlp.fc1", "mlp.fc1"), ("mlp.fc2", "mlp.fc2")),
                *(("layernorm_before", "norm1"), ("layernorm_after", "norm2")),
            ):
                state[f"{new}.{theirs}.{leaf}"] = ram[f"{old}.{ours}.{leaf}"]
            table = "relative_position_bias_table"
            state[f"{new}.attention.relative_position_bias.{table}"] = ram[f"{old}.attn.{table}"]
    for name, tensor in ram.items():
        if ".downsample." in name:
            state[name.replace("visual_encoder", "encoder")] = tensor
    told = model.load_state_dict(state, strict=False)
    assert not told.unexpected_keys
    assert not [name for name in told.missing_keys if "relative_position_index" not in name]
    if adapters is not None:
        for layer, block in BLOCKS:
            at = f"visual_encoder.layers.{layer}.blocks.{block}.attn.qkv"
            a, b = adapters[f"{at}.lora_A"].chunk(2), adapters[f"{at}.lora_B"].chunk(2)
            attention = model.encoder.layers[layer].blocks[block].attention
            for group, part in enumerate((attention.q_proj, attention.v_proj)):

                def beside(_: nn.Module, given: Any, out: Tensor, a: Tensor = a[group], b: Tensor = b[group]) -> Tensor:
                    return out + F.linear(F.linear(given[0], a), b) / 8

                part.register_forward_hook(beside)

    @torch.no_grad()
    def run(pictures: Tensor) -> Tensor:
        x = TF.normalize(pictures, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        tokens = model(x).last_hidden_state
        tokens = torch.cat([F.adaptive_avg_pool1d(tokens.transpose(1, 2), 1).transpose(1, 2), tokens], 1)
        return F.linear(tokens, ram["image_proj.weight"], ram["image_proj.bias"])

    return run


def test_the_tower_of_the_paper_has_its_size() -> None:
    """Catches a classification head that stayed, another depth, width, window or projection."""
    with torch.device("meta"):
        network = Dape()
    assert sum(p.numel() for p in network.parameters()) == 195_985_460
    assert (network.image_size, network.tokens, network.feature_dim) == (384, 145, 512)
    assert network(torch.empty(1, 3, 180, 320, device="meta")).shape == (1, 145, 512)


def test_raw_features_are_those_before_the_projection() -> None:
    with torch.device("meta"):
        network = Dape(feature="raw")
    assert network.feature_dim == 1536
    assert network(torch.empty(1, 3, 384, 384, device="meta")).shape == (1, 145, 1536)


def test_the_tower_is_the_same_as_another_implementation(ram: dict[str, Tensor]) -> None:
    """Catches a wrong entry of the key map, another order of merged patches, shift, mask or statistics of colours."""
    network = tiny()
    load_dape(network, ram, None)
    out, expected = network(frames()), reference(ram, None)(frames())
    assert expected.std() > 0.1
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_merged_adapters_are_the_same_as_adapters_run_apart(
    ram: dict[str, Tensor], adapters: dict[str, Tensor]
) -> None:
    """Catches the groups in each other's place, one on the keys, another scale, B and A swapped, a block left out."""
    network = tiny()
    load_dape(network, ram, adapters)
    out, expected = network(frames()), reference(ram, adapters)(frames())
    assert (expected - reference(ram, None)(frames())).abs().max() > 0.1
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_merging_leaves_keys_and_everything_else_alone(ram: dict[str, Tensor], adapters: dict[str, Tensor]) -> None:
    """Catches rows that are off by one group, and tensors of the caller that are changed in place."""
    before = {name: tensor.clone() for name, tensor in ram.items()}
    merged = merge_adapters(ram, adapters)
    assert all(torch.equal(ram[name], before[name]) for name in ram)
    changed = {QKV.format(*at) for at in BLOCKS}
    assert all(torch.equal(merged[name], ram[name]) for name in ram if name not in changed)
    for layer, block in BLOCKS:
        name, dim = QKV.format(layer, block), WIDTH * 2**layer
        at = name.removesuffix(".weight")
        a, b = adapters[f"{at}.lora_A"], adapters[f"{at}.lora_B"]
        assert torch.equal(merged[name][dim : 2 * dim], ram[name][dim : 2 * dim])
        difference = merged[name] - ram[name]
        torch.testing.assert_close(difference[:dim], b[:dim] @ a[:8] / 8, rtol=0, atol=1e-5)
        torch.testing.assert_close(difference[2 * dim :], b[dim:] @ a[8:] / 8, rtol=0, atol=1e-5)


def test_adapters_are_known_by_shape_not_by_name(ram: dict[str, Tensor], adapters: dict[str, Tensor]) -> None:
    """Catches names that are taken for granted: they are not published."""
    renamed = {
        name.replace("visual_encoder.", "model.tower.").replace("lora_A", "z.weight").replace("lora_B", "y.weight"): t
        for name, t in adapters.items()
    }
    expected = merge_adapters(ram, adapters)
    found = merge_adapters(ram, renamed)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_mean_comes_first_and_is_taken_before_the_projection(ram: dict[str, Tensor]) -> None:
    """Catches the mean at the end, a mean before the last norm, and a mean over frames."""
    raw, projected = tiny(feature="raw"), tiny()
    for network in (raw, projected):
        load_dape(network, ram, None)
    tokens = raw(frames())
    assert tokens.shape == (2, 17, 64)
    torch.testing.assert_close(tokens[:, 0], tokens[:, 1:].mean(1), rtol=0, atol=1e-5)
    assert (tokens[:, 0] - tokens[:, -1]).abs().max() > 0.1
    expected = F.linear(tokens, ram["image_proj.weight"], ram["image_proj.bias"])
    torch.testing.assert_close(projected(frames()), expected)


def test_frames_one_at_a_time(ram: dict[str, Tensor]) -> None:
    """Catches frames that see each other, and a last group that is lost."""
    network = tiny()
    load_dape(network, ram, None)
    together = network(frames(5))
    for at_once in (1, 2, 5, 9):
        torch.testing.assert_close(network(frames(5), at_once=at_once), together, rtol=1e-4, atol=1e-5)


def test_frames_of_any_size_are_resized_first(ram: dict[str, Tensor]) -> None:
    """Catches colours that are normalised twice, corners that are aligned, and rows and columns swapped."""
    network = tiny()
    load_dape(network, ram, None)
    odd = frames(1, 37, 90)
    resized = F.interpolate(odd, (SIDE, SIDE), mode="bilinear")
    torch.testing.assert_close(network(odd), network(resized), rtol=1e-4, atol=1e-5)
    assert (network(odd) - network(odd.mT)).abs().max() > 0.01


def test_half_precision_prepares_in_float32(ram: dict[str, Tensor]) -> None:
    """Catches resizing and normalising in bfloat16."""
    network = tiny()
    load_dape(network, ram, None)
    exact = network(frames())
    seen: list[Tensor] = []
    network.visual_encoder.features[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    out = network.bfloat16()(frames())
    assert out.dtype == torch.bfloat16
    prepared = TF.normalize(frames(), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(seen[0], prepared.bfloat16(), rtol=2**-7, atol=1e-6)
    assert (seen[0] != prepared.bfloat16()).float().mean() < 0.001
    assert (out.float() - exact).norm() < 0.05 * exact.norm()


def test_what_is_no_parameter_of_the_tower_is_left_aside(ram: dict[str, Tensor]) -> None:
    """Catches a loader that refuses RAM's own file for its text side, or for constants that Swin keeps in it."""
    index = tiny().visual_encoder.features[1][0].attn.relative_position_index
    more = {
        "tag_encoder.embeddings.weight": torch.zeros(3),
        "label_embed": torch.zeros(2),
        "visual_encoder.layers.0.blocks.1.attn_mask": torch.zeros(16, 16, 16),
        "visual_encoder.layers.0.blocks.0.attn.relative_position_index": index.view(16, 16),
    }
    plain, full = tiny(), tiny(width=WIDTH)
    load_dape(plain, ram, None)
    load_dape(full, {**ram, **more}, None)
    assert torch.equal(plain(frames()), full(frames()))
    more["visual_encoder.layers.0.blocks.0.attn.relative_position_index"] = index.view(16, 16).T
    with pytest.raises(WeightError, match="numbers the pairs"):
        load_dape(full, {**ram, **more}, None)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"image_proj.bias": None}, "1 missing: image_proj.bias"),
        ({QKV.format(1, 0): None}, r"missing: visual_encoder\.layers\.1\.blocks\.0\.attn\.qkv\.weight"),
        ({"visual_encoder.head.weight": torch.zeros(5, 64)}, r"unexpected: visual_encoder\.head\.weight"),
        ({"visual_encoder.norm.weight": torch.zeros(63)}, r"of another shape: .*\[63\] instead of \[64\]"),
        ({"image_proj.bias": torch.zeros(24, dtype=torch.float16)}, "of another dtype: image_proj.bias"),
    ],
)
def test_a_tower_that_does_not_fit_is_refused(
    ram: dict[str, Tensor], change: dict[str, Tensor | None], complaint: str
) -> None:
    """Catches a loader that skips what it does not know, or that leaves a half-filled network."""
    network = tiny()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {name: tensor for name, tensor in {**ram, **change}.items() if tensor is not None}
    with pytest.raises(WeightError, match=complaint):
        load_dape(network, tensors, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


FIRST = "visual_encoder.layers.0.blocks.0.attn.qkv"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({f"{FIRST}.lora_A": None, f"{FIRST}.lora_B": None}, f"nothing for {FIRST}.weight"),
        ({f"{FIRST}.lora_B": None}, r"1 not explained: .*lora_A \[16, 16\]"),
        ({f"{FIRST}.lora_A": torch.zeros(8, 16), f"{FIRST}.lora_B": torch.zeros(32, 4)}, r"lora_A \[8, 16\], .*lora_B"),
        ({f"{FIRST}.weight": torch.zeros(48, 16)}, r"3 not explained: .*weight \[48, 16\]"),
        ({f"{FIRST}.lora_A": torch.zeros(16, 16, dtype=torch.int64)}, "2 not explained"),
        ({"visual_encoder.layers.0.blocks.0.attn.proj.lora_A": torch.zeros(8, 16)}, "1 not explained"),
        ({"visual_encoder.layers.7.blocks.0.attn.qkv.lora_A": torch.zeros(16, 16)}, "1 not explained"),
        ({"tag_encoder.lora_A": torch.zeros(8, 16)}, "1 not explained: tag_encoder"),
    ],
)
def test_adapters_that_are_not_explained_are_refused(
    ram: dict[str, Tensor], adapters: dict[str, Tensor], change: dict[str, Tensor | None], complaint: str
) -> None:
    """Catches adapters that are dropped in silence: the tower would be RAM's, not DAPE's."""
    tensors = {name: tensor for name, tensor in {**adapters, **change}.items() if tensor is not None}
    with pytest.raises(WeightError, match=complaint):
        load_dape(tiny(), ram, tensors)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"feature": "tags"}, "text side of RAM"), ({"image_size": 60}, "16"), ({"image_size": 0}, "16")],
)
def test_settings_that_are_not_built(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        tiny(**settings)
