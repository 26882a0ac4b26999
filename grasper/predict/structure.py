"""Item–item structure in closed form: how much meeting one item says about another.

Every matrix is `[num_items, num_items]`, rows are items met, columns candidates, the diagonal is zero; `histories @ matrix` scores the catalogue.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cholesky
from scipy.linalg.lapack import dpotri

from grasper.predict.graph import FloatArray, Interactions


def cooccurrence(graph: Interactions) -> FloatArray:
    """Number of users who met both items; the diagonal holds the number who met one."""
    return np.ascontiguousarray((graph.matrix.T @ graph.matrix).toarray(), dtype=np.float32)


def ease_weights(counts: FloatArray, regularization: float) -> FloatArray:
    """EASE: the linear model that best reconstructs each item from the others (Steck 2019, arXiv:1905.03375, Eq. 8).

    Args:
        counts: Co-occurrence with item degrees on the diagonal.
        regularization: λ, in users. Items that share no user with another have no weight and stay out of the inversion.
    """
    weights = np.zeros_like(counts)
    linked = np.flatnonzero((counts > 0).sum(1) > 1)
    if not len(linked):
        return weights
    factor = cholesky(counts[np.ix_(linked, linked)].astype(np.float64) + regularization * np.eye(len(linked)), lower=True)
    inverse, _ = dpotri(factor, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights[np.ix_(linked, linked)] = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def cosine_weights(counts: FloatArray, shrinkage: float) -> FloatArray:
    """Shrunk cosine between items: co-occurrence / (√(degree · degree) + shrinkage)."""
    degree = np.sqrt(np.diag(counts))
    weights = counts / (degree[:, None] * degree[None, :] + shrinkage + 1e-9)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def walk_weights(graph: Interactions, shrinkage: float) -> FloatArray:
    """Chance that a walk item → user → item ends at the candidate (P³, Cooper et al. 2014), with `shrinkage` extra users per item."""
    per_user = graph.matrix.multiply(1.0 / np.maximum(graph.user_degree, 1)[:, None]).tocsr()
    weights = np.ascontiguousarray((graph.matrix.T @ per_user).toarray(), dtype=np.float32)
    np.fill_diagonal(weights, 0.0)
    return (weights / (graph.item_degree[:, None] + shrinkage)).astype(np.float32)


def order_weights(graph: Interactions, shrinkage: float, max_gap: int = 20) -> tuple[FloatArray, FloatArray]:
    """How items follow one another in histories: what comes after the row's item, and what came before it.

    A pair `gap` places apart counts 1 / gap; rows are divided by their sum plus `shrinkage`.
    """
    shape = (graph.num_items, graph.num_items)
    follows = sp.csr_matrix(shape, dtype=np.float32)
    for gap in range(1, max_gap + 1):
        earlier = np.flatnonzero(graph.edges_after >= gap)
        if not len(earlier):
            break
        values = np.full(len(earlier), 1.0 / gap, np.float32)
        follows = follows + sp.csr_matrix((values, (graph.item_index[earlier], graph.item_index[earlier + gap])), shape)
    after = np.ascontiguousarray(follows.toarray(), dtype=np.float32)
    before = np.ascontiguousarray(after.T)
    return after / (after.sum(1, keepdims=True) + shrinkage), before / (before.sum(1, keepdims=True) + shrinkage)


def keep_strongest(weights: FloatArray, num_neighbours: int) -> FloatArray:
    """Only the strongest neighbours of each candidate (columns); the rest becomes zero."""
    if num_neighbours >= len(weights):
        return weights
    threshold = np.partition(weights, -num_neighbours, axis=0)[-num_neighbours]
    return np.where(weights >= threshold, weights, 0.0).astype(np.float32)
