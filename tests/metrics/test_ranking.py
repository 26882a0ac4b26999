"""Ranking metrics against naive loops and torch-geometric's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_geometric.metrics import LinkPredCoverage, LinkPredMRR, LinkPredNDCG, LinkPredRecall

from grasper.errors import ShapeError
from grasper.metrics.ranking import coverage, ranks_of, recall, reciprocal_gain, reciprocal_rank

RNG = np.random.default_rng(0)
SCORES = np.round(RNG.normal(size=(200, 30)), 1).astype(np.float32)  # rounding makes ties
TARGETS = RNG.integers(0, 30, 200)


def order_of(row: np.ndarray) -> list[int]:
    return sorted(range(len(row)), key=lambda item: (-row[item], item))


def test_ranks_equal_a_naive_loop_ties_included() -> None:
    """Rank = place in the list sorted by score, then by item."""
    naive = [order_of(row).index(target) + 1 for row, target in zip(SCORES, TARGETS, strict=True)]
    assert ranks_of(SCORES, TARGETS).tolist() == naive


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_equal_torch_geometric_and_a_naive_loop(k: int) -> None:
    """Recall, NDCG, MRR and coverage agree with the library and with the definition."""
    ranks = ranks_of(SCORES, TARGETS)
    lists = np.array([order_of(row)[:k] for row in SCORES])
    labels = torch.stack([torch.arange(len(TARGETS)), torch.from_numpy(TARGETS)])
    library = {"recall": LinkPredRecall(k), "ndcg": LinkPredNDCG(k), "mrr": LinkPredMRR(k), "coverage": LinkPredCoverage(k, 30)}
    for metric in library.values():
        metric.update(torch.from_numpy(lists), labels)
    ours = {"recall": recall(ranks, k), "ndcg": reciprocal_gain(ranks, k), "mrr": reciprocal_rank(ranks, k)}
    hits = [list(row).index(t) if t in row else None for row, t in zip(lists, TARGETS, strict=True)]
    assert ours["recall"].mean() == pytest.approx(sum(hit is not None for hit in hits) / 200)
    assert ours["ndcg"].mean() == pytest.approx(sum(1 / math.log2(hit + 2) for hit in hits if hit is not None) / 200)
    assert ours["mrr"].mean() == pytest.approx(sum(1 / (hit + 1) for hit in hits if hit is not None) / 200)
    for name, values in ours.items():
        assert values.mean() == pytest.approx(float(library[name].compute()), abs=1e-6)
    assert coverage(lists, 30) == pytest.approx(float(library["coverage"].compute()))


def test_hidden_target_is_behind_all_items() -> None:
    """A target scored −inf is never found, even when everything else is hidden too."""
    scores = np.full((1, 4), -np.inf, np.float32)
    assert ranks_of(scores, np.array([2])).tolist() == [5]


def test_empty_places_cover_nothing() -> None:
    """−1 marks an empty place."""
    assert coverage(np.array([[0, -1], [0, 1]]), 4) == 0.5


def test_shapes_must_match() -> None:
    """One target per row of scores."""
    with pytest.raises(ShapeError, match="one row per user"):
        ranks_of(SCORES, TARGETS[:3])
