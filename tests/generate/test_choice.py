"""One answer of several, whoever wrote them."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.generate.choice import best_answer, mean_rating

LOW, HIGH = np.array([0.9, 0.1, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.2, 0.8])


def test_what_could_not_be_read_is_chosen_only_where_nothing_could() -> None:
    texts = ["a warm bed", "a warm bed", "a cold cake"]
    assert best_answer(texts, [True] * 3, []) == 0
    assert best_answer(texts, [False, False, True], []) == 2
    assert best_answer(texts, [False] * 3, []) == 0


def test_the_mean_goes_by_the_weights() -> None:
    """By hand: 0.75 of the low one and 0.25 of the high one expect 0.75 · 1.1 + 0.25 · 4.8."""
    found = mean_rating([LOW, HIGH], ["measured", "measured"], "expectation", [3.0, 1.0])
    assert found.rating == pytest.approx(0.75 * 1.1 + 0.25 * 4.8)
    assert found.probabilities == pytest.approx((0.675, 0.075, 0, 0.05, 0.2))
    assert found.each == ("1.1", "4.8")
    assert mean_rating([LOW, HIGH], ["measured", "measured"], "expectation").rating == pytest.approx((1.1 + 4.8) / 2)


def test_an_answer_without_a_rating_says_nothing() -> None:
    """Its probabilities are all alike, and are left only where no answer has a rating. The model's own are told of all answers or of none."""
    nothing = np.full(5, 0.2)
    found = mean_rating([nothing, HIGH], ["none", "sampled"], "expectation")
    assert (found.rating, found.is_rated, found.probabilities) == (pytest.approx(4.8), True, ())
    found = mean_rating([nothing, nothing], ["none", "none"], "expectation")
    assert (found.rating, found.is_rated) == (pytest.approx(3.0), False)
