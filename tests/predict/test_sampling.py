"""Negatives, neighbourhoods, and training on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.loader import LinkLoader
from torch_geometric.sampler import NegativeSampling

from grasper.errors import ShapeError
from grasper.predict.encoders import LightGCNEncoder, messages_of
from grasper.predict.graph import Interactions
from grasper.predict.sampling import TO_ITEM, NegativeSampler, NeighbourSampler, to_batch_data
from grasper.predict.train import TrainSettings, bind_encoder, score_histories, train_on_batches

ALL = 10_000


def graph_of(seed: int = 0, num_users: int = 40, num_items: int = 25, density: float = 0.2) -> Interactions:
    liked = np.random.default_rng(seed).random((num_users, num_items)) < density
    liked[:, 0] |= ~liked.any(1)
    return Interactions.from_matrix(liked)


def loader_of(graph: Interactions, fanout: int, num_hops: int = 2, batch_size: int = 16) -> LinkLoader:
    edges = torch.from_numpy(np.stack([graph.user_index, graph.item_index]))
    return LinkLoader(
        to_batch_data(graph),
        NeighbourSampler(graph, fanout, num_hops, seed=0),
        edge_label_index=(TO_ITEM, edges),
        neg_sampling=NegativeSampling("triplet", 5),
        batch_size=batch_size,
    )


def test_negatives_are_never_positives() -> None:
    """Even a user who met all items but two gets only these two."""
    liked = np.random.default_rng(0).random((30, 12)) < 0.5
    liked[7] = True
    liked[7, [3, 8]] = False
    graph = Interactions.from_matrix(liked)
    users = np.repeat(np.arange(30), 4)
    users = users[graph.user_degree[users] < 12]
    items = NegativeSampler(graph).draw(users, 20, np.random.default_rng(1))
    assert not liked[users[:, None], items].any()
    assert set(items[users == 7].ravel()) == {3, 8}


def test_no_negative_to_draw_is_an_error() -> None:
    """A user who met everything cannot be given a negative."""
    with pytest.raises(ShapeError, match="no negative"):
        NegativeSampler(Interactions.from_matrix(np.ones((2, 3)))).draw(np.array([0]), 1, np.random.default_rng(0))


def test_edges_to_be_predicted_are_absent_from_the_sampled_messages() -> None:
    """In every batch the labelled pairs carry no message, in either direction, and all messages are real edges."""
    graph = graph_of()
    real = set(zip(graph.user_index.tolist(), graph.item_index.tolist(), strict=True))
    for batch in loader_of(graph, fanout=6):
        user, item = batch["user"].id, batch["item"].id
        row, col = batch[TO_ITEM].edge_index
        messages = set(zip(user[row].tolist(), item[col].tolist(), strict=True))
        labels = set(zip(user[batch["user"].src_index].tolist(), item[batch["item"].dst_pos_index].tolist(), strict=True))
        assert labels <= real
        assert messages <= real
        assert not messages & labels
        reverse = batch["item", "reviewed_by", "user"].edge_index
        assert torch.equal(reverse.flip(0), batch[TO_ITEM].edge_index)


def test_sampled_negatives_of_a_batch_are_unmet() -> None:
    """`dst_neg_index` names items that the user of the row never met."""
    graph = graph_of()
    liked = graph.matrix.toarray() > 0
    for batch in loader_of(graph, fanout=4):
        users = batch["user"].id[batch["user"].src_index].numpy()
        negatives = batch["item"].id[batch["item"].dst_neg_index].numpy()
        assert not liked[users[:, None], negatives].any()


def test_unbounded_neighbourhoods_give_the_vectors_of_the_whole_graph() -> None:
    """With every neighbour within reach, a batch's user and item vectors equal whole-graph propagation without the batch's edges."""
    graph = graph_of()
    encoder = LightGCNEncoder(graph.num_items, 8, 2, torch.Generator().manual_seed(0))
    batch = next(iter(loader_of(graph, ALL, num_hops=6, batch_size=10)))
    row, col = (part.numpy() for part in batch[TO_ITEM].edge_index)
    order = np.lexsort((col, row))
    local = Interactions(row[order], col[order], batch["user"].num_nodes, batch["item"].num_nodes)
    sampled = encoder.items(messages_of(local), batch["item"].id)
    rest = graph.keep(np.arange(graph.num_edges) >= 10)
    whole = encoder.items(messages_of(rest))[batch["item"].id]
    torch.testing.assert_close(sampled, whole)


def test_neighbourhoods_are_bounded_and_distinct() -> None:
    """One hop from one edge draws at most `fanout` entries for the user and for the item, none twice."""
    graph = graph_of(density=0.6)
    sampler = NeighbourSampler(graph, 3, 1, seed=0)
    for user, item in zip(graph.user_index[:20], graph.item_index[:20], strict=True):
        edges = sampler._reach(np.array([user]), np.array([item]), np.random.default_rng(0))
        assert len(edges) <= 6
        assert len(set(edges.tolist())) == len(edges)
        assert ((graph.user_index[edges] == user) | (graph.item_index[edges] == item)).all()


def test_training_on_batches_learns_the_structure() -> None:
    """Two tastes are told apart after training on sampled neighbourhoods."""
    users, items = np.indices((40, 20))
    graph = Interactions.from_matrix((users % 2 == items % 2) & (users % 20 != items))
    encoder = LightGCNEncoder(20, 16, 2, torch.Generator().manual_seed(0))
    train_on_batches(encoder, graph, TrainSettings(batch_size=64), seed=0, num_epochs=6, fanout=5, num_negatives=5)
    scores = score_histories(encoder, bind_encoder(encoder, graph), graph)
    scores[graph.user_index, graph.item_index] = -np.inf
    assert (scores.argmax(1) == np.arange(40) % 20).mean() > 0.9
