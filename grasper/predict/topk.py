"""Exact top-k over the whole catalogue, block by block of users: memory is bounded by one block, and seen items are never recommended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grasper.errors import ShapeError
from grasper.predict.graph import FloatArray, IndexArray, Interactions
from grasper.topk import stable_top_k

BLOCK_SCORES = 1_000_000
"""Scores held at once: 4 MB, so that a block stays near the processor."""


def top_k(
    score: Callable[[Interactions], FloatArray],
    histories: Interactions,
    k: int,
    *,
    block_scores: int = BLOCK_SCORES,
) -> tuple[IndexArray, FloatArray]:
    """The k best unseen items of each history and their scores, best first, equal scores in catalogue order.

    Args:
        score: Histories → scores, `[num_users, num_items]`; higher is better.
        histories: Whose items to predict; the items in them are never among the predicted.
        k: Items per user.
        block_scores: Upper bound of scores held at once.

    Returns:
        Items and scores, `[num_users, k]`; where fewer than k items are left, item −1 with score −inf.

    Raises:
        ShapeError: `score` gave an array of another shape, or something that is no score.
    """
    num_users, num_items = histories.num_users, histories.num_items
    width = min(k, num_items)
    items = np.full((num_users, k), -1, np.int64)
    scores = np.full((num_users, k), -np.inf, np.float32)
    for start, block in blocks(histories, block_scores):
        block_score = scores_of(score, block)
        hide(block_score, block)
        stop = start + block.num_users
        items[start:stop, :width], scores[start:stop, :width] = best_of(block_score, width)
    return items, scores


def scores_of(score: Callable[[Interactions], FloatArray], histories: Interactions) -> FloatArray:
    """What a predictor, perhaps somebody else's, scores, in an array that may be overwritten, `[num_users, num_items]`.

    Raises:
        ShapeError: Another shape, or a score that is NaN or +inf.
    """
    found, expected = np.array(score(histories)), (histories.num_users, histories.num_items)
    if found.shape != expected:
        raise ShapeError(f"scores have shape {found.shape}, expected {expected} (from {_name_of(score)})")
    if found.size and not found.max() < np.inf:
        raise ShapeError(f"a score is {found.max()}, expected a number below infinity (from {_name_of(score)})")
    return found if np.issubdtype(found.dtype, np.floating) else found.astype(np.float32)


def _name_of(score: Callable[[Interactions], FloatArray]) -> str:
    return getattr(score, "__qualname__", type(score).__name__)


def best_of(scores: FloatArray, k: int) -> tuple[IndexArray, FloatArray]:
    """The k best items of each row and their scores, best first, equal scores in catalogue order; item −1 where the score is −inf."""
    best_scores, items = stable_top_k(scores, k)
    items[np.isneginf(best_scores)] = -1
    return items, best_scores


def blocks(histories: Interactions, block_scores: int = BLOCK_SCORES) -> list[tuple[int, Interactions]]:
    """The histories cut into runs of users whose scores fit the bound, each with its first user; at least one user per block."""
    size = max(1, block_scores // max(1, histories.num_items))
    if histories.num_users <= size:
        return [(0, histories)]
    starts = range(0, histories.num_users, size)
    return [(start, histories.of_users(np.arange(start, min(start + size, histories.num_users)))) for start in starts]


def hide(scores: FloatArray, histories: Interactions, allowed: np.ndarray | None = None) -> None:
    """Put −inf at every seen and every forbidden item, in place."""
    scores[histories.user_index, histories.item_index] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
