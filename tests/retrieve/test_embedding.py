"""Dense ranking with a stub encoder: cosine, each review encoded once."""

from __future__ import annotations

import numpy as np

from grasper.records import Review
from grasper.retrieve.embedding import EmbeddingRanker


class LetterEncoder:
    """Counts of a, b and c as a unit vector."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: list[str], normalize_embeddings: bool) -> np.ndarray:
        assert normalize_embeddings
        self.seen += texts
        vectors = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=float)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_scores_are_cosines_and_reviews_are_encoded_once() -> None:
    encoder = LetterEncoder()
    ranker = EmbeddingRanker(encoder)
    reviews = [Review("1", "u", "i", "aa"), Review("2", "u", "i", "b", title="a"), Review("3", "u", "i", "c")]
    assert np.allclose(ranker.scores("a", reviews), [1, 0.5**0.5, 0])
    ranker.scores("b", reviews)
    assert encoder.seen == ["aa", "a b", "c", "a", "b"]
    assert ranker.scores("a", []).shape == (0,)
