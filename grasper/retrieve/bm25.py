"""BM25 (Okapi) over short lists of candidates, as PGraphRAG ranks them.

The numbers are those of the `rank-bm25` package (`BM25Okapi`, k1 1.5, b 0.75, negative IDF floored at a quarter of the mean IDF), but each
review is tokenized once and each list is scored by a few array operations, so an item with thousands of reviews costs milliseconds.

Deviation from PGraphRAG: tokens are lower-cased words of any script instead of pieces between blanks.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grasper.metrics.text import unicode_tokens
from grasper.records import Review
from grasper.retrieve.rank import document_of

K1, B, EPSILON = 1.5, 0.75, 0.25


@dataclass(frozen=True, slots=True)
class _Document:
    terms: np.ndarray
    """Distinct term numbers, `[distinct]`."""
    counts: np.ndarray
    """How often each occurs, `[distinct]`."""
    length: int


class Bm25Ranker:
    """Scores by BM25 with document frequencies of the very list that is ranked."""

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._documents: dict[tuple[str | None, str], _Document] = {}
        self._lock = threading.Lock()

    def scores(self, query: str, reviews: Sequence[Review]) -> np.ndarray:
        """BM25 of each review's title and text, `[len(reviews)]`; a term that the query repeats counts as often."""
        if not reviews:
            return np.zeros(0)
        documents = [self._document(review) for review in reviews]
        wanted = Counter(number for token in unicode_tokens(query) if (number := self._vocabulary.get(token)) is not None)
        terms = np.concatenate([document.terms for document in documents])
        if not wanted or not terms.size:
            return np.zeros(len(reviews))
        size = len(self._vocabulary)  # other threads add words meanwhile
        weight = _idf(terms, len(documents), size)
        in_query = np.zeros(size)
        in_query[list(wanted)] = list(wanted.values())
        weight *= in_query
        lengths = np.array([document.length for document in documents], dtype=float)
        saturation = K1 * (1 - B + B * lengths / lengths.mean())
        owner = np.repeat(np.arange(len(documents)), [document.terms.size for document in documents])
        counts = np.concatenate([document.counts for document in documents])
        hit = in_query[terms] > 0
        terms, owner, counts = terms[hit], owner[hit], counts[hit]
        gains = weight[terms] * counts * (K1 + 1) / (counts + saturation[owner])
        return np.bincount(owner, weights=gains, minlength=len(documents))

    def _document(self, review: Review) -> _Document:
        key = review.title, review.text
        document = self._documents.get(key)
        if document is None:
            tokens = unicode_tokens(document_of(review))
            with self._lock:  # two threads must not give two words the same number
                counts = Counter(self._vocabulary.setdefault(token, len(self._vocabulary)) for token in tokens)
            document = _Document(np.array(list(counts), dtype=np.int64), np.array(list(counts.values()), dtype=float), len(tokens))
            self._documents[key] = document
        return document


def _idf(terms: np.ndarray, num_documents: int, size: int) -> np.ndarray:
    """Inverse document frequency by term number, `[size]`; 0 for terms that no document holds."""
    frequency = np.bincount(terms, minlength=size)
    present = np.flatnonzero(frequency)
    values = np.log(num_documents - frequency[present] + 0.5) - np.log(frequency[present] + 0.5)
    values[values < 0] = EPSILON * values.mean()
    idf = np.zeros(size)
    idf[present] = values
    return idf
