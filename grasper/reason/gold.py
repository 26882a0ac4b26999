"""Which sampled paths are gold (GraSPer, Sec. 3.2: argmax of the reward; REST-PG, Sec. 3.2: everything above a threshold, at most n)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from grasper.errors import RewardError
from grasper.reason.traces import Trace

_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Gold:
    """The chosen traces, pair by pair, best first; and what happened on the way."""

    traces: tuple[Trace, ...]
    counts: dict[str, Any]
    """`pairs`, `gold` (traces), `hopeless` (pairs whose best reward is under the threshold), `unusable` (pairs without a complete trace),
    `ties` (pairs whose last chosen reward stands at an unchosen trace too)."""


def choose_gold(traces: Sequence[Trace], *, threshold: float = 0.0, top_n: int = 1, learns_answers: bool = False) -> Gold:
    """The `top_n` best traces of every pair whose reward reaches the threshold; `top_n=1` is the argmax.

    Only complete traces (parsed, with a path and an answer, no leak) are candidates. Of equal rewards the one sampled first wins, and the
    pair counts as a tie. Two traces with the same path and answer count once.

    Args:
        traces: In any order, any number per pair.
        learns_answers: Whether the sampled answers are learned, too; those that were cut are then no candidates.

    Raises:
        RewardError: A reward is not a finite number.
    """
    chosen: list[Trace] = []
    counts = {"pairs": 0, "gold": 0, "hopeless": 0, "unusable": 0, "ties": 0}
    for _, group in groupby(sorted(traces, key=lambda trace: (trace.pair_id, trace.number)), key=lambda trace: trace.pair_id):
        counts["pairs"] += 1
        usable = _distinct([trace for trace in group if (trace.is_learnable if learns_answers else trace.is_usable)])
        if not usable:
            counts["unusable"] += 1
            continue
        rewards = np.array([trace.reward for trace in usable])
        if not np.isfinite(rewards).all():
            raise RewardError(f"pair {usable[0].pair_id} has a reward that is not finite; delete traces.jsonl and run `grasper align` again")
        best = np.argsort(-rewards, kind="stable")
        kept = [index for index in best[:top_n] if rewards[index] >= threshold]
        if not kept:
            counts["hopeless"] += 1
            continue
        left_out = rewards[best[len(kept) :]]
        counts["ties"] += bool(left_out.size and left_out[0] >= rewards[kept[-1]] - _TIE)
        chosen += [usable[index] for index in kept]
    counts["gold"] = len(chosen)
    return Gold(tuple(chosen), counts)


def selection_gain(rewards: Sequence[Sequence[float]], sizes: Sequence[int] = (1, 2, 4, 8, 16)) -> dict[int, float]:
    """Mean reward of the best of `m` samples, for every `m` that all pairs have samples for: what selection gains.

    It is the exact expectation over all choices of `m` of the samples, not over one choice.

    Args:
        rewards: One list per pair.
    """
    if not rewards:
        return {}
    return {m: float(np.mean([_expected_best(np.sort(pair), m) for pair in rewards])) for m in sizes if m <= min(map(len, rewards))}


def _expected_best(ascending: np.ndarray, m: int) -> float:
    """Mean maximum over all subsets of size `m`: the k-th smallest of n is the maximum of C(k − 1, m − 1) of them."""
    n = len(ascending)
    weights = np.zeros(n)
    weights[n - 1] = m / n
    for k in range(n - 1, m - 1, -1):  # C(k-1, m-1) / C(k, m-1) = (k - m + 1) / k
        weights[k - 1] = weights[k] * (k - m + 1) / k
    return float(weights @ ascending)


def _distinct(traces: Sequence[Trace]) -> list[Trace]:
    """Of equal ones the first."""
    first: dict[tuple[str, str], Trace] = {}
    for trace in traces:
        first.setdefault((trace.path, trace.answer), trace)
    return list(first.values())
