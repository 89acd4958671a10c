"""The dataset of this plug-in."""

from fractions import Fraction
from pathlib import Path

import torch

from stvsr_bench.data.dataset import Dataset
from stvsr_bench.video.writing import open_writer


class FlatClips(Dataset):
    """Two clips of one colour each, written where the data lie when they are first used."""

    def prepare(self, root: Path) -> None:
        for name, level in (("dark", 40), ("light", 200)):
            folder = root / "GT" / name
            if not folder.is_dir():
                with open_writer(folder, "png", 32, 40, Fraction(24)) as writer:
                    writer.write(torch.full((3, 3, 32, 40), level, dtype=torch.uint8))
