"""stvsr-bench: run, score and compare methods of space-time video super-resolution.

Three lines in a notebook:

    import stvsr_bench as sb
    board = sb.run(method="bicubic_dis_flow", dataset="demo", protocol="bi-x4t2")
    print(board.to_markdown())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stvsr_bench.evaluation.api import evaluate as evaluate
    from stvsr_bench.evaluation.api import leaderboard as leaderboard
    from stvsr_bench.evaluation.api import load_dataset as load_dataset
    from stvsr_bench.evaluation.api import load_method as load_method
    from stvsr_bench.evaluation.api import restore as restore
    from stvsr_bench.evaluation.api import run as run

__version__ = "0.1.0"
__all__ = ["evaluate", "leaderboard", "load_dataset", "load_method", "restore", "run"]


def __getattr__(name: str) -> Any:
    """Load the API when it is first used, so that ``import stvsr_bench`` stays free of torch."""
    if name in __all__:
        from stvsr_bench.evaluation import api

        return getattr(api, name)
    raise AttributeError(f"module 'stvsr_bench' has no attribute '{name}'")
