"""Forward-backward consistency of optical flow: what is visible in both frames."""

from __future__ import annotations

from torch import Tensor

from stvsr_bench.nn.warp import backward_warp, inside


def cycle_error(flow: Tensor, back: Tensor) -> Tensor:
    """How far from its start a pixel lands that follows ``flow`` and then ``back``.

    Args:
        flow: ``(B, 2, H, W)`` pixels, from this frame to the other.
        back: ``(B, 2, H, W)`` pixels, from the other frame to this one.

    Returns:
        ``(B, 1, H, W)`` pixels, 0 where the two flows agree.
    """
    return (flow + backward_warp(back, flow)).square().sum(1, keepdim=True).sqrt()


def cycle_terms(flow: Tensor, back: Tensor, *, padding: str = "border") -> tuple[Tensor, Tensor]:
    """What rules of forward-backward consistency compare, both ``(B, 1, H, W)`` in square pixels.

    Args:
        flow: as in :func:`cycle_error`.
        back: likewise.
        padding: what ``back`` is outside the frame: ``border`` (as at its edge) or ``zeros``.

    Returns:
        The squared cycle error, and the sum of the squared lengths of ``flow`` and of the flow back.
    """
    returned = backward_warp(back, flow, padding=padding)
    squared = (flow + returned).square().sum(1, keepdim=True)
    size = flow.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    return squared, size


def consistent(flow: Tensor, back: Tensor, alpha: float = 0.01, beta: float = 0.5) -> Tensor:
    """Say which pixels of this frame are visible in the other one, ``(B, 1, H, W)`` bool.

    A pixel is visible when it stays inside the frame and the squared cycle error is at most
    ``alpha·(|flow|² + |back|²) + beta``.

    Source: Sundaram, Brox and Keutzer, «Dense point trajectories by GPU-accelerated large displacement optical flow»,
    ECCV 2010, equation 5, with its constants.
    """
    squared, size = cycle_terms(flow, back)
    return (squared <= alpha * size + beta) & inside(flow)
