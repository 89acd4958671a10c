"""φs that is no whole number: who may have it, and what size comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.core.errors import ConfigError, IncompatibleError
from stvsr_bench.evaluation.restore import factors, restore_clip
from stvsr_bench.methods.base import Method, Report, Request, SizeRule
from stvsr_bench.methods.factory import build_method
from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.video.reading import open_clip


class Zoom(Method):
    """Enlarges by any factor; wants sides that are multiples of 4, and may be tiled where tiles meet on pixels."""

    task = "vsr"
    fractional_scales = True
    size_rule = SizeRule(multiple=4)
    tiling = "base"
    minimum_tile = 4
    most_pixels = 10**6

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        if frames.shape[-2] * frames.shape[-1] > self.most_pixels:
            raise MemoryError("out of memory")
        return F.interpolate(frames, scale_factor=request.scale, mode="nearest")


def _clip(count: int = 3, height: int = 9, width: int = 13) -> ArrayClip:
    shape = (count, 3, height, width)
    return ArrayClip(torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1)), "x")


@pytest.mark.parametrize(("scale", "height", "width"), [(1.5, 13, 19), (2.5, 22, 32), (3.3, 29, 42), (1, 9, 13)])
def test_sides_are_rounded_down(scale: float, height: int, width: int) -> None:
    clip = _clip()
    method = Zoom(name="zoom", scale=scale)
    method.setup()
    out = torch.cat(list(method.restore(clip, Request(scale, 1))))
    assert tuple(out.shape) == (3, 3, height, width)
    assert torch.equal(out, F.interpolate(clip.frames.float(), scale_factor=scale, mode="nearest").to(torch.uint8))


def test_a_video_is_restored_at_a_fractional_factor(tmp_path: Path) -> None:
    method = Zoom(name="zoom", scale=1.5)
    assert factors(method) == (1.5, 1)
    path, _ = restore_clip(_clip(), tmp_path / "out", method, device="cpu")
    written = open_clip(path)
    assert (len(written), written.height, written.width) == (3, 13, 19)


def test_other_methods_refuse_it() -> None:
    with pytest.raises(ConfigError, match="a whole number from 1"):
        build_method("bicubic", {"scale": 1.5})
    method = build_method("bicubic")
    method.setup()
    with pytest.raises(IncompatibleError, match=r"whole factors from 1, and φs is 1\.5"):
        method.restore(_clip(), Request(1.5, 1))


@pytest.mark.parametrize("scale", [0.5, 0, -2.0, float("nan"), float("inf"), True, "4"])
def test_a_factor_below_one_or_no_number_is_refused(scale: object) -> None:
    with pytest.raises(ConfigError, match="a number from 1"):
        Zoom(name="zoom", scale=scale)  # type: ignore[arg-type]


def test_tiles_only_where_they_meet_on_pixels() -> None:
    method = Zoom(name="zoom")
    method.most_pixels = 64
    method.setup()
    report = Report()
    whole = list(method.restore(_clip(1, 16, 16), Request(2.0, 1), report))
    assert report.plan["tile"] == 8
    assert torch.equal(whole[0], F.interpolate(_clip(1, 16, 16).frames.float(), scale_factor=2).to(torch.uint8))
    with pytest.raises(Exception, match="even for its smallest piece"):
        list(method.restore(_clip(1, 16, 16), Request(1.5, 1)))
