"""Networks larger than the device: their parameters wait in host memory and come when they are needed.

Parameters never change here, so nothing is ever copied back: a tensor is pointed at its copy on the device, and later
at its master in host memory again. On a CPU the copy is the master; all the rest is the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

ARENA_BYTES = 1 << 28
"""Page-locked memory is taken in pieces of this size, because torch rounds each up to a power of two."""
_ALIGNMENT = 256


class Transfer:
    """Copies tensors to ``device``, on a stream beside the computation where it has streams.

    Args:
        device: where copies go.
        copies: make copies; ``False``: a tensor is its own copy. ``None``: on every device but a CPU.
    """

    def __init__(self, device: torch.device, copies: bool | None = None) -> None:
        self.device = device
        self.copies = device.type != "cpu" if copies is None else copies
        cuda = device.type == "cuda"
        self._side = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        self._arena: Tensor | None = None
        self._used = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """The same values and strides in host memory, page-locked where ``device`` can then copy while it computes.

        Where the system grants no page-locked memory, copying is slower, and as right.
        """
        if not self.copies:
            return tensor
        try:
            room = self._room(tensor.nbytes).view(tensor.dtype)
        except RuntimeError:
            return tensor.cpu()
        dense = torch.empty_like(tensor, device="meta").stride() == tensor.stride()
        laid_out = room.as_strided(tensor.shape, tensor.stride()) if dense else room.view(tensor.shape)
        return laid_out.copy_(tensor)

    def _room(self, size: int) -> Tensor:
        if self._arena is None or self._used + size > len(self._arena):
            page_locked = self.device.type == "cuda"
            self._arena = torch.empty(max(size, ARENA_BYTES), dtype=torch.uint8, pin_memory=page_locked)
            self._used = 0
        start = self._used
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        return self._arena[start : start + size]

    def bring(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies on the device, in order with the computation."""
        return [tensor.to(self.device, non_blocking=True, copy=self.copies) for tensor in tensors]

    def start(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], torch.cuda.Event | None]:
        """Begin copying beside the computation; the copies may be used after :meth:`arrived`."""
        if self._side is None:
            return self.bring(tensors), None
        with torch.cuda.stream(self._side):
            return self.bring(tensors), self._side.record_event()

    def arrived(self, event: torch.cuda.Event | None) -> None:
        """Have the computation wait for what :meth:`start` began."""
        if event is not None:
            torch.cuda.current_stream(self.device).wait_event(event)

    def mark(self) -> torch.cuda.Event | None:
        """A point in the computation that :meth:`passed` waits for."""
        return None if self._side is None else torch.cuda.current_stream(self.device).record_event()

    def passed(self, event: torch.cuda.Event | None) -> None:
        """Wait, here on the host, until the computation is past ``event``: then copies used before it may be freed."""
        if event is not None:
            event.synchronize()


def tensors_of(module: nn.Module, without: Iterable[nn.Module] = ()) -> list[Tensor]:
    """Parameters and buffers of ``module``, each once, less those of the modules ``without``."""
    left_out = {id(tensor) for part in without for tensor in (*part.parameters(), *part.buffers())}
    found = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return [tensor for key, tensor in found.items() if key not in left_out]


class Shelf:
    """A group of tensors that come to the device together and go together.

    Args:
        tensors: parameters and buffers; what they hold moves to host memory.
        transfer: how they come.
    """

    def __init__(self, tensors: Sequence[Tensor], transfer: Transfer) -> None:
        self.tensors = tensors
        self.transfer = transfer
        self.masters: list[Tensor] = []
        with torch.inference_mode(False):  # tensors made in inference mode cannot be pointed at
            for tensor in tensors:  # one by one, so that host memory never holds all of them twice
                self.masters.append(transfer.keep(tensor.data))
                tensor.data = self.masters[-1]

    def point(self, values: Sequence[Tensor]) -> None:
        """Have the tensors hold ``values``."""
        with torch.inference_mode(False):
            for tensor, value in zip(self.tensors, values, strict=True):
                tensor.data = value

    def bring(self) -> None:
        """Bring all to the device; a second call changes nothing that can be seen."""
        with torch.inference_mode(False):
            self.point(self.transfer.bring(self.masters))

    def release(self) -> None:
        """Free what is on the device; likewise."""
        self.point(self.masters)


class BlockStream:
    """Has each of ``blocks`` on the device only while it runs, and the next one on its way.

    Two blocks are on the device at most. Blocks are called (not their ``forward``) one after another, by default in
    their order; any other order works too, without the head start.

    Args:
        blocks: layers of a network, none inside another.
        transfer: how they come.
    """

    def __init__(self, blocks: Sequence[nn.Module], transfer: Transfer) -> None:
        self.blocks = list(blocks)
        self.transfer = transfer
        self.shelves = [Shelf(tensors_of(block), transfer) for block in self.blocks]
        self._hooks: list[RemovableHandle] = []
        self._coming: tuple[int, list[Tensor], torch.cuda.Event | None] | None = None
        self._gone: tuple[list[Tensor], torch.cuda.Event | None] | None = None

    def attach(self) -> None:
        """Start streaming; the first block is sent for at once."""
        if self._hooks:
            return
        for number, block in enumerate(self.blocks):
            self._hooks.append(block.register_forward_pre_hook(partial(self._before, number)))
            self._hooks.append(block.register_forward_hook(partial(self._after, number)))
        self._send_for(0)

    def detach(self) -> None:
        """Stop streaming and free every block; right also after a block raised."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if self._coming is not None or self._gone is not None:
            self.transfer.passed(self.transfer.mark())  # nothing that runs still reads what is freed here
        for shelf in self.shelves:
            shelf.release()
        self._coming = self._gone = None

    def _send_for(self, number: int) -> None:
        with torch.inference_mode(False):
            self._coming = (number, *self.transfer.start(self.shelves[number].masters))

    def _before(self, number: int, block: nn.Module, inputs: object) -> None:
        if self._coming is None or self._coming[0] != number:
            self._coming = None  # first, so that never more than two are there
            self._send_for(number)
        assert self._coming is not None
        _, copies, event = self._coming
        self._coming = None
        self.transfer.arrived(event)
        self.shelves[number].point(copies)

    def _after(self, number: int, block: nn.Module, inputs: object, output: object) -> None:
        copies = [tensor.data for tensor in self.shelves[number].tensors]
        self.shelves[number].release()
        if self._gone is not None:  # the block before: its computation is over, or nearly so
            self.transfer.passed(self._gone[1])
        self._gone = (copies, self.transfer.mark())
        if len(self.blocks) > 1:
            self._send_for((number + 1) % len(self.blocks))
