"""How much CPU time the quick commands take: the aim is under half a second each.

    python benchmarks/startup.py [REPEATS]

Every command runs in a process of its own; user and system time of that process are taken from the kernel, so other
load on the machine moves the numbers little. Printed is the median. One run before the measured ones fills the caches.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

AIM = 0.5
PROGRAM = str(Path(sys.executable).parent / "stvsr-bench")
COMMANDS = {
    "python, doing nothing": [sys.executable, "-c", ""],
    "import stvsr_bench": [sys.executable, "-c", "import stvsr_bench"],
    "--help": [PROGRAM, "--help"],
    "list methods": [PROGRAM, "list", "methods"],
    "list datasets": [PROGRAM, "list", "datasets"],
    "list protocols": [PROGRAM, "list", "protocols"],
    "list metrics": [PROGRAM, "list", "metrics"],
    "show vid4": [PROGRAM, "show", "vid4"],
    "run --help": [PROGRAM, "run", "--help"],
}


def cpu_seconds(command: list[str]) -> float:
    """Return user and system seconds of one process, its children included.

    Raises:
        SystemExit: the command failed, so its time means nothing.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(repeats: int) -> None:
    """Measure and print every command."""
    print(f"{'command':24} {'median':>8} {'most':>8}   CPU seconds of {repeats} runs; aim {AIM}")
    for name, command in COMMANDS.items():
        cpu_seconds(command)
        times = [cpu_seconds(command) for _ in range(repeats)]
        median = statistics.median(times)
        print(f"{name:24} {median:8.3f} {max(times):8.3f}   {'ok' if median < AIM else 'TOO SLOW'}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
