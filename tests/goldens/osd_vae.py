"""Golden cases of OSDEnhancer's autoencoder: what our modules give for the inputs of a case."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from osd_case import Case
from torch import Tensor, nn

from stvsr_bench.methods.osdenhancer.deformable import DeformableBlock
from stvsr_bench.methods.osdenhancer.vae import BidirectionalDecoder, STVSRVae

Values = dict[str, Tensor]


@torch.no_grad()
def drb(case: Case, *, optimised: bool = True) -> Values:
    """Parts of a deformable block, and whole blocks: every direction, with and without cache, that the case names."""
    inputs, about = case.inputs, case.config["modules"]
    blocks = {}
    for name, module in about.items():
        block = DeformableBlock(module["in_ch"], module.get("lower_ch"), module.get("temporal", 2), optimised=optimised)
        block.load_state_dict(case.part(name))
        blocks[name] = block.eval()
    align, attn = blocks["mid"].align, blocks["mid"].attn
    current, neighbour = inputs["unit.cur"], inputs["unit.prev"]
    feature = inputs["unit.offset_feat"]
    values = {"dcn.out": align.dcn_pack(neighbour, feature)}
    values["dcn.offset"], values["dcn.mask"] = align.dcn_pack.offsets_and_mask(feature)
    values["attn.out"] = attn(current, neighbour)
    values["pcd.feat"], values["pcd.offset_feat"] = align(current, neighbour, inputs["unit.lower_offset"])
    for name in case.config["outputs"]:
        if up := re.fullmatch(r"up\.(\w+)_t\d", name):
            values[name] = blocks[up[1]].ver_align(inputs["up.in"])
        elif whole := re.fullmatch(r"(\w+)\.(fwd|rev)\.(first|next)\.out", name):
            values |= _block(whole[0].removesuffix(".out"), blocks[whole[1]], inputs)
    return values


def _block(run: str, block: nn.Module, inputs: Values) -> Values:
    module, direction, position = run.split(".")
    if f"{module}.in" in inputs:
        x, cache, lower = inputs[f"{module}.in"], None, inputs.get(f"{module}.lower")
    else:
        x, lower = inputs[f"seq.{position}"], inputs[f"seq.{position}_lower"]
        cache = inputs["seq.cache"] if position == "next" else None
    out, kept, offsets = block(x, cache, lower, reverse=direction == "rev")
    return {f"{run}.out": out, f"{run}.cache": kept, f"{run}.offsets": offsets}


@torch.no_grad()
def vae(case: Case, *, optimised: bool = True) -> Values:
    """Encode and decode, and, where the case asks for them, single chunks of the decoder with what lies inside."""
    model = STVSRVae.from_config(case.config["vae_config"], optimised=optimised).eval()
    model.load_state_dict(case.weights)
    if case.config["spec"].get("tiling"):
        model.enable_tiling()
    posterior = model.encode(case.inputs["encode.x"]).latent_dist
    latents = case.inputs["decode.z"]
    values = {
        "encode.moments": posterior.parameters,
        "encode.mean": posterior.mean,
        "encode.logvar_clamped": posterior.logvar,
        "encode.std": posterior.std,
        "decode.sample": model.decode(latents).sample,
    }
    wanted = case.config["outputs"]
    chunks = sorted({name.split(".")[0] for name in wanted if name.startswith("chunk")})
    start, cache = 0, None
    for chunk in chunks:
        stop = start + 2 + (latents.shape[2] % 2 if start == 0 else 0)
        seen, hooks = _watch(model.decoder)
        out, cache = model.decoder(latents[:, :, start:stop], conv_cache=cache)
        for hook in hooks:
            hook.remove()
        inside = {"out": out, **seen}
        inside |= {f"cache.up_block_{i}.align": cache[f"up_block_{i}"]["align"] for i in range(len(hooks))}
        values |= {f"{chunk}.{name}": value for name, value in inside.items() if f"{chunk}.{name}" in wanted}
        start = stop
    return values


def _watch(decoder: BidirectionalDecoder) -> tuple[Values, list[Any]]:
    """Collect what the deformable blocks return."""
    seen: Values = {}

    def hook(level: int) -> Callable[..., None]:
        def keep(module: nn.Module, args: Any, result: tuple[Tensor, Tensor, Tensor | None]) -> None:
            out, _, offsets = result
            seen[f"up{level}.drb_out"] = out
            if offsets is not None:
                seen[f"up{level}.offsets"] = offsets

        return keep

    blocks = decoder.up_deformable_blocks
    return seen, [block.register_forward_hook(hook(i)) for i, block in enumerate(blocks)]


KINDS: dict[str, Callable[..., Values]] = {"drb": drb, "vae": vae}
"""By the ``kind`` of a case: a function of the case, and of ``optimised``, the form of the networks."""
