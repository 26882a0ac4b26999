"""The default predictor: item–item structure, propagated embeddings, text, metadata, popularity and recency, mixed by a softmax over the catalogue.

Fitting withholds every user's last training edge, computes all signals from what is left, and learns on the withheld edges what each signal is worth
(`mixture.py`). The signals are then computed again from the whole graph. Closed-form item–item signals are used on catalogues of up to
`DENSE_CATALOGUE` items; larger ones rest on embeddings, text, popularity and recency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from grasper.errors import ShapeError
from grasper.predict.baselines import FittedPredictor, Validation, withheld_edges
from grasper.predict.features import ItemText
from grasper.predict.graph import FloatArray, Interactions, as_interactions
from grasper.predict.mixture import Mixture, fit_mixture
from grasper.predict.recency import RecentPopularity, usable_bandwidths
from grasper.predict.structure import cooccurrence, cosine_weights, ease_weights, walk_weights

DENSE_CATALOGUE = 5_000
MAX_VALIDATION_SCORES = 6_000_000
"""Validation users × items used to learn the weights; more users than fit are thinned out evenly."""
MIN_VALIDATION = 20
"""With fewer withheld edges nothing is learned: the weights stay at their prior."""
WALK_FLOOR = 0.2
PRIOR_WEIGHT = {"popularity": 0.5, "log-walk": 0.5}
"""Where weights stay when withheld edges say nothing: plain popularity."""
EASE_REGULARIZATION = (20.0, 200.0)
COSINE_SHRINKAGE = 10.0
WALK_SHRINKAGE = 5.0


@dataclass
class Signals:
    """All signals of one graph. `names` fixes their order."""

    graph: Interactions
    metadata: Mapping[str, sp.csr_matrix]
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.graph
        self.popularity: FloatArray = np.log(graph.item_degree + 0.5).astype(np.float32)
        self.linear: dict[str, FloatArray] = self._item_matrices() if graph.num_items <= DENSE_CATALOGUE else {}
        self.recent = {f"recent-{width:.0f}d": RecentPopularity(graph, width) for width in usable_bandwidths(graph)}
        self.text = ItemText(graph) if graph.text is not None and graph.text.shape[1] else None
        share = (graph.item_degree + 0.1) / (graph.item_degree + 0.1).sum()
        self.walk_floor: FloatArray = (WALK_FLOOR * share).astype(np.float32)
        self.names = ["popularity", *self.linear, *(["log-walk"] if self.linear else []), *self.recent, *(["text"] if self.text else [])]

    def _item_matrices(self) -> dict[str, FloatArray]:
        counts = cooccurrence(self.graph)
        matrices = {f"ease-{strength:.0f}": ease_weights(counts, strength) for strength in EASE_REGULARIZATION}
        matrices["cosine"] = cosine_weights(counts, COSINE_SHRINKAGE)
        matrices["walk"] = walk_weights(self.graph, WALK_SHRINKAGE)
        for name, vectors in self.metadata.items():
            matrices[name] = np.asarray((vectors @ vectors.T).todense(), dtype=np.float32)
        return matrices

    def compute(self, histories: Interactions) -> FloatArray:
        """Every signal by itself, `[num_users, num_items, num_signals]`."""
        values = np.empty((histories.num_users, histories.num_items, len(self.names)), np.float32)
        history = _mean_rows(histories)
        for column, name in enumerate(self.names):
            if name == "popularity":
                values[:, :, column] = self.popularity
            elif name == "log-walk":
                values[:, :, column] = np.log(history @ self.linear["walk"] + self.walk_floor)
            elif name == "text":
                values[:, :, column] = self._text(histories)
            elif name in self.recent:
                values[:, :, column] = self.recent[name](histories)
            else:
                values[:, :, column] = history @ self.linear[name]
        return values

    def mix(self, histories: Interactions, mixture: Mixture) -> FloatArray:
        """The weighted sum of all signals, `[num_users, num_items]`, without holding them side by side."""
        weights = mixture.weights(histories.user_degree)
        of = {name: weights[:, column, None] for column, name in enumerate(self.names)}
        scores = of["popularity"] * self.popularity
        if self.linear:
            history = _mean_rows(histories)
            base, slope = self._merged(mixture)
            scores += history @ base
            scores += np.log(np.maximum(histories.user_degree, 1), dtype=np.float32)[:, None] * (history @ slope)
            walk = history @ self.linear["walk"]
            walk += self.walk_floor
            scores += of["log-walk"] * np.log(walk, out=walk)
        for name, recent in self.recent.items():
            scores += of[name] * recent(histories)
        if self.text:
            scores += of["text"] * self._text(histories)
        return scores

    def _text(self, histories: Interactions) -> FloatArray:
        assert self.text is not None
        return self.text.profiles(histories) @ self.text.vectors.T

    def _merged(self, mixture: Mixture) -> tuple[FloatArray, FloatArray]:
        """The weighted sums of all item–item matrices, for base weights and slopes; made once per mixture."""
        if getattr(self, "_merged_for", None) is not mixture:
            base, slope = (np.zeros_like(self.linear["walk"]) for _ in range(2))
            for name, matrix in self.linear.items():
                column = self.names.index(name)
                base += (mixture.base[column] / mixture.scale[column]) * matrix
                slope += (mixture.slope[column] / mixture.scale[column]) * matrix
            self._merged_for, self._base, self._slope = mixture, base, slope
        return self._base, self._slope


def _mean_rows(histories: Interactions) -> sp.csr_matrix:
    """Histories as rows that sum to 1 (or 0 where empty), `[num_users, num_items]`."""
    return (sp.diags((1.0 / np.maximum(histories.user_degree, 1)).astype(np.float32)) @ histories.matrix).tocsr()


class Hybrid(FittedPredictor):
    """Mixture of signals; see the module."""

    name = "hybrid"

    def __init__(self, metadata: Mapping[str, sp.csr_matrix] | None = None) -> None:
        self.metadata = metadata or {}
        self.mixture: Mixture | None = None
        self.validation: Validation | None = None
        """Out-of-fold scores on the withheld edges, for calibration."""
        self.report: dict[str, Any] = {}

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        """Learn the weights on every user's withheld last edge, then take in the whole graph."""
        graph = as_interactions(graph)
        rest, histories, targets, hidden = withheld_edges(graph, MAX_VALIDATION_SCORES)
        signals = Signals(rest, self.metadata)
        prior = np.array([PRIOR_WEIGHT.get(name, 0.0) for name in signals.names], np.float32)
        if len(targets) < MIN_VALIDATION:
            self.mixture = Mixture(prior, np.zeros_like(prior), np.ones_like(prior))
            self.validation = Validation(np.zeros((0, graph.num_items), np.float32), np.zeros(0, np.int64))
            return self.bind(graph)
        values = signals.compute(histories)
        fitted = fit_mixture(values, histories.user_degree, targets, hidden, prior)
        self.mixture, self.validation = fitted.mixture, Validation(fitted.out_of_fold, targets)
        self.report = {
            "weights": {
                name: [float(base), float(slope)]
                for name, base, slope in zip(signals.names, self.mixture.base, self.mixture.slope, strict=True)
            },
            "ridge": fitted.ridge,
        }
        return self.bind(graph)

    def bind(self, graph: Interactions) -> Self:
        """Take in the edges of another graph over the same catalogue, weights unchanged."""
        self.graph = graph
        self.signals = Signals(graph, self.metadata)
        if self.mixture is not None and len(self.mixture.base) != len(self.signals.names):
            raise ShapeError(
                f"the mixture has {len(self.mixture.base)} weights, but the graph gives {len(self.signals.names)} signals: {', '.join(self.signals.names)}"
            )
        return self

    def score(self, histories: Interactions) -> FloatArray:
        """Logits, `[num_users, num_items]`."""
        assert self.mixture is not None, "fit first"
        return self.signals.mix(histories, self.mixture)

    def state(self) -> dict[str, np.ndarray]:
        assert self.mixture is not None, "fit first"
        return {"mixture.base": self.mixture.base, "mixture.slope": self.mixture.slope, "mixture.scale": self.mixture.scale}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        self.mixture = Mixture(*(state[f"mixture.{part}"] for part in ("base", "slope", "scale")))
        return self
