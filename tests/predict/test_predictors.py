"""One contract for every item predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from grasper.errors import ShapeError
from grasper.predict.baselines import Ease, ItemKNN, ItemPredictor, Popularity, Similarity
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid
from grasper.predict.learned import EncoderPredictor
from grasper.predict.topk import top_k

MAKE: dict[str, Callable[[], ItemPredictor]] = {
    "hybrid": Hybrid,
    "lightgcn": lambda: EncoderPredictor("lightgcn"),
    "sage": lambda: EncoderPredictor("sage"),
    "itemknn": ItemKNN,
    "ease": Ease,
    "popularity": Popularity,
    "similarity": Similarity,
}
FINDS_STRUCTURE = ("hybrid", "lightgcn", "itemknn", "ease")


def parity(num_users: int = 20, num_items: int = 20) -> np.ndarray:
    """Even users like even items, odd users odd ones; user u's own item is hidden."""
    users, items = np.indices((num_users, num_items))
    return (users % 2 == items % 2) & (users != items)


def random_graph(seed: int = 0, num_users: int = 60, num_items: int = 30, text_dim: int = 4) -> Interactions:
    """Two tastes with noise; every edge carries days and words of its item."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, num_users, 400)
    columns = (2 * rng.integers(0, num_items // 2, 400) + (rows + (rng.random(400) < 0.2)) % 2).astype(np.int64)
    item_words = rng.normal(size=(num_items, text_dim)).astype(np.float32)
    words = item_words[columns] + 0.1 * rng.normal(size=(400, text_dim)).astype(np.float32)
    return Interactions.build(rows, columns, num_users, num_items, rng.uniform(0, 1000, 400), words)


@pytest.mark.parametrize("name", FINDS_STRUCTURE)
def test_finds_the_withheld_item(name: str) -> None:
    """Even users like even items, odd users odd ones; user u's own item is hidden, and comes back first."""
    predictor = MAKE[name]().fit(Interactions.from_matrix(parity()))
    assert (predictor.top_k(1)[:, 0] == np.arange(20)).all()  # type: ignore[attr-defined]


def test_similarity_finds_the_item_with_the_same_words() -> None:
    """Words tell even from odd items where each user has met a single one."""
    rows, columns = np.arange(12), np.arange(12)
    words = np.eye(2, dtype=np.float32)[columns % 2]
    graph = Interactions.build(np.tile(rows, 2), np.concatenate([columns, (columns + 2) % 12]), 12, 12, None, np.tile(words, (2, 1)))
    predicted = Similarity().fit(graph).top_k(1)[:, 0]
    assert (predicted % 2 == np.arange(12) % 2).all()


@pytest.mark.parametrize("name", MAKE)
def test_recommends_no_seen_item_and_none_twice(name: str) -> None:
    """Lists are free of the user's history and of repeats."""
    graph = random_graph()
    found, _ = top_k(MAKE[name]().fit(graph).score, graph, 10)
    for user, items in enumerate(found):
        assert len(set(items)) == 10
        assert not set(items) & set(graph.item_index[graph.user_index == user])


@pytest.mark.parametrize("name", MAKE)
def test_same_seed_gives_the_same_scores(name: str) -> None:
    """Two fits with one seed agree in every bit."""
    graph = random_graph()
    first, second = (MAKE[name]().fit(graph, seed=3).score(graph) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", MAKE)
def test_scores_users_without_history_and_unmet_items(name: str) -> None:
    """An empty history gets finite scores for the whole catalogue, items without any edge included."""
    graph = random_graph()
    wider = Interactions(graph.user_index, graph.item_index, graph.num_users, graph.num_items + 3, graph.day, graph.text)
    empty = np.zeros(0, np.int64)
    nobody = Interactions(empty, empty, 2, wider.num_items, np.zeros(0), np.zeros((0, 4), np.float32))
    scores = MAKE[name]().fit(wider).score(nobody)
    assert scores.shape == (2, 33)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", MAKE)
def test_scores_of_a_history_do_not_depend_on_its_neighbours_in_the_batch(name: str) -> None:
    """A user alone and the same user within a batch score alike: a user is a function of visible edges."""
    graph = random_graph()
    predictor = MAKE[name]().fit(graph)
    together = predictor.score(graph.of_users([4, 9, 30]))
    alone = predictor.score(graph.of_users([9]))
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MAKE)
def test_state_restores_the_predictor(name: str) -> None:
    """What `state` gives is enough to score alike after `bind`."""
    graph = random_graph()
    fitted = MAKE[name]().fit(graph)
    restored = MAKE[name]().restore(fitted.state()).bind(graph)
    np.testing.assert_allclose(restored.score(graph), fitted.score(graph), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["hybrid", "sage", "similarity"])
def test_items_unseen_in_fitting_are_scored_through_words(name: str) -> None:
    """After `bind`, a new item with the words of what a user met outscores a new item with other words."""
    rng = np.random.default_rng(1)
    graph = random_graph()
    kinds = np.eye(4, dtype=np.float32)[graph.item_index % 2]
    graph = Interactions(
        graph.user_index, graph.item_index, graph.num_users, 32, graph.day, kinds + 0.05 * rng.normal(size=kinds.shape).astype(np.float32)
    )
    predictor = MAKE[name]().fit(graph)
    rows = np.concatenate([graph.user_index, [graph.num_users] * 2])
    columns = np.concatenate([graph.item_index, [30, 31]])
    words = np.concatenate([graph.text, np.eye(4, dtype=np.float32)[:2]])
    bound = Interactions.build(rows, columns, graph.num_users + 1, 32, np.concatenate([graph.day, [500.0, 500.0]]), words)
    predictor.bind(bound)
    scores = predictor.score(bound.of_users(np.arange(graph.num_users)))
    even_taste = np.arange(graph.num_users) % 2 == 0
    margin = scores[:, 30] - scores[:, 31]
    assert margin[even_taste].mean() > margin[~even_taste].mean()


def test_metadata_weighs_alike_for_short_and_long_histories() -> None:
    """Where all items are of one category, users of two and of ten items get the same from it, and no more than from words."""
    liked = np.zeros((2, 13), bool)
    liked[0, :10] = liked[1, 10:12] = True
    graph = Interactions.from_matrix(liked)
    graph = replace(graph, text=np.ones((graph.num_edges, 3), np.float32))
    words = Similarity().fit(graph).score(graph)
    both = Similarity({"category": sp.csr_matrix(np.ones((13, 1), np.float32))}).fit(graph).score(graph)
    np.testing.assert_allclose(both - words, 0.5, rtol=1e-6)


def test_words_are_in_both_graphs_or_in_none() -> None:
    """A mixture that weighs words cannot be bound to a graph without any."""
    graph = random_graph()
    hybrid = Hybrid().fit(graph)
    with pytest.raises(ShapeError, match="words"):
        hybrid.bind(replace(graph, text=None))
