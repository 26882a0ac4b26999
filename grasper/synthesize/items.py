"""Which items get a synthetic review: the link predictor's, or those of an ablation.

Items of the user's visible history and the requested item are never among them, except the oracle's, which are the history itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grasper.errors import ConfigError
from grasper.methods.base import Method
from grasper.records import CANDIDATE_COLUMNS, Candidate, Example
from grasper.retrieve.pool import ReviewPool
from grasper.runs import derive_seed

if TYPE_CHECKING:
    import pandas as pd


def choose_items(
    method: Method,
    examples: Sequence[Example],
    candidates: pd.DataFrame | None,
    pool: ReviewPool,
    *,
    num_items: int,
    min_score: float,
    seed: int,
) -> dict[str, list[Candidate]]:
    """At most `num_items` items per example, best first, keyed by example id.

    Args:
        candidates: The link predictor's table (CANDIDATE_COLUMNS); may be None for methods that do not use it.
        min_score: Items that the link predictor scores lower are left out.

    Raises:
        ConfigError: The method needs the link predictor's table and got none.
    """
    predicted: dict[str, list[Candidate]] = {}
    if method.needs_candidates:
        if candidates is None:
            raise ConfigError(f"method '{method.name}' needs the candidates of the predict stage, but none were given")
        predicted = _from_table(candidates, examples, min_score)
    if method.predicted == "oracle":
        predicted = {example.example_id: _oracle(example, pool, predicted.get(example.example_id, ())) for example in examples}
    elif method.predicted == "popular":
        predicted = _popular(examples, pool, num_items)
    elif method.predicted == "random":
        predicted = _random(examples, pool, num_items, seed)
    return {example.example_id: predicted.get(example.example_id, [])[:num_items] for example in examples}


def _from_table(candidates: pd.DataFrame, examples: Sequence[Example], min_score: float) -> dict[str, list[Candidate]]:
    wanted = {example.example_id for example in examples}
    rows = candidates[candidates["example_id"].isin(wanted) & (candidates["score"] >= min_score)].sort_values("rank", kind="stable")
    chosen: dict[str, list[Candidate]] = {}
    for example_id, user_id, item_id, rank, score in rows[list(CANDIDATE_COLUMNS)].itertuples(index=False, name=None):
        chosen.setdefault(example_id, []).append(Candidate(example_id, user_id, item_id, int(rank), float(score)))
    return chosen


def _popular(examples: Sequence[Example], pool: ReviewPool, num_items: int) -> dict[str, list[Candidate]]:
    """The items with most reviews among those that the example may see; the score is the share of the most popular one's count."""
    chosen: dict[str, list[Candidate]] = {}
    for example in examples:
        found, known = pool.review_counts(example), _known_items(example, pool)
        best = found.most_first[: num_items + len(known)]
        shares = {found.item_ids[place]: float(found.counts[place] / found.counts[best[0]]) for place in best}
        items = [item_id for item_id in shares if item_id not in known][:num_items]
        chosen[example.example_id] = _candidates(example, items, shares)
    return chosen


def _random(examples: Sequence[Example], pool: ReviewPool, num_items: int, seed: int) -> dict[str, list[Candidate]]:
    """Items that somebody had reviewed when the example's request came."""
    chosen: dict[str, list[Candidate]] = {}
    for example in examples:
        items, known = pool.review_counts(example).item_ids, _known_items(example, pool)
        draw = random.Random(derive_seed(seed, "random items", example.example_id))
        drawn = [items[place] for place in draw.sample(range(len(items)), min(len(items), num_items + len(known)))]
        chosen[example.example_id] = _candidates(example, [item_id for item_id in drawn if item_id not in known][:num_items], {})
    return chosen


def _oracle(example: Example, pool: ReviewPool, predicted: Sequence[Candidate]) -> list[Candidate]:
    """The items of the user's other reviews, latest first and certain, then the predicted ones."""
    items = list(dict.fromkeys(review.item_id for review in reversed(pool.own(example)) if review.item_id != example.item_id))
    others = [candidate for candidate in predicted if candidate.item_id not in items]
    scores = dict.fromkeys(items, 1.0) | {candidate.item_id: candidate.score for candidate in others}
    return _candidates(example, list(scores), scores)


def _candidates(example: Example, items: Sequence[str], scores: Mapping[str, float]) -> list[Candidate]:
    return [Candidate(example.example_id, example.user_id, item_id, rank, scores.get(item_id, 0.0)) for rank, item_id in enumerate(items, start=1)]


def _known_items(example: Example, pool: ReviewPool) -> set[str]:
    return {example.item_id, *(review.item_id for review in pool.own(example))}
