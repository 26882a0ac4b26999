"""The rankers by name: BM25, embeddings, recency."""

from __future__ import annotations

from typing import Literal

from grasper.errors import ConfigError
from grasper.retrieve.rank import Ranker, RecencyRanker

RankerName = Literal["bm25", "embedding", "recency"]


def make_ranker(name: RankerName) -> Ranker:
    """The ranker of a name.

    Raises:
        ConfigError: Not a known name, or its extra is not installed.
    """
    if name == "bm25":
        from grasper.retrieve.bm25 import Bm25Ranker

        return Bm25Ranker()
    if name == "embedding":
        from grasper.retrieve.embedding import EmbeddingRanker

        return EmbeddingRanker()
    if name == "recency":
        return RecencyRanker()
    raise ConfigError(f"unknown ranker {name!r}; known: bm25, embedding, recency")
