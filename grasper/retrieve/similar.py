"""People who are like the user of a request, in how they write or in what they like: compared by the cosine of their vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SimilarUser:
    """Somebody like the user. `similarity` is a cosine, −1 … 1."""

    user_id: str
    similarity: float


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows with length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))
