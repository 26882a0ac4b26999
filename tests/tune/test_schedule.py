from __future__ import annotations

import pytest

from grasper.tune.schedule import Schedule


def test_warms_up_stays_and_falls_to_zero() -> None:
    schedule = Schedule(0.01, tokens=1000, warmup_tokens=100, decay_share=0.2)
    assert [schedule.rate(tokens) for tokens in (49, 99, 500, 800)] == pytest.approx([0.005, 0.01, 0.01, 0.01])
    assert [schedule.rate(tokens) for tokens in (900, 1000, 2000)] == pytest.approx([0.005, 0.0, 0.0])


def test_a_later_end_changes_nothing_before_the_fall() -> None:
    """So a training may be made longer."""
    short, long = (Schedule(0.01, tokens=tokens, warmup_tokens=100) for tokens in (1000, 5000))
    assert all(short.rate(tokens) == long.rate(tokens) for tokens in range(0, 800, 50))
