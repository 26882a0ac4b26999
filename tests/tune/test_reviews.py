from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pandas as pd
import pytest
from tune_reviews import user_of

from grasper.errors import ConfigError
from grasper.records import EXAMPLE_COLUMNS, ITEM_COLUMNS, Review, Tables
from grasper.tune.reviews import allowed_reviews, fingerprint_sets

LONG = "we had a very quiet room with a view of the sea and breakfast until noon"
OTHER = "the desk clerk lost our booking twice and nobody could say where the luggage went"


def tables(reviews: list[Review]) -> Tables:
    examples = [("x", review.review_id, review.user_id, review.item_id, "dev-a", None, False) for review in reviews if review.split == "dev"]
    return Tables(
        pd.DataFrame([asdict(review) for review in reviews]),
        pd.DataFrame([("i", "Inn", None, None)], columns=list(ITEM_COLUMNS)),
        pd.DataFrame(examples, columns=list(EXAMPLE_COLUMNS)),
    )


def test_reserved_and_evaluated_users_and_shared_texts_are_never_trained_on() -> None:
    free, more, again = (user_of(None, start) for start in (0, 2000, 4000))
    held_out, aligned = user_of("held-out"), user_of("align")
    world = [
        Review("keep", free, "i", "the room was clean"),
        Review("evaluated", "DevUser", "i", "an earlier text of somebody who is evaluated"),
        Review("dev", "devuser", "i", LONG, split="dev"),
        Review("copied", more, "i", f"They say: {LONG}!"),
        Review("copied-reserved", again, "i", f"so {OTHER}"),
        Review("aligned", aligned, "i", OTHER),
        Review("held-out", held_out, "i", "nice and short"),
    ]
    allowed, reserved, counts = allowed_reviews(tables(world), "world")
    assert [review.review_id for review in allowed.reviews] == ["keep"]
    assert [review.review_id for review in reserved.reviews] == ["held-out"]
    assert [review.review_id for review in reserved.shown] == ["keep"]
    assert counts == {"reviews": 6, "reserved": 2, "evaluated_user": 1, "shared": 2, "kept": 1}
    assert allowed.item("i").name == "Inn"


def test_a_data_set_without_free_reviews_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves no review to tune on: of 1 training reviews 1 are of reserved users"):
        allowed_reviews(tables([Review("r", user_of("align"), "i", "a text")]), "small")


@pytest.mark.parametrize("changed", [{"text": "a test"}, {"title": "Other"}, {"rating": 4.0}, {"item_id": "j"}])
def test_whatever_is_learned_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    """One letter of the text, and every other field: they are asked for, shown, or decide what is shown."""
    review = Review("r", user_of(None), "i", "a text", "Title", 5.0)
    one, same, other = (allowed_reviews(tables([each]), "set")[0] for each in (review, review, replace(review, **changed)))
    assert fingerprint_sets([one]) == fingerprint_sets([same])
    assert fingerprint_sets([one]) != fingerprint_sets([other])
    renamed = replace(one, items={name: replace(item, name="Another inn") for name, item in one.items.items()})
    assert fingerprint_sets([one]) != fingerprint_sets([renamed])
