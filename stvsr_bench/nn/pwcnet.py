"""PWC-Net: optical flow from pyramids of features, one warp and one cost volume a level."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stvsr_bench.nn.correlation import correlation
from stvsr_bench.nn.padding import padded_length

Pyramid = tuple[Tensor, ...]
"""Features of a frame, fine to coarse, from a quarter of its (enlarged) size to a 64th."""

CHANNELS = (16, 32, 64, 96, 128, 196)
"""Channels of the extractor's six levels; the first only leads to the second."""
_NAMES = ("One", "Two", "Thr", "Fou", "Fiv", "Six")
_DENSE = (128, 128, 96, 64, 32)
_SHIFTS = 81
_UNIT = 20.0  # flow inside the network is in units of 20 pixels
_WARP = {"Fiv": 0.625, "Fou": 1.25, "Thr": 2.5, "Two": 5.0}  # the same flow in pixels of a level


def _convolution(before: int, after: int, *, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, stride=stride, padding=dilation, dilation=dilation),
        nn.LeakyReLU(0.1, inplace=True),
    ]


class _Extractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before = 3
        for name, after in zip(_NAMES, CHANNELS, strict=True):
            layers = [*_convolution(before, after, stride=2), *_convolution(after, after), *_convolution(after, after)]
            self.add_module(f"net{name}", nn.Sequential(*layers))
            before = after

    def forward(self, x: Tensor) -> Pyramid:
        levels = []
        for level in self.children():
            x = level(x)
            levels.append(x)
        return tuple(levels[1:])


class _Decoder(nn.Module):
    """One level: the flow that is seen there, from the flow and the features of the level above.

    Args:
        name: of the level.
        features: channels of the extractor there.
        above: channels of the dense features of the level above; 0 at the coarsest.
    """

    def __init__(self, name: str, features: int, above: int) -> None:
        super().__init__()
        self.warp = _WARP.get(name, 0.0)
        if above:
            self.add_module("netUpflow", nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1))
            self.add_module("netUpfeat", nn.ConvTranspose2d(above, 2, 4, stride=2, padding=1))
        channels = _SHIFTS + (features + 4 if above else 0)
        for part, after in zip(_NAMES[:5], _DENSE, strict=True):
            self.add_module(f"net{part}", nn.Sequential(*_convolution(channels, after)))
            channels += after
        self.add_module("netSix", nn.Sequential(nn.Conv2d(channels, 2, 3, padding=1)))
        self.channels = channels

    def forward(self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return flow ``(B, 2, h, w)`` in units of 20 pixels and dense features ``(B, channels, h, w)``."""
        if above is None:
            x = _matched(first, second)
        else:
            flow, features = self.get_submodule("netUpflow")(above[0]), self.get_submodule("netUpfeat")(above[1])
            x = torch.cat([_matched(first, _warped(second, flow * self.warp)), first, flow, features], 1)
        # each convolution sees all before it, the newest in front: one buffer, filled from its end
        dense = x.new_empty(x.shape[0], self.channels, *x.shape[2:])
        begin = self.channels - x.shape[1]
        dense[:, begin:] = x
        for part, channels in zip(_NAMES[:5], _DENSE, strict=True):
            dense[:, begin - channels : begin] = self.get_submodule(f"net{part}")(dense[:, begin:])
            begin -= channels
        return self.get_submodule("netSix")(dense), dense


class _Refiner(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for after, dilation in ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1)):
            layers += _convolution(channels, after, dilation=dilation)
            channels = after
        self.add_module("netMain", nn.Sequential(*layers, nn.Conv2d(channels, 2, 3, padding=1)))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.get_submodule("netMain")(features)
        return out


class PwcNet(nn.Module):
    """Flow from a first frame to a second, in three steps so that a frame's pyramid serves all its pairs.

    Frames are float32 RGB in [0, 1] ``(B, 3, H, W)``, of any size; FloLPIPS feeds RGB although the published parameters
    were trained on BGR. Parameters are called as in ``network-default.pytorch`` with ``net`` for ``module``.

    Source: Sun et al. 2018, PWC-Net (arXiv:1709.02371), in the form of sniklaus' pytorch-pwc that FloLPIPS uses: sides
    enlarged to multiples of 64, a warp whose pixels are W / (W - 1) too long, its border masked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_module("netExtractor", _Extractor())
        above = 0
        for position in (5, 4, 3, 2, 1):
            decoder = _Decoder(_NAMES[position], CHANNELS[position], above)
            self.add_module(f"net{_NAMES[position]}", decoder)
            above = decoder.channels
        self.add_module("netRefiner", _Refiner(above))

    def pyramid(self, frames: Tensor) -> Pyramid:
        """The features of frames ``(B, 3, H, W)``."""
        sides = [padded_length(side, 64) for side in frames.shape[-2:]]
        if list(frames.shape[-2:]) != sides:
            frames = F.interpolate(frames, sides, mode="bilinear", align_corners=False)
        found: Pyramid = self.get_submodule("netExtractor")(frames)
        return found

    def compact_flow(self, first: Pyramid, second: Pyramid) -> Tensor:
        """Flow at a quarter of the enlarged frames' size, ``(B, 2, h, w)``; :func:`full_flow` makes pixels of it."""
        above: tuple[Tensor, Tensor] | None = None
        for position in (5, 4, 3, 2, 1):
            above = self.get_submodule(f"net{_NAMES[position]}")(first[position - 1], second[position - 1], above)
        assert above is not None
        flow, features = above
        refined: Tensor = flow + self.get_submodule("netRefiner")(features)
        return refined

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow of frames ``(B, 3, H, W)`` in pixels, ``(B, 2, H, W)``: dx, dy."""
        height, width = first.shape[-2:]
        return full_flow(self.compact_flow(self.pyramid(first), self.pyramid(second)), height, width)


def full_flow(compact: Tensor, height: int, width: int) -> Tensor:
    """Enlarge the network's flow to a frame's size and pixels; linear in the flow.

    Args:
        compact: from :meth:`PwcNet.compact_flow`.
        height: rows of the frame.
        width: its columns.
    """
    flow = F.interpolate(compact, (height, width), mode="bilinear", align_corners=False)
    scale = [_UNIT * width / padded_length(width, 64), _UNIT * height / padded_length(height, 64)]
    return flow * torch.tensor(scale, device=flow.device).view(1, 2, 1, 1)


def _matched(first: Tensor, second: Tensor) -> Tensor:
    return F.leaky_relu_(correlation(first.contiguous(), second.contiguous()), 0.1)


@lru_cache(maxsize=16)
def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Pixel centres as `grid_sample` counts, ``(1, H, W, 2)``; shared, not to be written to."""
    x = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, device=device)
    y = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, device=device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def _warped(features: Tensor, flow: Tensor) -> Tensor:
    """``features`` sampled along ``flow``, 0 where the sample is not wholly inside."""
    height, width = features.shape[-2:]
    half = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=flow.device)
    grid = _centres(height, width, flow.device) + flow.permute(0, 2, 3, 1) / half
    # a channel of ones beside the features tells how much of a sample is inside
    stacked = torch.cat([features.contiguous(), features.new_ones(features.shape[0], 1, height, width)], 1)
    sampled = F.grid_sample(stacked, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[:, :-1] * (sampled[:, -1:] > 0.999)
