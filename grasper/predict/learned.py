"""A single graph encoder as a predictor of its own: `lightgcn` or `sage`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from grasper.config import PredictConfig
from grasper.predict.baselines import FittedPredictor
from grasper.predict.encoders import Encoder, LightGCNEncoder, SageEncoder
from grasper.predict.graph import FloatArray, Interactions, as_interactions
from grasper.predict.train import BoundEncoder, bind_encoder, linking_edges, score_histories, train_encoder
from grasper.predict.validation import withhold


class EncoderPredictor(FittedPredictor):
    """Trains with early stopping on every user's withheld last edge, then as many epochs on the whole graph."""

    def __init__(self, name: str, config: PredictConfig | None = None) -> None:
        self.name = name
        self.propagates_words = name == "sage"
        self.config = config or PredictConfig()
        self.report: dict[str, Any] = {}

    def _new_encoder(self, num_items: int, text_dim: int, seed: int) -> Encoder:
        config, generator = self.config, torch.Generator().manual_seed(seed)
        if self.name == "sage":
            return SageEncoder(num_items, text_dim, config.embedding_dim, config.num_layers, generator)
        return LightGCNEncoder(num_items, config.embedding_dim, config.num_layers, generator)

    def fit(self, graph: Interactions | ArrayLike, *, seed: int = 0) -> Self:
        graph = self._needed(as_interactions(graph))
        self.text_dim = graph.text.shape[1] if graph.text is not None else 1
        withheld = withhold(graph)
        encoder = self._new_encoder(graph.num_items, self.text_dim, seed)
        num_epochs = train_encoder(encoder, withheld.rest, self.config, seed=seed, withheld=withheld)
        self.encoder = self._new_encoder(graph.num_items, self.text_dim, seed)
        train_encoder(self.encoder, graph, self.config, seed=seed, num_epochs=num_epochs)
        self.report = {"epochs": num_epochs}
        return self.bind(graph)

    def bind(self, graph: Interactions) -> Self:
        self.graph = self._needed(graph)
        self.encoded = bind_encoder(self.encoder, self.graph)
        return self

    def _needed(self, graph: Interactions) -> Interactions:
        """LightGCN looks at edges alone, those that link items; SAGE without any text knows only where items stand in the graph."""
        if self.name == "lightgcn":
            return linking_edges(graph)
        return graph if graph.text is not None else replace(graph, text=np.ones((graph.num_edges, 1), np.float32))

    def score(self, histories: Interactions) -> FloatArray:
        return score_histories(self.encoder, self.encoded, histories)

    def vectors_over(self, graph: Interactions) -> BoundEncoder:
        """The vectors of users and items that the encoder makes of a graph."""
        return BoundEncoder(self.encoder, bind_encoder(self.encoder, self._needed(graph)))

    def state(self) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in self.encoder.state_dict().items()} | {"text_dim": np.array([self.text_dim])}

    def restore(self, state: Mapping[str, np.ndarray]) -> Self:
        parameters = {name: torch.from_numpy(value) for name, value in state.items() if name != "text_dim"}
        self.encoder = self._new_encoder(len(state["item_bias"]), int(state["text_dim"][0]), 0)
        self.encoder.load_state_dict(parameters)
        return self
