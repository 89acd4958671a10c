"""Video Swin Transformer with gated relative position bias: the trunk of FasterVQA and of DOVER's technical branch.

Source: Liu et al. 2022, Video Swin Transformer (arXiv:2106.13230); Wu et al. 2022, FAST-VQA (arXiv:2207.02595),
section 3.3 (GRPB). Inference only. Attention runs over one spatial window at a time, so its memory does not grow with
the frame, and a gate is made once for each stage; the values are those of the plain formulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

Size = tuple[int, int, int]
"""Frames, rows, columns."""

WINDOW: Size = (8, 7, 7)
PATCH: Size = (2, 4, 4)
DIM = 96
DEPTHS = (2, 2, 6, 2)
HEADS = (3, 6, 12, 24)
_BLOCKED = -100.0  # what the reference adds to a logit between regions that a shift has put side by side


@dataclass(frozen=True)
class WindowLayout:
    """How the tokens of a stage are cut into windows, for one shift.

    Attributes:
        size: tokens of the stage.
        window: the window; the whole stage in an axis where that is not longer.
        shift: 0 in such an axis.
        padded: ``size`` filled up to multiples of the window.
        gate: distance between the fragments of two tokens, float32 ``(S, n, n)`` for the S spatial windows and the n
            tokens of one frame of a window; the same in every frame.
        apart: whether a shift has put two tokens side by side that are none, bool ``(S, T, N, N)`` for the T windows
            in time and all N tokens of a window; ``None`` without shift.
    """

    size: Size
    window: Size
    shift: Size
    padded: Size
    gate: torch.Tensor
    apart: torch.Tensor | None

    @classmethod
    def of(cls, size: Size, *, shifted: bool, device: torch.device) -> WindowLayout:
        """Plan the windows of a stage of ``size`` tokens."""
        window, shift = [0, 0, 0], [0, 0, 0]
        for axis in range(3):
            whole = size[axis] <= WINDOW[axis]
            window[axis] = size[axis] if whole else WINDOW[axis]
            shift[axis] = WINDOW[axis] // 2 if shifted and not whole else 0
        padded = [-(-size[axis] // window[axis]) * window[axis] for axis in range(3)]
        layout = cls(size, _size(window), _size(shift), _size(padded), _gate(padded, window, shift).to(device), None)
        if not any(shift):
            return layout
        regions = [_regions(padded[axis], window[axis], shift[axis]) for axis in range(3)]
        labels = regions[0][:, None, None] * 9 + regions[1][:, None] * 3 + regions[2]
        cut = layout.cut(labels[None, ..., None].to(device)).squeeze(-1)
        apart = cut[..., :, None] != cut[..., None, :]
        return cls(size, _size(window), _size(shift), _size(padded), layout.gate, apart)

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        """Cut padded and rolled tokens ``(B, D, H, W, C)`` into windows ``(S, B·T, N, C)``."""
        (depth, height, width), (d, h, w) = self.padded, self.window
        x = x.reshape(len(x), depth // d, d, height // h, h, width // w, w, x.shape[-1])
        return x.permute(3, 5, 0, 1, 2, 4, 6, 7).reshape(
            (height // h) * (width // w), len(x) * (depth // d), d * h * w, x.shape[-1]
        )

    def join(self, windows: torch.Tensor, batch: int) -> torch.Tensor:
        """Put windows back together; the opposite of :meth:`cut`."""
        (depth, height, width), (d, h, w) = self.padded, self.window
        x = windows.reshape(height // h, width // w, batch, depth // d, d, h, w, windows.shape[-1])
        return x.permute(2, 3, 4, 0, 5, 1, 6, 7).reshape(batch, depth, height, width, windows.shape[-1])


def _size(values: Sequence[int]) -> Size:
    depth, height, width = values
    return depth, height, width


def _regions(padded: int, window: int, shift: int) -> torch.Tensor:
    """Number the stretches of an axis that were not neighbours before the roll."""
    labels = torch.zeros(padded, dtype=torch.int64)
    if shift:
        labels[-window:-shift] = 1
        labels[-shift:] = 2
    return labels


def _gate(padded: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> torch.Tensor:
    """Distances between fragments, rolled and cut as the tokens are; not limited to 0 and 1, as in the reference."""
    _, height, width = window
    index = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).float()
    spread = F.interpolate(index[None], (padded[1], padded[2]), mode="nearest")[0].int()
    spread = spread.roll((-shift[1], -shift[2]), (1, 2))
    spread = spread.reshape(2, padded[1] // height, height, padded[2] // width, width)
    spread = spread.permute(1, 3, 2, 4, 0).reshape(-1, height * width, 2)
    return (spread[:, :, None] - spread[:, None]).abs().sum(-1).float()


class GatedWindowAttention(nn.Module):
    """Self-attention inside windows.

    The bias between two tokens is ``relative · g + fragment · (1 − g)`` with ``g`` of :class:`WindowLayout`; without a
    second table it is ``relative``.
    """

    relative_position_index: torch.Tensor

    def __init__(self, dim: int, heads: int, *, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        entries = (2 * WINDOW[0] - 1) * (2 * WINDOW[1] - 1) * (2 * WINDOW[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(entries, heads))
        self.fragment_position_bias_table = nn.Parameter(torch.zeros(entries, heads)) if gated else None
        self.register_buffer("relative_position_index", _relative_index())
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, windows: torch.Tensor, layout: WindowLayout) -> torch.Tensor:
        """Attend within ``(S, B·T, N, C)``."""
        spatial, batched, tokens, dim = windows.shape
        relative = self._bias(self.relative_position_bias_table, tokens)
        table = self.fragment_position_bias_table
        fragment = None if table is None else self._bias(table, tokens)
        out = torch.empty_like(windows)
        for s in range(spatial):
            bias = relative
            if fragment is not None:
                frames = layout.window[0]
                gate = layout.gate[s].repeat(frames, frames)
                bias = relative * gate + fragment * (1 - gate)
            bias = bias[None]
            if layout.apart is not None:
                apart = layout.apart[s][:, None]  # one for each window in time
                bias = (bias + apart * _BLOCKED).repeat(batched // len(apart), 1, 1, 1)
            q, k, v = self.qkv(windows[s]).reshape(batched, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(batched, -1, -1, -1))
            out[s] = self.proj(mixed.transpose(1, 2).reshape(batched, tokens, dim))
        return out

    def _bias(self, table: torch.Tensor, tokens: int) -> torch.Tensor:
        # a smaller window takes the corner of the full window's index, as the reference does
        index = self.relative_position_index[:tokens, :tokens]
        return table[index.reshape(-1)].reshape(tokens, tokens, -1).permute(2, 0, 1)


def _relative_index() -> torch.Tensor:
    axes = torch.meshgrid(*(torch.arange(length) for length in WINDOW), indexing="ij")
    places = torch.stack(axes).flatten(1)
    apart = (places[:, :, None] - places[:, None]).permute(1, 2, 0)
    apart = apart + torch.tensor([length - 1 for length in WINDOW])
    _, rows, columns = (2 * length - 1 for length in WINDOW)
    return apart[..., 0] * rows * columns + apart[..., 1] * columns + apart[..., 2]


class _Mlp(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, *, gated: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = GatedWindowAttention(dim, heads, gated=gated)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = _Mlp(dim)

    def forward(self, x: torch.Tensor, layout: WindowLayout) -> torch.Tensor:
        """Transform ``(B, D, H, W, C)``."""
        fill = [part for axis in (2, 1, 0) for part in (0, layout.padded[axis] - layout.size[axis])]
        shift = layout.shift
        tokens = F.pad(self.norm1(x), (0, 0, *fill)).roll((-shift[0], -shift[1], -shift[2]), (1, 2, 3))
        tokens = layout.join(self.attn(layout.cut(tokens), layout), len(x)).roll(shift, (1, 2, 3))
        depth, height, width = layout.size
        x = x + tokens[:, :depth, :height, :width]
        out: torch.Tensor = x + self.mlp(self.norm2(x))
        return out


class _Merging(nn.Module):
    """Halve rows and columns: four neighbours become one token of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[3] % 2, 0, x.shape[2] % 2))
        parts = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        out: torch.Tensor = self.reduction(self.norm(torch.cat(parts, -1)))
        return out


class _Stage(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, *, gated: bool, merging: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(dim, heads, gated=gated) for _ in range(depth))
        self.downsample = _Merging(dim) if merging else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = _size(x.shape[1:4])
        layouts = [WindowLayout.of(size, shifted=shifted, device=x.device) for shifted in (False, True)]
        for number, block in enumerate(self.blocks):
            x = block(x, layouts[number % 2])
        return x if self.downsample is None else self.downsample(x)


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, dim, PATCH, PATCH)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fill = [part for axis in (2, 1, 0) for part in (0, -x.shape[2 + axis] % PATCH[axis])]
        out: torch.Tensor = self.norm(self.proj(F.pad(x, fill)).permute(0, 2, 3, 4, 1))
        return out


class VideoSwin(nn.Module):
    """Video Swin-T with GRPB; parameters are called as in the checkpoints of FAST-VQA and DOVER.

    The first three stages have the gate and a second bias table, the last has neither.

    Args:
        dim: channels of the first stage; each later one has twice as many.
        depths: blocks of the four stages; every second one is shifted.
        heads: attention heads of the four stages.
    """

    def __init__(self, dim: int = DIM, depths: Sequence[int] = DEPTHS, heads: Sequence[int] = HEADS) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(dim)
        last = len(depths) - 1
        self.layers = nn.ModuleList(
            _Stage(dim << stage, depth, heads[stage], gated=stage < last, merging=stage < last)
            for stage, depth in enumerate(depths)
        )
        self.norm = nn.LayerNorm(dim << last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features ``(B, 8·dim, D/2, H/32, W/32)`` of normalised clips ``(B, 3, D, H, W)``."""
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        out: torch.Tensor = self.norm(x).permute(0, 4, 1, 2, 3)
        return out
