"""BasicVSR over clips of any length: the same values as the whole clip at once, with only part of it in memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stvsr_bench.core.errors import MethodError
from stvsr_bench.methods.basicvsr.network import BasicVSRNet
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.spill import DiskSpill, MemorySpill
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.color import to_float, to_uint8

Store = Literal["disk", "memory", "recompute"]

FLOW_PIXELS = 1 << 16
"""LQ pixels that a batch of flows aims at (about 0.8 kB of working memory each)."""

FINE_PIXELS = 1 << 14
"""LQ pixels that a batch of reconstructions aims at (about 10 kB of working memory each)."""

_LARGEST_BATCH = 8


@dataclass(frozen=True)
class Split:
    """How a clip is gone through. Without ``lookahead`` no field changes a value.

    Attributes:
        store: where backward features wait for the forward pass: on disk, in host memory, or nowhere: they are then
            computed a second time, ``chunk`` frames at once, from every ``chunk``-th one.
        chunk: frames of a chunk.
        lookahead: cut instead: the backward pass of each chunk begins ``lookahead`` frames after it, from zeros.
        batching: take several frames at once where the recurrence leaves it free.
    """

    store: Store = "disk"
    chunk: int = 16
    lookahead: int | None = None
    batching: bool = True

    def flow_batch(self, pixels: int) -> int:
        """Pairs of frames of ``pixels`` per batch of flows: by the frame size alone, so that rounding is the same."""
        return min(max(FLOW_PIXELS // pixels, 1), _LARGEST_BATCH) if self.batching else 1

    def fine_batch(self, pixels: int) -> int:
        """Frames of ``pixels`` per batch of reconstructions, likewise."""
        return min(max(FINE_PIXELS // pixels, 1), _LARGEST_BATCH) if self.batching else 1


class _Window:
    """The frames of a clip that are at hand: those of the last :meth:`hold`, uint8."""

    def __init__(self, clip: Clip, clock: StageClock) -> None:
        self._clip, self._clock = clip, clock
        self._held: dict[int, Frames] = {}

    def hold(self, start: int, stop: int, *, descending: bool) -> None:
        """Read what is missing of ``start … stop - 1`` in the pass's direction and let go of the rest."""
        wanted = range(start, stop)
        missing = [i for i in (reversed(wanted) if descending else wanted) if i not in self._held]
        self._held = {i: frame for i, frame in self._held.items() if i in wanted}
        if missing:
            with self._clock.paused():
                frames = self._clip.read(missing)
            self._held.update(zip(missing, frames, strict=True))

    def get(self, start: int, stop: int, *, descending: bool) -> Frames:
        """Frames ``start … stop - 1``; what is not at hand is read in the pass's direction."""
        if any(i not in self._held for i in range(start, stop)):
            self.hold(start, stop, descending=descending)
        return torch.stack([self._held[i] for i in range(start, stop)])


class _Flows:
    """Frames with the flow to the neighbour whose features they receive, in batches that begin at fixed frames.

    Args:
        run: the recurrence.
        window: where frames come from.
        ahead: flows lead to the next frame (backward pass), else to the one before.
    """

    def __init__(self, run: Recurrence, window: _Window, *, ahead: bool) -> None:
        self._run, self._window, self._ahead = run, window, ahead
        self._number = -1
        self._frames = self._flows = torch.empty(0)

    def at(self, i: int) -> tuple[Tensor, Tensor | None]:
        """Frame ``i`` ``(1, 3, h, w)`` and its flow ``(1, 2, h, w)``; ``None`` where the clip ends."""
        size, count = self._run.flow_batch, self._run.count
        number = (i if self._ahead else max(i - 1, 0)) // size
        start = number * size
        if number != self._number:
            frames = self._window.get(start, min(start + size + 1, count), descending=self._ahead)
            self._frames = self._run.prepare(frames)
            self._flows = self._run.net.flows(self._frames, ahead=self._ahead) if len(frames) > 1 else torch.empty(0)
            self._number = number
        at = i - start
        pair = at if self._ahead else at - 1
        flow = self._flows[pair : pair + 1] if 0 <= pair < len(self._flows) else None
        return self._frames[at : at + 1], flow


class Recurrence:
    """One clip on its way through the network.

    Batches of flows and of reconstructions begin at fixed frames and have a size that depends on the frame size
    alone; so every way to go through a clip does the same operations on the same values.

    Args:
        net: the network, on its device, in its dtype.
        clip: read backwards and then forwards.
        split: how.
        clock: stands while the clip is read.
    """

    def __init__(self, net: BasicVSRNet, clip: Clip, split: Split, clock: StageClock) -> None:
        self.net, self.split = net, split
        self.count = len(clip)
        pixels = clip.height * clip.width
        self.flow_batch, self.fine_batch = split.flow_batch(pixels), split.fine_batch(pixels)
        self._clip, self._clock = clip, clock
        parameter = next(net.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    def prepare(self, frames: Frames) -> Tensor:
        """Move uint8 frames to the device, in [0, 1], in the network's dtype."""
        return to_float(frames.to(self._device)).to(self._dtype)

    def output(self) -> Generator[Frames, None, None]:
        """Yield the restored frames, uint8 ``(T, 3, 4h, 4w)``."""
        frames: list[Tensor] = []
        back: list[Tensor] = []
        forth: list[Tensor] = []
        state: Tensor | None = None
        for features, frame, flow in self._both():
            state = self.net.step_forth(frame, state, flow)
            frames.append(frame)
            back.append(features)
            forth.append(state)
            if len(frames) == self.fine_batch:
                yield self._rounded(frames, back, forth)
        if frames:
            yield self._rounded(frames, back, forth)

    def _window(self) -> _Window:
        return _Window(self._clip, self._clock)

    def _rounded(self, frames: list[Tensor], back: list[Tensor], forth: list[Tensor]) -> Frames:
        batches = []
        for parts in (frames, back, forth):
            batches.append(torch.cat(parts) if len(parts) > 1 else parts[0])
            parts.clear()
        out = self.net.reconstruct(*batches)
        return to_uint8(out.float()).cpu()

    def _both(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield, for each frame in order, its backward features, the frame, and its flow to the one before."""
        window = self._window()
        behind = _Flows(self, window, ahead=False)
        features = self._features(window)
        for i in range(self.count):
            back = next(features)
            yield back, *behind.at(i)

    def _features(self, window: _Window) -> Iterator[Tensor]:
        """Yield the backward features of every frame in order."""
        if self.split.lookahead is not None or self.split.store == "recompute":
            yield from self._chunks(window)
            return
        with MemorySpill() if self.split.store == "memory" else DiskSpill() as spill:
            for i, state in self._backwards(self._window(), 0, self.count, None):
                try:
                    spill.put(i, state)
                except OSError as error:
                    raise self._no_room(error) from error
            for i in range(self.count):
                yield spill.take(i).to(self._device)

    def _no_room(self, error: OSError) -> MethodError:
        pixels = self._clip.height * self._clip.width
        size = self.count * pixels * self.net.features * self._dtype.itemsize
        return MethodError(
            f"clip '{self._clip.name}': its backward features cannot be kept in a temporary file",
            got=error.strerror or str(error),
            accepted=f"{size / 2**20:.0f} MiB of free space",
            action="free space, set TMPDIR to a larger disk, or take method.store=recompute",
        )

    def _chunks(self, window: _Window) -> Iterator[Tensor]:
        """The same, a chunk at a time, each from the state that enters it."""
        chunk, lookahead, count = self.split.chunk, self.split.lookahead, self.count
        entering: dict[int, Tensor] = {}
        if lookahead is None:
            for i, state in self._backwards(self._window(), chunk, count, None):
                if i % chunk == 0:
                    entering[i] = state.cpu()
        for start in range(0, count, chunk):
            stop = min(start + chunk, count)
            far = stop if lookahead is None else min(stop + lookahead, count)
            first = max(start - 1, 0) // self.flow_batch * self.flow_batch
            last = min(((far - 1) // self.flow_batch + 1) * self.flow_batch + 1, count)
            window.hold(first, last, descending=False)
            enters = entering.pop(stop).to(self._device) if stop in entering else None
            features = [b for i, b in self._backwards(window, start, far, enters) if i < stop]
            while features:
                yield features.pop()

    def _backwards(self, window: _Window, start: int, stop: int, state: Tensor | None) -> Iterator[tuple[int, Tensor]]:
        """Yield the number and backward features of frames ``stop - 1`` down to ``start``; ``state`` enters."""
        ahead = _Flows(self, window, ahead=True)
        for i in reversed(range(start, stop)):
            frame, flow = ahead.at(i)
            features = self.net.step_back(frame, state, flow)
            yield i, features
            state = features
