"""Data that several rooms' tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings

from grasper.records import Tables

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("GRASPER_SHARED") or REPOSITORY.parent / "shared")
if (SHARED / "nltk_data").is_dir():  # WordNet, for METEOR; NLTK looks for it when it is imported
    os.environ.setdefault("NLTK_DATA", str(SHARED / "nltk_data"))

# The same cases on every machine, however busy it is.
settings.register_profile("grasper", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("grasper")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first, then the rooms: a worker keeps a file, and none should be left alone with a long one at the end."""
    tests = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        room = item.path.relative_to(tests).parts[0]
        return 0 if room == "system" else 1 if room == "faults" or room.endswith(".py") else 2

    items.sort(key=turn)


@pytest.fixture(scope="module", autouse=True)
def modules_are_no_garbage() -> None:
    """Libraries call for full searches of millions of objects, half a second each: what outlives a file of tests is left out of them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with the benchmark data (`data/hotel` …); tests that need it are skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no benchmark data in {SHARED}; set GRASPER_SHARED")
    return SHARED


TINY_REVIEWS = [
    # review_id, user, item, rating, title, text, split; the rows of a user stand together, a dev user's target first
    ("tiny-train-000001", "lee", "inn", 5.0, "Lovely", "Lovely quiet room and a warm breakfast.", "train"),
    ("tiny-train-000002", "lee", "cafe", 4.0, "Good coffee", "Good coffee, the cake was a bit dry.", "train"),
    ("tiny-train-000003", "ann", "inn", 2.0, "Noisy", "noisy street, slept badly", "train"),
    ("tiny-train-000004", "ann", "boat", 5.0, "Great trip", "great trip, saw two seals", "train"),
    ("tiny-train-000005", "ann", "cafe", 4.0, "Good coffee", "Good coffee, the cake was a bit dry.", "train"),
    ("tiny-train-000006", "carl", "boat", 4.0, None, "Windy but fun! Bring a jacket!", "train"),
    ("tiny-train-000007", "bob", "boat", 3.0, "Fine", "It was fine, nothing special.", "train"),
    ("tiny-dev-000001", "dora", "inn", 4.0, "Clean and calm", "Clean and calm, the staff helped with our bags.", "dev"),
    ("tiny-dev-000002", "dora", "cafe", 5.0, "Best cake", "Best cake in town, the staff is so kind.", "dev"),
    ("tiny-dev-000003", "user2", "cafe", 3.0, "Slow", "Slow service but nice seats by the window.", "dev"),
    ("tiny-dev-000004", "user3", "boat", 5.0, "Wonderful!", "Wonderful! The captain told stories all the way!", "dev"),
    ("tiny-dev-000005", "user3", "inn", 4.0, "Nice stay", "Nice stay! Breakfast could start earlier!", "dev"),
]
TINY_TARGETS = ("tiny-dev-000001", "tiny-dev-000003", "tiny-dev-000004")


@pytest.fixture
def tables() -> Tables:
    """A hand-made data set: 4 training users, 3 development users, 3 items, 12 reviews.

    By the hashes of their names, lee gives alignment pairs and ann held-out ones, dora is in dev-b, user2 and user3 in dev-a. lee's
    second text stands verbatim at ann; user2 has no history at all.
    """
    from grasper.prepare.split import make_examples

    columns = ["review_id", "user_id", "item_id", "rating", "title", "text", "split"]
    reviews = pd.DataFrame(TINY_REVIEWS, columns=columns)
    reviews.insert(6, "timestamp", pd.Series(pd.NA, index=reviews.index, dtype="Int64"))
    items = pd.DataFrame(
        [("inn", "Gull Inn", "guesthouse", None), ("cafe", "Café Anker", "café", None), ("boat", "Seal Tours", "boat tour", "Seal & Sons")],
        columns=["item_id", "name", "category", "brand"],
    )
    examples = make_examples(reviews.assign(is_target=reviews["review_id"].isin(TINY_TARGETS)), has_time=False)
    return Tables(reviews, items, examples)
