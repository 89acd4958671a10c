"""Locks hold between processes and go with their holder."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from stvsr_bench.core.locks import file_lock, shared_lock

HOLD = (
    "import sys, time; from stvsr_bench.core.locks import file_lock\n"
    "with file_lock(sys.argv[1]):\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


def test_a_lock_excludes_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with file_lock(path, wait=False) as held:
        assert not held
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with file_lock(path, wait=False) as held:
        assert held


def test_many_share_and_then_none_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with shared_lock(path), shared_lock(path), file_lock(path, wait=False) as alone:
        assert not alone
    with file_lock(path, wait=False) as alone:
        assert alone
