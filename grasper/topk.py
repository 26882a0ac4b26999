"""The largest of each row, exactly: equal scores stand in the order of their columns, so results do not depend on the machine."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def stable_top_k(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k largest per row, largest first; among equal scores the earlier column wins."""
    values, columns = torch.topk(torch.from_numpy(scores), k, dim=1)
    best, place = values.numpy(), columns.numpy()
    _settle_ties(scores, best, place)
    return best, place


def _settle_ties(scores: NDArray[np.float32], best: NDArray[np.float32], place: NDArray[np.int64]) -> None:
    """Rewrite the rows in which equal scores made the choice arbitrary, in place."""
    k = best.shape[1]
    tied = (best[:, 1:] == best[:, :-1]).any(1)
    if k < scores.shape[1]:
        tied |= (scores == best[:, -1:]).sum(1) > (best == best[:, -1:]).sum(1)
    for row in np.flatnonzero(tied):
        place[row] = _first_of_the_largest(scores[row], best[row, -1], k)
        best[row] = scores[row, place[row]]


def _first_of_the_largest(row: NDArray[np.float32], least: np.float32, k: int) -> NDArray[np.int64]:
    """The k largest of a row by the rule of `stable_top_k`, given the least of them: only they are sorted."""
    above, equal = np.flatnonzero(row > least), np.flatnonzero(row == least)
    chosen = np.sort(np.concatenate([above, equal[: k - len(above)]]))
    if len(chosen) < k:  # numbers that are none
        chosen = np.arange(len(row))
    return chosen[np.argsort(-row[chosen], kind="stable")[:k]]
