"""What a fit will need in memory, told before it begins."""

from __future__ import annotations

from grasper.config import PredictConfig
from grasper.errors import MemoryLimitError
from grasper.memory import available_bytes
from grasper.predict.hybrid import DENSE_CATALOGUE, MAX_SIGNALS, NUM_CANDIDATES
from grasper.predict.validation import num_scored
from grasper.records import Tables

GIB = 2**30
DENSE_MATRICES = 12
"""Item–item matrices of `hybrid` that exist at once: signals of one graph, and their weighted sums."""
TEXT_COPIES = 4
"""Copies of all reviews' vectors: the tables', the graph's, and those of a fold's histories."""
NUM_SIGNALS = 24
SENTENCE_WIDTH = 1024
"""Numbers in the vector of a wide sentence-transformers model."""


def require_memory(config: PredictConfig, tables: Tables) -> None:
    """Stop a fit that would not fit.

    Raises:
        MemoryLimitError: It would need more than is available; the message says how much, and which settings need less.
    """
    num_reviews, num_items = len(tables.reviews), int(tables.reviews["item_id"].nunique())
    needed, available = estimated_bytes(config, num_reviews, num_items), available_bytes()
    if needed > available:
        raise MemoryLimitError(
            f"fitting {config.encoder!r} on {num_reviews:,} reviews and {num_items:,} items needs about {needed / GIB:.1f} GiB of memory, but "
            f"{available / GIB:.1f} GiB are available; use a smaller predict.text_dim ({config.text_dim}) or predict.encoder=lightgcn or popularity"
        )


def estimated_bytes(config: PredictConfig, num_reviews: int, num_items: int) -> int:
    """Upper estimate of what fitting and predicting add to the tables, in bytes."""
    is_dense = (config.encoder == "hybrid" and num_items <= DENSE_CATALOGUE) or config.encoder in ("ease", "itemknn")
    item_matrices = DENSE_MATRICES * 4 * num_items**2 if is_dense else 0
    width = config.text_dim if config.text_encoder == "tfidf" else max(config.text_dim, SENTENCE_WIDTH)
    words = TEXT_COPIES * 4 * num_reviews * width
    num_withheld = num_reviews // 2
    validation = 5 * 4 * min(num_withheld, num_scored(num_items)) * num_items
    most_signals = min(num_withheld * min(NUM_CANDIDATES, num_items) * NUM_SIGNALS, MAX_SIGNALS)
    signals = 2 * 4 * most_signals if config.encoder == "hybrid" else 0
    return item_matrices + words + validation + signals
