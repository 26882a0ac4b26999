"""Progress of long work: a bar with rate and time left on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType


class Progress:
    """Counts finished pieces of work; use as a context manager and call `advance`."""

    def __init__(self, label: str, total: int, *, done: int = 0, every_seconds: float = 10.0) -> None:
        self.label, self.total, self.done = label, total, done
        self._first = done
        self._every_seconds = every_seconds
        self._started = self._advanced = self._reported = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as RichProgress
            from rich.text import Text

            class Outlook(ProgressColumn):
                """Rate and time left from the start of the work on; the library's own column forgets both where a batch takes half a minute."""

                def render(column, task: Task) -> Text:
                    return Text(self.outlook())

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), Outlook())
            self._bar = RichProgress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=total, completed=done)

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None and self.total:
            self._print()

    def advance(self, count: int = 1) -> None:
        """Report `count` more pieces as finished."""
        self.done += count
        self._advanced = time.monotonic()
        if self._bar:
            self._bar.update(self._task, completed=self.done)
        elif time.monotonic() - self._reported >= self._every_seconds and self.done < self.total:
            self._print()

    def outlook(self) -> str:
        """Rate and time left, for example `2.5/s, 40 s left`; empty before anything is finished."""
        pieces = self.done - self._first
        if not pieces:
            return ""
        each = max(self._advanced - self._started, 1e-9) / pieces
        rate = f"{1 / each:.1f}/s" if each < 1 else f"{each:.1f} s each"
        left = (self.total - self.done) * each - (time.monotonic() - self._advanced)
        return f"{rate}, {_duration(max(left, 0.0))} left" if self.done < self.total else rate

    def _print(self) -> None:
        self._reported = time.monotonic()
        outlook = self.outlook()
        print(f"{self.label}: {self.done}/{self.total}{f' ({outlook})' if outlook else ''}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    """In the unit that a person would use."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
