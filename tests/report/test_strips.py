from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stvsr_bench.report.strips import StripRow, comparison_strip, crop_box, enlarge, save_strip


def picture(height=96, width=128, seed=0):
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def row(gt=True, lq=True, methods=2, **fields):
    base = picture()
    outputs = [base.copy() for _ in range(methods)]
    outputs[0][40:52, 80:96] = 255 - outputs[0][40:52, 80:96]
    return StripRow(
        fields.get("title", "Frame 0 (key)"), base if gt else None, base[::4, ::4] if lq else None, outputs,
        captions=[f"{20 + i}.00 dB" for i in range(methods)],
    )  # fmt: skip


def test_the_strip_holds_every_panel_unchanged():
    r = row()
    strip = comparison_strip([r, row(title="Frame 1")], ["one", "two"], title="clip")
    assert strip.dtype == np.uint8
    assert strip.shape[2] == 3
    assert strip.shape[1] == 2 * 16 + 4 * (128 + 8) - 8
    # The first output stands third, native size; it is found pixel by pixel.
    x = 16 + 2 * (128 + 8)
    tops = [y for y in range(strip.shape[0] - 96) if (strip[y : y + 96, x : x + 128] == r.outputs[0]).all()]
    assert len(tops) == 2
    box = crop_box(r, 24, 32)
    crop = r.outputs[0][box.top : box.top + 24, box.left : box.left + 32].repeat(4, 0).repeat(4, 1)
    zoomed = [y for y in range(strip.shape[0] - 96) if (strip[y : y + 96, x : x + 128] == crop).all()]
    assert len(zoomed) == 2


def test_the_strip_is_deterministic():
    first, second = (comparison_strip([row()], ["one", "two"], title="t") for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize(("gt", "lq", "columns"), [(True, True, 4), (False, True, 3), (False, False, 2)])
def test_columns_without_pictures_are_left_out(gt, lq, columns):
    strip = comparison_strip([row(gt, lq)], ["one", "two"])
    assert strip.shape[1] == 2 * 16 + columns * (128 + 8) - 8


def test_a_missing_lq_frame_leaves_its_panel_empty():
    strip = comparison_strip([row(), row(lq=False)], ["one", "two"])
    x = 16 + 128 + 8
    assert (strip[-60, x : x + 128] == (240, 240, 242)).all()
    assert not (strip[-60, 16 : 16 + 128] == (240, 240, 242)).all()


def test_large_frames_are_reduced_and_their_crops_are_not():
    big = picture(400, 800)
    other = big.copy()
    other[200:240, 400:440] = 0
    strip = comparison_strip([StripRow("f", big, None, [big, other])], ["one", "two"], panel_width=320)
    assert strip.shape[1] == 2 * 16 + 3 * (320 + 8) - 8
    box = crop_box(StripRow("f", big, None, [big, other]), 40, 80)
    crop = big[box.top : box.top + 40, box.left : box.left + 80].repeat(4, 0).repeat(4, 1)
    assert any((strip[y : y + 160, 16 : 16 + 320] == crop).all() for y in range(strip.shape[0] - 160))


@pytest.mark.parametrize("gt", [True, False])
def test_the_crop_lies_where_the_methods_differ(gt):
    box = crop_box(row(gt), 24, 32)
    assert box.top <= 40 < 52 <= box.top + 24
    assert box.left <= 80 < 96 <= box.left + 32


def test_one_method_is_cropped_where_it_errs_or_has_detail():
    box = crop_box(row(methods=1), 24, 32)
    assert box.top <= 40 < 52 <= box.top + 24
    flat = np.zeros((96, 128, 3), np.uint8)
    flat[60:70, 20:30] = picture(10, 10)
    box = crop_box(StripRow("f", None, None, [flat]), 24, 32)
    assert box.top <= 60 < 70 <= box.top + 24


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 200), (64, 64)])
def test_any_size_works(size):
    base = picture(*size)
    strip = comparison_strip([StripRow("f", base, base, [base])], ["a rather long name of a method"])
    assert strip.shape[1] == 2 * 16 + 3 * (min(320, size[1]) + 8) - 8


def test_enlarging_repeats_pixels():
    small = picture(3, 4)
    assert (enlarge(small, 12, 16) == small.repeat(4, 0).repeat(4, 1)).all()


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [StripRow("f", None, None, [picture()])],
        [StripRow("f", picture(90), None, [picture(), picture()])],
        [StripRow("f", None, None, [picture(), picture()], captions=["x"])],
        [StripRow("f", None, None, [picture(), picture().astype(np.float32)])],
    ],
)
def test_pictures_that_do_not_match_are_refused(rows):
    with pytest.raises(ValueError, match=r"strip needs|outputs for|mixes"):
        comparison_strip(rows, ["one", "two"])


def test_saved_strips_are_lossless(tmp_path):
    strip = comparison_strip([row()], ["one", "two"])
    save_strip(tmp_path / "s.png", strip)
    assert (np.asarray(Image.open(tmp_path / "s.png")) == strip).all()
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]
