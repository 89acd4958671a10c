"""What methods with published parameters share: which parameters, and whether seeded ones stand in for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

import torch

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.base import Method
from stvsr_bench.weights import service

Network = TypeVar("Network", bound=torch.nn.Module)


class WeightedMethod(Method):
    """A method that runs on parameters of the weights service, one weight or several."""

    @property
    @abstractmethod
    def weights(self) -> Sequence[str]:
        """Ids of the parameters, for the weights service; those that a user's own files replace are left out."""

    @cached_property
    def untrained(self) -> bool:
        """Whether the parameters are seeded: in the tiny preset, and where absent ones are allowed to be."""
        absent = self.allow_untrained and any(service.state(weight) == "absent" for weight in self.weights)
        return self.preset == "tiny" or absent

    def weights_hashes(self) -> dict[str, str]:
        """Tensor hash of each weight, known without loading it."""
        return {} if self.untrained else {weight: service.weight_hash(weight) for weight in self.weights}


class LearnedMethod(WeightedMethod, Generic[Network]):
    """A method that runs one network with parameters of the weights service.

    A subclass names its parameters (:attr:`weight`), and in ``setup`` makes the network, fills it with them, or with
    seeded ones where :attr:`untrained` says so, and hands it to :meth:`install`.
    """

    _network: Network | None = None

    @property
    @abstractmethod
    def weight(self) -> str:
        """Id of the parameters, for the weights service."""

    @property
    def weights(self) -> Sequence[str]:
        """The one weight."""
        return (self.weight,)

    def install(self, network: Network) -> None:
        """Move ``network`` to the device and dtype of ``setup``, channels-last in the optimised form."""
        layout = torch.channels_last if self.optimised else torch.contiguous_format
        network.eval().requires_grad_(False)
        network.to(self.device, self.dtype, memory_format=layout)  # type: ignore[call-overload]
        self._network = network

    def close(self) -> None:
        """Give back the network."""
        super().close()
        self._network = None

    @property
    def network(self) -> Network:
        """The network, set up.

        Raises:
            MethodError: ``setup`` was not called.
        """
        if self._network is None:
            raise MethodError(f"method '{self.name}' is not set up", action="call setup(device, dtype) first")
        return self._network
