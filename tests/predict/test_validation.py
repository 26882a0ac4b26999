"""Withheld edges: who is asked about, what is no answer, and how many users are looked at on large catalogues."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grasper.config import PredictConfig
from grasper.predict import hybrid, train, validation
from grasper.predict.encoders import LightGCNEncoder
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid, draw_candidates
from grasper.predict.validation import num_scored, withhold

GRAPH = Interactions.from_matrix(np.pad(np.random.default_rng(0).random((80, 30)) < 0.2, ((0, 0), (0, 2))))


def test_what_is_no_answer_is_hidden_and_never_drawn() -> None:
    """Items in the history, and items that nobody has in what is left."""
    withheld = withhold(GRAPH)
    hidden = (withheld.histories.matrix.toarray() > 0) | (withheld.rest.item_degree == 0)
    scores = np.zeros(hidden.shape, np.float32)
    withheld.hide(scores)
    assert np.array_equal(np.isneginf(scores), hidden)
    assert np.isfinite(scores[np.arange(len(scores)), withheld.targets]).all()
    candidates, offset = draw_candidates(withheld, np.random.default_rng(0))
    expected = np.take_along_axis(hidden, candidates, axis=1) | (candidates == withheld.targets[:, None])
    assert np.array_equal(np.isneginf(offset)[:, 1:], expected[:, 1:])
    assert not offset[:, 0].any()


def test_some_users_are_spread_evenly() -> None:
    """No more than asked for, from the first on, none twice, with their own targets and histories."""
    withheld = withhold(GRAPH)
    places = withheld.spread(7)
    assert len(places) == 7
    assert set(np.diff(places)) <= {len(withheld.users) // 7, len(withheld.users) // 7 + 1}
    some = withheld.only(places)
    assert np.array_equal(some.users, withheld.users[places])
    assert np.array_equal(some.histories.matrix.toarray(), withheld.histories.matrix.toarray()[places])
    assert np.array_equal(withheld.spread(10_000), np.arange(len(withheld.users)))


def test_hundreds_are_scored_however_large_the_catalogue() -> None:
    """20 million scores, but never fewer than 200 users."""
    assert [num_scored(items) for items in (0, 1_000, 1_000_000, 10_000_000)] == [20_000_000, 20_000, 200, 200]


def test_weights_are_learned_from_more_users_than_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a catalogue so large that five users are scored, the weights are those of everybody, and scores in blocks are scores at once."""
    config = PredictConfig(max_epochs=2)
    for module in (train, hybrid, validation):
        monkeypatch.setattr(module, "MAX_SCORES", 5 * GRAPH.num_items)
    monkeypatch.setattr(train, "_validation_ndcg", lambda *_: 1.0)  # the same epoch is the best
    bases = []
    for least, expected in ((5, 5), (5_000, len(withhold(GRAPH).targets))):
        monkeypatch.setattr(validation, "MIN_SCORED", least)
        fitted = Hybrid(config=config).learn(GRAPH)
        assert fitted.mixture is not None
        assert fitted.validation is not None
        assert len(fitted.validation.targets) == expected
        bases.append(fitted.mixture.base)
    np.testing.assert_allclose(bases[0], bases[1])


def test_an_epoch_is_judged_in_blocks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    withheld = withhold(GRAPH)
    encoder = LightGCNEncoder(GRAPH.num_items, 8, 2, torch.Generator().manual_seed(0))
    at_once = train._validation_ndcg(encoder, withheld.rest, None, withheld)
    monkeypatch.setattr(train, "MAX_SCORES", 7 * GRAPH.num_items)
    assert train._validation_ndcg(encoder, withheld.rest, None, withheld) == pytest.approx(at_once)
    assert at_once > 0
