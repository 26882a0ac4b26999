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
        self._started = self._reported = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
            self._bar = RichProgress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=total, completed=done, rate="")

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
        if self._bar:
            self._bar.update(self._task, completed=self.done, rate=f"{self._rate():.1f}/s")
        elif time.monotonic() - self._reported >= self._every_seconds and self.done < self.total:
            self._print()

    def _rate(self) -> float:
        return (self.done - self._first) / max(time.monotonic() - self._started, 1e-9)

    def _print(self) -> None:
        self._reported = time.monotonic()
        rate = self._rate()
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        print(f"{self.label}: {self.done}/{self.total} ({rate:.1f}/s{left})", file=sys.stderr, flush=True)
