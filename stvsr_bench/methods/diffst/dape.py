"""DAPE: the image tower whose tokens tell the diffusion network what the low-quality video shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer  # type: ignore[import-untyped]

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.diffst.standardise import Standardise
from stvsr_bench.weights.strict import load_strict, shorten

Feature = Literal["embeds", "raw"]
FEATURES: tuple[Feature, ...] = ("embeds", "raw")

RANK = 8
"""Of DAPE's low-rank adapters."""
ADAPTER_SCALE = 1 / 8

_IMAGENET = Standardise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PARTS = ("visual_encoder.", "image_proj.")
_MASK = re.compile(r"visual_encoder\.layers\.\d+\.blocks\.\d+\.attn_mask")
_ADAPTED = re.compile(r"(?:^|\.)layers\.(\d+)\.blocks\.(\d+)\.attn\.qkv\.")


class Dape(nn.Module):
    """The image tower of RAM (Swin-L) and its projection; the defaults have 195,985,460 parameters.

    A frame becomes the mean of its spatial tokens, then those tokens: 1 + 12 x 12. The mean is taken before the
    projection. RAM's text side (tags) is not built. Image embeddings and not tags is what InfVSR, of the same group on
    the same diffusion network, feeds; the paper does not say.

    Source: Zhang and others, «Recognize Anything», CVPRW 2024 (the tower); Wu and others, «SeeSR», CVPR 2024 (DAPE: the
    tower adapted to degraded pictures); Liu and others, «Swin Transformer», ICCV 2021, as torchvision builds it.

    Args:
        image_size: side to which frames are resized, pixels; a multiple of the patch and of all halvings.
        width: channels of the first stage, doubled with each further one.
        depths: blocks of the stages.
        heads: attention heads of the stages.
        window: side of the attention window, tokens.
        features: channels after the projection.
        feature: ``embeds`` projected tokens, or ``raw`` those before the projection.

    Raises:
        ConfigError: ``feature`` is unknown, or ``image_size`` does not divide.
    """

    def __init__(
        self,
        *,
        image_size: int = 384,
        width: int = 192,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: Sequence[int] = (6, 12, 24, 48),
        window: int = 12,
        features: int = 512,
        feature: Feature = "embeds",
    ) -> None:
        super().__init__()
        if feature not in FEATURES:
            raise ConfigError(
                "DAPE has no such features",
                got=repr(feature),
                accepted=", ".join(FEATURES) + "; tags need the text side of RAM, which is not built",
            )
        shrinking = 4 * 2 ** (len(depths) - 1)
        if image_size <= 0 or image_size % shrinking:
            raise ConfigError(
                "DAPE's image size does not fit its stages", got=str(image_size), accepted=f"n·{shrinking}"
            )
        raw = width * 2 ** (len(depths) - 1)
        self.image_size = image_size
        self.feature = feature
        self.tokens = 1 + (image_size // shrinking) ** 2
        self.feature_dim = raw if feature == "raw" else features
        self.visual_encoder = SwinTransformer(
            patch_size=[4, 4],
            embed_dim=width,
            depths=list(depths),
            num_heads=list(heads),
            window_size=[window, window],
            stochastic_depth_prob=0.0,
            num_classes=1,
        )
        self.visual_encoder.head = nn.Identity()  # of its classes
        self.image_proj = nn.Linear(raw, features)

    def forward(self, frames: Tensor, *, at_once: int | None = None) -> Tensor:
        """Return the tokens of every frame.

        Args:
            frames: ``(N, 3, h, w)`` RGB in [0, 1], any size.
            at_once: so many frames at a time, to bound memory; ``None``: all.

        Returns:
            ``(N, tokens, feature_dim)`` in the dtype of the parameters: the mean token first.
        """
        return torch.cat([self._tokens(some) for some in torch.split(frames, at_once or len(frames))])

    def _tokens(self, frames: Tensor) -> Tensor:
        """The tokens of some frames, together; resizing is bilinear without a low-pass filter, in float32."""
        size = (self.image_size, self.image_size)
        resized = F.interpolate(frames.float(), size, mode="bilinear", align_corners=False)
        x = self.visual_encoder.features(_IMAGENET(resized).to(self.image_proj.weight.dtype))
        spatial = self.visual_encoder.norm(x).flatten(1, 2)
        tokens = torch.cat([spatial.mean(1, keepdim=True), spatial], 1)
        return tokens if self.feature == "raw" else self.image_proj(tokens)


def load_dape(network: Dape, ram: Mapping[str, Tensor], adapters: Mapping[str, Tensor] | None) -> None:
    """Fill the tower and the projection, adapters merged.

    Args:
        network: what to fill.
        ram: RAM's state dict under its own names; its text side is left aside.
        adapters: DAPE's state dict, see :func:`merge_adapters`; ``None`` where ``ram`` is merged already.

    Raises:
        WeightError: a tensor of either is missing, unexpected or of another shape or dtype; ``network`` is untouched.
    """
    tensors = {name: tensor for name, tensor in ram.items() if name.startswith(_PARTS) and not _MASK.fullmatch(name)}
    if adapters is not None:
        tensors = merge_adapters(tensors, adapters)
    own_names = {_ram_name(own): own for own in network.state_dict()}
    buffers = {own for own, _ in network.named_buffers()}
    missing = sorted(name for name, own in own_names.items() if name not in tensors and own not in buffers)
    if missing:  # told here under the names of the file
        raise WeightError(
            "the parameters of RAM's image tower are incomplete",
            got=f"{len(missing)} missing: {shorten(missing)}",
            accepted="the state dict of RAM Swin-L 14M (384 px) under its own names",
            action="take the published file; a checkpoint that wraps its state dict is named by 'entry' in the card",
        )
    state = network.state_dict()
    for name, own in own_names.items():
        if own in buffers and name in tensors:  # which entry of the table a pair of tokens reads: a constant
            if not torch.equal(tensors[name].flatten(), state[own].cpu()):
                raise WeightError(f"'{name}' numbers the pairs of tokens otherwise", action="take the published file")
            tensors[name] = tensors[name].flatten()
    load_strict(network, {own_names.get(name, name): tensor for name, tensor in tensors.items()}, allow_missing=buffers)


def merge_adapters(ram: Mapping[str, Tensor], adapters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return RAM's tensors with DAPE's low-rank adapters added to queries and values.

    Every ``attn.qkv`` has two adapter tensors, found by their shapes because their names are not known for certain:
    A ``(2 r, d)`` and B ``(2 d, r)`` with r = 8. ``B[:d] A[:r] / 8`` is added to the first d rows of ``qkv.weight``,
    ``B[d:] A[r:] / 8`` to the last d; the rows of the keys stay as they are.

    Args:
        ram: RAM's tensors under their own names.
        adapters: DAPE's, under any names that end in ``layers.N.blocks.M.attn.qkv.…``.

    Returns:
        All of ``ram``, the merged ones as new tensors.

    Raises:
        WeightError: a tensor of ``adapters`` is not such a one, or a block has none.
    """
    wanted = {
        (found[1], found[2]): name
        for name in ram
        if (found := _ADAPTED.search(name)) and name.endswith(".attn.qkv.weight")
    }
    given: dict[tuple[str, str], list[str]] = {block: [] for block in wanted}
    strange: list[str] = []
    for name in sorted(adapters):
        found = _ADAPTED.search(name)
        given.get((found[1], found[2]) if found else ("", ""), strange).append(name)
    merged = dict(ram)
    for block, target in wanted.items():
        pair = _adapter([adapters[name] for name in given[block]], ram[target])
        if pair is None:
            strange += given[block] or [f"nothing for {target}"]
            continue
        merged[target] = _added(ram[target], *pair)
    if strange:
        described = [f"{name} {list(adapters[name].shape)}" if name in adapters else name for name in strange]
        raise WeightError(
            "DAPE's adapters do not fit RAM's image tower",
            got=f"{len(strange)} not explained: {shorten(described, 4)}",
            accepted=f"for each of the {len(wanted)} layers.N.blocks.M.attn.qkv two tensors, "
            f"[{2 * RANK}, d] and [2·d, {RANK}]",
            action="take the DAPE file that belongs to RAM Swin-L 14M",
        )
    return merged


def _adapter(tensors: Sequence[Tensor], weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """A and B among the two tensors of a block; ``None`` where they are not such ones."""
    width = weight.shape[-1]
    shapes = {"A": (2 * RANK, width), "B": (2 * width, RANK)}
    found = [[t for t in tensors if tuple(t.shape) == shape and t.is_floating_point()] for shape in shapes.values()]
    if weight.shape != (3 * width, width) or len(tensors) != 2 or [len(some) for some in found] != [1, 1]:
        return None
    return found[0][0], found[1][0]


def _added(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``weight`` with both products added, computed in float32."""
    width = weight.shape[-1]
    out = weight.float().clone()
    out[:width] += b[:width].float() @ a[:RANK].float() * ADAPTER_SCALE
    out[2 * width :] += b[width:].float() @ a[RANK:].float() * ADAPTER_SCALE
    return out.to(weight.dtype)


def _ram_name(own: str) -> str:
    """Return the name in RAM's checkpoint of one of our tensors.

    >>> _ram_name("visual_encoder.features.5.17.mlp.3.bias")
    'visual_encoder.layers.2.blocks.17.mlp.fc2.bias'
    """
    match own.split("."):
        case ["visual_encoder", "features", "0", part, leaf]:
            return f"visual_encoder.patch_embed.{'proj' if part == '0' else 'norm'}.{leaf}"
        case ["visual_encoder", "features", place, block, *rest] if int(place) % 2:
            inner = ".".join(rest).replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
            return f"visual_encoder.layers.{int(place) // 2}.blocks.{block}.{inner}"
        case ["visual_encoder", "features", place, *rest]:
            return f"visual_encoder.layers.{int(place) // 2 - 1}.downsample.{'.'.join(rest)}"
        case _:
            return own
