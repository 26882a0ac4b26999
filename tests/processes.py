"""`grasper` in a process of its own, as a user runs it, forked from a server that has imported torch once: a start costs no seconds of imports.

Every process has its own folder, environment, output and end, and may be killed. The processes of one test worker share the seed of Python's
hashes, and what libraries read from the environment while they are imported; what must not depend on that is run afresh, at least once.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from unittest.mock import patch

from faults.process import carry_out

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""For every process: no thread may run where another is forked, and sums are equal everywhere."""
TERSE = ("prompts.path_tokens=12", "prompts.answer_tokens=12")
"""Settings with which the embedded model writes a few words: what a test waits for is their number."""
BRIEF = (
    *TERSE,
    *("align.num_pairs=2", "align.num_samples=2", "align.num_held_out=1", "align.epochs=1", "align.reward_threshold=0"),
    *("predict.max_epochs=2", "evaluate.bootstrap_samples=100"),
)
"""And with which a whole run takes seconds."""


def options(settings: Iterable[str]) -> list[str]:
    """Settings as they are given on a command line."""
    return [part for setting in settings for part in ("--set", setting)]


def run_grasper(*arguments: str, cwd: Path, timeout: float = 600, **environment: str) -> CompletedProcess[str]:
    """What `grasper ARGUMENTS` printed in a folder, and its exit code."""
    return _run(_grasper, arguments, cwd, timeout, environment)


def run_grasper_afresh(*arguments: str, cwd: Path, timeout: float = 900, **environment: str) -> CompletedProcess[str]:
    """The same in a process that imports everything itself."""
    command = [sys.executable, "-m", "grasper", *arguments]
    surroundings = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=surroundings)


def run_python(code: str, cwd: Path, *, timeout: float = 600) -> CompletedProcess[str]:
    """What `python -c CODE` printed in a folder, and its exit code."""
    return _run(_python, (code,), cwd, timeout, {})


def start_grasper(*arguments: str, cwd: Path) -> BaseProcess:
    """`grasper ARGUMENTS`, under way; what it prints is thrown away."""
    return _start(_grasper, arguments, cwd, Path(os.devnull), Path(os.devnull), {})


def _run(work: Callable[..., None], arguments: tuple[str, ...], cwd: Path, timeout: float, environment: dict[str, str]) -> CompletedProcess[str]:
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _start(work, arguments, cwd, out, err, environment)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
        return CompletedProcess(arguments, process.exitcode or 0, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def _start(work: Callable[..., None], arguments: tuple[str, ...], cwd: Path, out: Path, err: Path, environment: dict[str, str]) -> BaseProcess:
    with patch.dict(os.environ, ONE_THREAD | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}):
        forkserver.set_forkserver_preload(["faults.preloaded"])
        forkserver.ensure_running()
    given = (work, arguments, cwd, out, err, {**os.environ, **environment})
    process = multiprocessing.get_context("forkserver").Process(target=_redirected, args=given)
    process.start()
    return process


def _redirected(work: Callable[..., None], arguments: tuple[str, ...], cwd: Path, out: Path, err: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with open(out, "wb") as own_out, open(err, "wb") as own_err:
        carry_out(lambda: work(*arguments), cwd, own_out.fileno(), own_err.fileno())


def _grasper(*arguments: str) -> None:
    from grasper.cli import main

    sys.argv = ["grasper", *arguments]
    main()


def _python(code: str) -> None:
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
