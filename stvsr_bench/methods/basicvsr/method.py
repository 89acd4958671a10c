"""BasicVSR as a method: the whole clip is one recurrence, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, MethodError, nearest
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.basicvsr.checkpoint import network_of
from stvsr_bench.methods.basicvsr.network import SCALE, BasicVSRNet
from stvsr_bench.methods.basicvsr.recurrence import Recurrence, Split, Store
from stvsr_bench.methods.learned import LearnedMethod
from stvsr_bench.nn.measure import StageClock
from stvsr_bench.nn.memory import is_out_of_memory, release_memory
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.weights import service

VARIANTS = ("vimeo_bi", "vimeo_bd", "reds4")
STORES = ("disk", "memory", "recompute")


class BasicVSR(LearnedMethod[BasicVSRNet]):
    """Bidirectional recurrence over the whole clip, ×4.

    Backward features of the whole clip come first; they wait as ``store`` says, and every way gives the same pixels.
    Nothing is cut, neither in time nor in space, unless ``lookahead`` is set, which moves pixels and stands in the id.

    Source: Chan, Wang, Yu, Dong and Loy, «BasicVSR: The Search for Essential Components in Video Super-Resolution and
    Beyond», CVPR 2021. BasicSR's own script restarts at every 15th frame; this does not, as for the published numbers.

    Args:
        variant: what the parameters were trained on: one of ``VARIANTS``.
        store: where backward features wait: ``disk`` (a temporary file), ``memory`` (host memory) or ``recompute``
            (every ``chunk``-th is kept, the others are computed twice).
        chunk: frames between kept features with ``recompute``; frames of a piece with ``lookahead``.
        lookahead: start the backward pass anew for every ``chunk`` frames, that many frames after them; ``None`` for
            the exact recurrence.
    """

    task = "vsr"
    scales = frozenset({SCALE})
    presets = frozenset({"tiny"})
    chunking = "own"
    reads = "random"
    dtypes = frozenset({"float32", "float16"})

    def __init__(
        self,
        *,
        name: str,
        variant: str = "vimeo_bi",
        store: Store = "disk",
        chunk: int = 16,
        lookahead: int | None = None,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
    ) -> None:
        super().__init__(name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained)
        for knob, value, accepted in (("variant", variant, VARIANTS), ("store", store, STORES)):
            if value not in accepted:
                raise ConfigError(
                    f"method '{name}': {knob} '{value}' is not known",
                    accepted=", ".join(accepted),
                    action=f"nearest: {', '.join(nearest(str(value), accepted, 1))}",
                )
        for knob, number, least in (("chunk", chunk, 1), ("lookahead", lookahead, 0)):
            if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < least):
                raise ConfigError(
                    f"method '{name}': {knob} is no number of frames",
                    got=repr(number),
                    accepted=f"a whole number from {least}" + (", or null" if knob == "lookahead" else ""),
                )
        self.variant, self.store, self.chunk, self.lookahead = variant, store, chunk, lookahead
        self.neutral_knobs = frozenset({"store", "chunk"} if lookahead is None else {"store"})

    @property
    def weight(self) -> str:
        """Id of the parameters, for the weights service."""
        return f"basicvsr/{self.variant}"

    def setup(self, device: torch.device | str = "cpu", dtype: str = "float32") -> None:
        """Load the parameters and move the network to ``device``."""
        super().setup(device, dtype)
        use_exact_float32(self.device)
        if self.untrained:
            tiny = {"features": 8, "blocks": 2, "flow_features": (4, 4, 4, 4), "fine_features": 8}
            network = BasicVSRNet(**(tiny if self.preset == "tiny" else {}))  # type: ignore[arg-type]
            seed_parameters(network, "basicvsr", self.variant)
        else:
            network = network_of(service.load_weight(self.weight))
        network.spynet.cached = self.optimised
        self.install(network)

    def restore_stream(self, clip: Clip, request: Request, report: Report) -> Iterator[Frames]:
        """Backward over the whole clip, then forward with the output; the clip is read the same way."""
        stage = report.stage(self.name)
        clock = StageClock(self.device)
        split = Split(self.store, self.chunk, self.lookahead, batching=self.optimised)
        recurrence = Recurrence(self.network, clip, split, clock)
        report.plan.update(
            chunk=len(clip) if self.lookahead is None else self.chunk,
            windows=1 if self.lookahead is None else -(-len(clip) // self.chunk),
            tile=None,
            retries=[],
            store=self.store,
            kept_every=self.chunk if self.store == "recompute" else 1,
            lookahead=self.lookahead,
            flow_batch=recurrence.flow_batch,
            fine_batch=recurrence.fine_batch,
        )
        blocks = recurrence.output()
        try:
            while True:
                with clock:
                    block = self._next(blocks, clip)
                if block is None:
                    return
                stage.seconds, stage.peak_bytes = clock.seconds, clock.peak_bytes
                stage.frames += len(block)
                yield block
        finally:
            blocks.close()  # frees the temporary file at once when the consumer stops early

    def _next(self, blocks: Iterator[Frames], clip: Clip) -> Frames | None:
        try:
            with torch.no_grad():
                return next(blocks, None)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).splitlines()[0] if str(error) else type(error).__name__
        # outside the handler, whose traceback would keep the failed attempt's memory
        release_memory(self.device)
        cheaper = {
            "memory": "method.store=disk, which keeps features out of memory, ",
            "recompute": "method.store=disk, or another method.chunk, ",
            "disk": "",
        }[self.store]
        raise MethodError(
            f"method '{self.name}' ran out of memory on {self.device} with clip '{clip.name}'",
            got=f"{message}; {len(clip)} frames of {clip.height}x{clip.width}, method.store={self.store}",
            accepted="frames that fit whole: about 10 kB of working memory for each LQ pixel of a frame",
            action=f"take {cheaper}a device with more memory, or smaller frames (crop them)",
        )

    @torch.no_grad()
    def restore_float(self, frames: Tensor, request: Request) -> Tensor:
        """The whole clip at once, every feature and output in memory; values may leave [0, 1]."""
        out: Tensor = self.network(frames.to(self.dtype))
        return out.float()
