"""The transformer's cases of the OSDEnhancer golden set: every tensor that the reference recorded, by our network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from osd_case import Case
from torch import Tensor, nn

from stvsr_bench.methods.osdenhancer.masks import Masks
from stvsr_bench.methods.osdenhancer.transformer import STVSRTransformer, rope_tables
from stvsr_bench.weights.strict import load_strict

Tensors = dict[str, Tensor]


def official_weights(tensors: Tensors) -> Tensors:
    """Official names as the network's: texture adapters left out, ``.base_layer`` taken off the rest."""
    return {name.replace(".base_layer.", "."): tensor for name, tensor in tensors.items() if ".TE_lora." not in name}


def with_te_applied(tensors: Tensors, scale: float) -> Tensors:
    """The same with the texture adapters added to the layers they belong to, which the official code never does."""
    found = official_weights(tensors)
    for name, up in tensors.items():
        if name.endswith(".lora_B.TE_lora.weight"):
            layer = name.removesuffix(".lora_B.TE_lora.weight")
            down = tensors[f"{layer}.lora_A.TE_lora.weight"]
            found[f"{layer}.weight"] = found[f"{layer}.weight"] + (up @ down) * scale
    return found


def transformer(case: Case, *, optimised: bool = True) -> Tensors:
    """Outputs of a case of kind ``transformer``: tables, hooks of one forward call, and two further calls."""
    network = _network(case, official_weights(case.weights), optimised)
    latents, residual = case.inputs["hidden_states"], case.inputs["res_hidden_states"]
    prompt, timestep = case.inputs["encoder_hidden_states"], case.inputs["timestep"]
    _, frames, _, height, width = latents.shape
    rope = rope_tables(case.config["spec"]["config"], frames, height, width, latents.device)
    found = {"rope_cos": rope[0], "rope_sin": rope[1]}
    with torch.inference_mode():
        handles = _watch(network, prompt.shape[1], found)
        found["output"] = network(latents, prompt, residual, timestep, rope)
        for handle in handles:
            handle.remove()
        found["output_zero_res"] = network(latents, prompt, torch.zeros_like(residual), timestep, rope)
        facts = case.config["lora"]
        applied = _network(case, with_te_applied(case.weights, facts["TE_alpha"] / facts["TE_rank"]), optimised)
        found["output_te_applied"] = applied(latents, prompt, residual, timestep, rope)
    return found


KINDS: dict[str, Callable[..., Tensors]] = {"transformer": transformer}
"""What computes the outputs of a case of each kind; all take ``optimised``."""


def _network(case: Case, weights: Tensors, optimised: bool) -> STVSRTransformer:
    network = STVSRTransformer.from_config(case.config["spec"]["config"], optimised=optimised)
    load_strict(network, weights)
    return network.eval().requires_grad_(False)


def _watch(network: STVSRTransformer, text: int, found: Tensors) -> list[Any]:
    """Have the forward call leave copies of what the reference recorded in ``found``; the network may overwrite it."""

    def keep(split: Callable[[Any], Tensors]) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _inputs, output: found.update({k: v.clone() for k, v in split(output).items()})

    def masks(output: Masks) -> Tensors:
        return {"res_proj": output.mask, "res_ff0_proj": output.hidden(slice(None))}

    def whole(name: str) -> Callable[[Tensor], Tensors]:
        return lambda output: {name: output}

    def parts(image: str, words: str) -> Callable[[Tensor], Tensors]:
        return lambda tokens: {image: tokens[:, text:], words: tokens[:, :text]}

    handles = [
        network.time_embedding.register_forward_hook(keep(whole("time_embedding"))),
        network.patch_embed.register_forward_hook(keep(whole("patch_embed"))),
        network.res_patch.register_forward_hook(keep(masks)),
    ]
    for number, block in enumerate(network.transformer_blocks):
        at = f"block{number}"
        attention, feed_forward = block.get_submodule("attn1"), block.get_submodule("ff")
        handles += [
            attention.register_forward_hook(keep(parts(f"{at}.attn_image", f"{at}.attn_text"))),
            feed_forward.register_forward_hook(keep(whole(f"{at}.ff"))),
            block.register_forward_hook(keep(parts(f"{at}.image", f"{at}.text"))),
        ]
    return handles
