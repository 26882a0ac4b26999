"""Kills at random moments and in the middle of writing; afterwards the run resumes and equals one that nobody disturbed."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from faults.process import KILLED
from faults.world import QUICK, TRAINED, Outcome, Place, difference, pipeline, step_under_way

KILLS_PER_RUN = 9
TRAINING_EVERY = 12
"""Of so many rounds one trains the embedded model; the others have a scripted one, which is a hundred times as fast."""


def trials(place: Place, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Each case kills one run several times, more than a third of the times in the middle of writing, and lets it finish."""
    for number in numbers:
        trains = number % TRAINING_EVERY == 4
        if trains:
            folder, ending = place.trained
            yield _round(place, number, folder, ending.seconds, TRAINED)
        else:
            folder, ending = place.undisturbed
            yield _round(place, number, folder, ending.seconds, QUICK)


def _round(place: Place, number: int, reference: Path, seconds: float, options: list[str]) -> Outcome:
    chance, folder, where = place.random_of("kills", number), place.fresh("killed"), Counter[str]()
    kills = 0
    for attempt in range(KILLS_PER_RUN):
        if attempt % 2 == 1:  # some of these come to no write any more, so that the run ends: more than a third has to be aimed
            how, before = _aim(chance)
            ending = pipeline(folder, options, before=before)
        else:
            how = "at a random moment"
            ending = pipeline(folder, options, kill_after=chance.uniform(0.02, seconds * 0.6))
        if ending.code != KILLED:
            if ending.code != 0:
                return Outcome("kills", number, f"did not resume after {kills} kills: {ending.last_line[:300]}", max(kills, 1), dict(where))
            break
        kills += 1
        where.update([f"in {step_under_way(folder)}", how])
    ending = pipeline(folder, options)
    if ending.code != 0:
        return Outcome("kills", number, f"did not resume after {kills} kills: {ending.last_line[:300]}", max(kills, 1), dict(where))
    return Outcome("kills", number, difference(folder, reference), kills, dict(where))


def _aim(chance: random.Random) -> tuple[str, Callable[[], None]]:
    """A way to die while a file is written, and what prepares it in the process that shall die."""
    if chance.random() < 0.4:
        limit = int(10 ** chance.uniform(2.0, 6.2))
        return "while a file grows", lambda: _die_when_a_file_exceeds(limit)
    at, delay = chance.randrange(1, 25), chance.choice([0.0, 0.0002, 0.001, 0.003])
    return "at a write or rename", lambda: _die_at_write(at, delay)


def _die_when_a_file_exceeds(num_bytes: int) -> None:
    """The kernel ends the process in the write that would make any file longer, whoever writes it: Python, Arrow, DuckDB, Rust."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_at_write(number: int, delay_seconds: float) -> None:
    """SIGKILL at the so-manieth opening for writing or renaming below the run, or a moment later, through a timer of the kernel."""
    left = number

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        is_write = event == "os.rename" or (event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not is_write or "runs/harbour" not in str(arguments[0]):
            return
        left -= 1
        if left == 0 and delay_seconds == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        elif left == 0:
            signal.setitimer(signal.ITIMER_REAL, delay_seconds)

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.addaudithook(watch)
