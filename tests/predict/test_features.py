"""Words of items, without the requester's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from grasper.errors import ModelNotFoundError
from grasper.predict import features
from grasper.predict.features import ItemText, SentenceSpace, TfidfSpace, metadata_vectors, own_words, unit_rows
from grasper.predict.graph import Interactions

TEXT = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
GRAPH = Interactions.build(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2]), 3, 3, text=TEXT)


def test_item_behind_an_edge_lacks_the_requesters_own_words() -> None:
    """What user 1 sees of items 0 and 1 is what users 0 and 2 wrote."""
    seen = ItemText(GRAPH).of_edges(GRAPH.of_users([1]))
    np.testing.assert_allclose(seen, unit_rows(TEXT[[0, 3]]), atol=1e-6)


@pytest.mark.parametrize("user", [0, 1, 2])
def test_ones_own_words_never_change_ones_own_profile(user: int) -> None:
    """Replacing everything a user wrote leaves the profile as it was, though others see the new words."""
    changed = TEXT.copy()
    changed[GRAPH.user_index == user] = 100.0
    other = replace(GRAPH, text=changed)
    before, after = (ItemText(graph).profiles(graph.of_users([user])) for graph in (GRAPH, other))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert not np.allclose(ItemText(other).vectors, ItemText(GRAPH).vectors)


def test_own_words_leave_out_what_an_example_asks_for() -> None:
    """A user is known by the mean of his reviews' vectors; a target's words are not among them, though others see them behind the item."""
    asked = replace(GRAPH, is_target=np.array([False, False, True, False, False]))
    first, second = unit_rows(TEXT[1:3])
    np.testing.assert_allclose(own_words(GRAPH.of_users([1]))[0], (first + second) / 2, atol=1e-6)
    np.testing.assert_allclose(own_words(asked.of_users([1]))[0], first / 2, atol=1e-6)
    np.testing.assert_array_equal(ItemText(asked).vectors, ItemText(GRAPH).vectors)


def test_a_newcomers_words_are_not_taken_out_of_items_that_never_held_them() -> None:
    """Only words that stand in the graph are subtracted."""
    newcomer = Interactions.build(np.array([0]), np.array([1]), 1, 3, text=TEXT[:1])
    seen = ItemText(GRAPH).of_edges(replace(newcomer, graph_text=np.zeros_like(TEXT[:1])))
    np.testing.assert_allclose(seen, unit_rows(TEXT[[2]] + TEXT[[3]]), atol=1e-6)


def test_sparse_words_give_the_same_scores_as_dense_ones() -> None:
    """Both kinds of vectors go through the same arithmetic."""
    sparse = replace(GRAPH, text=sp.csr_matrix(TEXT))
    np.testing.assert_allclose(ItemText(sparse).score(sparse), ItemText(GRAPH).score(GRAPH), atol=1e-6)


def test_tfidf_space_does_not_depend_on_the_texts_it_encodes() -> None:
    """IDF, directions and centre are fitted once; a text's vector is the same in any company."""
    space = TfidfSpace.fit(["good coffee and cake", "bad coffee", "quiet room", "quiet room and breakfast"], 2, seed=0)
    alone, together = space.encode(["quiet coffee"]), space.encode(["zzz", "quiet coffee"])
    np.testing.assert_allclose(alone[0], together[1], atol=1e-6)
    assert not together[0].any()


def test_texts_without_words_are_no_error() -> None:
    """Empty training texts give zero vectors."""
    assert not TfidfSpace.fit(["", ""], 4, seed=0).encode(["anything"]).any()


def test_metadata_compares_items_of_one_brand() -> None:
    """Equal brands have cosine 1, different or missing ones 0; a field that nobody fills is left out."""
    items = pd.DataFrame({"name": ["red mug", "blue mug", None], "category": [None] * 3, "brand": ["A B", "A B", None]})
    vectors = metadata_vectors(items)
    assert set(vectors) == {"name", "brand"}
    brand = (vectors["brand"] @ vectors["brand"].T).toarray()
    assert brand.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sentence-transformers the message says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    features._sentence_model.cache_clear()
    with pytest.raises(ModelNotFoundError, match=r"grasper\[embeddings\]"):
        SentenceSpace("some/model").encode(["a"], tmp_path)


def test_embeddings_are_cached_by_model_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is asked once for the same texts, and again for others."""
    calls = []

    class Model:
        def __init__(self, name: str, trust_remote_code: bool) -> None:
            assert not trust_remote_code

        def encode(self, texts: list[str], **_: object) -> np.ndarray:
            calls.append(texts)
            return np.ones((len(texts), 2))

    module = type("module", (), {"SentenceTransformer": Model})
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", module)
    features._sentence_model.cache_clear()
    for texts in (["a", "b"], ["a", "b"], ["c"]):
        assert SentenceSpace("some/model").encode(texts, tmp_path).shape == (len(texts), 2)
    assert SentenceSpace("some/model").encode(["d"]).shape == (1, 2)  # a newcomer's, not kept
    assert calls == [["a", "b"], ["c"], ["d"]]
    assert len(list(tmp_path.iterdir())) == 2
    features._sentence_model.cache_clear()


def test_no_more_reviews_are_fitted_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are fewer than twice as many."""
    monkeypatch.setattr(features, "MAX_FITTED_REVIEWS", 10)
    texts = [f"same word{number}" for number in range(19)]
    assert len(TfidfSpace.fit(texts, 4, 0).terms) == 1 + 10
