"""What every method with one network and one set of published parameters shares."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Generic, TypeVar

import torch

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.base import Method
from stvsr_bench.weights import service

Network = TypeVar("Network", bound=torch.nn.Module)


class LearnedMethod(Method, Generic[Network]):
    """A method that runs one network with parameters of the weights service.

    A subclass names its parameters (:attr:`weight`), and in ``setup`` makes the network, fills it with them, or with
    seeded ones where :attr:`untrained` says so, and hands it to :meth:`install`.
    """

    _network: Network | None = None

    @property
    @abstractmethod
    def weight(self) -> str:
        """Id of the parameters, for the weights service."""

    @cached_property
    def untrained(self) -> bool:
        """Whether the parameters are seeded: in the tiny preset, and where absent ones are allowed to be."""
        return self.preset == "tiny" or (self.allow_untrained and service.state(self.weight) == "absent")

    def weights_hashes(self) -> dict[str, str]:
        """Tensor hash of the parameters, known without loading them."""
        return {} if self.untrained else {self.weight: service.weight_hash(self.weight)}

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
