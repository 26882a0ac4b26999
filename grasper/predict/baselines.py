"""Simple predictors behind the same interface: popularity, ItemKNN, EASE and text similarity.

Each `fit` takes the graph it learns from; `bind` lets it see another graph over the same catalogue. Their grids are searched on every user's last
training edge (`tuned`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from grasper.metrics.ranking import ranks_of, reciprocal_gain
from grasper.predict.features import ItemText
from grasper.predict.graph import FloatArray, IndexArray, Interactions, as_interactions
from grasper.predict.structure import cooccurrence, cosine_weights, ease_weights, keep_strongest
from grasper.predict.topk import top_k


class ItemPredictor(Protocol):
    """Anything that scores the catalogue for histories."""

    name: str

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        """Learn from a graph and take it in."""
        ...

    def bind(self, graph: Interactions) -> Self:
        """Take in another graph over the same catalogue without learning."""
        ...

    def score(self, histories: Interactions) -> FloatArray:
        """Scores, `[num_users, num_items]`, higher is better; the caller may overwrite the array."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned beyond the graph itself, by name."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what `state` gave; `bind` comes next."""
        ...


class FittedPredictor:
    """What predictors share once a graph is bound."""

    graph: Interactions

    def score(self, histories: Interactions) -> FloatArray:
        raise NotImplementedError

    def top_k(self, k: int) -> IndexArray:
        """The k best unseen items of every user of the bound graph, `[num_users, k]`."""
        return top_k(self.score, self.graph, k)[0]

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        return self


class Popularity(FittedPredictor):
    """The number of visible users of each item."""

    name = "popularity"

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        return self.bind(as_interactions(graph))

    def bind(self, graph: Interactions) -> Self:
        self.graph = graph
        return self

    def score(self, histories: Interactions) -> FloatArray:
        return np.tile(np.log(self.graph.item_degree + 0.5).astype(np.float32), (histories.num_users, 1))


class ItemMatrix(FittedPredictor):
    """A predictor that is one item–item matrix."""

    weights: FloatArray

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        return self.bind(as_interactions(graph))

    def bind(self, graph: Interactions) -> Self:
        self.graph, self.weights = graph, self.item_weights(graph)
        return self

    def item_weights(self, graph: Interactions) -> FloatArray:
        raise NotImplementedError

    def score(self, histories: Interactions) -> FloatArray:
        return np.asarray(histories.matrix @ self.weights)


class ItemKNN(ItemMatrix):
    """Shrunk cosine to the nearest items."""

    name = "itemknn"

    def __init__(self, shrinkage: float = 10.0, num_neighbours: int = 100) -> None:
        self.shrinkage, self.num_neighbours = shrinkage, num_neighbours

    def item_weights(self, graph: Interactions) -> FloatArray:
        return keep_strongest(cosine_weights(cooccurrence(graph), self.shrinkage), self.num_neighbours)


class Ease(ItemMatrix):
    """EASE (Steck 2019)."""

    name = "ease"

    def __init__(self, regularization: float = 100.0) -> None:
        self.regularization = regularization

    def item_weights(self, graph: Interactions) -> FloatArray:
        return ease_weights(cooccurrence(graph), self.regularization)


class Similarity(FittedPredictor):
    """Cosine between the words of the items met, the requester's own taken out, and every item's words; plus metadata where there is any."""

    name = "similarity"

    def __init__(self, metadata: Mapping[str, sp.csr_matrix] | None = None, metadata_weight: float = 0.5) -> None:
        self.metadata, self.metadata_weight = metadata or {}, metadata_weight

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        return self.bind(graph)

    def bind(self, graph: Interactions) -> Self:
        self.graph = graph
        self.text = ItemText(graph) if graph.text is not None else None
        return self

    def score(self, histories: Interactions) -> FloatArray:
        scores = np.zeros((histories.num_users, histories.num_items), np.float32)
        if self.text is not None:
            scores += self.text.profiles(histories) @ self.text.vectors.T
        for vectors in self.metadata.values():
            scores += self.metadata_weight * np.asarray(((histories.matrix @ vectors) @ vectors.T).todense())
        return scores


@dataclass(frozen=True)
class Validation:
    """Scores for users whose last training edge was withheld: `[num_users, num_items]`, −inf where an item is no answer; and those edges' items."""

    scores: FloatArray
    targets: IndexArray


MAX_VALIDATION_SCORES = 20_000_000
"""Validation users × items at most; more users are thinned out evenly."""


def withheld_edges(
    graph: Interactions, max_scores: int = MAX_VALIDATION_SCORES
) -> tuple[Interactions, Interactions, IndexArray, np.ndarray]:
    """Every user's last edge withheld: the rest of the graph, histories, withheld items, and what is no answer (seen, or without any edge left)."""
    rest, users, targets = graph.leave_last_out()
    known = rest.item_degree[targets] > 0
    step = max(1, -(-int(known.sum()) * graph.num_items // max_scores))
    users, targets = users[known][::step], targets[known][::step]
    histories = rest.of_users(users)
    hidden = np.broadcast_to(rest.item_degree == 0, (len(users), graph.num_items)).copy()
    hidden[histories.user_index, histories.item_index] = True
    return rest, histories, targets, hidden


def validate(predictor: ItemPredictor, graph: Interactions, *, seed: int = 0) -> Validation:
    """Fit the predictor without every user's last edge, and score those users."""
    rest, histories, targets, hidden = withheld_edges(graph)
    scores = predictor.fit(rest, seed=seed).score(histories)
    scores[hidden] = -np.inf
    return Validation(scores, targets)


def validation_ndcg(validation: Validation) -> float:
    """Mean NDCG@10 over the withheld edges; 0 where there are none."""
    return float(reciprocal_gain(ranks_of(validation.scores, validation.targets), 10).mean()) if len(validation.targets) else 0.0


def tuned(variants: Iterable[ItemPredictor], graph: Interactions, *, seed: int = 0) -> tuple[ItemPredictor, dict[str, Any]]:
    """The variant with the best validation NDCG@10, fitted on the whole graph, and every variant's value by position."""
    variants = list(variants)
    values = [validation_ndcg(validate(variant, graph, seed=seed)) for variant in variants]
    best = variants[int(np.argmax(values))]
    return best.fit(graph, seed=seed), {"validation": values, "chosen": int(np.argmax(values))}
