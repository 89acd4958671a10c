"""VMAF by the reference program."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stvsr_bench.core.errors import MetricError
from stvsr_bench.metrics.base import DeferredMetric, FrameBatch
from stvsr_bench.metrics.batch import OneSide
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.programs import ffmpeg_with_libvmaf
from stvsr_bench.metrics.vmaf_spool import VmafSpool


def vmaf_luma(batch: FrameBatch, side: OneSide) -> torch.Tensor:
    """What VMAF sees of one side: floor(Y + 0.5) of MATLAB's BT.601, uint8 ``(T, H, W)`` on the CPU.

    Made here and not by ffmpeg, so that no number depends on the version of its scaler.
    """
    return batch.feature(side, "y.u8", lambda: batch.y(side).add(0.5).floor_().to(torch.uint8)[:, 0].cpu())


class Vmaf(DeferredMetric):
    """VMAF of every frame, by ffmpeg's filter ``libvmaf``.

    Frames are written to temporary files while they stream by and scored at the clip's end. Models that score the same
    clip side by side share files and run; libvmaf's scores do not depend on that.

    Args:
        info: the catalogue's facts.
        model: a model that libvmaf has built in.

    Raises:
        MetricError: (``setup``) there is no ffmpeg with libvmaf.
    """

    _spool: VmafSpool | None = None

    def __init__(self, info: MetricInfo, *, model: str) -> None:
        super().__init__(info)
        self.model = model

    def setup(self, device: torch.device | str) -> None:
        """Look for the program, so that its absence shows before anything is scored."""
        super().setup(device)
        ffmpeg_with_libvmaf()

    def reset(self) -> None:
        super().reset()
        self._let_go()

    def close(self) -> None:
        """Remove the temporary files."""
        self._let_go()

    def observe(self, batch: FrameBatch) -> None:
        spool = batch.feature("both", "vmaf.spool", lambda: self._write(batch))
        if self._spool is None and spool.open and spool.frames == self._seen:
            self._spool = spool  # another model has written these frames
            spool.use(id(self), self.model)
        if self._spool is None or self._spool.frames < self._seen:
            self._write(batch)  # the batch was written before, into the files of another clip or time

    def _write(self, batch: FrameBatch) -> VmafSpool:
        spool = VmafSpool(self.clip) if self._spool is None else self._spool
        spool.use(id(self), self.model)
        self._spool = spool
        spool.append(vmaf_luma(batch, "pred"), vmaf_luma(batch, "gt"))
        return spool

    def finish(self) -> Sequence[float]:
        if self._spool is None:
            raise MetricError(f"metric '{self.info.id}' has seen no frames")
        return self._spool.scores(self.model)

    def _let_go(self) -> None:
        if self._spool is not None:
            self._spool.release(id(self))
            self._spool = None
