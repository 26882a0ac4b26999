"""How long the default takes to fit, and how far torch-geometric's LightGCN example comes in five times as long.

    python experiments/bench/link_prediction_time.py --data ../shared/data

Both are fitted on all training edges and scored on the test edges of the main benchmark. The example runs as torch-geometric ships it (64
dimensions, two layers, BPR, gather and scatter). Its learning rate (of two) and its epoch are the best by the very edges that score it, an
advantage that the default does not have. Seconds are processor time of one thread; the default's include its words, the example's leave out
the scoring of its epochs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from link_prediction import DATASETS, MODELS, SEEDS, Dataset, load_dataset, rank, train_edges, write_docs
from peers import PygLightGCN

from experiments.publish import made_by
from grasper.files import write_json
from grasper.metrics.ranking import reciprocal_gain
from grasper.predict.baselines import ItemPredictor
from grasper.predict.graph import Interactions

ROOT = Path(__file__).parents[2]
TIMES = 5.0
LEARNING_RATES = (0.001, 0.01)
MAX_EPOCHS = 100_000
RESULTS = "link_prediction_time.json"


def measure(dataset: Dataset, seed: int) -> dict[str, Any]:
    """Seconds and NDCG@10 of the default; NDCG@10 of the example within as much time and within five times as much."""
    started = time.process_time()
    graph = train_edges(dataset, MODELS["hybrid"].words)
    predictor = MODELS["hybrid"].grid["{}"](dataset).fit(graph, seed=seed)
    seconds = time.process_time() - started
    default = ndcg(predictor, dataset, graph)
    curves = [learn(dataset, rate, seed, TIMES * seconds) for rate in LEARNING_RATES]
    best = max(curves, key=lambda curve: max(value for _, value in curve))
    reached = [at for at, value in best if value >= default]
    return {
        "seconds": seconds,
        "ndcg@10": default,
        "example_same_time": max((value for at, value in best if at <= seconds), default=0.0),
        "example_five_times": max(value for _, value in best),
        "example_reached_after": reached[0] if reached else None,
    }


def learn(dataset: Dataset, learning_rate: float, seed: int, seconds: float) -> list[tuple[float, float]]:
    """Seconds and NDCG@10 of the example's epochs, until the time is used up; at most about a hundred epochs are scored."""
    graph = train_edges(dataset, None)
    model = PygLightGCN(learning_rate, as_example=True)
    model.every = 1
    curve: list[tuple[float, float]] = []
    scoring = 0.0
    started = time.process_time()

    def look(epoch: int) -> bool:
        nonlocal scoring
        before = time.process_time()
        used = before - started - scoring
        if not curve or used - curve[-1][0] >= seconds / 100:
            curve.append((used, ndcg(model, dataset, graph)))
        scoring += time.process_time() - before
        return used < seconds

    model.train(graph, MAX_EPOCHS, seed, look)
    return curve


def ndcg(predictor: ItemPredictor, dataset: Dataset, graph: Interactions) -> float:
    """NDCG@10 on the test edges whose item training saw."""
    users, targets = dataset.all_edges.user_index[dataset.is_test], dataset.all_edges.item_index[dataset.is_test]
    is_seen = graph.item_degree[targets] > 0
    ranks, _ = rank(predictor, graph, users[is_seen], targets[is_seen])
    return float(reciprocal_gain(ranks, 10).mean())


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/predict.md: means over the seeds."""
    lines = ["| set | hybrid: seconds | NDCG@10 | example, same time | example, five times as long | reached |", "|---|--:|--:|--:|--:|---|"]
    for name, runs in result["datasets"].items():
        seconds, default, same, longer = (
            np.mean([run[key] for run in runs]) for key in ("seconds", "ndcg@10", "example_same_time", "example_five_times")
        )
        reached = sum(run["example_reached_after"] is not None for run in runs)
        lines.append(f"| {name} | {seconds:.1f} | {default:.4f} | {same:.4f} | {longer:.4f} | {reached} of {len(runs)} seeds |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder per set")
    parser.add_argument("--sets", nargs="*", default=list(DATASETS), choices=list(DATASETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / "results" / RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    datasets: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.sets:
        dataset = load_dataset(arguments.data, name)
        for seed in arguments.seeds:
            datasets.setdefault(name, []).append(measure(dataset, seed))
            print(name, seed, datasets[name][-1], flush=True)
    result = {"provenance": made_by(arguments.seeds), "hardware": f"one thread, torch {torch.__version__}", "datasets": datasets}
    write_json(arguments.out, result)
    if arguments.sets == list(DATASETS):
        write_docs(markdown(result), ROOT / "docs" / "predict.md", RESULTS)


if __name__ == "__main__":
    main()
