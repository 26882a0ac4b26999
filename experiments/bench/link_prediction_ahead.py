"""What the signals that look ahead are worth: `hybrid` with and without `ahead-*`, by the protocol of `link_prediction.py`.

    python experiments/bench/link_prediction_ahead.py --data ../shared/data

`ahead-*` says what others reviewed after the day when the user was last seen. A benchmark without cut-offs lets every model know that; a request of
an earlier day does not (`grasper/predict/predictor.py`), so the difference tells how much of the benchmark's figures rests on it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from link_prediction import DATASETS, RESAMPLES, interval, load_dataset, rank, with_words, write_docs

from experiments.publish import made_by
from grasper.files import write_json
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


def main() -> None:
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data", help="Folder with one folder per set.")
    parser.add_argument("--sets", nargs="*", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=root / "experiments" / "results" / "link_prediction_ahead.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"provenance": made_by(arguments.seed), "datasets": {}}
    for name in arguments.sets:
        result["datasets"][name] = compare(arguments.data, name, arguments.seed)
        write_json(arguments.out, result)
        print(name, json.dumps(result["datasets"][name]), flush=True)
    write_docs(markdown(result), root / "docs" / "predict.md", "link_prediction_ahead.json")


if __name__ == "__main__":
    main()
