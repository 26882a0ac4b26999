"""What a plot shows and what it does not."""

from __future__ import annotations

from grasper.evaluate.plots import Point, level_plot


def test_a_level_without_a_value_is_a_gap_in_the_line() -> None:
    """Of five levels the third has none: two lines of two points each, and none across."""
    points = [Point("a", value, value, value) for value in (0.1, 0.2, 0.3, 0.4)]
    plot = level_plot("by level", list("01234"), [(0, "a", [*points[:2], None, *points[2:]])])
    lines = [part.split('"')[0] for part in plot.split('points="')[1:]]
    assert [len(line.split()) for line in lines] == [2, 2]
    assert plot.count("<circle") == 4
