"""Fixtures of the tests of runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers beside the tests

from run_helpers import CLIPS, write_clip


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three tiny clips with ground truth."""
    root = tmp_path / "clips"
    for seed, name in enumerate(CLIPS):
        write_clip(root / "GT" / name, seed)
    return root
