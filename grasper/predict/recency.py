"""Popularity around a day: what others were reviewing before and after the user was last seen.

Activity is a one-sided exponential kernel over visible edges, smoothed towards overall popularity, tabulated on a grid of days, and looked up by the
day of the user's latest visible edge. The two sides are signals of their own: the next item is one that lives on after that day, and may be new.
Users without any day get overall popularity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.sparse as sp

from grasper.predict.graph import FloatArray, IndexArray, Interactions

BANDWIDTHS = (30.0, 180.0, 720.0)
"""Days over which an edge's weight falls to 1/e."""
STEPS = 4
"""Rows of a table in the days of one bandwidth."""
MAX_TABLE = 16_000_000
"""Largest table of one bandwidth and side, in numbers; finer bandwidths are skipped on catalogues and periods that would need more."""
PRIOR_EDGES = 5.0
Side = Literal["behind", "ahead"]
SIDES: tuple[Side, ...] = ("behind", "ahead")


class RecentPopularity:
    """Log share of each item in the activity behind a day and ahead of it, one signal per bandwidth and side."""

    def __init__(self, graph: Interactions, bandwidths: Sequence[float], sides: Sequence[Side] = SIDES) -> None:
        degree = graph.item_degree + 0.1
        share = (degree / degree.sum()).astype(np.float32)
        day, item = known_days(graph)
        self.names = [f"{side}-{width:.0f}d" for width in bandwidths for side in sides]
        self._first = float(day.min()) if len(day) else 0.0
        self._step = np.repeat(np.array(bandwidths, np.float64) / STEPS, len(sides))
        tables = []
        for width in bandwidths:
            row = ((day - self._first) // (width / STEPS)).astype(np.int64)
            num_rows = int(row.max()) + 1 if len(row) else 1
            counts = np.bincount(row * graph.num_items + item, minlength=num_rows * graph.num_items).reshape(num_rows, graph.num_items)
            tables += [_log_share(_accumulated(counts, side), share) for side in sides]
        self._num_rows = np.array([len(table) for table in tables], np.int64)
        self._start = np.cumsum(self._num_rows) - self._num_rows
        self.table: FloatArray = np.concatenate([*tables, np.log(share)[None]])
        """`[num_rows, num_items]`: the rows of all signals, and a last one for users without a day."""

    def rows(self, histories: Interactions) -> IndexArray:
        """Which row of the table each signal has for each user, by the user's last day, `[num_users, num_signals]`."""
        day = histories.last_day[:, None]
        known = ~np.isnan(day)
        row = np.clip((np.where(known, day, self._first) - self._first) // self._step, 0, self._num_rows - 1).astype(np.int64)
        return np.where(known, self._start + row, len(self.table) - 1)

    def mix(self, histories: Interactions, weights: FloatArray) -> FloatArray:
        """Weighted sum of the signals, `[num_users, num_items]`, in one sparse product.

        Args:
            weights: `[num_users, num_signals]`.
        """
        num_users, num_signals = weights.shape
        index = np.arange(0, num_users * num_signals + 1, num_signals)
        return sp.csr_matrix((weights.ravel(), self.rows(histories).ravel(), index), (num_users, len(self.table))) @ self.table


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


def _accumulated(counts: IndexArray, side: Side) -> FloatArray:
    """To every row, ordered by days, the decayed counts of all rows on one side of it are added."""
    activity = counts.astype(np.float32)
    ordered = activity if side == "behind" else activity[::-1]
    decay = np.float32(np.exp(-1 / STEPS))
    for index in range(1, len(ordered)):
        ordered[index] += ordered[index - 1] * decay
    return activity


def _log_share(activity: FloatArray, share: FloatArray) -> FloatArray:
    """Log shares in the activity, smoothed by overall shares."""
    return np.log((activity + PRIOR_EDGES * share) / (activity.sum(1, keepdims=True) + PRIOR_EDGES))
