"""Ranking metrics when one item per user is withheld: recall, NDCG, MRR and coverage at k.

With a single relevant item, NDCG@k is 1/log₂(rank + 1) and MRR@k is 1/rank, both 0 beyond k. Values per user are kept, for paired comparisons;
tests compare them with torch-geometric's `LinkPred*` metrics and with naive loops.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grasper.errors import ShapeError

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]


def ranks_of(scores: FloatArray, targets: IndexArray) -> IndexArray:
    """Rank of each user's target, 1 = best; among equal scores the earlier item comes first.

    Args:
        scores: `[num_users, num_items]`, −inf where an item is no answer.
        targets: `[num_users]`. A target scored −inf or NaN cannot be found and ranks behind all items.
    """
    if scores.ndim != 2 or len(scores) != len(targets):
        raise ShapeError(f"scores {scores.shape} and targets {targets.shape} must have one row per user")
    own = scores[np.arange(len(targets)), targets][:, None]
    before = np.arange(scores.shape[1])[None, :] < targets[:, None]
    ranks = 1 + (scores > own).sum(1) + ((scores == own) & before).sum(1)
    return np.where(np.isfinite(own[:, 0]), ranks, scores.shape[1] + 1).astype(np.int64)


def recall(ranks: IndexArray, k: int) -> NDArray[np.float64]:
    """1 where the target is among the first k, else 0, `[num_users]`."""
    return (ranks <= k).astype(np.float64)


def reciprocal_gain(ranks: IndexArray, k: int) -> NDArray[np.float64]:
    """NDCG@k of each user, `[num_users]`, 0–1."""
    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def reciprocal_rank(ranks: IndexArray, k: int) -> NDArray[np.float64]:
    """MRR@k of each user, `[num_users]`, 0–1."""
    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def coverage(items: IndexArray, num_items: int) -> float:
    """Share of the catalogue that stands in anybody's list; `items` is `[num_users, k]`, −1 for empty places."""
    return len(np.unique(items[items >= 0])) / max(num_items, 1)
