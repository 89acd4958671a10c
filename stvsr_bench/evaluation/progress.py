"""Progress: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

FRAMES = "frames"
"""What progress counts when it counts finished output frames."""


class RunProgress(AbstractContextManager["RunProgress"]):
    """Shows the samples of a run as they go.

    Args:
        console: where to write; a terminal gets bars, anything else one line for each finished sample.
        total: number of samples.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.finished = 0
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def frames(self, sample: str, done: int, total: int) -> None:
        """Show how many frames of a sample are restored."""
        if self._bars is not None:
            self._bars.update(self._task(sample), description=escape(sample), completed=done, total=total)

    def step(self, sample: str, what: str, done: int, total: int) -> None:
        """Show how far the work on a sample is: its ``frames``, or beside their bar a step within a clip.

        Args:
            sample: whose work it is.
            what: ``frames``, or a verb and a unit: ``decode tiles`` is shown as «decode 3/12 tiles».
            done: how many.
            total: of how many.
        """
        if what == FRAMES:
            self.frames(sample, done, total)
        elif self._bars is not None:
            verb, _, unit = what.rpartition(" ")
            text = f"{sample}: {f'{verb} {done}/{total} {unit}'.strip()}"
            self._bars.update(self._task(sample), description=escape(text))

    def _task(self, sample: str) -> TaskID:
        assert self._bars is not None
        if sample not in self._tasks:
            self._tasks[sample] = self._bars.add_task(escape(sample), total=None)
        return self._tasks[sample]

    def sample_done(self, sample: str, text: str) -> None:
        """Show that a sample is finished, and how."""
        self.finished += 1
        if self._bars is not None and sample in self._tasks:
            self._bars.remove_task(self._tasks.pop(sample))
        self.console.print(escape(f"[{self.finished}/{self.total}] {sample}: {text}"), highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Print a line above the bars."""
        self.console.print(escape(text), highlight=False, soft_wrap=True)
