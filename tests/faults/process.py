"""Commands in forks of this process: torch is imported once, and every one may be killed, limited or hooked without harm to the next."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

KILLED, TIMED_OUT = -1, -2
HEAVY = (
    *("torch", "pandas", "pyarrow.parquet", "pyarrow.dataset", "duckdb", "scipy.sparse.linalg", "scipy.stats", "sklearn.decomposition"),
    *("sklearn.feature_extraction.text", "matplotlib.pyplot", "matplotlib.backends.backend_svg", "nltk", "rouge_score.rouge_scorer"),
    *("safetensors.torch", "transformers", "peft", "torch_geometric.nn", "torchmetrics.functional.text", "networkx", "rich.table", "jinja2", "httpx"),
)


def preload() -> None:
    """Import here, once, what commands import when they need it. No thread may run afterwards, for a fork would lose it."""
    for name in HEAVY:
        importlib.import_module(name)
    import grasper

    for module in pkgutil.walk_packages(grasper.__path__, "grasper."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm") if path.parent.name != str(os.getpid())}
    if threads - {"jemalloc_bg_thd"}:  # which minds forks itself
        raise RuntimeError(f"threads run after the imports, so that forks are not safe: {', '.join(threads)}")
    gc.freeze()  # no fork searches through what was imported, or copies its pages


@dataclass(frozen=True)
class Ending:
    """How a process ended, and what it printed."""

    code: int
    """Exit code, `KILLED` or `TIMED_OUT`."""
    out: str
    err: str
    seconds: float

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.err.splitlines()) if line.strip()), "")

    def refusal_problem(self) -> str:
        """What is wrong with it as a refusal, which is one line and exit code 2; empty where nothing is."""
        if "Traceback" in self.err:
            return f"traceback: {self.last_line[:300]}"
        if self.code != 2:
            return f"exit code {self.code} instead of 2: {self.last_line[:300]}"
        if not self.last_line.startswith("error: ") or sum(line.startswith("error") for line in self.err.splitlines()) != 1:
            return f"no single line that tells the error: {self.err[-300:]!r}"
        return "" if len(self.last_line) <= 1000 else f"a line of {len(self.last_line):,} characters"


def grasper(
    arguments: list[str],
    folder: Path,
    *,
    before: Callable[[], None] = lambda: None,
    kill_after: float | None = None,
    timeout: float = 240.0,
) -> Ending:
    """The command line in a folder.

    Args:
        before: Called in the new process first.
        kill_after: Seconds until SIGKILL.
    """

    def work() -> None:
        from grasper.cli import main

        sys.argv = ["grasper", *arguments]
        before()
        main()

    return fork(work, folder, kill_after=kill_after, timeout=timeout)


def fork(work: Callable[[], None], folder: Path, *, kill_after: float | None = None, timeout: float = 240.0) -> Ending:
    """Call a function in a process of its own, with `folder` as its working folder."""
    with TemporaryFile() as out, TemporaryFile() as err:
        started = time.monotonic()
        code = _fork(work, folder, out.fileno(), err.fileno(), kill_after, timeout)
        seconds = time.monotonic() - started
        out.seek(0)
        err.seek(0)
        return Ending(code, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace"), seconds)


def _fork(work: Callable[[], None], folder: Path, out: int, err: int, kill_after: float | None, timeout: float) -> int:
    """The exit code, `KILLED` or `TIMED_OUT`."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        carry_out(work, folder, out, err)
    ends = time.monotonic() + (timeout if kill_after is None else min(kill_after, timeout))
    while (status := os.waitpid(process, os.WNOHANG))[0] == 0 and time.monotonic() < ends:
        time.sleep(0.004)
    if status[0] == 0:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return KILLED if kill_after is not None else TIMED_OUT
    code = os.waitstatus_to_exitcode(status[1])
    return KILLED if code < 0 else code


def carry_out(work: Callable[[], None], folder: Path, out: int, err: int) -> None:
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        os.chdir(folder)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
