"""Numbered blocks in an unnamed file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stvsr_bench.core.spool import Spool


def test_blocks_come_back_in_any_order_and_leave_no_file(tmp_path: Path) -> None:
    spool = Spool(3, tmp_path)
    spool.put(2, memoryview(b"ghi"))
    spool.put(0, memoryview(b"abcdef"))  # two blocks at once
    assert list(tmp_path.iterdir()) == []
    for number, expected in ((1, b"def"), (2, b"ghi"), (0, b"abc")):
        target = bytearray(3)
        spool.get(number, memoryview(target))
        assert target == expected
    with pytest.raises(EOFError, match="block 3"):
        spool.get(3, memoryview(bytearray(3)))
    spool.close()


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        Spool(3, tmp_path / "absent")
