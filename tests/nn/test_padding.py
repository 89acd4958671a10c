"""Padding to rules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stvsr_bench.nn.padding import mirror_index, pad_frames, padded_length


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(("multiple", "offset", "minimum"), [(1, 0, 1), (8, 0, 1), (8, 1, 1), (4, 1, 5), (7, 3, 20)])
def test_padded_length_is_the_smallest_that_keeps_the_rule(
    length: int, multiple: int, offset: int, minimum: int
) -> None:
    accepted = (n for n in range(1, 200) if n % multiple == offset % multiple and n >= minimum)
    assert padded_length(length, multiple, offset, minimum) == next(n for n in accepted if n >= length)


def test_padding_equals_torch_reflection() -> None:
    frames = torch.randint(0, 256, (2, 3, 9, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = F.pad(frames.float(), (0, 5, 0, 7), mode="reflect").to(torch.uint8)
    assert torch.equal(pad_frames(frames, 16, 16), expected)


def test_frames_repeat_the_last_one() -> None:
    frames = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
    assert pad_frames(frames, 1, 1, 5).flatten().tolist() == [0, 1, 2, 2, 2]


def test_one_pixel_is_held() -> None:
    assert mirror_index(1, 4).tolist() == [0, 0, 0, 0]
