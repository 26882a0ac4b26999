"""Training keeps labels and messages apart, in one process and in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from grasper.config import PredictConfig
from grasper.predict import train
from grasper.predict.encoders import HistoryMessages, LightGCNEncoder, Messages, TextEncoder, history_messages, messages_of
from grasper.predict.features import ItemText
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid
from grasper.predict.learned import EncoderPredictor
from grasper.predict.train import deal_folds, fold_backward, linking_edges, train_encoder
from grasper.predict.validation import withhold

GRAPH = Interactions.from_matrix(np.random.default_rng(0).random((25, 12)) < 0.3)


def new_encoder(seed: int = 0) -> LightGCNEncoder:
    return LightGCNEncoder(12, 6, 2, torch.Generator().manual_seed(seed))


def test_folds_deal_every_edge_once() -> None:
    """Folds are disjoint and complete, at least eight."""
    folds = deal_folds(100, 2048, np.random.default_rng(0))
    assert len(folds) == 8
    assert sorted(np.concatenate(folds).tolist()) == list(range(100))


def test_edges_to_be_predicted_are_absent_from_edge_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the fold, propagation and histories see only the other edges."""
    seen: list[Messages] = []
    monkeypatch.setattr(train, "messages_of", lambda graph, text: seen.append(messages_of(graph, text)) or seen[-1])
    rng = np.random.default_rng(0)
    for fold in deal_folds(GRAPH.num_edges, 20, rng):
        fold_backward(new_encoder(), GRAPH, fold, rng, None)
        carried = seen[-1].to_users.to_dense().numpy() > 0
        assert not carried[GRAPH.user_index[fold], GRAPH.item_index[fold]].any()
        assert carried.sum() == GRAPH.num_edges - len(fold)


@pytest.mark.parametrize("scores_at_once", [1, 20_000_000])
def test_loss_and_gradients_equal_a_naive_loop(monkeypatch: pytest.MonkeyPatch, scores_at_once: int) -> None:
    """Cross-entropy of each label among its user's unmet items, written out, in one block or in many."""
    monkeypatch.setattr(train, "SCORES_AT_ONCE", scores_at_once)
    fold = np.array([1, 5, 9, 10, 30])
    encoder, twin = new_encoder(), new_encoder()
    loss = fold_backward(encoder, GRAPH, fold, np.random.default_rng(0), None)

    rest = GRAPH.keep(~np.isin(np.arange(GRAPH.num_edges), fold))
    messages = messages_of(rest)
    items = twin.items(messages)
    scores = twin.users(items, history_messages(rest, rest.item_degree)) @ items.T + twin.popularity(messages)
    met = GRAPH.matrix.toarray() > 0
    losses = []
    for edge in fold:
        user, item = GRAPH.user_index[edge], GRAPH.item_index[edge]
        choices = [item, *np.flatnonzero(~met[user])]
        losses.append(F.cross_entropy(scores[user, choices][None], torch.zeros(1, dtype=torch.long)))
    naive = torch.stack(losses).mean()
    naive.backward()
    assert loss == pytest.approx(float(naive.detach()), rel=1e-5)
    assert encoder.embedding.grad is not None
    assert twin.embedding.grad is not None
    torch.testing.assert_close(encoder.embedding.grad, twin.embedding.grad, rtol=1e-4, atol=1e-6)


def test_the_folds_words_are_absent_while_it_is_learned() -> None:
    """Item vectors lack the reviews of the edges to be predicted, no profile holds a word of its own user, and own words are of other edges."""
    rng = np.random.default_rng(0)
    graph = replace(GRAPH, text=np.eye(GRAPH.num_edges, dtype=np.float32))  # one word per review
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    class Recording(TextEncoder):
        def users(self, items: torch.Tensor, histories: HistoryMessages) -> torch.Tensor:
            assert histories.profile is not None
            assert histories.own_words is not None
            seen.append((items.numpy(), histories.profile.numpy(), histories.own_words.numpy()))
            return super().users(items, histories)

    for fold in deal_folds(graph.num_edges, 20, rng):
        fold_backward(Recording(graph.num_items, graph.num_edges), graph, fold, rng, ItemText(graph))
        items, profiles, own = seen[-1]
        assert np.abs(items[:, fold]).max() < 1e-6
        assert np.abs(own[:, fold]).max() == 0
        for row, user in enumerate(np.unique(graph.user_index[fold])):
            assert np.abs(profiles[row, graph.user_index == user]).max() < 1e-6
            assert set(np.flatnonzero(own[row])) == set(np.flatnonzero(graph.user_index == user)) - set(fold)


def test_sampled_softmax_learns_the_same_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a catalogue taken for a large one, sampled negatives tell two tastes apart."""
    monkeypatch.setattr(train, "FULL_SOFTMAX", 5)
    monkeypatch.setattr(train, "NUM_NEGATIVES", 6)
    users, items = np.indices((40, 20))
    graph = Interactions.from_matrix((users % 2 == items % 2) & (users % 20 != items))
    encoder = LightGCNEncoder(20, 16, 2, torch.Generator().manual_seed(0))
    train_encoder(encoder, graph, PredictConfig(), seed=0, num_epochs=6)
    scores = train.score_histories(encoder, train.bind_encoder(encoder, graph), graph)
    scores[graph.user_index, graph.item_index] = -np.inf
    assert (scores.argmax(1) == np.arange(40) % 20).mean() > 0.9


@pytest.mark.parametrize("full_softmax", [5, 20_000])
def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, full_softmax: int) -> None:
    """Two threads add up the gradients of more numbers than torch leaves to one, of few items that are often gathered: one seed, equal bytes."""
    monkeypatch.setattr(train, "FULL_SOFTMAX", full_softmax)
    rng = np.random.default_rng(0)
    graph = Interactions.from_matrix(rng.random((2000, 40)) < 0.4)
    fold = deal_folds(graph.num_edges, 4096, rng)[0]
    assert len(fold) * train.NUM_NEGATIVES > 32_768
    gradients, threads = [], torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(4):
            encoder = LightGCNEncoder(40, 16, 2, torch.Generator().manual_seed(0))
            fold_backward(encoder, graph, fold, np.random.default_rng(0), None)
            gradients.append((encoder.embedding.grad, encoder.item_bias.grad))
    finally:
        torch.set_num_threads(threads)
    for embedding, bias in gradients[1:]:
        assert torch.equal(embedding, gradients[0][0])
        assert torch.equal(bias, gradients[0][1])


@pytest.mark.parametrize("full_softmax", [5, 20_000])
def test_what_was_never_a_positive_says_nothing(monkeypatch: pytest.MonkeyPatch, full_softmax: int) -> None:
    """Items without a training edge are negatives in every step; their vectors and biases end as zeros, in the mixture, too, all others' do not."""
    monkeypatch.setattr(train, "FULL_SOFTMAX", full_softmax)
    rng = np.random.default_rng(0)
    liked = np.zeros((60, 15), bool)
    liked[:, :12] = rng.random((60, 12)) < 0.3
    liked[:, 12] = liked.sum(1) == 0  # met by people of one item alone
    graph = Interactions.from_matrix(liked)
    graph = replace(graph, text=rng.normal(size=(graph.num_edges, 3)).astype(np.float32))
    cold = linking_edges(graph).item_degree == 0
    assert 3 <= cold.sum() < 15
    states = [
        EncoderPredictor("lightgcn", PredictConfig(max_epochs=3)).fit(graph).state(),
        Hybrid(config=PredictConfig(max_epochs=3)).learn(graph).state(),
    ]
    for state, prefix in zip(states, ("", "embeddings."), strict=True):
        for name in ("embedding", "item_bias"):
            assert not state[f"{prefix}{name}"][cold].any()
            assert (state[f"{prefix}{name}"][~cold].reshape((~cold).sum(), -1) != 0).any(1).all()
    assert not states[1]["projected-text.item_bias"][graph.item_degree == 0].any()


def test_validation_sees_the_parameters_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten at the end was already forgotten when an epoch was judged."""
    graph = Interactions.from_matrix(np.pad(np.random.default_rng(0).random((40, 10)) < 0.4, ((0, 0), (0, 2))))
    seen: list[torch.Tensor] = []
    judge = train._validation_ndcg
    monkeypatch.setattr(train, "_validation_ndcg", lambda encoder, *rest: seen.append(encoder.embedding.detach().clone()) or judge(encoder, *rest))
    withheld = withhold(graph)
    encoder = LightGCNEncoder(12, 6, 2, torch.Generator().manual_seed(0))
    epochs = train_encoder(encoder, withheld.rest, PredictConfig(max_epochs=3), seed=0, withheld=withheld)
    assert torch.equal(seen[epochs - 1], encoder.embedding)
    assert not seen[0][10:].any()


def test_linking_edges_are_those_of_users_with_two() -> None:
    """Single edges are left out, users and items keep their numbers."""
    graph = Interactions.from_matrix([[1, 0, 0], [1, 0, 1]])
    kept = linking_edges(graph)
    assert (kept.num_users, kept.user_index.tolist()) == (2, [1, 1])
