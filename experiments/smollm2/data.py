"""The public reviews that smollm2-reviews is tuned on, and the held-out examples that its losses are measured on.

What may be trained on is decided by `experiments.nano.reviews`: no reserved user, no dev user, no text that shares 13 words with either.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.nano.reviews import load_review_sets, read_review
from grasper.retrieve.pool import reserved_split
from grasper.tune.examples import ReviewSet

SHARES = {
    "hotel/train": 3.0,
    "gap/train": 1.0,
    "b2w/train": 0.5,
    "hotel_7282/reviews": 0.6,
    "amazon_consumer/reviews": 0.3,
    "electronics_datafiniti/reviews": 0.8,
    "amazon14_musical_instruments/reviews": 1.0,
    "amazon14_digital_music_part/reviews": 0.3,
    "amazon18_all_beauty/reviews": 1.5,
    "amazon18_appliances/reviews": 1.0,
    "amazon18_fashion/reviews": 0.5,
    "amazon18_gift_cards/reviews": 0.3,
    "amazon18_magazines/reviews": 0.6,
    "amazon23_multi/reviews": 2.0,
    "fine_foods_head/reviews": 0.6,
    "yelp_10k/reviews": 0.4,
}
"""How often a review of each set is asked for in a round: sets like the benchmark's English ones more often, Portuguese at a small share."""
MAX_WORDS = 330
HELD_OUT_SETS = ("hotel/train", "gap/train")


def load_sets(data_dir: Path, counts: dict[str, dict[str, int]]) -> list[ReviewSet]:
    """The allowed reviews of every set in the folder; `counts` says what was kept and dropped."""
    return load_review_sets(data_dir, counts, shares=SHARES, max_words=MAX_WORDS)


def load_held_out(data_dir: Path, sets: Sequence[ReviewSet]) -> list[ReviewSet]:
    """The reviews of users that are reserved for holding out, to be asked for with the allowed ones shown."""
    groups = []
    for group in (group for group in sets if group.name in HELD_OUT_SETS):
        table = pd.read_parquet(data_dir / f"{group.name}.parquet").dropna(subset=["text"])
        reviews = [read_review(row, f"held-out-{number}") for number, row in enumerate(table.itertuples(index=False))]
        held_out = [review for review in reviews if reserved_split(review.user_id) == "held-out"]
        groups.append(ReviewSet(group.name, 1.0, held_out, group.items, tuple(group.reviews)))
    return groups
