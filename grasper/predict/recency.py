"""Popularity around a day: what others were reviewing before and after the user was last seen.

Activity is a one-sided exponential kernel over visible edges, smoothed towards overall popularity, tabulated on a grid of days, and looked up by the
day of the user's latest visible edge. The two sides are signals of their own: the next item is one that lives on after that day, and may be new.
Users without any day get overall popularity.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from grasper.predict.graph import FloatArray, Interactions

BANDWIDTHS = (30.0, 180.0, 720.0)
"""Days over which an edge's weight falls to 1/e."""
STEPS = 4
"""Rows of a table in the days of one bandwidth."""
MAX_TABLE = 16_000_000
"""Largest table in numbers; finer bandwidths are skipped on catalogues and periods that would need more."""
PRIOR_EDGES = 5.0
Side = Literal["behind", "ahead"]
SIDES: tuple[Side, ...] = ("behind", "ahead")


class RecentPopularity:
    """Log share of each item in the activity up to a day, or from it on, for one bandwidth."""

    def __init__(self, graph: Interactions, bandwidth: float, side: Side) -> None:
        degree = graph.item_degree + 0.1
        share = (degree / degree.sum()).astype(np.float32)
        self.overall: FloatArray = np.log(share)
        """`[num_items]`, for users without a day."""
        self.step = bandwidth / STEPS
        day, item = known_days(graph)
        self.first = float(day.min()) if len(day) else 0.0
        bins = ((day - self.first) // self.step).astype(np.int64)
        num_bins = int(bins.max()) + 1 if len(bins) else 1
        counts = np.bincount(bins * graph.num_items + item, minlength=num_bins * graph.num_items)
        activity = counts.reshape(num_bins, graph.num_items).astype(np.float32)
        _accumulate(activity if side == "behind" else activity[::-1], np.float32(np.exp(-1 / STEPS)))
        total = activity.sum(1, keepdims=True)
        self.table: FloatArray = np.log((activity + PRIOR_EDGES * share) / (total + PRIOR_EDGES))
        """`[num_bins, num_items]`."""

    def __call__(self, histories: Interactions) -> FloatArray:
        """Log shares at each user's last day, `[num_users, num_items]`."""
        day = histories.last_day
        known = ~np.isnan(day)
        bins = np.clip((np.where(known, day, self.first) - self.first) // self.step, 0, len(self.table) - 1).astype(np.int64)
        scores = self.table[bins]
        scores[~known] = self.overall
        return scores


def usable_bandwidths(graph: Interactions) -> tuple[float, ...]:
    """Bandwidths whose tables stay within bounds; none where the graph has no days."""
    day, _ = known_days(graph)
    if not len(day):
        return ()
    period = float(day.max() - day.min())
    return tuple(width for width in BANDWIDTHS if (STEPS * period / width + 1) * graph.num_items <= MAX_TABLE)


def known_days(graph: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Days and items of the edges that have a time."""
    if graph.day is None:
        return np.zeros(0), np.zeros(0, np.int64)
    known = ~np.isnan(graph.day)
    return graph.day[known], graph.item_index[known]


def _accumulate(activity: FloatArray, decay: np.float32) -> None:
    """Add to every row the decayed activity of all rows before it, in place."""
    for index in range(1, len(activity)):
        activity[index] += activity[index - 1] * decay
