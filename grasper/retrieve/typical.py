"""Reviews of the item that answer the request and say what others say, too: neighbours by centrality as well as by match.

A title's words decide little: what many people write about an item comes again under any title. How many agree with a review is its degree in the
weighted graph of the item's reviews, where an edge is the F1 of two texts' words (LexRank, arXiv:1109.2128, Sec. 3.2, with overlap instead of cosine,
which would prefer long reviews). Match and degree are joined by their ranks (reciprocal rank fusion, Cormack et al., SIGIR 2009). *Ours*: the papers
rank by match alone.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from grasper.metrics.overlap import pairwise_f1
from grasper.records import Example, Review
from grasper.retrieve.neighbours import Neighbours
from grasper.retrieve.rank import best

MOST_COMPARED = 200
"""Reviews of an item that are compared with one another; of more, those that match best."""
CENTRALITY_WEIGHT = 2.0
"""Weight of centrality beside match."""
COPY_F1 = 0.9
"""Texts that have more in common are copies of one another, and no two voices."""
SMOOTHING = 60
"""Added to ranks, so that the first few do not decide alone (Cormack et al.)."""


class TypicalNeighbours(Neighbours):
    """Ranks what others wrote about an item by match and by agreement with one another."""

    def of_item(self, item_id: str, query: str, example: Example, k: int) -> list[Review]:
        """As `Neighbours.of_item`; without a query agreement alone decides."""
        ranked = super().of_item(item_id, query, example, max(k, MOST_COMPARED))
        if len(ranked) < 2:
            return ranked[:k]
        match = self._ranker.scores(query, ranked)
        agreement = pairwise_f1([review.text for review in ranked])
        agreement[agreement > COPY_F1] = 0.0
        degree = agreement.sum(axis=1)
        return best(ranked, _reciprocal(match) + CENTRALITY_WEIGHT * _reciprocal(degree), k)


def _reciprocal(scores: np.ndarray) -> np.ndarray:
    """Reciprocal ranks of scores, equal ones alike, `[len(scores)]`."""
    return 1.0 / (SMOOTHING + rankdata(-scores, method="min"))
