"""Tables as graphs: which edges and which words a request may see.

Messages travel over the edges of the pools of `grasper.retrieve.pool.POOLS`, as facts only. The edge (user, requested item) is among them, since
the request states it; the words behind it are taken out of the requester's own view (`features.ItemText`), and are no part of what the requester is
known by (`features.own_words`), so no target text reaches its own prediction. A predictor that propagates words gets a graph without any target's
words. With `until`, the tables are read as they stood on that day: what is dated later does not exist, not even as a number of an item.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from grasper.errors import UnknownIdError
from grasper.predict.features import SentenceSpace, TextSpace, TfidfSpace, metadata_vectors
from grasper.predict.graph import SECONDS_PER_DAY, FloatArray, IndexArray, Interactions, Vocabulary
from grasper.records import Example, Review, Tables

Pool = tuple[str, ...]


class Catalogue:
    """The reviews of the tables as edges, and the reviewed items as the catalogue.

    Args:
        until: Unix seconds; later reviews do not exist yet, undated ones do, as for `ReviewPool`. None knows all.
    """

    def __init__(self, tables: Tables, *, until: float | None = None) -> None:
        reviews = tables.reviews
        self.tables, self.until = tables, until
        self.timestamp = reviews["timestamp"].to_numpy(dtype=np.float64, na_value=np.nan)
        self.is_there = np.ones(len(reviews), bool) if until is None else ~(self.timestamp > until)
        self.users, self.items = (Vocabulary(reviews.loc[self.is_there, name]) for name in ("user_id", "item_id"))
        self.user_index, self.item_index = self.users.find(reviews["user_id"]), self.items.find(reviews["item_id"])
        """Of every review, −1 where nobody knows the user or item yet."""
        self.has_days = bool(np.isfinite(self.timestamp[self.is_there]).any())
        self.split = reviews["split"].to_numpy(dtype=object)
        self.space: TextSpace | None = None
        self.text: FloatArray | None = None
        """One vector per review, `[num_reviews, text_dim]`."""

    @cached_property
    def texts(self) -> list[str]:
        """Title and text of every review."""
        reviews = self.tables.reviews
        return [whole_text(title, text) for title, text in zip(reviews["title"].fillna(""), reviews["text"].fillna(""), strict=True)]

    @cached_property
    def metadata(self) -> dict[str, sp.csr_matrix]:
        """Unit vectors of the items' names, categories and brands, `[num_items, …]` each."""
        table = self.tables.items.drop_duplicates("item_id").set_index("item_id").reindex(self.items.ids)
        return metadata_vectors(table)

    def fit_text(self, dim: int, seed: int) -> TfidfSpace:
        """The text space of training reviews that are nobody's target, and all reviews encoded in it."""
        free = np.flatnonzero(self.is_there & (self.split == "train") & ~self.is_target)
        space = TfidfSpace.fit([self.texts[row] for row in free], dim, seed)
        self.read_text(space)
        return space

    def read_text(self, space: TextSpace) -> None:
        """Encode all reviews in a text space, which newcomers' reviews will be encoded in, too."""
        self.space, self.text = space, space.encode(self.texts)
        del self.texts

    def embed_text(self, model_name: str, cache_dir: Path) -> None:
        """Encode all reviews with a sentence-transformers model; their vectors are kept in `cache_dir`."""
        self.space = SentenceSpace(model_name)
        self.text = self.space.encode(self.texts, cache_dir)
        del self.texts

    def without_words(self) -> Catalogue:
        """The same edges without words and metadata, which take most of the memory."""
        bare = copy.copy(self)
        bare.space = bare.text = None
        vars(bare).pop("metadata", None)
        return bare

    def encode(self, reviews: Iterable[Review]) -> FloatArray | None:
        """Vectors of reviews that are not part of the tables, `[num_reviews, text_dim]`; None where none has a word, so that no model is needed."""
        texts = [whole_text(review.title, review.text) for review in reviews]
        return self.space.encode(texts) if self.space is not None and any(text.strip() for text in texts) else None

    @cached_property
    def is_target(self) -> np.ndarray:
        """Which reviews some example asks for, `[num_reviews]`."""
        return self.tables.reviews["review_id"].isin(set(self.tables.examples["review_id"])).to_numpy()

    def graph(self, pool: Pool, *, with_target_words: bool = True) -> Interactions:
        """The visible edges of some splits; without target words, reviews that an example asks for are facts only, to everybody."""
        rows = np.flatnonzero(self.is_there & np.isin(self.split, pool))
        return Interactions.build(
            self.user_index[rows],
            self.item_index[rows],
            len(self.users),
            len(self.items),
            self.timestamp[rows] / SECONDS_PER_DAY if self.has_days else None,
            self._words(rows, with_target_words),
            is_target=self.is_target[rows],
        )

    def histories(self, examples: Sequence[Example], pool: Pool, *, with_target_words: bool = True) -> Interactions:
        """What each of these is known by, oldest first, `[len(examples), num_items]`: visible reviews up to the cut-off, and the requested edge.

        A requested item that was not reviewed is the latest edge, a fact without words. Where a request names no record, what the user wrote about
        the item is hidden like a target.

        Raises:
            UnknownIdError: A user without any review, or an item that the tables do not hold.
        """
        known = [place for place, example in enumerate(examples) if example.history is None]
        cutoff = np.array([np.inf if example.cutoff is None else float(example.cutoff) for example in examples])
        requested = self._requested(examples)
        found = [self._rows_of(examples[place].user_id) for place in known]
        rows = np.concatenate([*found, np.zeros(0, np.int64)]).astype(np.int64)
        owner = np.repeat(np.array(known, np.int64), [len(part) for part in found])
        seen = np.isin(self.split[rows], pool) & ~(self.timestamp[rows] > cutoff[owner]) & (self.item_index[rows] >= 0)
        rows, owner = rows[seen], owner[seen]
        brought = [(place, review) for place, example in enumerate(examples) for review in example.history or ()]
        brought = [pair for pair in brought if pair[1].timestamp is None or pair[1].timestamp <= cutoff[pair[0]]]
        items = self._item_indices([review.item_id for _, review in brought])
        brought = [pair for pair, item in zip(brought, items, strict=True) if item >= 0]

        owners = np.concatenate([owner, np.array([place for place, _ in brought], np.int64)])
        indices = np.concatenate([self.item_index[rows], items[items >= 0]])
        times = np.array([np.nan if review.timestamp is None else review.timestamp for _, review in brought])
        days = np.concatenate([self.timestamp[rows], times]) / SECONDS_PER_DAY
        is_request = np.array([example.is_request for example in examples], bool)
        hidden = np.concatenate([self.is_target[rows], np.zeros(len(brought), bool)]) | (is_request[owners] & (indices == requested[owners]))
        wished = (requested >= 0) & ~np.isin(np.arange(len(examples)) * len(self.items) + requested, owners * len(self.items) + indices)
        extra = np.flatnonzero(wished)
        new = np.concatenate([owners[len(rows) :], extra]), np.concatenate([indices[len(rows) :], requested[extra]])
        standing = self._standing_words(examples, *new, pool, with_target_words)
        text, graph_text = self._history_words(rows, [review for _, review in brought], standing, with_target_words)
        graph = Interactions.build(
            np.concatenate([owners, extra]),
            np.concatenate([indices, requested[extra]]),
            len(examples),
            len(self.items),
            np.concatenate([days, np.full(len(extra), np.inf)]),  # the latest, whatever the others' days
            text,
            is_target=np.concatenate([hidden, np.ones(len(extra), bool)]),
            graph_text=graph_text,
        )
        assert graph.day is not None
        return replace(graph, day=np.where(np.isinf(graph.day), np.nan, graph.day) if self.has_days else None)

    def set_aside(self, examples: Sequence[Example], pool: Pool) -> tuple[IndexArray, IndexArray]:
        """Places of known users who bring a history along, and the items that they reviewed in the tables: their own words stand there, so none is
        a candidate, `[num_reviews]` both."""
        found = [
            (place, rows[np.isin(self.split[rows], pool) & self.is_there[rows]])
            for place, example in enumerate(examples)
            if example.history is not None and (rows := self._rows_by_user.get(example.user_id)) is not None
        ]
        places = np.repeat(np.array([place for place, _ in found], np.int64), [len(rows) for _, rows in found])
        return places, self.item_index[np.concatenate([np.zeros(0, np.int64), *(rows for _, rows in found)])]

    def _history_words(
        self, rows: IndexArray, brought: Sequence[Review], standing: FloatArray | None, with_target_words: bool
    ) -> tuple[FloatArray | None, FloatArray | None]:
        """The words behind the edges of histories, and what of them stands in the items' vectors, too."""
        words = self._words(rows, with_target_words)
        if words is None or standing is None:
            return None, None
        text = np.concatenate([words, np.zeros_like(standing)])
        if not brought and self.is_there[rows].all() and not standing.any():
            return text, None
        encoded = self.encode(brought)
        if encoded is not None:
            text[len(rows) : len(rows) + len(brought)] = encoded
        return text, np.concatenate([words * self.is_there[rows, None], standing])

    def _standing_words(
        self, examples: Sequence[Example], owners: IndexArray, indices: IndexArray, pool: Pool, with_target_words: bool
    ) -> FloatArray | None:
        """What the items' vectors hold of a known user who brings a history along, `[len(owners), text_dim]`: their reviews in the tables.

        Args:
            owners: Place of each edge's example. A pair that stands several times gets its words once, as they are added up.
            indices: The item of each edge.
        """
        if self.text is None:
            return None
        words, done = np.zeros((len(owners), self.text.shape[1]), np.float32), set[tuple[int, int]]()
        for edge, pair in enumerate(zip(owners.tolist(), indices.tolist(), strict=True)):
            example = examples[pair[0]]
            rows = self._rows_by_user.get(example.user_id) if example.history is not None else None
            if rows is None or pair in done:
                continue
            done.add(pair)
            rows = rows[(self.item_index[rows] == pair[1]) & np.isin(self.split[rows], pool) & self.is_there[rows]]
            if (found := self._words(rows, with_target_words)) is not None:
                words[edge] = found.sum(axis=0)
        return words

    def _words(self, rows: IndexArray, with_target_words: bool) -> FloatArray | None:
        if self.text is None:
            return None
        words = self.text[rows]
        if not with_target_words:
            words[self.is_target[rows]] = 0
        return words

    def _rows_of(self, user_id: str) -> IndexArray:
        try:
            return self._rows_by_user[user_id]
        except KeyError:
            raise UnknownIdError(f"user {user_id!r} is not in the data ({len(self._rows_by_user)} are); see prepare/reviews.parquet") from None

    @cached_property
    def _rows_by_user(self) -> dict[str, IndexArray]:
        """Rows of each user in the tables, ascending."""
        users = Vocabulary(self.tables.reviews["user_id"])
        index = users.index(self.tables.reviews["user_id"])
        order = np.argsort(index, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(index, minlength=len(users)))[:-1])
        return dict(zip(users.ids, parts, strict=True))

    def _requested(self, examples: Sequence[Example]) -> IndexArray:
        """The item that each example has in mind, −1 for none, or for one that nobody reviewed yet, `[len(examples)]`."""
        requested = np.full(len(examples), -1, np.int64)
        places = [place for place, example in enumerate(examples) if example.item_id]
        requested[places] = self._item_indices([examples[place].item_id for place in places])
        return requested

    def _item_indices(self, item_ids: Sequence[str]) -> IndexArray:
        """Places in the catalogue, −1 for items that are listed and were not reviewed (yet); nothing is known by them then."""
        found = self.items.find(item_ids)
        if self.until is None and (found < 0).any():
            unknown = [item_id for item_id, place in zip(item_ids, found, strict=True) if place < 0 and item_id not in self._listed]
            self.items.index(unknown, "item")
        return found

    @cached_property
    def _listed(self) -> set[str]:
        return set(self.tables.items["item_id"])


def whole_text(title: str | None, text: str) -> str:
    """What of a review is encoded."""
    return f"{title or ''}\n{text}"
