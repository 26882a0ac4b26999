"""Predicted items by user id: for known users, for histories of newcomers, and for all examples of a run."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from grasper.errors import DataFormatError, UnknownIdError
from grasper.predict.baselines import ItemPredictor
from grasper.predict.calibrate import log_softmax
from grasper.predict.catalogue import Catalogue, Pool, histories_until
from grasper.predict.graph import SECONDS_PER_DAY, FloatArray, IndexArray, Interactions
from grasper.predict.topk import hide, top_k
from grasper.records import CANDIDATE_COLUMNS, Example, Review
from grasper.retrieve.pool import POOLS

EXAMPLES_AT_ONCE = 1024
TIME_BLOCKS = 16
"""Graphs that requests with cut-offs are answered from: more are fresher and take longer."""


class Predictor:
    """A fitted model together with the tables it answers for."""

    def __init__(self, catalogue: Catalogue, model: ItemPredictor, temperature: float) -> None:
        self.catalogue, self.model, self.temperature = catalogue, model, temperature
        self._bound: dict[Pool, tuple[ItemPredictor, Interactions]] = {}

    def predict_users(self, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """The k likeliest unseen items of known users (user_id, item_id, rank, score), users in the given order.

        `score` is the calibrated probability, 0–1, that the item is the user's next one. Messages travel over the training edges and the edges
        of the user's own split.

        Raises:
            UnknownIdError: A user without any review.
        """
        by_pool: dict[Pool, list[int]] = defaultdict(list)
        for position, pool in enumerate(self.catalogue.pools_of(user_ids)):
            by_pool[pool].append(position)
        index = self.catalogue.users.index(user_ids, "user")
        items = np.full((len(index), k), -1, np.int64)
        scores = np.zeros((len(index), k), np.float32)
        for pool, positions in by_pool.items():
            model, graph = self._bind(pool)
            items[positions], scores[positions] = self._top_k(model, graph, graph.of_users(index[positions]), k)
        return self._table(items, scores, {"user_id": np.asarray(user_ids, dtype=object)})

    def predict_requests(self, examples: Sequence[Example], k: int) -> pd.DataFrame:
        """Candidates for requests from outside the benchmark (CANDIDATE_COLUMNS): known users or newcomers, with or without an item in mind.

        The requested item counts as one that the user will meet; neither it nor anything in the history is among the candidates.

        Args:
            examples: Requests by user and item; an empty `item_id` is no item in mind, `history` holds a newcomer's reviews.

        Raises:
            UnknownIdError: A user or item that the run does not hold.
        """
        tables = [self._predict_request(example, k) for example in examples]
        columns = list(CANDIDATE_COLUMNS)
        return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)

    def _predict_request(self, example: Example, k: int) -> pd.DataFrame:
        model, graph = self._bind(POOLS[example.split])
        names = {"example_id": np.array([example.example_id], dtype=object), "user_id": np.array([example.user_id], dtype=object)}
        if example.history is None:
            history = graph.of_users(self.catalogue.users.index([example.user_id], "user"))
        else:
            reviews = example.history
            items = self.catalogue.items.index([review.item_id for review in reviews], "item")
            days = np.array([np.nan if review.timestamp is None else review.timestamp / SECONDS_PER_DAY for review in reviews])
            rows = np.zeros(len(reviews), np.int64)
            history = Interactions.build(rows, items, 1, graph.num_items, days, self.catalogue.encode(reviews) if reviews else None)
            history = replace(history, words_in_graph=False)
        if example.item_id:
            requested = int(self.catalogue.items.index([example.item_id], "item")[0])
            history = _with_edge(history, requested)
        found, scores = self._top_k(model, graph, history, k)
        return self._table(found, scores, names)

    def predict_history(self, reviews: Sequence[Review], k: int) -> pd.DataFrame:
        """The k likeliest next items of newcomers, given their reviews, oldest first (user_id, item_id, rank, score). Their words count.

        Raises:
            DataFormatError: No review at all.
            UnknownIdError: An item that the run does not hold.
        """
        if not reviews:
            raise DataFormatError("the history is empty; expected at least one review, or ask for a known user")
        user_ids = list(dict.fromkeys(review.user_id for review in reviews))
        rows = np.array([user_ids.index(review.user_id) for review in reviews])
        items = self.catalogue.items.index([review.item_id for review in reviews], "item")
        days = np.array([np.nan if review.timestamp is None else review.timestamp / SECONDS_PER_DAY for review in reviews])
        model, graph = self._bind(POOLS["dev"])
        histories = Interactions.build(rows, items, len(user_ids), graph.num_items, days, self.catalogue.encode(reviews))
        histories = replace(histories, words_in_graph=False)
        found, scores = self._top_k(model, graph, histories, k)
        return self._table(found, scores, {"user_id": np.asarray(user_ids, dtype=object)})

    def predict_examples(self, examples: pd.DataFrame, k: int) -> pd.DataFrame:
        """Candidates for every row of an examples table (CANDIDATE_COLUMNS): neither the requested item nor anything in the visible history.

        With a cut-off nothing dated later reaches the request: its history ends there, and the graph ends at the first cut-off of a block of
        requests that are close in time, so that one graph serves the whole block.
        """
        tables = []
        for split, rows in examples.groupby("split", sort=False):
            if split not in POOLS:
                raise UnknownIdError(f"examples.parquet holds the split {split!r}, expected one of {', '.join(POOLS)}")
            model, graph = self._bind(POOLS[str(split)])
            cutoff = rows["cutoff"].astype("float64").to_numpy(na_value=np.nan) / SECONDS_PER_DAY
            for block in time_blocks(cutoff):
                first = cutoff[block[0]]
                then = (model, graph) if np.isnan(first) else self._take_in(graph.until(first))
                for start in range(0, len(block), EXAMPLES_AT_ONCE):
                    part = block[start : start + EXAMPLES_AT_ONCE]
                    tables.append(self._of_examples(rows.iloc[part], cutoff[part], graph, *then, k))
        columns = list(CANDIDATE_COLUMNS)
        if not tables:
            return pd.DataFrame(columns=columns)
        place = {example_id: number for number, example_id in enumerate(examples["example_id"])}
        table = pd.concat(tables, ignore_index=True)
        order = np.lexsort((table["rank"].to_numpy(), table["example_id"].map(place).to_numpy()))
        return table.iloc[order][columns].reset_index(drop=True)

    def _of_examples(
        self, rows: pd.DataFrame, cutoff: np.ndarray, graph: Interactions, model: ItemPredictor, then: Interactions, k: int
    ) -> pd.DataFrame:
        """Candidates for some examples: their histories out of `graph`, everything else as it was in `then`."""
        users, items = self.catalogue.users.index(rows["user_id"], "user"), self.catalogue.items.index(rows["item_id"], "item")
        found, scores = self._top_k(model, then, histories_until(graph, users, items, cutoff), k)
        return self._table(found, scores, {column: rows[column].to_numpy(dtype=object) for column in ("example_id", "user_id")})

    def _bind(self, pool: Pool) -> tuple[ItemPredictor, Interactions]:
        """The model with the edges of a pool taken in; made on first use."""
        if pool not in self._bound:
            self._bound[pool] = self._take_in(self.catalogue.graph(pool, with_target_words=not self.model.propagates_words))
        return self._bound[pool]

    def _take_in(self, graph: Interactions) -> tuple[ItemPredictor, Interactions]:
        """The model with the edges of a graph taken in, weights unchanged."""
        return copy.copy(self.model).bind(graph), graph

    def _top_k(self, model: ItemPredictor, graph: Interactions, histories: Interactions, k: int) -> tuple[IndexArray, FloatArray]:
        """Best items and their probabilities among reviewed, unseen items, `[num_users, k]`."""
        reviewed = graph.item_degree > 0

        def log_probabilities(block: Interactions) -> FloatArray:
            scores = model.score(block)
            hide(scores, block, reviewed)
            scores /= self.temperature
            return log_softmax(scores)

        items, scores = top_k(log_probabilities, histories, k)
        return items, np.exp(scores)

    def _table(self, items: IndexArray, scores: FloatArray, names: dict[str, np.ndarray]) -> pd.DataFrame:
        rows, ranks = np.nonzero(items >= 0)
        table = {name: values[rows] for name, values in names.items()}
        found = self.catalogue.items.ids.to_numpy()[items[rows, ranks]]
        return pd.DataFrame({**table, "item_id": found, "rank": ranks + 1, "score": scores[rows, ranks].astype(float)})


def _with_edge(history: Interactions, item: int) -> Interactions:
    """One user's history with the requested item as its latest edge, known as a fact without words; an item that is there already stays as it is."""
    if item in history.item_index:
        return history
    text = history.text
    if text is not None:
        empty = sp.csr_matrix((1, text.shape[1]), dtype=np.float32)
        text = sp.vstack([text, empty]).tocsr() if sp.issparse(text) else np.vstack([text, empty.toarray()])
    return replace(
        history,
        user_index=np.append(history.user_index, 0),
        item_index=np.append(history.item_index, item),
        day=None if history.day is None else np.append(history.day, np.nan),
        text=text,
        is_target=None if history.is_target is None else np.append(history.is_target, True),
    )


def time_blocks(cutoff: np.ndarray, num_blocks: int = TIME_BLOCKS) -> list[IndexArray]:
    """Positions of requests in blocks that are close in time, earliest first within each; those without a cut-off (NaN) are a block of their own.

    Requests with equal cut-offs share a block.
    """
    blocks = [np.flatnonzero(np.isnan(cutoff))]
    dated = np.flatnonzero(~np.isnan(cutoff))
    ordered = dated[np.argsort(cutoff[dated], kind="stable")]
    if len(ordered):
        starts = cutoff[ordered[np.linspace(0, len(ordered), num_blocks, endpoint=False).astype(np.int64)]]
        blocks += np.split(ordered, np.searchsorted(cutoff[ordered], np.unique(starts)[1:]))
    return [block for block in blocks if len(block)]
