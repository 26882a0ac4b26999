"""Negatives without loops: items that are never positives."""

from __future__ import annotations

import numpy as np

from grasper.errors import ShapeError
from grasper.predict.graph import IndexArray, Interactions


class NegativeSampler:
    """Uniform items that a user has not met."""

    def __init__(self, graph: Interactions) -> None:
        self.graph = graph

    def draw(self, users: IndexArray, num: int, rng: np.random.Generator) -> IndexArray:
        """`num` unmet items for each user, `[len(users), num]`, drawn again until none is a positive.

        Raises:
            ShapeError: A user has met the whole catalogue, so there is nothing to draw.
        """
        if (self.graph.user_degree[users] >= self.graph.num_items).any():
            raise ShapeError(f"a user has met all {self.graph.num_items} items; there is no negative to draw")
        owner = np.repeat(users, num)
        items = rng.integers(0, self.graph.num_items, len(owner))
        while len(wrong := np.flatnonzero(self._is_positive(owner, items))):
            items[wrong] = rng.integers(0, self.graph.num_items, len(wrong))
        return items.reshape(len(users), num)

    def _is_positive(self, users: IndexArray, items: IndexArray) -> np.ndarray:
        keys = users * self.graph.num_items + items
        pairs = self.graph.pair_keys
        position = np.minimum(np.searchsorted(pairs, keys), max(len(pairs) - 1, 0))
        return pairs[position] == keys if len(pairs) else np.zeros(len(keys), bool)
