"""What the signals that look ahead are worth: `hybrid` with and without `ahead-*`, by the protocol of `link_prediction.py`.

    python experiments/bench/link_prediction_ahead.py --data ../shared/data

`ahead-*` says what others reviewed after the day when the user was last seen. A benchmark without cut-offs lets every model know that; a request of
an earlier day does not (`grasper/predict/predictor.py`), so the difference tells how much of the benchmark's figures rests on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from link_prediction import RESAMPLES, interval, load_dataset, over_sets, rank, with_words

from grasper.metrics.ranking import reciprocal_gain
from grasper.predict.hybrid import Hybrid
from grasper.predict.recency import SIDES, Side

VARIANTS: dict[str, tuple[Side, ...]] = {"with": SIDES, "without": ("behind",)}


def compare(data: Path, name: str, seed: int) -> dict[str, Any]:
    """NDCG@10 of both variants on the test edges of one set, with intervals over users, and the paired difference."""
    dataset = load_dataset(data, name)
    everything = with_words(dataset, "svd")
    graph = everything.keep(~dataset.is_test)
    graph = graph.keep(graph.edges_after < 50)
    users, targets = everything.user_index[dataset.is_test], everything.item_index[dataset.is_test]
    is_seen = graph.item_degree[targets] > 0
    users, targets = users[is_seen], targets[is_seen]
    values = {}
    for variant, sides in VARIANTS.items():
        model = Hybrid(dataset.metadata, sides=sides).fit(graph, seed=seed)
        values[variant] = reciprocal_gain(rank(model, graph, users, targets)[0], 10)
    resamples = np.random.default_rng(0).integers(0, len(users), (RESAMPLES, len(users)))
    found: dict[str, Any] = {variant: interval(value, resamples) for variant, value in values.items()}
    return {"num_users": len(users), **found, "difference": interval(values["with"] - values["without"], resamples)}


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/predict.md."""
    lines = ["| set | users | with `ahead-*` | without | difference (95 %) |", "|---|--:|--:|--:|---|"]
    for name, row in result["datasets"].items():
        d = row["difference"]
        cells = [name, str(row["num_users"]), f"{row['with']['value']:.4f}", f"{row['without']['value']:.4f}"]
        lines.append(f"| {' | '.join(cells)} | {d['value']:+.4f} ({d['low']:+.4f} … {d['high']:+.4f}) |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    over_sets(__doc__, "link_prediction_ahead.json", compare, markdown)
