"""Training of graph encoders: a softmax over the catalogue, labels and messages kept apart.

Every epoch deals the edges into folds; the edges of a fold are labels while all others carry messages, so an edge to be predicted is never in
`edge_index`, and every user is seen as at inference: without the item to be found. Catalogues of more than `FULL_SOFTMAX` items are sampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grasper.config import PredictConfig
from grasper.metrics.ranking import ranks_of, reciprocal_gain
from grasper.predict.encoders import Encoder, history_messages, messages_of
from grasper.predict.features import ItemText, own_words, words_of
from grasper.predict.graph import FloatArray, IndexArray, Interactions
from grasper.predict.sampling import NegativeSampler
from grasper.predict.topk import blocks, hide
from grasper.predict.validation import MAX_SCORES, Withheld

MIN_FOLDS, MAX_FOLDS = 8, 64
"""Folds per epoch: few enough that one propagation serves many labels, enough that a user with h edges keeps at least 7/8 of the others."""
FULL_SOFTMAX = 20_000
NUM_NEGATIVES = 16
SCORES_AT_ONCE = 2_000_000
"""8 MB: larger blocks leave the cache and are given back to the system after every use, which took half of the time."""

Ends = tuple[Tensor, Tensor, Tensor]
"""Item vectors, popularity and user vectors, where propagation ends and scoring begins."""


def train_encoder(
    encoder: Encoder,
    graph: Interactions,
    config: PredictConfig,
    *,
    seed: int,
    withheld: Withheld | None = None,
    num_epochs: int | None = None,
) -> int:
    """Train in place; the number of epochs after which validation NDCG@10 was best (whose parameters are kept).

    Items without an edge in the graph are negatives in every step and never positives, which says "away from everybody" and nothing of them: what was
    learned of them alone is zero after every epoch, so what validation sees is what is used.

    Args:
        graph: What is learned from; with `withheld`, its `rest` or a part of it.
        withheld: Edges for early stopping; without them `num_epochs` epochs are made.
    """
    rng = np.random.default_rng(seed)
    words = words_of(graph)
    never_met = torch.from_numpy(graph.item_degree == 0)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    judged = withheld.scored() if withheld is not None and len(withheld.targets) else None
    best, best_epoch, best_state = -1.0, 0, _copy_state(encoder)
    for epoch in range(1, (num_epochs or config.max_epochs) + 1):
        for fold in deal_folds(graph.num_edges, config.batch_size, rng):
            optimizer.zero_grad()
            fold_backward(encoder, graph, fold, rng, words)
            optimizer.step()
        encoder.forget(never_met)
        if judged is None:
            continue
        value = _validation_ndcg(encoder, graph, words, judged)
        if value > best:
            best, best_epoch, best_state = value, epoch, _copy_state(encoder)
        elif epoch - best_epoch >= config.patience:
            break
    if best_epoch:
        encoder.load_state_dict(best_state)
    return best_epoch or (num_epochs or config.max_epochs)


def deal_folds(num_edges: int, batch_size: int, rng: np.random.Generator) -> list[IndexArray]:
    """All edges in random folds of about `batch_size` edges, within the bounds on their number, ascending within a fold; none without edges."""
    if not num_edges:
        return []
    num_folds = min(max(MIN_FOLDS, -(-num_edges // batch_size)), MAX_FOLDS, num_edges)
    return [np.sort(fold) for fold in np.array_split(rng.permutation(num_edges), num_folds)]


def fold_backward(encoder: Encoder, graph: Interactions, fold: IndexArray, rng: np.random.Generator, words: ItemText | None) -> float:
    """Gradients of the mean cross-entropy of the fold's edges among all items that their users did not meet; the loss.

    Messages travel on the other edges only. One propagation serves the whole fold: scores are formed in blocks, whose gradients add up at the vectors
    before they flow back through the graph, so memory is bounded by a block. `words` are the whole graph's; the fold's are taken out of them.
    """
    is_message = np.ones(graph.num_edges, bool)
    is_message[fold] = False
    encoded = encode_items(encoder, replace(graph, text=None).keep(is_message), words.without(fold) if words else None)
    items, popularity = encoded.items, encoded.popularity
    users, rows = np.unique(graph.user_index[fold], return_inverse=True)
    is_asked = np.zeros(graph.num_users, bool)
    is_asked[users] = True
    vectors = encode_users(encoder, encoded, graph.keep(is_message & is_asked[graph.user_index]).of_users(users))

    # Rows rise with the edges, so a block asks a run of consecutive users: it gets a leaf of its own, as a slice's gradient is as long as the whole.
    item_leaf, popularity_leaf = items.detach().requires_grad_(items.requires_grad), popularity.detach().requires_grad_()
    vector_gradient = torch.zeros_like(vectors)
    total = 0.0
    negatives = NegativeSampler(graph) if graph.num_items > FULL_SOFTMAX else None
    size = _block_size(items, is_sampled=negatives is not None)
    for start in range(0, len(fold), size):
        part = slice(start, start + size)
        run = slice(rows[part][0], rows[part][-1] + 1)
        ends = (item_leaf, popularity_leaf, vectors[run].detach().requires_grad_())
        targets = graph.item_index[fold[part]]
        if negatives is not None:
            loss = _sampled_loss(ends, users[run], rows[part] - run.start, targets, negatives, rng)
        else:
            loss = _full_loss(ends, graph, users[run], rows[part] - run.start, targets)
        (loss / len(fold)).backward()
        assert ends[2].grad is not None
        vector_gradient[run] += ends[2].grad
        total += float(loss.detach())
    flows = [(items, item_leaf.grad), (popularity, popularity_leaf.grad), (vectors, vector_gradient)]
    learned = [flow for flow in flows if flow[0].requires_grad]
    torch.autograd.backward([end for end, _ in learned], [gradient for _, gradient in learned])
    return total / len(fold)


def _block_size(items: Tensor, *, is_sampled: bool) -> int:
    """Edges of a block: as many as its scores allow; sampled ones gather vectors, and their gradient, as large as all items, should pay off."""
    if is_sampled:
        return max(1, max(SCORES_AT_ONCE, items.numel()) // (NUM_NEGATIVES * items.shape[1]))
    return max(1, SCORES_AT_ONCE // items.shape[0])


def _full_loss(ends: Ends, graph: Interactions, users: IndexArray, rows: IndexArray, targets: IndexArray) -> Tensor:
    """Summed cross-entropy of the targets against every item that the user did not meet; `rows` says which of the users a target is of."""
    items, popularity, vectors = ends
    scores = vectors @ items.T + popularity
    met = graph.of_users(users)
    hidden = torch.zeros(scores.shape, dtype=torch.bool)
    hidden[torch.from_numpy(met.user_index), torch.from_numpy(met.item_index)] = True
    learns = ~hidden.all(1).numpy()[rows]  # whoever met the whole catalogue prefers nothing to anything
    row, targets = torch.from_numpy(rows[learns]), targets[learns]
    positive = scores[row, torch.from_numpy(targets)]
    others = gathered(scores.masked_fill(hidden, -torch.inf).logsumexp(1), row)
    return F.softplus(others - positive).sum()


def _sampled_loss(
    ends: Ends, users: IndexArray, rows: IndexArray, targets: IndexArray, negatives: NegativeSampler, rng: np.random.Generator
) -> Tensor:
    """The same against a uniform sample, weighted up to the size of the catalogue.

    Rows are looked up as embeddings: the gradient of plain indexing is summed by whichever thread comes first, and differs from run to run.
    """
    items, popularity, vectors = ends
    drawn = torch.from_numpy(negatives.draw(users[rows], NUM_NEGATIVES, rng))
    asked, target = gathered(vectors, torch.from_numpy(rows)), torch.from_numpy(targets)
    positive = (asked * gathered(items, target)).sum(1) + gathered(popularity, target)
    negative = torch.einsum("bd,bnd->bn", asked, gathered(items, drawn)) + gathered(popularity, drawn)
    correction = float(np.log(items.shape[0] / NUM_NEGATIVES))
    return F.softplus(negative.logsumexp(1) + correction - positive).sum()


def gathered(values: Tensor, index: Tensor) -> Tensor:
    """`values[index]`, whose gradient adds up in one order: that of plain indexing differs from run to run where threads share a row."""
    return F.embedding(index, values) if values.ndim == 2 else values.index_select(0, index.reshape(-1)).view_as(index)


def linking_edges(graph: Interactions) -> Interactions:
    """The edges of users with at least two, without their words: a single edge links no items, so embeddings learn nothing from it."""
    return replace(graph.keep(graph.user_degree[graph.user_index] > 1), text=None)


@dataclass(frozen=True)
class EncodedItems:
    """A catalogue as an encoder sees it over a graph: vectors `[num_items, embedding_dim]`, popularity and degree `[num_items]`, and the words, if it
    reads any."""

    items: Tensor
    popularity: Tensor
    item_degree: IndexArray
    words: ItemText | None


def encode_items(encoder: Encoder, graph: Interactions, words: ItemText | None) -> EncodedItems:
    """Item vectors over a graph, whose words are given."""
    messages = messages_of(graph, torch.from_numpy(words.vectors) if words else None)
    return EncodedItems(encoder.items(messages), encoder.popularity(messages), graph.item_degree, words if encoder.reads_words else None)


def encode_users(encoder: Encoder, encoded: EncodedItems, histories: Interactions) -> Tensor:
    """User vectors, `[num_users, embedding_dim]`."""
    if not encoder.reads_words or encoded.words is None:
        return encoder.users(encoded.items, history_messages(histories, encoded.item_degree))
    profile = torch.from_numpy(encoded.words.profiles(histories))
    own = None if histories.text is None else torch.from_numpy(own_words(histories))
    return encoder.users(encoded.items, history_messages(histories, encoded.item_degree, profile, own))


@torch.no_grad()
def bind_encoder(encoder: Encoder, graph: Interactions, words: ItemText | None = None) -> EncodedItems:
    """The catalogue over a graph, for scoring; `words` where they are at hand."""
    return encode_items(encoder, graph, words or words_of(graph))


@dataclass(frozen=True)
class BoundEncoder:
    """An encoder with the catalogue that it sees over a graph, for vectors without scores."""

    encoder: Encoder
    encoded: EncodedItems

    @property
    def items(self) -> FloatArray:
        """`[num_items, embedding_dim]`."""
        return self.encoded.items.detach().numpy()

    @torch.no_grad()
    def users(self, histories: Interactions) -> FloatArray:
        """What it makes of histories, `[num_users, embedding_dim]`."""
        return encode_users(self.encoder, self.encoded, histories).numpy()


@torch.no_grad()
def score_histories(encoder: Encoder, encoded: EncodedItems, histories: Interactions) -> FloatArray:
    """Scores of the whole catalogue, `[num_users, num_items]`."""
    return torch.addmm(encoded.popularity, encode_users(encoder, encoded, histories), encoded.items.T).numpy()


def _validation_ndcg(encoder: Encoder, graph: Interactions, words: ItemText | None, withheld: Withheld) -> float:
    encoded, ranks = bind_encoder(encoder, graph, words), []
    for start, histories in blocks(withheld.histories, MAX_SCORES):
        scores = score_histories(encoder, encoded, histories)
        hide(scores, histories, withheld.rest.item_degree > 0)
        ranks.append(ranks_of(scores, withheld.targets[start : start + histories.num_users]))
    return float(reciprocal_gain(np.concatenate(ranks), 10).mean())


def _copy_state(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}
