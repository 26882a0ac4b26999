"""How much many texts have in common with many others, all pairs at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from grasper.metrics.text import unicode_tokens


def pairwise_f1(first: Sequence[str], second: Sequence[str] | None = None) -> np.ndarray:
    """F1 of shared words of every pair (ROUGE-1 in any script), `[len(first), len(second)]`, 0–1.

    Without `second`, the pairs among `first`; a text agrees with itself by 0 then, since it is no evidence for itself.

    The n-th occurrence of a word counts as a word of its own, so the overlap of two multisets is the product of two sparse rows of ones.
    """
    vocabulary: dict[tuple[str, int], int] = {}
    left = _occurrences(first, vocabulary)
    right = left if second is None else _occurrences(second, vocabulary)
    width = len(vocabulary)
    shared = (_matrix(left, width) @ _matrix(right, width).T).toarray()
    if second is None:
        np.fill_diagonal(shared, 0.0)
    sizes = np.add.outer([len(row) for row in left], [len(row) for row in right])
    return 2.0 * shared / np.maximum(sizes, 1)


def _occurrences(texts: Sequence[str], vocabulary: dict[tuple[str, int], int]) -> list[list[int]]:
    rows = []
    for text in texts:
        seen, row = Counter[str](), []
        for token in unicode_tokens(text):
            seen[token] += 1
            row.append(vocabulary.setdefault((token, seen[token]), len(vocabulary)))
        rows.append(row)
    return rows


def _matrix(rows: list[list[int]], width: int) -> sparse.csr_matrix:
    ends = np.cumsum([0, *(len(row) for row in rows)])
    columns = np.array([column for row in rows for column in row], dtype=np.int64)
    return sparse.csr_matrix((np.ones(columns.size), columns, ends), shape=(len(rows), width))
