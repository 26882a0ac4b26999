"""The bipartite user–item graph as arrays, and the only place that converts ids to indices and back.

A user is nothing but the set of visible edges: the graph of the training users and the histories of a batch of requests are the same type,
so a user unseen in training needs no retraining.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from grasper.errors import UnknownIdError

SECONDS_PER_DAY = 86_400.0
FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]
Reading = Literal["all", "latest"]
"""Whether all items of a history count alike or the latest most."""


@dataclass(frozen=True)
class Interactions:
    """Edges between users and items, every user's edges contiguous and oldest first; no pair twice.

    `user_index`, `item_index`: `[num_edges]`. `day`: `[num_edges]`, days since 1970, NaN where unknown. `text`: `[num_edges, text_dim]`, the
    vector of the user's own review behind each edge (zeros where it is hidden), or None. `is_target`: `[num_edges]`, reviews that some example asks
    for: their words are for others to see, never part of what their writer is known by; None where there are none. `graph_text`: what of `text`
    stands in the items' vectors, too, `[num_edges, text_dim]`; None where all of it does. A newcomer's words do not.
    """

    user_index: IndexArray
    item_index: IndexArray
    num_users: int
    num_items: int
    day: NDArray[np.float64] | None = None
    text: FloatArray | sp.csr_matrix | None = None
    is_target: NDArray[np.bool_] | None = None
    graph_text: FloatArray | None = None

    @property
    def num_edges(self) -> int:
        return len(self.user_index)

    @classmethod
    def from_matrix(cls, liked: ArrayLike | sp.spmatrix) -> Interactions:
        """The graph of a dense or sparse 0/1 matrix, `[num_users, num_items]`."""
        matrix = sp.csr_matrix(liked)
        users, items = matrix.nonzero()
        return cls(users.astype(np.int64), items.astype(np.int64), *matrix.shape)

    @classmethod
    def build(
        cls,
        user_index: IndexArray,
        item_index: IndexArray,
        num_users: int,
        num_items: int,
        day: NDArray[np.float64] | None = None,
        text: FloatArray | sp.csr_matrix | None = None,
        is_target: NDArray[np.bool_] | None = None,
        graph_text: FloatArray | None = None,
    ) -> Interactions:
        """Sort edges by user and time (rows without time first, ties in row order), merge repeated pairs.

        A repeated pair keeps the time of its first row and the summed text of all its rows, and is a target where one of them is.
        """
        keys = np.zeros(len(user_index)) if day is None else np.where(np.isnan(day), -np.inf, day)
        order = np.lexsort((np.arange(len(user_index)), keys, user_index))
        pairs = user_index[order] * num_items + item_index[order]
        _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
        if is_target is not None:
            is_target = np.bincount(inverse, is_target[order]) > 0
        by_position = np.argsort(first)
        if text is not None:  # one product sorts and merges: at many words a copy costs more memory than all edges
            place = np.empty(len(first), np.int64)
            place[by_position] = np.arange(len(first))
            merge = sp.csr_matrix((np.ones(len(pairs), np.float32), (place[inverse], order)), (len(first), len(pairs)))
            text, graph_text = merge @ text, None if graph_text is None else merge @ graph_text
        kept = order[first[by_position]]
        return cls(
            user_index[kept],
            item_index[kept],
            num_users,
            num_items,
            None if day is None else day[kept],
            text,
            None if is_target is None else is_target[by_position],
            graph_text,
        )

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """Zeros and ones, `[num_users, num_items]`."""
        ones = np.ones(self.num_edges, np.float32)
        return sp.csr_matrix((ones, (self.user_index, self.item_index)), (self.num_users, self.num_items))

    @cached_property
    def pair_keys(self) -> IndexArray:
        """user · num_items + item of every edge, ascending, `[num_edges]`: looks up whether a user met an item."""
        return np.sort(self.user_index * self.num_items + self.item_index)

    @cached_property
    def user_degree(self) -> IndexArray:
        return np.bincount(self.user_index, minlength=self.num_users)

    @cached_property
    def item_degree(self) -> IndexArray:
        return np.bincount(self.item_index, minlength=self.num_items)

    @cached_property
    def user_pointer(self) -> IndexArray:
        """Where each user's edges begin, `[num_users + 1]`."""
        return np.concatenate([[0], np.cumsum(self.user_degree)])

    @cached_property
    def edges_after(self) -> IndexArray:
        """How many later edges the same user has, `[num_edges]`: 0 marks the last one."""
        return self.user_pointer[self.user_index + 1] - 1 - np.arange(self.num_edges)

    @cached_property
    def last_day(self) -> NDArray[np.float64]:
        """Day of each user's latest edge with a time, `[num_users]`, NaN where there is none."""
        last = np.full(self.num_users, np.nan)
        if self.day is not None:
            known = ~np.isnan(self.day)
            last[self.user_index[known]] = self.day[known]
        return last

    def keep(self, chosen: NDArray[np.bool_] | IndexArray) -> Interactions:
        """The same users and items with only the chosen edges, a mask or ascending indices."""
        return replace(
            self,
            user_index=self.user_index[chosen],
            item_index=self.item_index[chosen],
            day=None if self.day is None else self.day[chosen],
            text=None if self.text is None else self.text[chosen],
            is_target=None if self.is_target is None else self.is_target[chosen],
            graph_text=None if self.graph_text is None else self.graph_text[chosen],
        )

    def of_users(self, users: ArrayLike) -> Interactions:
        """The histories of these users, in this order, as a graph of their own, `[len(users), num_items]`; a user may stand several times."""
        users = np.asarray(users, dtype=np.int64)
        counts = self.user_degree[users]
        rows = np.repeat(np.arange(len(users)), counts)
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        edges = self.user_pointer[users][rows] + offsets
        return replace(self.keep(edges), user_index=rows, num_users=len(users))

    def leave_last_out(self, at_least: int = 2) -> tuple[Interactions, IndexArray, IndexArray]:
        """The graph without the last edge of every user who has `at_least` edges; those users, and their withheld items."""
        is_last = (self.edges_after == 0) & (self.user_degree[self.user_index] >= at_least)
        return self.keep(~is_last), self.user_index[is_last], self.item_index[is_last]


def as_interactions(graph: Interactions | ArrayLike | sp.spmatrix) -> Interactions:
    """The graph itself, or the graph of a 0/1 matrix."""
    return graph if isinstance(graph, Interactions) else Interactions.from_matrix(graph)


def read(histories: Interactions, reading: Reading) -> sp.csr_matrix:
    """Histories as rows that sum to 1 (0 where empty), `[num_users, num_items]`: every item alike, or the latest most (1, 1/2, 1/3 …)."""
    weight = np.ones(histories.num_edges) if reading == "all" else 1.0 / (1 + histories.edges_after)
    total = np.bincount(histories.user_index, weight, minlength=histories.num_users)
    values = (weight / total[histories.user_index]).astype(np.float32)
    return sp.csr_matrix((values, (histories.user_index, histories.item_index)), (histories.num_users, histories.num_items))


def log_popularity(graph: Interactions) -> FloatArray:
    """Log of the number of visible users of each item, `[num_items]`; half a user more, so that an item without any has one, too."""
    return np.log(graph.item_degree + 0.5).astype(np.float32)


def adjacency(rows: IndexArray, columns: IndexArray, values: NDArray[np.floating], shape: tuple[int, int]) -> Tensor:
    """A sparse CSR tensor that torch-geometric's convolutions multiply with; `rows` × `columns` = targets × sources."""
    matrix = sp.csr_matrix((values.astype(np.float32), (rows, columns)), shape)
    pointers, indices, data = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        # torch says once per process that its sparse tensors are young; what is used of them here is tested.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(pointers, indices, data, shape, check_invariants=False)


class Vocabulary:
    """The two-way mapping between ids and indices, in order of first appearance."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = pd.Index(dict.fromkeys(ids), dtype=object)

    def __len__(self) -> int:
        return len(self.ids)

    def index(self, ids: Sequence[str] | pd.Series, what: str = "id") -> IndexArray:
        """Indices of known ids.

        Raises:
            UnknownIdError: An id that is not in the vocabulary.
        """
        found = self.ids.get_indexer(pd.Index(ids, dtype=object))
        if (found < 0).any():
            missing = list(ids)[int(np.flatnonzero(found < 0)[0])]
            raise UnknownIdError(f"{what} {missing!r} is not in the data ({len(self)} are); see prepare/reviews.parquet of the run")
        return found.astype(np.int64)

    def find(self, ids: Sequence[str] | pd.Series) -> IndexArray:
        """Indices of ids, −1 for unknown ones."""
        return self.ids.get_indexer(pd.Index(ids, dtype=object)).astype(np.int64)
