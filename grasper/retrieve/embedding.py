"""Similarity of sentence embeddings: PGraphRAG's dense ranker (Contriever), through sentence-transformers (extra `embeddings`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grasper.errors import ConfigError, ModelNotFoundError
from grasper.records import Review
from grasper.retrieve.rank import document_of

CONTRIEVER = "facebook/contriever"


class EmbeddingRanker:
    """Scores by the cosine between the query's vector and each review's; every review is encoded once.

    Args:
        encoder: Anything with sentence-transformers' `encode(texts, normalize_embeddings=True)`, giving `[len(texts), dim]`; None loads Contriever.
    """

    def __init__(self, encoder: Any = None) -> None:
        self._encoder = encoder if encoder is not None else _load(CONTRIEVER)
        self._vectors: dict[str, np.ndarray] = {}

    def scores(self, query: str, reviews: Sequence[Review]) -> np.ndarray:
        """Cosine of each review's title and text with the query, `[len(reviews)]`, −1 … 1."""
        if not reviews:
            return np.zeros(0)
        documents = [document_of(review) for review in reviews]
        new = [document for document in dict.fromkeys(documents) if document not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encode(new), strict=True))
        return np.stack([self._vectors[document] for document in documents]) @ self._encode([query])[0]

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self._encoder.encode(list(texts), normalize_embeddings=True))


def _load(name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ConfigError("ranker 'embedding' needs sentence-transformers; install it with: pip install 'grasper[embeddings]'") from None
    try:
        return SentenceTransformer(name)
    except OSError as error:
        raise ModelNotFoundError(f"{name} is neither on disk nor reachable ({error}); use prompts.ranker=bm25") from None
