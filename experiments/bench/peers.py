"""Other projects' recommenders behind the interface of the link-prediction benchmark: users are looked up, not computed from their history."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from threadpoolctl import threadpool_limits
from torch_geometric.nn import LightGCN

from grasper.predict.graph import FloatArray, Interactions, adjacency
from grasper.predict.validation import Validation, Withheld, validation_ndcg, withhold


class ImplicitModel:
    """ALS or BPR of `implicit`, 64 factors."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self.kind, self.settings = kind, settings

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        model_class = AlternatingLeastSquares if self.kind == "als" else BayesianPersonalizedRanking
        model = model_class(factors=64, num_threads=1, random_state=seed, **self.settings)
        with threadpool_limits(limits=1):
            model.fit(graph.matrix, show_progress=False)
        self.users, self.items = np.asarray(model.user_factors), np.asarray(model.item_factors)
        return self

    def score_users(self, users: np.ndarray) -> FloatArray:
        return (self.users[users] @ self.items.T).astype(np.float32)


class PygLightGCN:
    """torch-geometric's `LightGCN`, trained as in its example: 64 dimensions, two layers, BPR, Adam, batches of 8,192, at most 100 epochs.

    Propagation is a product with the normalised adjacency matrix: the numbers of the example, whose gather and scatter take several times as long.
    With `as_example` it is the example's own gather and scatter. The number of epochs is chosen on validation edges (every tenth epoch is looked
    at), then the model is fitted again on all training edges. `curve` holds the seconds and validation NDCG@10 on the way.
    """

    batch_size, max_epochs, every = 8192, 100, 10

    def __init__(self, learning_rate: float = 0.001, *, as_example: bool = False) -> None:
        self.learning_rate, self.as_example = learning_rate, as_example
        self.report: dict[str, Any] = {}

    def fit(self, graph: Interactions, *, seed: int = 0) -> Self:
        withheld = withhold(graph).scored()
        curve: list[dict[str, float]] = []
        started = time.process_time()

        def look(epoch: int) -> bool:
            seconds = time.process_time() - started
            curve.append({"epoch": epoch, "seconds": seconds, "ndcg@10": self.ndcg(withheld)})
            return True

        self.train(withheld.rest, self.max_epochs, seed, look)
        best = max(curve, key=lambda point: point["ndcg@10"])
        self.train(graph, int(best["epoch"]), seed)
        self.report = {"curve": curve, "epochs": best["epoch"]}
        return self

    def ndcg(self, withheld: Withheld) -> float:
        """NDCG@10 on withheld edges."""
        scores = self.score_users(withheld.users)
        withheld.hide(scores)
        return validation_ndcg(Validation(scores, withheld.targets))

    def train(self, graph: Interactions, num_epochs: int, seed: int, look: Callable[[int], bool] | None = None) -> None:
        """Train on all edges; `look` is called every `every` epochs with their number and says whether to go on."""
        generator = torch.Generator().manual_seed(seed)
        edges = torch.from_numpy(np.stack([graph.user_index, graph.item_index + graph.num_users]))
        weight = 1.0 / np.sqrt(graph.user_degree[graph.user_index] * graph.item_degree[graph.item_index])
        both = torch.cat([edges, edges.flip(0)], dim=1)
        source, target = both.numpy()
        shape = (graph.num_users + graph.num_items,) * 2
        both_ways = both if self.as_example else adjacency(target, source, np.tile(weight, 2), shape)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = LightGCN(graph.num_users + graph.num_items, embedding_dim=64, num_layers=2, normalize=self.as_example)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        for epoch in range(1, num_epochs + 1):
            for index in torch.randperm(edges.shape[1], generator=generator).split(self.batch_size):
                positive = edges[:, index]
                other = torch.randint(graph.num_users, graph.num_users + graph.num_items, (len(index),), generator=generator)
                labels = torch.cat([positive, torch.stack([positive[0], other])], dim=1)
                optimizer.zero_grad()
                positive_rank, negative_rank = model(both_ways, labels).chunk(2)
                model.recommendation_loss(positive_rank, negative_rank, node_id=labels.unique()).backward()
                optimizer.step()
            if (look is not None and epoch % self.every == 0) or epoch == num_epochs:
                with torch.no_grad():
                    vectors = model.get_embedding(both_ways).numpy()
                self.users, self.items = vectors[: graph.num_users], vectors[graph.num_users :]
                if look is not None and not look(epoch):
                    return

    def score_users(self, users: np.ndarray) -> FloatArray:
        return self.users[users] @ self.items.T
