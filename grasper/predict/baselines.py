"""Simple predictors behind the same interface: popularity, ItemKNN, EASE and text similarity.

Each `fit` takes the graph it learns from; `bind` lets it see another graph over the same catalogue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from grasper.predict.features import words_of
from grasper.predict.graph import FloatArray, IndexArray, Interactions, as_interactions, log_popularity, read
from grasper.predict.structure import cooccurrence, cosine_weights, ease_weights, keep_strongest
from grasper.predict.topk import top_k


class ItemPredictor(Protocol):
    """Anything that scores the catalogue for histories."""

    name: str
    propagates_words: bool
    """Whether one user's words can travel on to others: then no target's words may be in the graph at all."""

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        """Learn from a graph and take it in."""
        ...

    def bind(self, graph: Interactions) -> Self:
        """Take in another graph over the same catalogue without learning."""
        ...

    def score(self, histories: Interactions) -> FloatArray:
        """Scores, `[num_users, num_items]`, higher is better."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """What `fit` learned beyond the graph itself, by name."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take back what `state` gave; `bind` comes next."""
        ...


class FittedPredictor(ABC):
    """What predictors share once a graph is bound."""

    graph: Interactions
    propagates_words = False

    @abstractmethod
    def score(self, histories: Interactions) -> FloatArray:
        """Scores, `[num_users, num_items]`, higher is better."""

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
        return np.tile(log_popularity(self.graph), (histories.num_users, 1))


class ItemMatrix(FittedPredictor):
    """A predictor that is one item–item matrix."""

    weights: FloatArray

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        return self.bind(as_interactions(graph))

    def bind(self, graph: Interactions) -> Self:
        self.graph, self.weights = graph, self.item_weights(graph)
        return self

    @abstractmethod
    def item_weights(self, graph: Interactions) -> FloatArray:
        """What each item met says of every other, `[num_items, num_items]`."""

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
    """Mean cosine of the items met to every item: of their words, the requester's own taken out, and of metadata where there is any."""

    name = "similarity"

    def __init__(self, metadata: Mapping[str, sp.csr_matrix] | None = None, metadata_weight: float = 0.5) -> None:
        self.metadata, self.metadata_weight = metadata or {}, metadata_weight

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        return self.bind(graph)

    def bind(self, graph: Interactions) -> Self:
        self.graph = graph
        self.text = words_of(graph)
        return self

    def score(self, histories: Interactions) -> FloatArray:
        scores = np.zeros((histories.num_users, histories.num_items), np.float32)
        if self.text is not None:
            scores += self.text.score(histories)
        items_met = read(histories, "all")
        for vectors in self.metadata.values():
            scores += self.metadata_weight * np.asarray(((items_met @ vectors) @ vectors.T).todense())
        return scores
