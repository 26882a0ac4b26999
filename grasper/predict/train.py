"""Training of graph encoders: a softmax over the catalogue, labels and messages kept apart.

Every epoch deals the edges into folds; the edges of a fold are labels while all others carry messages, so an edge to be predicted is never in
`edge_index`, and every user is seen as at inference: without the item to be found. Catalogues of more than `FULL_SOFTMAX` items are sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasper.predict.encoders import Encoder, Messages, messages_of, to_histories
from grasper.predict.features import ItemText
from grasper.predict.graph import FloatArray, IndexArray, Interactions
from grasper.predict.validation import Validation, Withheld, validation_ndcg

MIN_FOLDS = 8
"""Folds per epoch at least: a user with h edges keeps about (1 − 1/8) of the others."""
FULL_SOFTMAX = 20_000
LABELS_AT_ONCE = 8_192


@dataclass(frozen=True)
class TrainSettings:
    """How an encoder is trained."""

    learning_rate: float = 0.03
    weight_decay: float = 1e-6
    max_epochs: int = 30
    patience: int = 3
    batch_size: int = 2048


def train_encoder(
    encoder: Encoder, graph: Interactions, settings: TrainSettings, *, seed: int, withheld: Withheld | None = None, num_epochs: int | None = None
) -> int:
    """Train in place; the number of epochs after which validation NDCG@10 was best (whose parameters are kept).

    Args:
        graph: What is learned from; with `withheld`, its `rest` or a part of it.
        withheld: Edges for early stopping; without them `num_epochs` epochs are made.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best, best_epoch, best_state = -1.0, 0, {name: value.clone() for name, value in encoder.state_dict().items()}
    for epoch in range(1, (num_epochs or settings.max_epochs) + 1):
        for fold in deal_folds(graph.num_edges, settings.batch_size, rng):
            optimizer.zero_grad()
            fold_loss(encoder, graph, fold).backward()
            optimizer.step()
        if withheld is None or not len(withheld.targets):
            continue
        value = _validation_ndcg(encoder, graph, withheld)
        if value > best:
            best, best_epoch, best_state = value, epoch, {name: value.clone() for name, value in encoder.state_dict().items()}
        elif epoch - best_epoch >= settings.patience:
            break
    if best_epoch:
        encoder.load_state_dict(best_state)
    return best_epoch or (num_epochs or settings.max_epochs)


def deal_folds(num_edges: int, batch_size: int, rng: np.random.Generator) -> list[IndexArray]:
    """All edges in random folds of about `batch_size` edges, at least `MIN_FOLDS`, ascending within a fold."""
    num_folds = max(min(MIN_FOLDS, num_edges), -(-num_edges // batch_size))
    return [np.sort(fold) for fold in np.array_split(rng.permutation(num_edges), num_folds)]


def fold_loss(encoder: Encoder, graph: Interactions, fold: IndexArray) -> Tensor:
    """Mean cross-entropy of the fold's edges among all items that their users did not meet; messages travel on the other edges only."""
    is_message = np.ones(graph.num_edges, bool)
    is_message[fold] = False
    visible = graph.keep(is_message)
    messages = messages_of(visible, item_text(visible))
    items, popularity = encoder.items(messages), encoder.popularity(messages)
    users, rows = np.unique(graph.user_index[fold], return_inverse=True)
    vectors = encoder.users(items, to_histories(visible.of_users(users), visible.item_degree))
    scores = vectors @ items.T + popularity
    met = graph.of_users(users)
    hidden = torch.zeros(scores.shape, dtype=torch.bool)
    hidden[torch.from_numpy(met.user_index), torch.from_numpy(met.item_index)] = True
    row, target = torch.from_numpy(rows), torch.from_numpy(graph.item_index[fold])
    positive = scores[row, target]
    others = scores.masked_fill(hidden, -torch.inf).logsumexp(1)[row]
    return F.softplus(others - positive).mean()


def item_text(graph: Interactions) -> Tensor | None:
    """Unit item vectors from the words of the graph's own edges, or None."""
    return torch.from_numpy(ItemText(graph).vectors) if graph.text is not None else None


@torch.no_grad()
def encode_items(encoder: Encoder, graph: Interactions) -> tuple[Tensor, Tensor]:
    """Item vectors `[num_items, embedding_dim]` and popularity `[num_items]` over a graph."""
    messages: Messages = messages_of(graph, item_text(graph))
    return encoder.items(messages), encoder.popularity(messages)


@torch.no_grad()
def score_histories(encoder: Encoder, items: Tensor, popularity: Tensor, histories: Interactions, item_degree: np.ndarray) -> FloatArray:
    """Scores of the whole catalogue, `[num_users, num_items]`."""
    vectors = encoder.users(items, to_histories(histories, item_degree))
    return (vectors @ items.T + popularity).numpy()


def _validation_ndcg(encoder: Encoder, graph: Interactions, withheld: Withheld) -> float:
    scores = score_histories(encoder, *encode_items(encoder, graph), withheld.histories, graph.item_degree)
    scores[withheld.hidden] = -np.inf
    return validation_ndcg(Validation(scores, withheld.targets))
