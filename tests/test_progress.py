"""Rate and time left, also where a batch takes minutes."""

from __future__ import annotations

import pytest

from grasper import progress
from grasper.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_slow_batches_keep_their_time_left(clock: Clock) -> None:
    """Two of ten pieces in four minutes: sixteen are left, and fewer the longer the next batch runs."""
    bar = Progress("write", 10)
    assert bar.outlook() == ""
    clock.now = 240.0
    bar.advance(2)
    assert bar.outlook() == "120.0 s each, 16 min left"
    clock.now = 300.0
    assert bar.outlook() == "120.0 s each, 15 min left"
    clock.now = 5000.0
    assert bar.outlook() == "120.0 s each, 0 s left"


def test_resumed_work_counts_only_what_it_did_itself(clock: Clock) -> None:
    """Sixty pieces from an earlier start do not make this one look fast."""
    bar = Progress("write", 100, done=60)
    clock.now = 10.0
    bar.advance(20)
    assert bar.outlook() == "2.0/s, 10 s left"
    bar.advance(20)
    assert bar.outlook() == "4.0/s"
    assert Progress("long", 10_000).outlook() == ""


def test_lines_come_every_ten_seconds_and_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal."""
    with Progress("write", 4) as bar:
        for second in (5, 12, 13):
            clock.now = float(second)
            bar.advance()
        clock.now = 20.0
        bar.advance()
    assert capsys.readouterr().err.splitlines() == ["write: 2/4 (6.0 s each, 12 s left)", "write: 4/4 (5.0 s each)"]
