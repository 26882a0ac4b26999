"""Tables as graphs: which edges and which words a request may see.

Messages travel over the edges of the pools of `grasper.retrieve.pool.POOLS`, as facts only. The edge (user, requested item) is among them, since
the request states it; the words behind it are taken out of the requester's own view (`features.ItemText`), and are no part of what the requester is
known by (`features.own_words`), so no target text reaches its own prediction. A predictor that propagates words gets a graph without any target's
words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from grasper.predict.features import SentenceSpace, TextSpace, TfidfSpace, metadata_vectors
from grasper.predict.graph import SECONDS_PER_DAY, FloatArray, IndexArray, Interactions, Vocabulary
from grasper.records import Review, Tables

Pool = tuple[str, ...]


class Catalogue:
    """All reviews of the tables as edges, and all reviewed items as the catalogue."""

    def __init__(self, tables: Tables, *, history_limit: int | None = None) -> None:
        reviews = tables.reviews
        self.tables = tables
        self.history_limit = history_limit
        self.users, self.items = Vocabulary(reviews["user_id"]), Vocabulary(reviews["item_id"])
        self.user_index = self.users.index(reviews["user_id"])
        self.item_index = self.items.index(reviews["item_id"])
        timestamp = reviews["timestamp"].to_numpy(dtype=np.float64, na_value=np.nan)
        self.day = timestamp / SECONDS_PER_DAY if np.isfinite(timestamp).any() else None
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
        free = np.flatnonzero((self.split == "train") & ~self.is_target)
        space = TfidfSpace.fit([self.texts[row] for row in free], dim, seed)
        self.read_text(space)
        return space

    def read_text(self, space: TextSpace) -> None:
        """Encode all reviews in a text space, which newcomers' reviews will be encoded in, too."""
        self.space, self.text = space, space.encode(self.texts)

    def embed_text(self, model_name: str, cache_dir: Path) -> None:
        """Encode all reviews with a sentence-transformers model; their vectors are kept in `cache_dir`."""
        self.space = SentenceSpace(model_name)
        self.text = self.space.encode(self.texts, cache_dir)

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
        rows = np.flatnonzero(np.isin(self.split, pool))
        text = None if self.text is None else self.text[rows]
        if text is not None and not with_target_words:
            text = text * ~self.is_target[rows, None]
        return Interactions.build(
            self.user_index[rows],
            self.item_index[rows],
            len(self.users),
            len(self.items),
            None if self.day is None else self.day[rows],
            text,
            self.history_limit,
            self.is_target[rows],
        )

    def pools_of(self, user_ids: Sequence[str]) -> list[Pool]:
        """For each user, training and the evaluation split that the user belongs to.

        Raises:
            UnknownIdError: A user without any review.
        """
        index = self.users.index(user_ids, "user")
        return [self._pool_by_user[user] for user in index]

    @cached_property
    def _pool_by_user(self) -> list[Pool]:
        pools: list[Pool] = [("train",)] * len(self.users)
        for split in ("dev", "test"):
            for user in np.unique(self.user_index[self.split == split]):
                pools[user] = ("train", split)
        return pools


def whole_text(title: str | None, text: str) -> str:
    """What of a review is encoded."""
    return f"{title or ''}\n{text}"


def histories_until(graph: Interactions, users: IndexArray, items: IndexArray, cutoff_days: np.ndarray) -> Interactions:
    """The users' histories up to their cut-off (NaN for none), the requested items always among them."""
    histories = graph.of_users(users)
    if histories.day is None or np.isnan(cutoff_days).all():
        return histories
    later = histories.day > cutoff_days[histories.user_index]
    requested = histories.item_index == items[histories.user_index]
    return histories.keep(~later | requested)
