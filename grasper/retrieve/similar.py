"""People who are like the user of a request, in how they write or in what they like: compared by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from grasper.records import Example

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SimilarUser:
    """Somebody like the user. `similarity` is a cosine, −1 … 1."""

    user_id: str
    similarity: float


class Tastes(Protocol):
    """What people like, as far as one graph tells it."""

    def nearest(self, example: Example, k: int, floor: float) -> tuple[SimilarUser, ...]:
        """At most `k` people whose taste is nearest to the user's, best first, none of them the user, nobody below the floor."""
        ...

    def likeness(self, item_id: str, others: Sequence[str]) -> np.ndarray:
        """Cosine of each of the other items to an item, `[len(others)]`."""
        ...


class LinkPredictor(Protocol):
    """What retrievers know of the fitted link predictor (`predict.predictor.Predictor`)."""

    def predict(self, examples: Sequence[Example], k: int) -> pd.DataFrame:
        """The `k` items that each of these will most likely meet next (CANDIDATE_COLUMNS), best first."""
        ...

    def tastes(self, example: Example) -> Tastes | None:
        """The tastes of everybody whom an example may see; None before anything is known."""
        ...


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows with length 1; a row of zeros stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))
