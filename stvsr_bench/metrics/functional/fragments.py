"""Pictures that the video quality models are shown instead of whole frames: fragments, and small copies.

Source: Wu et al. 2022, FAST-VQA (arXiv:2207.02595), grid mini-patch sampling; Wu et al. 2023, DOVER
(arXiv:2211.04894). A view is 224×224 uint8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF  # type: ignore[import-untyped]

GRID = 7
"""Fragments in a row and in a column."""
PATCH = 32
"""Rows and columns of a fragment."""
SIDE = GRID * PATCH
"""Rows and columns of a view."""


def fragment_offsets(height: int, width: int, blocks: int, generator: torch.Generator) -> torch.Tensor:
    """Draw how far each fragment lies from the origin of its cell.

    Args:
        height: rows of the frame that the grid is laid on.
        width: its columns.
        blocks: stretches of frames that share their offsets.
        generator: for ``torch.randint``; all rows are drawn before the columns. Nothing is drawn for an axis whose
            cells are no longer than a fragment.

    Returns:
        int64 ``(2, 7, 7, blocks)``: rows, columns.
    """
    shape = (GRID, GRID, blocks)
    drawn = []
    for length in (height, width):
        spare = length // GRID - PATCH
        drawn.append(torch.randint(spare, shape, generator=generator) if spare > 0 else torch.zeros(shape).long())
    return torch.stack(drawn)


def cut_fragments(frame: torch.Tensor, grid: tuple[int, int], offsets: torch.Tensor) -> torch.Tensor:
    """Compose a view of 7×7 fragments.

    Args:
        frame: ``(C, H, W)``.
        grid: rows and columns of the frame that the grid is laid on, at least 32 and not more than ``frame`` has.
        offsets: ``(2, 7, 7)``, see :func:`fragment_offsets`.

    Returns:
        ``(C, 224, 224)``, same type.
    """
    places = []
    for axis, length in enumerate(grid):
        origins = torch.tensor([min(length // GRID * cell, length - PATCH) for cell in range(GRID)])
        cells = origins[:, None] if axis == 0 else origins
        places.append((cells + offsets[axis])[..., None] + torch.arange(PATCH))  # (7, 7, 32)
    rows = places[0].permute(0, 2, 1)[..., None].expand(-1, -1, -1, PATCH).reshape(SIDE, SIDE)
    columns = places[1].reshape(GRID, 1, SIDE).expand(-1, PATCH, -1).reshape(SIDE, SIDE)
    return frame[:, rows.to(frame.device), columns.to(frame.device)]


def enlarge(frame: torch.Tensor) -> torch.Tensor:
    """Enlarge a frame whose shorter side has fewer than 224 pixels so that it has 224; leave others as they are.

    Args:
        frame: uint8 ``(3, H, W)``.

    Returns:
        uint8, on the same device. The reference's arithmetic: bilinear on float32 in [0, 1] without antialiasing, by
        the ratio of the shorter side, then × 255 cut off to an integer, not rounded. The cut shows the last bit of a
        kernel, so it always runs on the CPU and in one memory layout.
    """
    ratio = min(frame.shape[1] / SIDE, frame.shape[2] / SIDE)
    if ratio >= 1:
        return frame
    # channels stand in front, as the reference's do: torch takes another kernel for one image of three channels
    planes = frame.cpu().contiguous()[:, None].float().div(255)
    large = F.interpolate(planes, scale_factor=1 / ratio, mode="bilinear", align_corners=False)[:, 0]
    return large.mul(255).to(torch.uint8).to(frame.device)


def small_copy(frame: torch.Tensor, *, antialias: bool) -> torch.Tensor:
    """Resize a frame to 224×224, whatever its aspect ratio.

    Args:
        frame: uint8 ``(3, H, W)``.
        antialias: torchvision's default since 0.17; before, it was off.

    Returns:
        uint8 ``(3, 224, 224)``, on the same device. Bilinear, by torchvision on the CPU: its fixed-point arithmetic
        exists only there.
    """
    copy: torch.Tensor = TF.resize(frame.cpu().contiguous(), [SIDE, SIDE], antialias=antialias)
    return copy.to(frame.device)
