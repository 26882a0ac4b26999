"""How sure are the numbers: bootstrap intervals of scores and of paired differences, resampled by item.

Reviews of one item are alike (they praise the same pool), so targets are not independent. Whole items are drawn with replacement, and each draw
serves all methods at once: a difference between two methods is then taken on the same targets, draw by draw.

Percentile intervals of few clusters are too narrow. They are widened to what Student's t would give (expanded percentiles): with 100 items by a
sixtieth, with 12 by a sixth. A p is the level at which such an interval begins to hold zero, so the two never contradict one another.

References: Davison & Hinkley 1997, Bootstrap Methods and their Application, Sec. 3.8 (cluster bootstrap), 5.3 (percentile intervals); Hesterberg
2015, What Teachers Should Know About the Bootstrap, The American Statistician 69(4) (expanded percentiles).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from grasper.errors import ShapeError
from grasper.metrics.choose import metric_of
from grasper.metrics.metric import Metric

_DRAWS_AT_ONCE = 100


@dataclass(frozen=True)
class Estimate:
    """Means of columns, and the same means in every draw of the bootstrap."""

    names: list[tuple[str, ...]]
    value: np.ndarray
    """`[columns]`, NaN for a column without numbers."""
    draws: np.ndarray
    """`[draws, columns]`; NaN where a column's numbers come from a single cluster, which tells nothing of how clusters differ."""
    count: np.ndarray
    """Examples behind each column, `[columns]`."""
    clusters: np.ndarray
    """Clusters behind each column, `[columns]`."""
    tail: float
    """Probability left out on either side of an interval."""

    def entry(self, column: int) -> dict[str, float | int | None]:
        """`{"value", "low", "high", "n"}` of a column; no bounds where they cannot be told."""
        low, high = self.interval(self.draws[:, column], column)
        return {"value": _rounded(self.value[column]), "low": low, "high": high, "n": int(self.count[column])}

    def interval(self, draws: np.ndarray, column: int) -> tuple[float | None, float | None]:
        """The expanded percentile interval of numbers drawn from a column, or from it and others of its examples; None twice without any."""
        drawn = draws[~np.isnan(draws)]
        if not drawn.size:
            return None, None
        tail = expanded_tail(self.tail, int(self.clusters[column]))
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return _rounded(low), _rounded(high)

    def p_of_zero(self, draws: np.ndarray, column: int) -> float | None:
        """The two-sided p of numbers drawn from a column, or from it and others of its examples, against zero; None without any.

        Below `1 - confidence` exactly where their interval leaves out zero; but no draws tell of less than one over their number.
        """
        drawn = draws[~np.isnan(draws)]
        if not drawn.size:
            return None
        clusters, floor = int(self.clusters[column]), 1 / len(drawn)
        return min(1.0, max(2 * min(known_tail(share_up_to_zero(side), clusters) for side in (drawn, -drawn)), floor))


def share_up_to_zero(drawn: np.ndarray) -> float:
    """The probability whose quantile is zero, interpolated as `np.quantile` does; the larger one where zero was drawn more than once."""
    return float(np.interp(0.0, np.sort(drawn), np.linspace(0, 1, len(drawn))))


def expanded_tail(tail: float, clusters: int) -> float:
    """The probability to leave out on either side of drawn means, so that their interval is as wide as Student's t would have it.

    Args:
        tail: What is to be left out of the mean's distribution, 0–0.5.
        clusters: How many were drawn from, at least 2.
    """
    return float(ndtr(stdtrit(clusters - 1, tail) * np.sqrt(clusters / (clusters - 1))))


def known_tail(share: float, clusters: int) -> float:
    """What is left out of the mean's distribution where this share of drawn means is: the inverse of `expanded_tail`."""
    return float(stdtr(clusters - 1, ndtri(share) / np.sqrt(clusters / (clusters - 1))))


class Bootstrap:
    """Draws of whole clusters with replacement, made once for a seed."""

    def __init__(
        self,
        clusters: Sequence[str],
        *,
        sizes: Mapping[str, np.ndarray] | None = None,
        samples: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        """Prepare the draws.

        Args:
            clusters: The cluster of each example, `[n]`.
            sizes: Bytes of each example's real answer by task, `[n]`, for the metrics whose means are over bytes; in a task that is not in it every
                example counts alike.
        """
        self._sizes = dict(sizes or {})
        codes, names = pd.factorize(np.asarray(clusters, dtype=object))
        self._codes, self._num_clusters = codes, len(names)
        self._samples, self._seed, self._tail = samples, seed, (1 - confidence) / 2

    def estimate(self, values: pd.DataFrame, where: np.ndarray | None = None) -> Estimate:
        """Means of the columns over their numbers that are not NaN; by bytes, or the root of the mean, where the metric says so.

        Args:
            where: Which examples count, booleans `[n]`; None for all. The draws stay the same.

        Raises:
            ShapeError: Not one row per example.
        """
        numbers = values.to_numpy(dtype=float)
        if len(numbers) != len(self._codes):
            raise ShapeError(f"{len(numbers)} rows of values for {len(self._codes)} examples")
        names: list[tuple[str, ...]] = [name if isinstance(name, tuple) else (name,) for name in values.columns]
        present = ~np.isnan(numbers)
        if where is not None:
            present &= np.asarray(where, dtype=bool)[:, None]
        weights = np.where(present, self._weights(names), 0.0)
        sums, counts = self._by_cluster(np.where(present, numbers, 0.0) * weights), self._by_cluster(weights)
        num_clusters = (self._by_cluster(present.astype(float)) > 0).sum(axis=0)
        generator = np.random.default_rng(self._seed)
        draws = np.empty((self._samples, numbers.shape[1]))
        with np.errstate(invalid="ignore", divide="ignore"):
            for start in range(0, self._samples, _DRAWS_AT_ONCE):
                size = min(_DRAWS_AT_ONCE, self._samples - start)
                times = generator.multinomial(self._num_clusters, np.full(self._num_clusters, 1 / self._num_clusters), size=size).astype(float)
                draws[start : start + size] = (times @ sums) / (times @ counts)
            value = sums.sum(axis=0) / counts.sum(axis=0)
        rooted = np.array([metric_of(name[-1]).is_rooted for name in names], dtype=bool)
        value[rooted], draws[:, rooted] = np.sqrt(value[rooted]), np.sqrt(draws[:, rooted])
        draws[:, num_clusters < 2] = np.nan
        return Estimate(names, value, draws, present.sum(axis=0), num_clusters, self._tail)

    def _weights(self, names: Sequence[tuple[str, ...]]) -> np.ndarray:
        """How much each example counts in the mean of each column, `[n, columns]`."""
        weights = np.ones((len(self._codes), len(names)))
        for column, name in enumerate(names):
            if metric_of(name[-1]).is_by_bytes and len(name) > 1 and name[-2] in self._sizes:
                weights[:, column] = self._sizes[name[-2]]
        return weights

    def _by_cluster(self, numbers: np.ndarray) -> np.ndarray:
        totals = np.zeros((self._num_clusters, numbers.shape[1]))
        np.add.at(totals, self._codes, numbers)
        return totals


def summarize(estimate: Estimate) -> dict[str, Any]:
    """Nested entries in the order of the columns' names, metrics by their names in results; columns without numbers are left out."""
    summary: dict[str, Any] = {}
    for column, name in enumerate(estimate.names):
        if estimate.count[column]:
            place = summary
            for part in name[:-1]:
                place = place.setdefault(part, {})
            place[metric_of(name[-1]).name] = estimate.entry(column)
    return summary


def compare(values: pd.DataFrame, bootstrap: Bootstrap, baseline: str, estimate: Estimate | None = None) -> list[dict[str, Any]]:
    """Paired differences of every two methods, `method` minus `other`, over the examples that both have a number for; the baseline's first.

    Each row: `method`, `other`, `task`, `metric`, `difference` with `low` and `high`, `p` (two-sided, of the same draws as the interval, not
    corrected for the number of comparisons), `wins` and `ties` (shares of examples on which `method` is better, or equal) and `n`. Where all examples
    are about one item, `low`, `high` and `p` are None. Pairs that share no example are left out.

    Args:
        estimate: That of the values, where it is at hand.
    """
    estimate = estimate or bootstrap.estimate(values)
    columns = {name: place for place, name in enumerate(estimate.names)}
    methods = list(dict.fromkeys(name[0] for name in estimate.names))
    pairs = [(method, baseline) for method in methods if method != baseline and baseline in methods]
    pairs += [(second, first) for first, second in combinations(methods, 2) if baseline not in (first, second)]
    rows = []
    for method, other in pairs:
        for name, left in columns.items():
            right = columns.get((other, *name[1:]))
            metric = metric_of(name[-1])
            if name[0] == method and metric.is_compared and right is not None:
                per_example = (values.iloc[:, left] - values.iloc[:, right]).dropna().to_numpy()
                if len(per_example):
                    shared = _on_shared(values, bootstrap, estimate, left, right, len(per_example))
                    difference = _difference(shared, per_example, metric)
                    rows.append({"method": method, "other": other, "task": name[1], "metric": metric.name, **difference})
    return rows


def _on_shared(values: pd.DataFrame, bootstrap: Bootstrap, estimate: Estimate, left: int, right: int, num_shared: int) -> Estimate:
    """Both columns over the examples that have a number in both."""
    if estimate.count[left] == estimate.count[right] == num_shared:
        both = [left, right]
        return replace(estimate, value=estimate.value[both], draws=estimate.draws[:, both], clusters=estimate.clusters[both])
    pair = values.iloc[:, [left, right]].copy()
    pair[pair.isna().any(axis=1)] = np.nan
    return bootstrap.estimate(pair)


def _difference(both: Estimate, per_example: np.ndarray, metric: Metric) -> dict[str, float | int | None]:
    draws = both.draws[:, 0] - both.draws[:, 1]
    low, high = both.interval(draws, 0)
    better = per_example > 0 if metric.higher_is_better else per_example < 0
    p = both.p_of_zero(draws, 0)
    return {
        "difference": _rounded(both.value[0] - both.value[1]),
        "low": low,
        "high": high,
        "p": None if p is None else _rounded(p),
        "wins": _rounded(better.mean()),
        "ties": _rounded((per_example == 0).mean()),
        "n": len(per_example),
    }


def _rounded(number: float) -> float:
    return round(float(number), 6)
