"""Checkpoints of DiffST at toy width: state dicts of real networks, and the networks that a checkpoint tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor, nn

from stvsr_bench.methods.diffst.checkpoint import Trained
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.methods.diffst.guidance import VideoGuidance
from stvsr_bench.methods.diffst.wan import TINY_TRANSFORMER, build_transformer
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.weights.strict import load_strict

Tensors = dict[str, Tensor]
TEXT = int(TINY_TRANSFORMER["text_dim"])
HEADS = {"num_attention_heads": 1, "attention_head_dim": 128}
"""Heads as wide as those of the published Wan, which a file without config.json must have."""
INNER = 128
WIDTHS = (8, 8, 8, 8)
QUERIES: dict[str, Any] = {"num_queries": 6, "width": 16, "feature_dim": 12, "text_dim": TEXT, "text_tokens": 6}


def seeded(network: nn.Module, name: str) -> nn.Module:
    """Fill a network so that no two of its tensors are alike: scales, too."""
    seed_parameters(network, "checkpoint", name)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return network.eval()


def transformer(*, text_layers: bool = True, **changes: Any) -> WanTransformer3DModel:
    network = WanTransformer3DModel(**(TINY_TRANSFORMER | HEADS | changes))
    if not text_layers:
        network.condition_embedder.text_embedder = nn.Identity()
    seeded(network, "transformer")
    return network


def guidance(**changes: Any) -> VideoGuidance:
    network = seeded(VideoGuidance(**(QUERIES | changes)), "guidance")
    assert isinstance(network, VideoGuidance)
    return network


def psi(width: int = 16, blocks: int = 2) -> Fusion:
    network = seeded(Fusion(width, blocks), "psi")
    assert isinstance(network, Fusion)
    return network


@cache
def ifnet(*, timed: bool = True, teacher: bool = False, refine: bool = False) -> Tensors:
    return dict(seeded(IFNet(WIDTHS, 2, timed=timed, refine=refine, teacher=teacher), "ifnet").state_dict())


def under(group: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{group}{name}": tensor for name, tensor in tensors.items()}


@cache
def small() -> Tensors:
    """The three groups beside the transformer, in the default layout."""
    return (
        under("cfca.psi.", psi().state_dict()) | under("cfca.ifnet.", ifnet()) | under("vrg.", guidance().state_dict())
    )


@cache
def whole() -> Tensors:
    """All four groups."""
    return under("transformer.", transformer().state_dict()) | small()


def as_wan(tensors: Mapping[str, Tensor]) -> Tensors:
    """A transformer's tensors under the names of Wan's own code, as DiffSynth has them: the way back, written anew."""
    rules = (
        (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
        (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
        (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
        (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
        (r"^condition_embedder\.time_proj\.", "time_projection.1."),
        (r"^proj_out\.", "head.head."),
        (r"^scale_shift_table$", "head.modulation"),
        (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
        (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
        (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
        (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
        (r"\.attn1\.", ".self_attn."),
        (r"\.attn2\.", ".cross_attn."),
        (r"_attn\.to_([qkv])\.", r"_attn.\1."),
        (r"_attn\.to_out\.0\.", "_attn.o."),
    )
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor
    return renamed


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(dict(tensors), path)
    return path


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def own(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies: a mapped tensor lies at any address, and another alignment is another rounding."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def networks(trained: Trained, **given: Any) -> dict[str, nn.Module]:
    """Build what the checkpoint tells, and load every group strictly, as the method does."""
    built: dict[str, nn.Module] = {}
    context, skips = TEXT, False
    if trained.vrg:
        vrg = VideoGuidance(**({"text_dim": TEXT, "text_tokens": 6} | given | dict(trained.vrg_options)))
        context, skips = vrg.context_dim, vrg.skips_text_layers
        built["vrg"] = vrg.eval()
        load_strict(vrg, trained.vrg)
    if trained.transformer:
        wan = build_transformer(trained.transformer_config, context, past_text_layers=skips)
        load_strict(wan, own(trained.transformer), assign=True)
        built["transformer"] = wan.eval()
    if trained.psi:
        options = trained.cfca_options
        built["psi"] = Fusion(options["psi_width"], options["psi_blocks"])
        load_strict(built["psi"], trained.psi)
    if trained.ifnet:
        built["ifnet"] = IFNet(WIDTHS, timed=True, refine=False)
        load_strict(built["ifnet"], trained.ifnet)
    return built


@torch.no_grad()
def velocity(network: Callable[..., Any], context_dim: int = TEXT) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 2, 4, 6, generator=generator)
    context = torch.randn(1, 5, context_dim, generator=generator)
    found: Tensor = network(latents, torch.tensor([799.0]), context, return_dict=False)[0]
    return found


def diffusers_folder(folder: Path, shard: str = "100KB", **changes: Any) -> WanTransformer3DModel:
    """Write ``transformer/`` as diffusers does; a head has 16 channels, which only config.json tells."""
    network = transformer(**({"num_attention_heads": 4, "attention_head_dim": 16} | changes))
    network.save_pretrained(folder / "transformer", max_shard_size=shard)
    return network
