"""DiffST's arithmetic of frames: counts, enlargement, padding. Each test says which fault it catches."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.methods.diffst.frames import cropped, enlarged, keyframe_count, output_frames, padded


@pytest.mark.parametrize("time_scale", [1, 2, 3, 4, 5])
def test_counts_go_there_and_back(time_scale: int) -> None:
    """Catches T = φt·n and T / φt, which differ by the frames after the last keyframe."""
    for count in range(1, 41):
        total = output_frames(count, time_scale)
        assert total == len(range(0, time_scale * (count - 1) + 1))
        assert keyframe_count(total, time_scale) == count == len(range(0, total, time_scale))
        assert output_frames(count, time_scale, "repeat") == total + time_scale - 1


def test_the_papers_counts() -> None:
    """17 training frames are 5 keyframes, 9 keyframes are 33 frames, a clip of 32 frames gives 29."""
    assert [keyframe_count(17, 4), output_frames(5, 4)] == [5, 17]
    assert output_frames(9, 4) == 33
    assert output_frames(keyframe_count(32, 4), 4) == 29


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 9, 10])
@pytest.mark.parametrize("size", [(16, 32), (1, 17), (23, 40)])
def test_padding_gives_what_the_vae_takes_and_comes_off_again(frames: int, size: tuple[int, int]) -> None:
    """Catches 4m in place of 4m + 1 (surplus frames would be dropped in silence), and padding cut at the wrong end."""
    video = torch.rand(1, 3, frames, *size, generator=torch.Generator().manual_seed(frames))
    out = padded(video)
    assert out.shape[2] % 4 == 1
    assert out.shape[2] - frames < 4
    assert all(side % 16 == 0 and side - given < 16 for side, given in zip(out.shape[-2:], size, strict=True))
    assert torch.equal(cropped(out, frames, *size), video)
    assert torch.equal(out[:, :, -1, -1, -1], video[:, :, -1, -1, -1])  # the edge is repeated
    if frames % 4 == 1 and size == (16, 32):
        assert torch.equal(out, video)


def test_enlargement_is_bilinear_with_areas_aligned_and_takes_the_range_of_the_vae() -> None:
    """Catches corners aligned, [0, 1] left as it is, and frames mixed in time."""
    frames = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).view(2, 1, 1, 2).repeat(1, 3, 1, 1)
    out = enlarged(frames, 2)
    assert out.shape == (2, 3, 2, 4)
    assert out[0, 0, 0].tolist() == [-1.0, -0.5, 0.5, 1.0]
    assert bool((out[1] == 1).all())
    assert torch.equal(enlarged(frames, 1), frames * 2 - 1)


def test_bicubic_is_clamped() -> None:
    """Catches overshoot that leaves [-1, 1]."""
    frames = torch.zeros(1, 3, 8, 8)
    frames[..., 4:] = 1
    out = enlarged(frames, 4, "bicubic")
    assert float(out.min()) == -1
    assert float(out.max()) == 1
    assert not torch.allclose(out, enlarged(frames, 4))


@pytest.mark.parametrize(("scale", "size"), [(4, (48, 64)), (1, (48, 64)), (3, (48, 48)), (2, (48, 64))])
def test_black_padding_of_the_small_frames_fills_the_video(scale: int, size: tuple[int, int]) -> None:
    """Catches padding in large pixels where small ones are padded."""
    small = (size[0] // scale - 1, size[1] // scale)
    out = enlarged(torch.ones(1, 3, *small), scale, pad_mode="zeros")
    assert out.shape[-2:] == size
    assert bool((out[..., -1, :] == -1).all())
    assert torch.equal(padded(out.transpose(0, 1)[None])[0].transpose(0, 1), out)
