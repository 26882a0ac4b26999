"""The default predictor: item–item structure, propagated embeddings, projected text, metadata, popularity and recency, mixed by a softmax.

Fitting withholds every user's last training edge, computes all signals from what is left, and learns on the withheld edges what each signal is worth
(`mixture.py`). The signals are then computed again from the whole graph. Closed-form item–item signals are used on catalogues of up to
`DENSE_CATALOGUE` items; larger ones rest on embeddings, text, popularity and recency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike

from grasper.config import PredictConfig
from grasper.errors import ShapeError
from grasper.predict.baselines import FittedPredictor
from grasper.predict.encoders import Encoder, LightGCNEncoder, TextEncoder
from grasper.predict.features import words_of
from grasper.predict.graph import FloatArray, IndexArray, Interactions, Reading, as_interactions, log_popularity, read
from grasper.predict.mixture import Mixture, fit_mixture
from grasper.predict.recency import SIDES, RecentPopularity, Side, usable_bandwidths
from grasper.predict.structure import cooccurrence, cosine_weights, ease_weights, order_weights, walk_weights
from grasper.predict.topk import blocks
from grasper.predict.train import BoundEncoder, bind_encoder, linking_edges, score_histories, train_encoder
from grasper.predict.validation import MAX_SCORES, Validation, Withheld, num_scored, withhold

DENSE_CATALOGUE = 5_000
MIN_VALIDATION = 20
"""With fewer withheld edges nothing is learned: the weights stay at their prior."""
MAX_SIGNALS = 60_000_000
"""Numbers that the weights are learned from at most (240 MB); more withheld edges are thinned out evenly, however large the catalogue is."""
NUM_CANDIDATES = 600
"""Items that each withheld one is compared with when the weights are learned."""
WALK_FLOOR = 0.2
PRIOR_WEIGHT = {"popularity": 0.5, "log-walk": 0.5}
"""Where weights stay when withheld edges say nothing: plain popularity."""
EASE_REGULARIZATION = 50.0
COSINE_SHRINKAGE = 10.0
WALK_SHRINKAGE = 5.0
MIXTURE_PARTS = ("base", "slope", "scale")


@dataclass
class Signals:
    """All signals of one graph; `names` fixes their order.

    Three kinds: *linear* ones are a product of a history with an item–item matrix, *logarithmic* ones the log of such a product (plus a floor, so
    that they are log probabilities), and the others are made from popularity, days, words and embeddings.
    """

    graph: Interactions
    metadata: Mapping[str, sp.csr_matrix]
    bandwidths: tuple[float, ...]
    networks: Mapping[str, Encoder]
    sides: tuple[Side, ...] = SIDES

    def __post_init__(self) -> None:
        graph = self.graph
        self.popularity = log_popularity(graph)
        share = (graph.item_degree + 0.1) / (graph.item_degree + 0.1).sum()
        self.floor: FloatArray = (WALK_FLOOR * share).astype(np.float32)
        self.linear: dict[str, tuple[Reading, FloatArray]] = {}
        self.logarithmic: dict[str, tuple[Reading, FloatArray]] = {}
        if graph.num_items <= DENSE_CATALOGUE:
            self._relate_items()
        self.recent = RecentPopularity(graph, self.bandwidths, self.sides)
        self.text = words_of(graph)
        self._merged_latest: tuple[Mixture, FloatArray] | None = None
        self.encoded = {
            name: bind_encoder(network, edges_for(name, graph), self.text if network.reads_words else None) for name, network in self.networks.items()
        }
        self.names = ["popularity", *self.linear, *self.recent.names, *self.logarithmic, *(["text"] if self.text else []), *self.networks]

    def _relate_items(self) -> None:
        counts = cooccurrence(self.graph)
        cosine = cosine_weights(counts, COSINE_SHRINKAGE)
        walk = walk_weights(self.graph, WALK_SHRINKAGE)
        after, before = order_weights(self.graph, WALK_SHRINKAGE)
        ease = ease_weights(counts, EASE_REGULARIZATION)
        self.linear = {"ease": ("all", ease), "cosine": ("all", cosine), "cosine-latest": ("latest", cosine), "walk": ("all", walk)}
        for name, vectors in self.metadata.items():
            self.linear[name] = "all", np.asarray((vectors @ vectors.T).todense(), dtype=np.float32)
        self.logarithmic = {
            "log-walk": ("all", walk),
            "log-walk-latest": ("latest", walk),
            "log-after": ("all", after),
            "log-before": ("all", before),
        }

    def compute(self, histories: Interactions, candidates: IndexArray) -> FloatArray:
        """Every signal by itself for each user's candidates, `[num_users, num_candidates, num_signals]`."""
        values = np.empty((*candidates.shape, len(self.names)), np.float32)
        for start, block in blocks(histories, MAX_SCORES):
            part = slice(start, start + block.num_users)
            for column, (_, signal) in enumerate(self._each(block)):
                chosen = candidates[part]
                values[part, :, column] = signal[chosen] if signal.ndim == 1 else np.take_along_axis(signal, chosen, axis=1)
        return values

    def _each(self, histories: Interactions) -> Iterator[tuple[str, FloatArray]]:
        yield "popularity", self.popularity
        rows = {reading: read(histories, reading) for reading in ("all", "latest")}
        for name, (reading, matrix) in self.linear.items():
            yield name, rows[reading] @ matrix
        for name, row in zip(self.recent.names, self.recent.rows(histories).T, strict=True):
            yield name, self.recent.table[row]
        yield from self._nonlinear(histories, rows)

    def _nonlinear(self, histories: Interactions, rows: Mapping[str, sp.csr_matrix]) -> Iterator[tuple[str, FloatArray]]:
        for name, (reading, matrix) in self.logarithmic.items():
            values = rows[reading] @ matrix
            values += self.floor
            yield name, np.log(values, out=values)
        if self.text:
            yield "text", self.text.score(histories)
        for name, network in self.networks.items():
            yield name, score_histories(network, self.encoded[name], histories)

    def mix(self, histories: Interactions, mixture: Mixture) -> FloatArray:
        """The weighted sum of all signals, `[num_users, num_items]`: the linear ones in one product, those of days in another, then one by one."""
        weights = mixture.weights(histories.user_degree)
        rows = {reading: read(histories, reading) for reading in ("all", "latest")}
        if self.linear:
            by_degree = sp.diags(np.log(np.maximum(histories.user_degree, 1)).astype(np.float32))
            both = sp.hstack([rows["all"], rows["latest"]], format="csr")
            scores = sp.hstack([both, by_degree @ both], format="csr") @ self._merged(mixture)
            scores += weights[:, :1] * self.popularity
        else:
            scores = weights[:, :1] * self.popularity
        if self.recent.names:
            scores += self.recent.mix(histories, weights[:, [self.names.index(name) for name in self.recent.names]])
        for name, values in self._nonlinear(histories, rows):
            values *= weights[:, self.names.index(name), None]
            scores += values
        return scores

    def _merged(self, mixture: Mixture) -> FloatArray:
        """The weighted sums of the linear signals' matrices, `[4 · num_items, num_items]`; made once per mixture.

        Four blocks: base weights of the signals that read all items alike, of those that read the latest most, then the slopes of both.
        """
        made = self._merged_latest  # one attribute, so that threads find both or neither
        if made is None or made[0] is not mixture:
            num_items = self.graph.num_items
            merged = np.zeros((4 * num_items, num_items), np.float32)
            for name, (reading, matrix) in self.linear.items():
                column, block = self.names.index(name), 0 if reading == "all" else 1
                for weights, place in ((mixture.base, block), (mixture.slope, block + 2)):
                    merged[place * num_items : (place + 1) * num_items] += (weights[column] / mixture.scale[column]) * matrix
            made = self._merged_latest = mixture, merged
        return made[1]


def edges_for(network: str, graph: Interactions) -> Interactions:
    """What a network of the mixture reads: words stand on every edge, links between items only where a user has several."""
    return linking_edges(graph) if network == "embeddings" else graph


def draw_candidates(withheld: Withheld, rng: np.random.Generator) -> tuple[IndexArray, FloatArray]:
    """The withheld item and `NUM_CANDIDATES` others of each user, and the offsets that make a sample stand for the whole catalogue."""
    num_users, num_items = len(withheld.users), withheld.rest.num_items
    num = min(NUM_CANDIDATES, num_items)
    others = np.stack([rng.choice(num_items, num, replace=False, shuffle=False) for _ in range(num_users)])
    is_other_answer = withheld.is_answer(others) & (others != withheld.targets[:, None])
    offset = np.where(is_other_answer, np.log(num_items / num), -np.inf).astype(np.float32)
    return np.concatenate([withheld.targets[:, None], others], axis=1), np.concatenate([np.zeros((num_users, 1), np.float32), offset], axis=1)


class Hybrid(FittedPredictor):
    """Mixture of signals; see the module."""

    name = "hybrid"

    def __init__(
        self,
        metadata: Mapping[str, sp.csr_matrix] | None = None,
        config: PredictConfig | None = None,
        *,
        sides: tuple[Side, ...] = SIDES,
    ) -> None:
        """`sides`: where others' activity is looked at from the user's last day, behind it or also ahead of it."""
        self.metadata, self.sides = metadata or {}, sides
        self.config = config or PredictConfig()
        self.networks: dict[str, Encoder] = {}
        self.bandwidths: tuple[float, ...] = ()
        self.mixture: Mixture | None = None
        self.validation: Validation | None = None
        """Out-of-fold scores on the withheld edges, for calibration."""
        self.report: dict[str, Any] = {}

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        """Learn from the graph and take it in."""
        graph = as_interactions(graph)
        return self.learn(graph, seed=seed).bind(graph)

    def learn(self, graph: Interactions, *, seed: int = 0) -> Self:
        """Learn embeddings and weights on every user's withheld last edge, then the embeddings of the whole graph; nothing is taken in."""
        withheld = withhold(graph)
        self.bandwidths = usable_bandwidths(graph)
        text_dim = graph.text.shape[1] if graph.text is not None else None
        networks = self._new_networks(graph.num_items, text_dim, seed)
        epochs = {
            name: train_encoder(network, edges_for(name, withheld.rest), self.config, seed=seed, withheld=withheld)
            for name, network in networks.items()
        }
        self._learn_weights(Signals(withheld.rest, self.metadata, self.bandwidths, networks, self.sides), withheld, seed)
        self.networks = self._new_networks(graph.num_items, text_dim, seed)
        for name, network in self.networks.items():
            train_encoder(network, edges_for(name, graph), self.config, seed=seed, num_epochs=epochs[name])
        self.report["epochs"] = epochs
        return self

    def _new_networks(self, num_items: int, text_dim: int | None, seed: int) -> dict[str, Encoder]:
        generator = torch.Generator().manual_seed(seed)
        networks: dict[str, Encoder] = {"embeddings": LightGCNEncoder(num_items, self.config.embedding_dim, self.config.num_layers, generator)}
        if text_dim is not None:
            networks["projected-text"] = TextEncoder(num_items, text_dim)
        return networks

    def _learn_weights(self, signals: Signals, withheld: Withheld, seed: int) -> None:
        num_items = withheld.rest.num_items
        prior = np.array([PRIOR_WEIGHT.get(name, 0.0) for name in signals.names], np.float32)
        if len(withheld.targets) < MIN_VALIDATION:
            self.mixture = Mixture(prior, np.zeros_like(prior), np.ones_like(prior))
            self.validation = Validation(np.zeros((0, num_items), np.float32), withheld.targets[:0])
            self.report = {"weights": "prior"}
            return
        withheld = withheld.only(withheld.spread(MAX_SIGNALS // (min(NUM_CANDIDATES, num_items) * len(signals.names))))
        candidates, offset = draw_candidates(withheld, np.random.default_rng(seed))
        fitted = fit_mixture(signals.compute(withheld.histories, candidates), offset, withheld.histories.user_degree, prior)
        self.mixture = fitted.mixture
        pairs = zip(self.mixture.base.tolist(), self.mixture.slope.tolist(), strict=True)
        self.report = {"weights": dict(zip(signals.names, map(list, pairs), strict=True)), "ridge": fitted.ridge}

        places = withheld.spread(num_scored(num_items))
        fold, withheld = fitted.fold[places], withheld.only(places)
        scores = np.empty((len(places), num_items), np.float32)
        for held, mixture in enumerate(fitted.without_fold):
            rows = np.flatnonzero(fold == held)
            scores[rows] = signals.mix(withheld.histories.of_users(rows), mixture)
        withheld.hide(scores)
        self.validation = Validation(scores, withheld.targets)

    def bind(self, graph: Interactions) -> Self:
        """Take in the edges of another graph over the same catalogue, weights unchanged.

        Raises:
            ShapeError: The graph gives other signals than the one that was fitted, for instance words where there were none.
        """
        if (graph.text is None) == ("projected-text" in self.networks):
            raise ShapeError("the graph carries words where the fitted one had none, or none where it had some; both must be alike")
        self.graph = graph
        self.signals = Signals(graph, self.metadata, self.bandwidths, self.networks, self.sides)
        if self.mixture is not None and len(self.mixture.base) != len(self.signals.names):
            known = ", ".join(self.signals.names)
            raise ShapeError(f"the mixture holds {len(self.mixture.base)} weights, but the graph gives {len(self.signals.names)} signals ({known})")
        return self

    def score(self, histories: Interactions) -> FloatArray:
        """Logits, `[num_users, num_items]`."""
        assert self.mixture is not None, "fit first"
        return self.signals.mix(histories, self.mixture)

    def vectors_over(self, graph: Interactions) -> BoundEncoder:
        """The propagated embeddings of a graph; words and popularity are no part of them."""
        network = self.networks["embeddings"]
        return BoundEncoder(network, bind_encoder(network, edges_for("embeddings", graph)))

    def state(self) -> dict[str, np.ndarray]:
        assert self.mixture is not None, "fit first"
        networks = {f"{name}.{key}": value.numpy() for name, network in self.networks.items() for key, value in network.state_dict().items()}
        mixture = {f"mixture.{part}": getattr(self.mixture, part) for part in MIXTURE_PARTS}
        return {"bandwidths": np.array(self.bandwidths, np.float32), **mixture, **networks}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        self.mixture = Mixture(*(state[f"mixture.{part}"] for part in MIXTURE_PARTS))
        self.bandwidths = tuple(float(width) for width in state["bandwidths"])
        similarity = state.get("projected-text.similarity")
        self.networks = self._new_networks(len(state["embeddings.item_bias"]), len(similarity) if similarity is not None else None, seed=0)
        for name, network in self.networks.items():
            network.load_state_dict({key: torch.from_numpy(state[f"{name}.{key}"]) for key in network.state_dict()})
        return self
