"""Sampling without loops: negatives that are never positives, and neighbourhoods for graphs that do not fit in memory.

`NeighbourSampler` plugs into torch-geometric's `LinkLoader`, whose own `NeighborLoader` needs pyg-lib.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NegativeSampling, NodeSamplerInput
from torch_geometric.typing import EdgeType

from grasper.errors import ShapeError
from grasper.predict.graph import IndexArray, Interactions

TO_ITEM: EdgeType = ("user", "reviews", "item")
TO_USER: EdgeType = ("item", "reviewed_by", "user")


class NegativeSampler:
    """Uniform items that a user has not met."""

    def __init__(self, graph: Interactions) -> None:
        self.graph = graph
        self.pairs = np.sort(graph.user_index * graph.num_items + graph.item_index)

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
        position = np.minimum(np.searchsorted(self.pairs, keys), max(len(self.pairs) - 1, 0))
        return self.pairs[position] == keys if len(self.pairs) else np.zeros(len(keys), bool)


class NeighbourSampler(BaseSampler):
    """For a batch of seed edges: their users' items, those items' users, and so on, at most `fanout` neighbours per node and hop.

    The seed edges themselves carry no message. Negatives, if asked for, are never positives. Draws follow from `seed` and the batch's edges alone, so
    they do not depend on the number of workers.
    """

    def __init__(self, graph: Interactions, fanout: int, num_hops: int, seed: int) -> None:
        super().__init__()
        self.graph, self.fanout, self.num_hops, self.seed = graph, fanout, num_hops, seed
        self.epoch = 0
        """Set by the training loop: every epoch draws anew."""
        self.negatives = NegativeSampler(graph)
        by_item = np.argsort(graph.item_index, kind="stable")
        self.item_pointer = np.concatenate([[0], np.cumsum(graph.item_degree)])
        self.users_of_item, self.edge_of_item_entry = graph.user_index[by_item], by_item

    @property
    def edge_permutation(self) -> None:
        return None

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: object) -> HeteroSamplerOutput:
        """Not offered: link prediction starts from edges.

        Raises:
            TypeError: Always; `LinkLoader` does not call it.
        """
        raise TypeError("expected edges to sample around, got nodes; use LinkLoader")

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None) -> HeteroSamplerOutput:
        """The subgraph around a batch of edges, as `LinkLoader` expects it."""
        users, positives = index.row.numpy(), index.col.numpy()
        rng = np.random.default_rng((self.seed, self.epoch, int(index.input_id[0]) if index.input_id is not None and len(index.input_id) else 0))
        num_negatives = int(neg_sampling.amount) if neg_sampling is not None else 0
        negatives = self.negatives.draw(users, num_negatives, rng) if num_negatives else np.zeros((len(users), 0), np.int64)
        edges = self._reach(np.unique(users), np.unique(np.concatenate([positives, negatives.ravel()])), rng)
        seeds = np.sort(users * self.graph.num_items + positives)
        keys = self.graph.user_index[edges] * self.graph.num_items + self.graph.item_index[edges]
        edges = edges[~np.isin(keys, seeds)]

        all_users, local_user = _relabel(users, self.graph.user_index[edges])
        all_items, local_item = _relabel(np.concatenate([positives, negatives.ravel()]), self.graph.item_index[edges])
        row, col = torch.from_numpy(local_user[len(users) :]), torch.from_numpy(local_item[len(positives) + negatives.size :])
        source = torch.from_numpy(local_user[: len(users)])
        positive = torch.from_numpy(local_item[: len(positives)])
        negative = torch.from_numpy(local_item[len(positives) : len(positives) + negatives.size].reshape(negatives.shape))
        metadata: tuple[Tensor | None, ...]
        if neg_sampling is not None and neg_sampling.is_triplet():
            metadata = (index.input_id, source, positive, negative, None)
        else:
            metadata = (index.input_id, torch.stack([source, positive]), index.label, None)
        return HeteroSamplerOutput(
            node={"user": torch.from_numpy(all_users), "item": torch.from_numpy(all_items)},
            row={TO_ITEM: row, TO_USER: col},
            col={TO_ITEM: col, TO_USER: row},
            edge={TO_ITEM: torch.from_numpy(edges), TO_USER: torch.from_numpy(edges)},
            metadata=metadata,
        )

    def _reach(self, users: IndexArray, items: IndexArray, rng: np.random.Generator) -> IndexArray:
        """Sampled edges within `num_hops` of the seeds, ascending, each once."""
        found = [np.zeros(0, np.int64)]
        for _ in range(self.num_hops):
            from_users = _draw_entries(self.graph.user_pointer, users, self.fanout, rng)
            from_items = self.edge_of_item_entry[_draw_entries(self.item_pointer, items, self.fanout, rng)]
            found += [from_users, from_items]
            users = np.unique(self.graph.user_index[from_items])
            items = np.unique(self.graph.item_index[from_users])
        return np.unique(np.concatenate(found))


def _draw_entries(pointer: IndexArray, nodes: IndexArray, fanout: int, rng: np.random.Generator) -> IndexArray:
    """Positions of at most `fanout` entries of each node in a CSR layout: all of them where they fit, else a random run of distinct ones."""
    degree = pointer[nodes + 1] - pointer[nodes]
    count = np.minimum(degree, fanout)
    owner = np.repeat(np.arange(len(nodes)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    start = rng.integers(0, np.maximum(degree, 1))
    stride = np.maximum(degree // np.maximum(count, 1), 1)  # evenly spread from a random start: distinct without a table per node
    return pointer[nodes][owner] + (start[owner] + offset * stride[owner]) % np.maximum(degree, 1)[owner]


def _relabel(first: IndexArray, rest: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Distinct values of both, and every value's position among them."""
    values, inverse = np.unique(np.concatenate([first, rest]), return_inverse=True)
    return values, inverse


def to_batch_data(graph: Interactions) -> HeteroData:
    """The graph as `LinkLoader` wants it: node ids only, features are looked up by id."""
    data = graph.to_hetero_data()
    data["user"].id, data["item"].id = torch.arange(graph.num_users), torch.arange(graph.num_items)
    return data
