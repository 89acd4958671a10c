"""Where the parameters of a network are while others run: on the device, or in host memory until they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from stvsr_bench.nn.offload import BlockStream, Shelf, Transfer, tensors_of

Mode = Literal["normal", "low", "lowest"]

MODES: tuple[Mode, ...] = ("normal", "low", "lowest")
"""From the fastest to the one that needs the least: all on the device; only the network that runs; of that one, only
the blocks that run."""


@dataclass
class Part:
    """One network of a method, such as a transformer or an autoencoder.

    Attributes:
        name: what plans, stages and messages call it.
        module: on the CPU, its parameters final. Constants that it computes from them must be registered as buffers
            (``persistent=False``), or they do not travel with it.
        dtype: of its arithmetic.
        blocks: its big repeated layers, none inside another, called one after another; the mode ``lowest`` has only
            two of them on the device. They hold no tensor that anything else in the part uses outside their call.
        exact: modules inside whose parameters, and single parameters that, are float32 whatever ``dtype`` is.
        layout: memory format of the parameters in the optimised form.
        compiled: modules whose ``forward`` torch.compile takes; ``None``: the blocks or, without any, ``module``.
    """

    name: str
    module: nn.Module
    dtype: torch.dtype
    blocks: Sequence[nn.Module] = ()
    exact: Sequence[nn.Module | torch.Tensor] = ()
    layout: torch.memory_format = torch.preserve_format
    compiled: Sequence[nn.Module] | None = None

    def prepare(self, *, optimised: bool, compiled: bool) -> None:
        """Make the module ready to run: no gradients, its dtype, its layout in the optimised form, compiled or not."""
        self.module.eval().requires_grad_(False)
        kept = (tensors_of(item) if isinstance(item, nn.Module) else (item,) for item in self.exact)
        exact = {id(tensor) for tensors in kept for tensor in tensors}
        layout = self.layout if optimised else torch.preserve_format
        rank = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(layout)
        for tensor in tensors_of(self.module):
            if tensor.is_floating_point():
                dtype = torch.float32 if id(tensor) in exact else self.dtype
                form = layout if rank in (None, tensor.ndim) else torch.preserve_format
                tensor.data = tensor.data.to(dtype, memory_format=form)
        if compiled:
            for module in self.compiled if self.compiled is not None else (self.blocks or (self.module,)):
                module.forward = torch.compile(module.forward)


class Residency:
    """Brings one part to the device and takes it off again, as the mode says.

    Args:
        part: on the CPU, or already on the device.
        transfer: how it comes.

    Attributes:
        total: bytes of parameters and buffers.
        streamed: most bytes on the device at once in the mode ``lowest``: all but the blocks, and the two largest.
    """

    def __init__(self, part: Part, transfer: Transfer) -> None:
        self.part = part
        self.transfer = transfer
        self.total = sum(tensor.nbytes for tensor in tensors_of(part.module))
        blocks = [sum(tensor.nbytes for tensor in tensors_of(block)) for block in part.blocks]
        self.streamed = self.total - sum(blocks) + sum(sorted(blocks)[-2:])
        self._shelf: Shelf | None = None
        self._stream: BlockStream | None = None

    def on_device(self) -> int:
        """Bytes that lie on the device now."""
        kind = self.transfer.device.type
        return sum(tensor.nbytes for tensor in tensors_of(self.part.module) if tensor.device.type == kind)

    def place(self, mode: Mode) -> None:
        """Prepare for ``mode``: ``normal`` moves everything to the device, the others everything off it."""
        self.leave()
        self._shelf = self._stream = None
        module = self.part.module
        if mode == "normal":
            with torch.inference_mode(False):
                module.to(self.transfer.device)
            return
        blocks = self.part.blocks if mode == "lowest" else ()
        if blocks:
            self._stream = BlockStream(blocks, self.transfer)
        self._shelf = Shelf(tensors_of(module, blocks), self.transfer)

    def enter(self) -> None:
        """Bring the part, or all of it but the blocks."""
        if self._shelf is not None:
            self._shelf.bring()
        if self._stream is not None:
            self._stream.attach()

    def leave(self) -> None:
        """Take off what :meth:`enter` brought; right also after the part raised, and a second time."""
        if self._stream is not None:
            self._stream.detach()
        if self._shelf is not None:
            self._shelf.release()
