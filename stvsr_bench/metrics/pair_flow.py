"""Flow networks as metrics use them: one frame or pair at a time, the flow of the ground truth stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch

from stvsr_bench.metrics.batch import FrameBatch, Maps, OneSide
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.pwcnet import PwcNet, full_flow
from stvsr_bench.nn.raft import empty_raft, pad_to_eight, raft_flow
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict


class PairFlow(ABC):
    """Optical flow of consecutive frames.

    Args:
        weight: id of the network's parameters.
        device: where it runs.
    """

    key: str
    """Name and version of the flow as a feature."""

    def __init__(self, weight: str, device: torch.device) -> None:
        use_exact_float32(device)
        self.load(weight, device)

    @abstractmethod
    def load(self, weight: str, device: torch.device) -> None:
        """Build the network and load its parameters."""

    @abstractmethod
    def features(self, batch: FrameBatch, side: OneSide) -> list[list[torch.Tensor]]:
        """What the flow is computed from, for every frame of ``batch``."""

    @abstractmethod
    def compact(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> torch.Tensor:
        """Flow between frames with these features, ``(1, 2, h, w)``, in the form that is stored."""

    @abstractmethod
    def full(self, compact: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Pixels ``(1, 2, H, W)`` of a compact flow, or of the difference of two: it is linear."""

    @torch.inference_mode()
    def between(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Compact flow of two frames, float32 RGB in [0, 1] ``(1, 3, H, W)``."""
        return self.compact(self.of_frame(first), self.of_frame(second))

    @abstractmethod
    def of_frame(self, frame: torch.Tensor) -> list[torch.Tensor]:
        """The features of one frame, float32 RGB in [0, 1] ``(1, 3, H, W)``."""

    @torch.inference_mode()
    def pairs(self, batch: FrameBatch, previous: FrameBatch | None, side: OneSide) -> torch.Tensor:
        """Compact flow of the pairs (previous, first), (first, second), …, ``(P, 2, h, w)``."""

        def make(chosen: Sequence[int]) -> Maps:
            parts = [batch] if previous is None else [previous, batch]
            frames = [features for part in parts for features in self.features(part, side)]
            if not chosen:
                return [torch.zeros(0, 2, 1, 1, device=batch.device)]
            return [torch.cat([self.compact(frames[pair], frames[pair + 1]) for pair in chosen])]

        return batch.pair_maps(previous, side, self.key, make)[0]


class PwcFlow(PairFlow):
    """PWC-Net; the pyramid of a frame is computed once for the pairs before and after it."""

    key = "flow.pwcnet@1"

    def load(self, weight: str, device: torch.device) -> None:
        self.network = PwcNet()
        load_strict(self.network, service.load_weight(weight))
        self.network.eval().requires_grad_(False).to(device)

    def of_frame(self, frame: torch.Tensor) -> list[torch.Tensor]:
        return list(self.network.pyramid(frame))

    def features(self, batch: FrameBatch, side: OneSide) -> list[list[torch.Tensor]]:
        def make() -> list[torch.Tensor]:
            frames = [self.of_frame(frame[None]) for frame in batch.rgb(side)]
            return [torch.cat(level) for level in zip(*frames, strict=True)]

        levels = batch.feature(side, "pwcnet.pyramid@1", make)
        return [[level[i : i + 1] for level in levels] for i in range(len(batch))]

    def compact(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> torch.Tensor:
        return self.network.compact_flow(tuple(first), tuple(second))

    def full(self, compact: torch.Tensor, height: int, width: int) -> torch.Tensor:
        return full_flow(compact, height, width)


def build_raft(tensors: Mapping[str, torch.Tensor], device: torch.device | str = "cpu") -> torch.nn.Module:
    """Return RAFT for inference.

    Args:
        tensors: its state dict under torchvision's names.
        device: where it runs.

    Raises:
        WeightError: the tensors are not those of RAFT.
    """
    network = empty_raft()
    load_strict(network, tensors)
    return network.eval().requires_grad_(False).to(device)


class RaftFlow(PairFlow):
    """RAFT of torchvision with 12 updates, on frames extended to multiples of 8."""

    key = "flow.raft12@1"
    _UPDATES = 12

    def load(self, weight: str, device: torch.device) -> None:
        self.network = build_raft(service.load_weight(weight), device)

    def of_frame(self, frame: torch.Tensor) -> list[torch.Tensor]:
        return [frame]

    def features(self, batch: FrameBatch, side: OneSide) -> list[list[torch.Tensor]]:
        return [[frame[None]] for frame in batch.rgb(side)]

    def compact(self, first: list[torch.Tensor], second: list[torch.Tensor]) -> torch.Tensor:
        (start, inside), (end, _) = (pad_to_eight(2 * frame - 1) for (frame,) in (first, second))
        return raft_flow(self.network, start, end, self._UPDATES)[:, :, *inside]

    def full(self, compact: torch.Tensor, height: int, width: int) -> torch.Tensor:
        return compact
