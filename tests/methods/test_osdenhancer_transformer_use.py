"""OSDEnhancer's transformer: names and counts, constants, streamed blocks, memory, and what it refuses."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy_transformer import OFFICIAL, TEXT, TINY
from toy_transformer import inputs as _inputs
from toy_transformer import network as _network

from stvsr_bench.core.errors import ConfigError, MethodError
from stvsr_bench.methods.osdenhancer import blocks, demand
from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer, TransformerConfig, rope_tables


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _constant(inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs | {"prompt": None, "timestep": None}


# ---------------------------------------------------------------------- names, shapes, counts


def _documented(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the published checkpoint, with ``.base_layer`` and the texture adapters left out."""
    D, T, r = config.width, config.time_embed_dim, 128
    patch = config.in_channels * config.token_frames * config.patch_size**2
    out = config.out_channels * config.token_frames * config.patch_size**2
    found: dict[str, tuple[int, ...]] = {}

    def affine(name: str, outputs: int, inputs: int) -> None:
        found.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def norm(name: str, size: int) -> None:
        found.update({f"{name}.weight": (size,), f"{name}.bias": (size,)})

    def lora(name: str, outputs: int, inputs: int) -> None:
        found.update({f"{name}.lora_A.weight": (r, inputs), f"{name}.lora_B.weight": (outputs, r)})

    for number in range(config.num_layers):
        block = f"transformer_blocks.{number}"
        for which in ("norm1", "norm2"):
            affine(f"{block}.{which}.linear", 6 * D, T)
            norm(f"{block}.{which}.norm", D)
        norm(f"{block}.attn1.norm_q", config.attention_head_dim)
        norm(f"{block}.attn1.norm_k", config.attention_head_dim)
        for which in ("to_q", "to_k", "to_v", "to_out.0"):
            affine(f"{block}.attn1.{which}", D, D)
            lora(f"{block}.attn1.{which.removesuffix('.0')}_TC_lora", D, D)
        affine(f"{block}.ff.net.0.proj", 4 * D, D)
        lora(f"{block}.ff.net.0.proj_TC_lora", 4 * D, D)
        affine(f"{block}.ff.net.2", D, 4 * D)
        lora(f"{block}.ff.proj_out_TC_lora", D, 4 * D)
    affine("patch_embed.proj", D, patch)
    affine("patch_embed.text_proj", D, config.text_embed_dim)
    affine("time_embedding.linear_1", T, D)
    affine("time_embedding.linear_2", T, T)
    norm("norm_final", D)
    affine("norm_out.linear", 2 * D, T)
    norm("norm_out.norm", D)
    affine("proj_out", out, D)
    affine("res_patch.res_proj", D, patch)
    affine("res_patch.res_ff0_proj", 4 * D, patch)
    return found


@pytest.mark.parametrize("config", [TINY, OFFICIAL], ids=["tiny", "official"])
def test_the_state_has_exactly_the_documented_names_and_shapes(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        network = STVSRTransformer.from_config(config)
    found = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert found == _documented(TransformerConfig.of(config))


def test_the_full_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = STVSRTransformer.from_config(OFFICIAL)
    counts = {"TC": 0, "res_patch": 0, "base": 0}
    for name, parameter in network.named_parameters():
        part = "TC" if "_TC_lora." in name else "res_patch" if name.startswith("res_patch.") else "base"
        counts[part] += parameter.numel()
    assert counts == {"TC": 297_271_296, "res_patch": 1_981_440, "base": 5_570_676_352}
    assert sum(counts.values()) == 5_869_929_088
    assert not list(network.buffers())


# ---------------------------------------------------------------------- constants and streaming


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("optimised", [True, False])
def test_prepared_constants_give_the_same_to_the_bit(optimised: bool, drop: bool) -> None:
    inputs = _inputs(2)
    network = _network(optimised=optimised)
    before = network(**inputs)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    network.prepare_constants(inputs["prompt"], inputs["timestep"], torch.float32, drop=drop)
    assert len([name for name, _ in network.named_buffers() if name.endswith(".constant")]) == 2 * 2 + 1
    assert torch.equal(network(**_constant(inputs)), before)
    dropped = parameters - sum(parameter.numel() for parameter in network.parameters())
    assert dropped == (4 * 6 + 2) * 32 * (12 + 1) * drop
    if not drop:
        assert torch.equal(network(**inputs), before)


def test_constants_are_worked_out_in_the_dtype_that_will_run() -> None:
    inputs = _inputs(dtype=torch.bfloat16)
    network = _network(dtype=torch.bfloat16)
    expected = network(**inputs)
    stored = STVSRTransformer.from_config(TINY)
    stored.load_state_dict({name: value.float() for name, value in network.state_dict().items()})
    stored.prepare_constants(inputs["prompt"], inputs["timestep"], torch.bfloat16, drop=True)
    assert {buffer.dtype for buffer in stored.buffers()} == {torch.bfloat16}
    assert torch.equal(stored.to(torch.bfloat16)(**_constant(inputs)), expected)


def test_dropped_layers_are_told_of() -> None:
    inputs = _inputs()
    network = _network()
    with pytest.raises(MethodError, match="no prompt and time"):
        network(**_constant(inputs))
    network.prepare_constants(inputs["prompt"], inputs["timestep"], torch.float32, drop=True)
    with pytest.raises(MethodError, match="one time and prompt only"):
        network(**inputs)
    with pytest.raises(MethodError, match="constants are final"):
        network.prepare_constants(inputs["prompt"], inputs["timestep"], torch.float32)
    with pytest.raises(MethodError, match="another batch"):
        network(**_constant(_inputs(2)))


@contextmanager
def _streamed(network: STVSRTransformer) -> Iterator[None]:
    """Each block's parameters and buffers exist only while the block runs."""
    handles = []
    for block in network.transformer_blocks:
        held = [
            (module, store, name, tensor)
            for module in block.modules()
            for store in (module._parameters, module._buffers)
            for name, tensor in store.items()
            if tensor is not None
        ]

        def take(*_: object, held: list[Any] = held) -> None:
            for _module, store, name, tensor in held:
                store[name] = type(tensor)(tensor.to("meta"), False) if isinstance(tensor, nn.Parameter) else None

        def put(*_: object, held: list[Any] = held) -> None:
            for _module, store, name, tensor in held:
                store[name] = tensor

        take()
        handles += [block.register_forward_pre_hook(put), block.register_forward_hook(take)]
    yield
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("prepared", [True, False])
def test_blocks_are_needed_only_while_they_run(prepared: bool) -> None:
    inputs = _inputs()
    network = _network()
    expected = network(**inputs)
    if prepared:
        network.prepare_constants(inputs["prompt"], inputs["timestep"], torch.float32, drop=True)
        inputs = _constant(inputs)
    with _streamed(network):
        assert torch.equal(network(**inputs), expected)
        with pytest.raises((NotImplementedError, RuntimeError)):  # the block is really away
            network.transformer_blocks[0].get_submodule("ff.net.2")(torch.ones(1, 128)).sum().item()


def test_the_optimised_form_can_be_traced_whole() -> None:
    inputs = _inputs()
    network = _network()
    expected = network(**inputs)
    for block in network.transformer_blocks:
        block.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(**inputs), expected)


# ---------------------------------------------------------------------- memory


class _Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors alive at once, those given aside."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.given = {tensor.untyped_storage()._cdata for tensor in given}
        self.alive: dict[int, list[int]] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            key = tensor.untyped_storage()._cdata if isinstance(tensor, Tensor) else None
            if key is None or key in self.given:
                continue
            uses = self.alive.setdefault(key, [0, tensor.untyped_storage().nbytes()])
            self.now += uses[1] if uses[0] == 0 else 0
            uses[0] += 1
            weakref.finalize(tensor, self._gone, key)
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, key: int) -> None:
        uses = self.alive[key]
        uses[0] -= 1
        if uses[0] == 0:
            self.now -= self.alive.pop(key)[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("optimised", "tokens"), [(True, 50), (True, 300), (True, 8192), (False, 8192)])
def test_the_estimate_of_memory_holds(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, optimised: bool, tokens: int
) -> None:
    for module in (blocks, demand):
        monkeypatch.setattr(module, "CHUNK_TOKENS", tokens)
    network = _network(optimised=optimised, dtype=dtype, num_attention_heads=12)
    inputs = _inputs(1, 4, 40, 32, dtype=dtype)
    rope = inputs["rope"]
    with _Peak([*network.parameters(), *rope, *(v for v in inputs.values() if isinstance(v, Tensor))]) as counted:
        network(**inputs)
    size = (13, 40 * 8, 32 * 8)  # frames and pixels of these latents
    estimate = demand.transformer_bytes(network.config, *size, TEXT, dtype.itemsize, optimised=optimised)
    # never less than is needed; more where a chunk holds all tokens, which toy sizes do
    assert counted.peak <= estimate <= (3 if optimised and tokens > 50 else 2) * counted.peak


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"frames": 3}, "F a multiple of 2"),
        ({"frames": 5}, "repeat the first frame"),
        ({"height": 7}, "h and w multiples of 2"),
        ({"width": 5}, "h and w multiples of 2"),
    ],
)
def test_latents_that_do_not_fit_the_patches_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MethodError, match=complaint):
        _network()(**_inputs(**change))


def test_inputs_that_do_not_fit_one_another_are_refused() -> None:
    inputs, network = _inputs(), _network()
    with pytest.raises(MethodError, match="residual"):
        network(**inputs | {"residual_latents": inputs["residual_latents"][:, :2]})
    with pytest.raises(MethodError, match=r"rotary tables.*\(24, 16\)"):
        network(**inputs | {"rope": rope_tables(TINY, 2, 6, 8)})
    with pytest.raises(MethodError, match="C = 4"):
        network(**inputs | {"latents": inputs["latents"][:, :, :3]})
    with pytest.raises(MethodError, match="together"):
        network(**inputs | {"prompt": None})
    with pytest.raises(MethodError, match="no ofs"):
        _network(ofs_embed_dim=12)(**inputs)


def test_other_keys_of_the_file_are_ignored() -> None:
    others: dict[str, Any] = {
        "_class_name": "X",
        "dropout": 0.5,
        "activation_fn": "relu",
        "sample_frames": 81,
        "from_the_future": [1],
    }
    inputs = _inputs()
    assert torch.equal(_network(**others)(**inputs), _network()(**inputs))


@pytest.mark.parametrize("key", sorted(TINY.keys() - {"patch_bias"}))
def test_a_configuration_without_a_needed_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"incomplete.*no {key}"):
        STVSRTransformer.from_config({name: value for name, value in TINY.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", 0),
        ("num_layers", None),
        ("num_attention_heads", "48"),
        ("attention_head_dim", 8),
        ("in_channels", True),
        ("patch_size", 2.0),
        ("patch_size_t", 0),
        ("norm_eps", 0),
        ("norm_eps", "1e-5"),
        ("norm_eps", float("nan")),
        ("freq_shift", None),
        ("freq_shift", 16),
        ("attention_bias", 1),
        ("timestep_activation_fn", "sine"),
        ("timestep_activation_fn", None),
        ("ofs_embed_dim", 13),
        ("use_rotary_positional_embeddings", False),
        ("use_learned_positional_embeddings", True),
    ],
)
def test_a_nonsensical_configuration_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' makes no sense"):
        STVSRTransformer.from_config(TINY | {key: value})
