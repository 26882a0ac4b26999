"""Text features of reviews, items and users (DESIGN: leakage rules).

A review's vector is centred TF-IDF after truncated SVD, or a sentence-transformers embedding. An item's vector is the sum of its visible reviews'
vectors **minus the requester's own**, so nobody recognises an item by his own words. What a user wrote describes him, not the item, and leaves out
every review that an example asks for. IDF, SVD and centre are fitted on training reviews that are nobody's target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from grasper.errors import ModelNotFoundError, ShapeError
from grasper.files import atomic_path
from grasper.predict.graph import FloatArray, IndexArray, Interactions

MAX_TERMS = 30_000
NOISE = 1e-4
MAX_FITTED_REVIEWS = 10_000
"""SVD looks at no more reviews than this, evenly spread: its time stays bounded and its directions no longer change."""
TEXTS_AT_ONCE = 20_000
METADATA_FIELDS = ("name", "category", "brand")


@dataclass(frozen=True)
class TfidfSpace:
    """TF-IDF followed by truncated SVD; `centre` is the mean training review, `[text_dim]`."""

    terms: tuple[str, ...]
    idf: FloatArray
    components: FloatArray
    centre: FloatArray

    @classmethod
    def fit(cls, texts: Sequence[str], dim: int, seed: int) -> TfidfSpace:
        """Learn terms, IDF, directions and centre; frequent words (over a quarter of the reviews) are left out, in any language."""
        step = max(1, -(-len(texts) // MAX_FITTED_REVIEWS))
        vectorizer = _vectorizer(min_df=2 if len(texts) > 100 else 1, max_df=0.25 if len(texts) > 100 else 1.0)
        try:
            weights = vectorizer.fit_transform(texts[::step])
        except ValueError:  # no term passes the limits, or all texts are empty
            return cls((), np.zeros(0, np.float32), np.zeros((1, 0), np.float32), np.zeros(1, np.float32))
        if min(weights.shape) < 3:  # one review or two, or one word or two: there is nothing to reduce
            components = np.eye(weights.shape[1], dtype=np.float32)[:dim]
        else:
            dim = min(dim, min(weights.shape) - 1)
            with threadpool_limits(limits=1):  # these products are too small for threads, which only wait for each other on a busy machine
                svd = TruncatedSVD(dim, n_iter=2, n_oversamples=8, random_state=seed).fit(weights)
            components = svd.components_.astype(np.float32)
        centre = np.asarray(weights.mean(0)).ravel().astype(np.float32) @ components.T
        return cls(tuple(vectorizer.get_feature_names_out()), vectorizer.idf_.astype(np.float32), components, centre)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Centred vectors, `[len(texts), text_dim]`; a text without any known term gets zeros."""
        if not self.terms:
            return np.zeros((len(texts), self.components.shape[0]), np.float32)
        vectors = np.empty((len(texts), self.components.shape[0]), np.float32)
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            weights = self._fitted_vectorizer.transform(texts[start : start + TEXTS_AT_ONCE])
            has_terms = np.diff(weights.indptr) > 0
            vectors[start : start + TEXTS_AT_ONCE] = (weights @ self.components.T - self.centre) * has_terms[:, None]
        return vectors

    @cached_property
    def _fitted_vectorizer(self) -> TfidfVectorizer:
        vectorizer = _vectorizer(vocabulary={term: column for column, term in enumerate(self.terms)})
        vectorizer.idf_ = self.idf
        return vectorizer


def _vectorizer(**settings: object) -> TfidfVectorizer:
    return TfidfVectorizer(sublinear_tf=True, max_features=None if "vocabulary" in settings else MAX_TERMS, dtype=np.float32, **settings)


class TextSpace(Protocol):
    """What turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """One vector per text, `[len(texts), text_dim]`."""


@dataclass(frozen=True)
class SentenceSpace:
    """The vectors of a sentence-transformers model, unit length."""

    model_name: str

    def encode(self, texts: Sequence[str], cache_dir: Path | None = None) -> FloatArray:
        """Vectors, `[len(texts), text_dim]`; with `cache_dir` they are kept there under a hash of model and texts.

        Raises:
            ModelNotFoundError: The extra `embeddings` is not installed, or the model cannot be loaded.
        """
        path = cache_dir / f"text-{self._digest(texts)}.npy" if cache_dir else None
        if path is not None and path.exists():
            return np.load(path, allow_pickle=False)
        model = _sentence_model(self.model_name)
        vectors = np.asarray(model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False), dtype=np.float32)
        if path is not None:
            with atomic_path(path) as temporary, temporary.open("wb") as handle:
                np.save(handle, vectors, allow_pickle=False)
        return vectors

    def _digest(self, texts: Sequence[str]) -> str:
        digest = hashlib.sha256(self.model_name.encode())
        for text in texts:
            digest.update(b"\0" + text.encode())
        return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def _sentence_model(model_name: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ModelNotFoundError(
            f"predict.text_encoder is {model_name!r}, which needs sentence-transformers: pip install 'grasper[embeddings]', or use text_encoder=tfidf"
        ) from None
    try:
        return SentenceTransformer(model_name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"sentence-transformers model {model_name!r} is neither on disk nor reachable: {error}") from None


class ItemText:
    """Item vectors of a bound graph, each requester's own words taken out. Vectors are dense or sparse, as in the graph."""

    def __init__(self, graph: Interactions, sums: FloatArray | sp.csr_matrix | None = None) -> None:
        self.graph = graph
        self.sums = self._sums_over(np.arange(graph.num_edges)) if sums is None else sums
        """`[num_items, text_dim]`, summed over all visible reviews."""
        self._latest: tuple[Interactions, FloatArray | sp.csr_matrix] | None = None

    def _sums_over(self, edges: IndexArray) -> FloatArray | sp.csr_matrix:
        if self.graph.text is None:
            raise ShapeError("the graph carries no text; expected one vector per edge")
        return _row_sums(self.graph.item_index[edges], self.graph.num_items, np.ones(len(edges), np.float32)) @ self.graph.text[edges]

    def without(self, edges: IndexArray) -> ItemText:
        """The same vectors before these edges of the graph; to take out a few costs less than to add up all others."""
        return ItemText(self.graph, self.sums - self._sums_over(edges))

    @cached_property
    def vectors(self) -> FloatArray | sp.csr_matrix:
        """Candidates as others see them; a candidate is never in the requester's history, so nothing of his own is in it."""
        return unit_rows(self.sums)

    def of_edges(self, histories: Interactions) -> FloatArray | sp.csr_matrix:
        """The item behind each edge without the requester's own review of it, unit length, `[num_edges, text_dim]`.

        Words that are part of the graph are taken out, as `Interactions.of_users` gives them; a newcomer's are not in it.
        """
        behind = self.sums[histories.item_index]
        if histories.text is not None:
            behind = behind - (histories.text if histories.graph_text is None else histories.graph_text)
        return unit_rows(behind)

    def profiles(self, histories: Interactions) -> FloatArray | sp.csr_matrix:
        """Each requester's mean over the items met, `[num_users, text_dim]`; zeros without history. Kept for the next signal that asks."""
        latest = self._latest
        if latest is None or latest[0] is not histories:
            share = (1.0 / np.maximum(histories.user_degree, 1)).astype(np.float32)[histories.user_index]
            latest = self._latest = histories, _row_sums(histories.user_index, histories.num_users, share) @ self.of_edges(histories)
        return latest[1]

    def score(self, histories: Interactions) -> FloatArray:
        """Mean cosine between the items met and every item, `[num_users, num_items]`."""
        scores = self.profiles(histories) @ self.vectors.T
        return np.asarray(scores.toarray() if isinstance(scores, sp.csr_matrix) else scores, dtype=np.float32)


def own_words(histories: Interactions) -> FloatArray | sp.csr_matrix:
    """What each requester wrote in the visible history, mean of unit vectors, `[num_users, text_dim]`; no word of a review that an example asks for.

    Raises:
        ShapeError: The histories carry no text.
    """
    if histories.text is None:
        raise ShapeError("the histories carry no text; expected one vector per edge")
    share = (1.0 / np.maximum(histories.user_degree, 1)).astype(np.float32)[histories.user_index]
    if histories.is_target is not None:
        share = share * ~histories.is_target
    return _row_sums(histories.user_index, histories.num_users, share) @ unit_rows(histories.text)


def words_of(graph: Interactions) -> ItemText | None:
    """What was written about each item, or None where the graph carries no text."""
    return ItemText(graph) if graph.text is not None else None


def _row_sums(rows: IndexArray, num_rows: int, weights: FloatArray) -> sp.csr_matrix:
    """The product that adds up the edges of each row, weighted, `[num_rows, num_edges]`."""
    return sp.csr_matrix((weights, (rows, np.arange(len(rows)))), (num_rows, len(rows)))


def unit_rows(vectors: FloatArray | sp.csr_matrix) -> FloatArray | sp.csr_matrix:
    """Rows scaled to length 1; rows no longer than rounding noise (an item that only the requester reviewed) become zeros."""
    if isinstance(vectors, sp.csr_matrix):
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(1)).ravel())
        return (sp.diags(np.where(lengths > NOISE, 1.0 / np.maximum(lengths, NOISE), 0.0).astype(np.float32)) @ vectors).tocsr()
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > NOISE, vectors / np.maximum(lengths, NOISE), 0.0).astype(np.float32)


def metadata_vectors(items: pd.DataFrame) -> dict[str, sp.csr_matrix]:
    """Unit TF-IDF vectors of each metadata field that any item fills, `[num_items, num_words]`; a brand counts as one word."""
    vectors = {}
    for field in METADATA_FIELDS:
        values = items[field].fillna("").astype(str).tolist()
        if field == "brand":
            brands = {brand: column for column, brand in enumerate(sorted(set(values) - {""}))}
            filled = [row for row, brand in enumerate(values) if brand]
            columns = [brands[values[row]] for row in filled]
            matrix = sp.csr_matrix((np.ones(len(filled), np.float32), (filled, columns)), (len(values), max(1, len(brands))))
        else:
            try:
                matrix = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(values)
            except ValueError:  # no words at all
                continue
        if matrix.nnz and len(set(values)) > 1:
            vectors[field] = normalize(matrix)
    return vectors
