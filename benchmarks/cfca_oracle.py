"""What DiffST's aggregation (CFCA) makes of exact motion: PSNR of its frames between keyframes on the demo clips.

    python benchmarks/cfca_oracle.py [clips=astronaut,chelsea,coffee,rocket] [frames=17] [time_scale=4] [reduction=1,4]

No network finds anything here: flow and visibility of the rendered clips are known exactly and take the place of RAFT
and IFNet_m; Ψ is as it starts, so what is measured is warping, masks, propagation and time. `reduction=4` is the grid
of ×4 LQ frames (MATLAB's bicubic), which is where the method works; `reduction=1` is the clips' own size. Columns, in
dB over all frames between keyframes and all channels (PSNR of the mean squared error of a clip): linear blending
(mode interp), aggregation (flow_multi with a fresh Ψ), gain, and the two propagated videos alone, interpolated
likewise; last the share of pixels that the masks let propagation copy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from stvsr_bench.data.demo.render import render
from stvsr_bench.data.demo.scenes import SCENES, Scene
from stvsr_bench.data.demo.truth import flow, occluded
from stvsr_bench.degradation.imresize import imresize
from stvsr_bench.methods.diffst.aggregation import CFCA
from stvsr_bench.methods.diffst.flow import KeyMotion, MidMotion, key_motions
from stvsr_bench.nn.warp import inside
from stvsr_bench.video.color import to_float


@dataclass(frozen=True)
class ExactMotion:
    """Flow and visibility of a demo scene, as a source of both kinds of motion.

    Args:
        scene: one of ``SCENES``.
        time_scale: keyframe m is frame ``m·time_scale`` of the clip.
        reduction: pixels of the clip per pixel of the keyframes, along each side.
    """

    scene: Scene
    time_scale: int
    reduction: int = 1

    def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
        """Motion between keyframes with the exact masks, less the pixels of whose sources some lie outside the frame.

        Those show their scene point by their centre, but the warp of the recurrence counts what lies outside as black.
        """
        starts = [pair * self.time_scale for pair in pairs]
        there = [self._motion(t, t + self.time_scale) for t in starts]
        back = [self._motion(t + self.time_scale, t) for t in starts]
        flows = [torch.cat([motion for motion, _ in side]) for side in (there, back)]
        masks = [torch.cat([seen & inside(motion) for motion, seen in side]) for side in (there, back)]
        return KeyMotion(*flows, *masks)

    def toward(self, first: Tensor, second: Tensor, times: Tensor, pair: int) -> MidMotion:
        """Motion from the frames between: both sides count by time, or the only one that shows the point."""
        found = []
        for time in times.tolist():
            at = (pair + time) * self.time_scale
            to_first, in_first = self._motion(at, pair * self.time_scale)
            to_second, in_second = self._motion(at, (pair + 1) * self.time_scale)
            one = torch.where(in_first, 1.0, 0.0)
            found.append((to_first, to_second, torch.where(in_first == in_second, 1 - time, one)))
        return MidMotion(*(torch.cat(part) for part in zip(*found, strict=True)))

    def _motion(self, t: float, other: float) -> tuple[Tensor, Tensor]:
        """Flow ``(1, 2, h, w)`` and visibility ``(1, 1, h, w)``: of a reduced pixel, the mean and the majority."""
        motion = torch.from_numpy(flow(self.scene, t, other)).permute(2, 0, 1)[None]
        seen = torch.from_numpy(~occluded(self.scene, t, other))[None, None]
        motion = F.avg_pool2d(motion, self.reduction) / self.reduction
        return motion.float(), F.avg_pool2d(seen.double(), self.reduction) >= 0.5


@dataclass(frozen=True)
class Row:
    """PSNR in dB of the frames between the keyframes of one clip, as the columns above."""

    linear: float
    aggregated: float
    forward: float
    backward: float
    copied: float

    @property
    def gain(self) -> float:
        """By how much aggregation is better than blending."""
        return self.aggregated - self.linear


@torch.no_grad()
def measure(name: str, frames: int = 17, time_scale: int = 4, reduction: int = 4) -> Row:
    """Aggregate every ``time_scale``-th of the first ``frames`` frames of a demo clip and compare with the others.

    Raises:
        ValueError: the frames do not end with a keyframe, or none lies between keyframes.
    """
    if (frames - 1) % time_scale or frames <= time_scale or time_scale < 2:
        raise ValueError(f"{frames} frames are not k·{time_scale} + 1")
    scene = SCENES[name]
    clip = torch.stack([torch.from_numpy(render(scene, t)).permute(2, 0, 1) for t in range(frames)])
    if reduction > 1:
        clip = imresize(clip, Fraction(1, reduction))
    truth = to_float(clip)
    keyframes = truth[::time_scale]
    between = torch.arange(frames) % time_scale != 0
    exact = ExactMotion(scene, time_scale, reduction)
    motions = key_motions(keyframes, exact, "cpu")

    def psnr(result: Tensor) -> float:
        return float(-10 * torch.log10((result - truth)[between].double().square().mean()))

    two = CFCA(mode="flow_two")
    cfca = CFCA(psi_width=8, psi_blocks=1)  # a fresh Ψ returns its first argument whatever its size
    forward, backward = torch.stack(list(cfca.propagation.videos(keyframes, motions, keyframes.device))).unbind(1)[1:]
    copied = [mask for motion in motions for mask in (motion.seen_ahead, motion.seen_behind) if mask is not None]
    return Row(
        linear=psnr(CFCA(mode="interp")(keyframes, time_scale)),
        aggregated=psnr(cfca(keyframes, time_scale, motions, exact)),
        forward=psnr(two(forward, time_scale, mid_flow=exact)),
        backward=psnr(two(backward, time_scale, mid_flow=exact)),
        copied=float(torch.cat(copied).float().mean()),
    )


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = {"clips": ",".join(SCENES), "frames": "17", "time_scale": "4", "reduction": "1,4"}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in options:
            sys.exit(__doc__)
        options[key] = value
    print("clip        grid     linear  aggregated    gain   forward  backward  copied")
    for reduction in map(int, options["reduction"].split(",")):
        for name in options["clips"].split(","):
            row = measure(name, int(options["frames"]), int(options["time_scale"]), reduction)
            figures = (
                f"{row.linear:8.2f} {row.aggregated:11.2f} {row.gain:+7.2f} {row.forward:9.2f} {row.backward:9.2f}"
            )
            print(f"{name:10} {'1/' + str(reduction):>5} {figures}  {row.copied:6.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
