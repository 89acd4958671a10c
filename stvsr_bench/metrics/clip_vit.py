"""The image encoder of CLIP with a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.strict import load_strict

_HEAD = 64


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // _HEAD, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", _QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Transformer(nn.Module):
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(_Block(width) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.resblocks(x)
        return out


class ClipVit(nn.Module):
    """Features of images in the space that CLIP shares with text; names are OpenAI's without ``visual.`` in front.

    Args:
        width: of the tokens; heads have 64.
        layers: of the transformer.
        patch: side of a patch in pixels.
        grid: patches in a row and in a column.
        features: of the result.

    Source: Radford et al. 2021 (arXiv:2103.00020), the ViT of OpenAI's release.
    """

    def __init__(self, width: int = 768, layers: int = 12, patch: int = 32, grid: int = 7, features: int = 512) -> None:
        super().__init__()
        self.side = patch * grid
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(grid**2 + 1, width))
        self.proj = nn.Parameter(torch.zeros(width, features))
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Transformer(width, layers)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, side, side)`` normalised as CLIP expects it → ``(N, features)``, not normalised."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        out: Tensor = self.ln_post(self.transformer(x)[:, 0]) @ self.proj
        return out


def build_clip_vit(tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> ClipVit:
    """Return the encoder whose size the tensors tell, for inference.

    Args:
        tensors: its state dict.
        device: where it runs.

    Raises:
        WeightError: the tensors are not those of such an encoder.
    """
    try:
        width, _, patch, _ = tensors["conv1.weight"].shape
        grid = round((len(tensors["positional_embedding"]) - 1) ** 0.5)
        layers = sum(name.endswith(".attn.in_proj_weight") for name in tensors)
        features = tensors["proj"].shape[1]
    except (KeyError, ValueError, IndexError) as error:
        raise WeightError("these are no tensors of a CLIP vision transformer", got=str(error)) from error
    network = ClipVit(width, layers, patch, grid, features)
    load_strict(network, tensors)
    return network.eval().requires_grad_(False).to(device)


MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def normalise(images: Tensor) -> Tensor:
    """Normalise RGB in [0, 1] ``(N, 3, H, W)`` as CLIP expects it."""
    mean, deviation = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return (images - mean) / deviation
