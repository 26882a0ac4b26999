"""Graph encoders on torch-geometric: items are propagated embeddings, a user is a function of visible edges.

Unlike the published models, none holds an embedding per user, so a user unseen in training needs no retraining; all share a learned popularity term
and are trained by `train.py` with a softmax over the catalogue instead of BPR.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import LGConv, SAGEConv

from grasper.predict.graph import Interactions, adjacency, log_popularity


@dataclass(frozen=True)
class Messages:
    """A graph ready for propagation: sparse products in both directions.

    `to_users` `[num_users, num_items]` and `to_items` `[num_items, num_users]` hold 1 / √(degree · degree); `log_degree` `[num_items]`;
    `item_text` `[num_items, text_dim]`, unit length, or None.
    """

    to_users: Tensor
    to_items: Tensor
    log_degree: Tensor
    item_text: Tensor | None = None


def messages_of(graph: Interactions, item_text: Tensor | None = None) -> Messages:
    """The propagation matrices of a graph."""
    weight = _symmetric_weight(graph, graph.item_degree)
    to_users = adjacency(graph.user_index, graph.item_index, weight, (graph.num_users, graph.num_items))
    to_items = adjacency(graph.item_index, graph.user_index, weight, (graph.num_items, graph.num_users))
    log_degree = torch.from_numpy(log_popularity(graph))
    return Messages(to_users, to_items, log_degree, item_text)


@dataclass(frozen=True)
class HistoryMessages:
    """A batch of histories ready for an encoder.

    `to_users` `[num_users, num_items]` turns item vectors into user vectors. For encoders that read words, `profile` `[num_users, text_dim]` is what
    others wrote about the items met, and `own_words` `[num_users, text_dim]` what the user wrote.
    """

    to_users: Tensor
    profile: Tensor | None = None
    own_words: Tensor | None = None


def history_messages(
    histories: Interactions, item_degree: np.ndarray, profile: Tensor | None = None, own_words: Tensor | None = None
) -> HistoryMessages:
    """The product from items to users, weighted as in `messages_of`, and the words."""
    weight = _symmetric_weight(histories, item_degree)
    to_users = adjacency(histories.user_index, histories.item_index, weight, (histories.num_users, histories.num_items))
    return HistoryMessages(to_users, profile, own_words)


def _symmetric_weight(graph: Interactions, item_degree: np.ndarray) -> np.ndarray:
    return 1.0 / np.sqrt(np.maximum(graph.user_degree[graph.user_index], 1) * np.maximum(item_degree[graph.item_index], 1))


class Encoder(nn.Module, ABC):
    """Item vectors from a graph, user vectors from item vectors, and a learned popularity term."""

    reads_words = False
    """Whether `users` needs the words about the items met, and the user's own."""

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.popularity_weight = nn.Parameter(torch.tensor(1.0))
        self.item_bias = nn.Parameter(torch.zeros(num_items))

    @abstractmethod
    def items(self, messages: Messages) -> Tensor:
        """Item vectors, `[num_items, embedding_dim]`."""

    def users(self, items: Tensor, histories: HistoryMessages) -> Tensor:
        """User vectors from the items of their histories, `[num_users, embedding_dim]`; zeros without history."""
        return torch.sparse.mm(histories.to_users, items)

    def popularity(self, messages: Messages) -> Tensor:
        """What every user's score of an item starts from, `[num_items]`."""
        return self.popularity_weight * messages.log_degree + self.item_bias

    @torch.no_grad()
    def forget(self, items: Tensor) -> None:
        """Make zero what was learned of single items, a mask `[num_items]`; what they share with others stays."""
        self.item_bias[items] = 0


class LightGCNEncoder(Encoder):
    """Item embeddings averaged over the layers of a linear propagation (He et al. 2020, arXiv:2002.02126, Sec. 3.1).

    A layer is item → user → item, two hops of the bipartite graph.
    """

    def __init__(self, num_items: int, embedding_dim: int, num_layers: int, generator: torch.Generator) -> None:
        super().__init__(num_items)
        self.embedding = nn.Parameter(0.1 * torch.randn(num_items, embedding_dim, generator=generator))
        self.propagate = LGConv(normalize=False)
        self.num_layers = num_layers
        self.user_scale = nn.Parameter(torch.tensor(3.0))

    def items(self, messages: Messages) -> Tensor:
        layer: Tensor = self.embedding
        layers = [layer]
        for _ in range(self.num_layers - 1):
            layer = self.propagate(self.propagate(layer, messages.to_users), messages.to_items)
            layers.append(layer)
        return torch.stack(layers).mean(0)

    def users(self, items: Tensor, histories: HistoryMessages) -> Tensor:
        return self.user_scale * super().users(items, histories)

    @torch.no_grad()
    def forget(self, items: Tensor) -> None:
        super().forget(items)
        self.embedding[items] = 0


class TextEncoder(Encoder):
    """Words alone: the similarity of a candidate's words to what others wrote about the items met, and to what the user wrote himself.

    Both are bilinear forms that start as the cosine. Nothing is propagated, and words that a request must not see reach neither side, so the graph
    may hold them.
    """

    reads_words = True

    def __init__(self, num_items: int, text_dim: int) -> None:
        super().__init__(num_items)
        self.similarity = nn.Parameter(3.0 * torch.eye(text_dim))
        self.own_similarity = nn.Parameter(0.3 * torch.eye(text_dim))
        self.newcomer = nn.Parameter(torch.zeros(text_dim))

    def items(self, messages: Messages) -> Tensor:
        assert messages.item_text is not None, "words are all that this encoder reads"
        return messages.item_text

    def users(self, items: Tensor, histories: HistoryMessages) -> Tensor:
        assert histories.profile is not None, "words are all that this encoder reads"
        vectors = (histories.profile + self.newcomer) @ self.similarity
        return vectors if histories.own_words is None else vectors + histories.own_words @ self.own_similarity


class SageEncoder(Encoder):
    """GraphSAGE on text: items unseen in fitting get vectors from their words and neighbours (Hamilton et al. 2017, arXiv:1706.02216)."""

    def __init__(self, num_items: int, text_dim: int, embedding_dim: int, num_layers: int, generator: torch.Generator) -> None:
        super().__init__(num_items)
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.project = nn.Linear(text_dim, embedding_dim)
            self.to_users = nn.ModuleList(SAGEConv((embedding_dim, embedding_dim), embedding_dim, aggr="sum") for _ in range(num_layers - 1))
            self.to_items = nn.ModuleList(SAGEConv((embedding_dim, embedding_dim), embedding_dim, aggr="sum") for _ in range(num_layers - 1))
            self.ask = nn.Linear(embedding_dim, embedding_dim)

    def items(self, messages: Messages) -> Tensor:
        assert messages.item_text is not None, "sage needs text features"
        items = self.project(messages.item_text)
        users = items.new_zeros(messages.to_users.shape[0], items.shape[1])
        for to_users, to_items in zip(self.to_users, self.to_items, strict=True):
            users = F.relu(to_users((items, users), messages.to_users))
            items = items + to_items((users, items), messages.to_items)
        return items

    def users(self, items: Tensor, histories: HistoryMessages) -> Tensor:
        return self.ask(super().users(items, histories))
