"""Draw the contact sheet of ``docs/degradations.md``: one frame of one clip under every degradation.

    python docs/images/degradations.py CLIP [FRAME] [OUT]

CLIP is a folder of GT frames, for example Vid4/calendar/hr. The whole clip is degraded, as recipes and encoders need,
with the seed and the names that a run on Vid4 would use; LQ is enlarged by repeating its pixels.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stvsr_bench.degradation.registry import DEGRADATIONS
from stvsr_bench.video.clip import Clip
from stvsr_bench.video.reading import open_clip

SCALE = 4
BOX = (224, 160)  # rows and columns of the part shown
COLUMNS = 7
LABEL = 22


def lq_frame(name: str, clip: Clip, clip_name: str, frame: int) -> np.ndarray:
    """LQ frame ``(h, w, 3)`` of one degradation."""
    degradation = DEGRADATIONS[name]
    if degradation.per_frame:
        lq = degradation.apply(clip[frame : frame + 1], SCALE)[0]
    else:
        recipe = degradation.sample("vid4", clip_name, len(clip), (clip.height, clip.width), SCALE, 0)
        blocks = degradation.apply(recipe, clip.blocks(8))
        lq = next(islice((f for block in blocks for f in block), frame, None))
    return lq.permute(1, 2, 0).numpy()


def main(folder: str, frame: str = "15", out: str = str(Path(__file__).with_name("degradations.webp"))) -> None:
    """Draw the sheet."""
    path = Path(folder)
    clip = open_clip(path)
    number = int(frame)
    top, left = ((side - part) // 2 // SCALE * SCALE for side, part in zip((clip.height, clip.width), BOX, strict=True))
    pictures = [("ground truth", clip[number].permute(1, 2, 0).numpy())]
    clip_name = path.parent.name
    for name in DEGRADATIONS:
        lq = lq_frame(name, clip, clip_name, number)
        pictures.append((name, lq.repeat(SCALE, 0).repeat(SCALE, 1)))
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * BOX[1], rows * (BOX[0] + LABEL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (name, picture) in enumerate(pictures):
        x, y = place % COLUMNS * BOX[1], place // COLUMNS * (BOX[0] + LABEL)
        part = picture[top : top + BOX[0], left : left + BOX[1]]
        sheet.paste(Image.fromarray(np.ascontiguousarray(part)), (x, y + LABEL))
        draw.text((x + 4, y + 2), name, fill="black", font=font)
    sheet.save(out, quality=85, method=6)


if __name__ == "__main__":
    main(*sys.argv[1:])
