"""In which order reviews answer a query: the protocol of a ranker, the simplest one, and what of a request and of a review is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from grasper.records import Request, Review


class Ranker(Protocol):
    """Scores reviews by how well they answer a query."""

    def scores(self, query: str, reviews: Sequence[Review]) -> np.ndarray:
        """One number per review, `[len(reviews)]`, higher is better; comparable only within one call."""
        ...


class RecencyRanker:
    """The latest first, whatever the query. Without a time counts as older than with one; among equals the later row is more recent."""

    def scores(self, query: str, reviews: Sequence[Review]) -> np.ndarray:
        scores = np.empty(len(reviews))
        scores[np.argsort([review.when for review in reviews], kind="stable")] = np.arange(len(reviews))
        return scores


def best(reviews: Sequence[Review], scores: np.ndarray, k: int) -> list[Review]:
    """The `k` reviews with the highest scores, best first; among equals the earlier one."""
    return [reviews[position] for position in np.argsort(-scores, kind="stable")[:k]]


def query_of(request: Request) -> str:
    """What a request shows of the wanted review: its given title and text, or the item's name (PGraphRAG, Sec. 3.2)."""
    given = " ".join(text for text in (request.title, request.text) if text)
    return given or request.item.name or ""


def document_of(review: Review) -> str:
    """What of a review is searched: title and text."""
    return f"{review.title} {review.text}" if review.title else review.text
