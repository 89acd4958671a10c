"""The network of DOVER; its parameters are called as in ``DOVER.pth``."""

from __future__ import annotations

from torch import nn

from stvsr_bench.metrics.dover.convnext import InflatedConvNext
from stvsr_bench.nn.swin3d import DIM, VideoSwin
from stvsr_bench.nn.vqa_head import VqaHead


class DoverNetwork(nn.Module):
    """The technical and the aesthetic branch, each a trunk and a head.

    Args:
        dim: channels of the first stage of either trunk.

    Source: Wu et al. 2023, Exploring Video Quality Assessment on User Generated Contents from Aesthetic and Technical
    Perspectives (arXiv:2211.04894).
    """

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.technical_backbone = VideoSwin(dim)
        self.technical_head = VqaHead(8 * dim)
        self.aesthetic_backbone = InflatedConvNext(dim)
        self.aesthetic_head = VqaHead(8 * dim)
