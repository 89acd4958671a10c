"""What the tensors of a checkpoint tell about the networks that they belong to, from names and shapes alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.diffst.guidance import TEXT_DIM, guidance_settings
from stvsr_bench.methods.diffst.wan import TRANSFORMER
from stvsr_bench.weights.strict import shorten

_HEAD_DIM = 128
"""Channels of an attention head in every published Wan; shapes do not tell it."""
_ORIGINAL = re.compile(r"^(text_embedding|time_embedding|time_projection|head)\.|\.(self_attn|cross_attn)\.")
"""Names that Wan's own code gives and diffusers does not."""
_WAN_KEYS = {"num_heads": "num_attention_heads", "in_dim": "in_channels", "out_dim": "out_channels"}
"""How Wan's own ``config.json`` calls what that of diffusers has, too."""
_TOLD_BY_CONFIG = ("eps", "rope_max_seq_len", "qk_norm", "cross_attn_norm")
_OTHER_WAN = ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len")
"""What only the transformers of image-to-video have."""
_UNUSED_IFNET = ("block_tea.", "contextnet.", "unet.")


def diffusers_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a transformer's tensors under the names of diffusers, whether they have those or Wan's own.

    Args:
        path: for messages.
        tensors: of the transformer.

    Raises:
        WeightError: two of them get one name.
    """
    if not any(_ORIGINAL.search(name) for name in tensors):
        return dict(tensors)
    converted: dict[str, Tensor] = convert_wan_transformer_to_diffusers(dict(tensors))  # type: ignore[no-untyped-call]
    if len(converted) != len(tensors):
        raise WeightError(
            f"'{path}' holds the transformer under two kinds of names",
            got=f"{len(tensors)} tensors for {len(converted)} names",
            accepted="those of Wan, or those of diffusers",
        )
    return converted


def transformer_settings(path: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``WanTransformer3DModel``: what shapes tell, and of the rest what ``config`` says.

    Args:
        path: for messages.
        tensors: of the transformer, under the names of diffusers.
        config: what a ``config.json`` beside them says, diffusers' or Wan's; other keys in it are not looked at.

    Returns:
        All of :data:`~stvsr_bench.methods.diffst.wan.TRANSFORMER`; ``text_dim`` is ``None`` where there are no text
        layers.

    Raises:
        WeightError: it is another transformer, or tensors and ``config`` contradict each other.
    """
    stated = {**config, **{ours: config[theirs] for theirs, ours in _WAN_KEYS.items() if theirs in config}}
    patch = _shape(path, tensors, "patch_embedding.weight", 5)
    out = _shape(path, tensors, "proj_out.weight", 2)[0]
    layers = {int(match[1]) for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    if not layers or layers != set(range(len(layers))):
        raise WeightError(
            f"'{path}': the transformer's blocks are not numbered from 0 on",
            got=shorten([str(layer) for layer in sorted(layers)]) or "none",
            accepted="blocks.0 to the last, without a gap",
        )
    if patch[2:] != TRANSFORMER["patch_size"] or out != patch[1] * math.prod(patch[2:]):
        raise WeightError(
            f"'{path}': this transformer does not take latents and give their velocity",
            got=f"patch_embedding.weight {list(patch)}, proj_out.weight [{out}, …]",
            accepted="patches of [1, 2, 2], as many channels out as in: Wan2.1 text-to-video",
        )
    head_dim = _head_dim(path, patch[0], stated)
    text = "condition_embedder.text_embedder.linear_1.weight"
    found = {
        "patch_size": tuple(patch[2:]),
        "num_attention_heads": patch[0] // head_dim,
        "attention_head_dim": head_dim,
        "in_channels": patch[1],
        "out_channels": patch[1],
        "text_dim": _shape(path, tensors, text, 2)[1] if text in tensors else None,
        "freq_dim": _shape(path, tensors, "condition_embedder.time_embedder.linear_1.weight", 2)[1],
        "ffn_dim": _shape(path, tensors, "blocks.0.ffn.net.0.proj.weight", 2)[0],
        "num_layers": len(layers),
    }
    _compare(path, stated, found)
    return TRANSFORMER | {key: stated[key] for key in _TOLD_BY_CONFIG if key in stated} | found


def _head_dim(path: Path, width: int, stated: Mapping[str, Any]) -> int:
    """Channels of an attention head: as stated, by the stated number of heads, or Wan's."""
    heads = stated.get("num_attention_heads")
    guess = width // heads if isinstance(heads, int) and heads > 0 else _HEAD_DIM
    head_dim = stated.get("attention_head_dim", guess)
    if not isinstance(head_dim, int) or head_dim < 2 or head_dim % 2 or width % head_dim:
        raise WeightError(
            f"'{path}': the transformer's width is no multiple of an attention head's",
            got=f"{width} channels, {head_dim!r} a head",
            accepted="a transformer of Wan, or a config.json that says how wide its heads are",
        )
    return head_dim


def _compare(path: Path, stated: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a ``config.json`` that the tensors contradict, or that says what makes no sense."""
    faults = []
    for key, value in found.items():
        said = tuple(stated[key]) if isinstance(stated.get(key), list) else stated.get(key)
        if None not in (said, value) and said != value:
            faults.append(f"{key} {stated[key]} instead of {value}")
    faults += [f"{key} {stated[key]}, which Wan2.1 text-to-video has not" for key in _OTHER_WAN if stated.get(key)]
    for key in _TOLD_BY_CONFIG:
        said = stated.get(key, TRANSFORMER[key])
        if type(said) is not type(TRANSFORMER[key]) or (isinstance(said, (int, float)) and said < 0):
            faults.append(f"{key} {said!r} instead of something like {TRANSFORMER[key]!r}")
    if faults:
        raise WeightError(
            f"'{path}': config.json does not fit the tensors",
            got="; ".join(faults),
            action="take tensors and config.json of one release",
        )


def _shape(path: Path, tensors: Mapping[str, Tensor], name: str, rank: int) -> tuple[int, ...]:
    tensor = tensors.get(name)
    if tensor is None or tensor.ndim != rank:
        raise WeightError(
            f"'{path}' holds no whole transformer of Wan",
            got=f"{name} {'absent' if tensor is None else list(tensor.shape)}",
            accepted=f"{name} with {rank} axes, among the names of diffusers or of Wan",
        )
    return tuple(tensor.shape)


def guidance_options(path: Path, tensors: Mapping[str, Tensor], transformer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``VideoGuidance`` that its tensors and the transformer's first text layer tell.

    Args:
        path: for messages.
        tensors: of the guidance; empty where the checkpoint has none.
        transformer: what :func:`transformer_settings` returns; empty where the published transformer is taken.

    Raises:
        WeightError: it is another network, or one whose context the transformer does not take.
    """
    text_dim = transformer.get("text_dim", TEXT_DIM)
    if not tensors:
        if text_dim != TEXT_DIM:
            has = "no text layers" if text_dim is None else f"text layers for {text_dim} channels"
            raise WeightError(
                f"'{path}': the transformer does not take the prompt, and nothing says what its context is",
                got=f"{has}, and no tensor in the group vrg.",
                accepted=f"the guidance it was trained with, or text layers for {TEXT_DIM} channels",
            )
        return {}
    try:
        told = guidance_settings(tensors, text_dim=text_dim or TEXT_DIM)
    except WeightError as error:
        raise WeightError(f"'{path}': {error.what}", got=error.got, accepted=error.accepted) from error
    layout = told["layout"]
    gives = {"infvsr": told["width"], "direct": told.get("hidden_dim")}.get(layout, told.get("text_dim"))
    past = bool(transformer) and text_dim is None
    inner = transformer.get("num_attention_heads", 0) * transformer.get("attention_head_dim", 0)
    if transformer and (past != (layout == "direct") or gives != (inner if past else text_dim)):
        raise WeightError(
            f"'{path}': guidance and transformer do not belong together",
            got=f"layout '{layout}', whose context has {gives} channels",
            accepted=f"layout 'direct' with {inner} channels: the transformer has no text layers"
            if past
            else f"another layout than 'direct', with the {text_dim} channels of the first text layer",
        )
    if told.get("guidance") == "video_text":  # these join queries and text tokens one with one
        told["text_tokens"] = told["num_queries"]
    return told


def fusion_options(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the options of the group ``cfca`` that the tensors of Ψ tell; nothing where there are none.

    Raises:
        WeightError: it is another network.
    """
    if not tensors:
        return {}
    first = tensors.get("first.weight")
    blocks = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    if first is None or first.ndim != 4 or first.shape[1:] != (9, 3, 3) or not blocks:
        raise WeightError(
            f"'{path}': Ψ is another network than ours",
            got=f"{len(blocks)} residual blocks, first.weight "
            + (f"absent, but {shorten(sorted(tensors), 4)}" if first is None else str(list(first.shape))),
            accepted="first.weight [width, 9, 3, 3] for three frames of three channels, then residual blocks",
        )
    return {"psi_width": first.shape[0], "psi_blocks": len(blocks)}


def ifnet_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what of IFNet_m is run: its three blocks, without the refinement and the block that only training uses.

    Raises:
        WeightError: there is something else, the blocks are absent, or it is IFNet, which is not told the time.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(_UNUSED_IFNET)}
    if not tensors:
        return kept
    first = kept.get("block0.conv0.0.0.weight")
    strange = sorted(name for name in kept if not re.match(r"block[012]\.", name))
    if strange or first is None or first.ndim != 4 or first.shape[1] != 7:
        raise WeightError(
            f"'{path}': the group cfca.ifnet. is no IFNet_m",
            got=shorten(strange) or f"block0.conv0.0.0.weight {'absent' if first is None else list(first.shape)}",
            accepted="block0, block1 and block2 of IFNet_m, whose first convolution takes 7 channels",
        )
    return kept
