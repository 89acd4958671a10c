"""Statistics of channels: what the image tower and the latents are shifted and divided by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stvsr_bench.core.errors import ConfigError


class Standardise:
    """``(x - mean) / std`` of every channel, in float32, and its inverse.

    It is no module: in bfloat16 its constants would lose digits with the network around it. They are copied to each
    device once, so that a later call waits for nothing.

    Args:
        mean: one value for each channel.
        std: the same, above 0.

    Raises:
        ConfigError: the two differ in length, are empty, or hold what is no finite number or no deviation.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean = torch.tensor(list(mean), dtype=torch.float32)
        self._std = torch.tensor(list(std), dtype=torch.float32)
        finite = bool(self._mean.isfinite().all()) and bool(self._std.isfinite().all())
        if not len(self._mean) == len(self._std) > 0 or not finite or not bool((self._std > 0).all()):
            raise ConfigError(
                "the statistics of channels are not usable",
                got=f"mean {list(mean)}, std {list(std)}",
                accepted="as many means as deviations, finite, every deviation above 0",
            )
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``(x - mean) / std``, float32.

        Args:
            x: ``(B, C, ...)`` of any floating dtype.

        Raises:
            ConfigError: it has another number of channels.
        """
        mean, std = self._on(x)
        return (x.float() - mean) / std

    def inverse(self, z: Tensor) -> Tensor:
        """Return ``z * std + mean``, float32, for ``z`` of shape ``(B, C, ...)``."""
        mean, std = self._on(z)
        return z.float() * std + mean

    def _on(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both statistics on the device of ``x``, in a shape that broadcasts over it."""
        if x.ndim < 2 or x.shape[1] != len(self._mean):
            raise ConfigError(
                "the tensor has other channels than the statistics",
                got=f"shape {list(x.shape)}",
                accepted=f"[B, {len(self._mean)}, ...]",
            )
        if x.device not in self._placed:
            with torch.inference_mode(False):  # an inference tensor could not serve training later
                self._placed[x.device] = self._mean.to(x.device), self._std.to(x.device)
        mean, std = self._placed[x.device]
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return mean.view(shape), std.view(shape)
