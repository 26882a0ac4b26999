"""BM25: the numbers of rank-bm25, quickly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi
from timing import growth

from grasper.metrics.text import unicode_tokens
from grasper.records import Review
from grasper.retrieve import bm25
from grasper.retrieve.bm25 import Bm25Ranker

TEXTS = st.lists(st.sampled_from(["bed", "sea", "cake", "kind", "loud"]), max_size=8).map(" ".join)


def reviews_of(texts: list[str]) -> list[Review]:
    return [Review(f"r{number}", "u", "i", text) for number, text in enumerate(texts)]


@given(st.lists(TEXTS, min_size=1, max_size=8), TEXTS)
def test_equals_rank_bm25(texts: list[str], query: str) -> None:
    """Also where most documents share a term, which makes its IDF negative before the floor."""
    if not any(texts):
        return
    expected = BM25Okapi([list(unicode_tokens(text)) for text in texts]).get_scores(list(unicode_tokens(query)))
    assert np.allclose(Bm25Ranker().scores(query, reviews_of(texts)), expected)


def test_scores_do_not_depend_on_what_was_ranked_before() -> None:
    """The vocabulary grows over calls; document frequencies are those of the list at hand."""
    ranker, texts = Bm25Ranker(), ["kind staff", "loud street", "kind sea"]
    first = ranker.scores("kind sea", reviews_of(texts))
    ranker.scores("cake", [Review("other", "u", "i", "cake cake sea")])
    assert np.array_equal(ranker.scores("kind sea", reviews_of(texts)), first)


def test_title_and_text_are_searched() -> None:
    reviews = [Review("a", "u", "i", "fine"), Review("b", "u", "i", "fine", title="Seals"), Review("c", "u", "i", "fine indeed")]
    assert Bm25Ranker().scores("seals", reviews).argmax() == 1


def test_empty_lists_and_queries() -> None:
    ranker = Bm25Ranker()
    assert ranker.scores("bed", []).shape == (0,)
    assert ranker.scores("", reviews_of(["bed", "sea"])).tolist() == [0, 0]
    assert ranker.scores("bed", reviews_of(["", ""])).tolist() == [0, 0]


def test_time_grows_no_faster_than_the_reviews_of_an_item() -> None:
    """Once tokenized, eight times as many reviews take about eight times as long, where every pair of them would take 64 times."""
    generator, ranker = np.random.default_rng(0), Bm25Ranker()
    reviews = reviews_of([" ".join(map(str, generator.integers(0, 5000, 50))) for _ in range(1000)])
    ranker.scores("1 2 3", reviews)
    query = " ".join(map(str, range(50)))
    assert growth(lambda size: ranker.scores(query, reviews[:size]), lambda size: size, size=125) < 3


def test_words_that_another_thread_adds_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocabulary may grow at any moment, also between the weights of the terms and those of the query."""
    ranker, reviews = Bm25Ranker(), [Review("a", "u", "i", "quiet room"), Review("b", "v", "i", "warm quiet cake")]
    expected = ranker.scores("warm room", reviews)
    original = bm25._idf

    def meanwhile(*arguments: Any) -> Any:
        ranker._document(Review("c", "w", "j", "many words that nobody has used before"))
        return original(*arguments)

    monkeypatch.setattr(bm25, "_idf", meanwhile)
    assert ranker.scores("warm room", reviews).tolist() == expected.tolist()
