"""How link prediction grows: seconds and memory of fitting up to 10 million interactions, and how fast it answers.

    python experiments/bench/link_prediction_scale.py --edges 100000 1000000 10000000

Graphs are generated: item popularity and user activity follow power laws, as in review data, and users prefer the items of their own taste. Every
size runs in a process of its own. Seconds are wall-clock with the load of the machine, `cpu_seconds` the processor time spent.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from link_prediction import write_docs

import grasper
from experiments.publish import made_by
from grasper.config import PredictConfig, load_config
from grasper.files import read_json, write_json
from grasper.pipeline import Pipeline
from grasper.predict.graph import Interactions
from grasper.predict.hybrid import Hybrid
from grasper.predict.topk import top_k
from grasper.runs import Run

EDGES_PER_USER, USERS_PER_ITEM = 5, 20
NUM_TASTES = 50
BULK_USERS, BULK_ITEMS = 10_000, 1_000
VOCABULARY = 2_000


def generate(num_edges: int, *, num_users: int | None = None, num_items: int | None = None, seed: int = 0) -> Interactions:
    """A graph of about `num_edges` interactions: 80 % within the user's taste, popularity ∝ rank^-0.8, activity Pareto with tail 2.2."""
    rng = np.random.default_rng(seed)
    num_users = num_users or num_edges // EDGES_PER_USER
    num_items = num_items or max(NUM_TASTES, num_users // USERS_PER_ITEM)
    activity = rng.pareto(2.2, num_users) + 1
    degree = np.maximum(1, np.round(activity * num_edges / activity.sum())).astype(np.int64)
    users = np.repeat(np.arange(num_users), degree)
    taste = rng.integers(0, NUM_TASTES, num_users)
    weight = np.arange(1, num_items + 1, dtype=np.float64) ** -0.8
    cumulative = np.cumsum(weight) / weight.sum()
    items = np.minimum(np.searchsorted(cumulative, rng.random(len(users))), num_items - 1)
    within = rng.random(len(users)) < 0.8
    items[within] = np.minimum(items[within] // NUM_TASTES * NUM_TASTES + taste[users[within]], num_items - 1)
    return Interactions.build(users, items, num_users, num_items, rng.uniform(0, 3000, len(users)))


def measure_fit(num_edges: int, epochs: int, path: Path) -> None:
    """Generate, fit the default encoder, predict for 1,000 users; write what it took."""
    graph = generate(num_edges)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    config = PredictConfig(max_epochs=epochs, batch_size=max(2048, num_edges // 8))
    wall, cpu = time.perf_counter(), time.process_time()
    predictor = Hybrid(config=config).fit(graph)
    result: dict[str, Any] = {
        "edges": graph.num_edges,
        "users": graph.num_users,
        "items": graph.num_items,
        "epochs": predictor.report["epochs"],
        "fit_seconds": time.perf_counter() - wall,
        "fit_cpu_seconds": time.process_time() - cpu,
        "graph_mib": base,
    }
    wall = time.perf_counter()
    top_k(predictor.score, graph.of_users(np.arange(min(1000, graph.num_users))), 10)
    result["top_k_users_per_second"] = min(1000, graph.num_users) / (time.perf_counter() - wall)
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(path, result)


def write_reviews(graph: Interactions, path: Path, seed: int = 0) -> None:
    """The graph as a table of reviews: a dozen words each, half of them the item's own, so that the text signal is at work, too."""
    assert graph.day is not None
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"word{number:04d}" for number in range(VOCABULARY)])
    own = rng.integers(0, VOCABULARY, (graph.num_items, 20))
    told = own[graph.item_index[:, None], rng.integers(0, own.shape[1], (graph.num_edges, 6))]
    words = vocabulary[np.concatenate([told, rng.integers(0, VOCABULARY, (graph.num_edges, 6))], axis=1)]
    columns = {"user_id": graph.user_index.astype(str), "item_id": graph.item_index.astype(str), "text": [" ".join(row) for row in words]}
    rows = pd.DataFrame({**columns, "title": "", "rating": 5, "timestamp": (graph.day * 86_400).astype(np.int64)})
    rows.to_parquet(path, index=False)


def measure_answers(path: Path) -> None:
    """Milliseconds of `grasper.predict_items` for one known user, and users per second in bulk, after loading, on 1,000 items."""
    graph = generate(50_000, num_users=BULK_USERS, num_items=BULK_ITEMS)
    with tempfile.TemporaryDirectory() as folder:
        reviews, run = Path(folder) / "reviews.parquet", Path(folder) / "run"
        write_reviews(graph, reviews)
        config = load_config(None, ["prepare.source=table", f"prepare.data={reviews}", "prepare.split=last-out"])
        for stage in ("prepare", "predict"):
            Pipeline(config, Run(run), only=stage).carry_out()
        users = [str(user) for user in np.unique(graph.user_index)]
        grasper.predict_items(users, run=run)  # loads the run
        single, cpu = [], time.process_time()
        for user in users[:200]:
            started = time.perf_counter()
            grasper.predict_items(user, run=run)
            single.append(1000 * (time.perf_counter() - started))
        single_cpu = (time.process_time() - cpu) / len(single)
        bulk, cpu = [], time.process_time()
        for _ in range(5):
            started = time.perf_counter()
            grasper.predict_items(users, run=run)
            bulk.append(len(users) / (time.perf_counter() - started))
        bulk_cpu = (time.process_time() - cpu) / len(bulk)
    result = {
        "users": len(users),
        "items": BULK_ITEMS,
        "edges": graph.num_edges,
        "known_user_ms": {"median": float(np.median(single)), "p95": float(np.quantile(single, 0.95))},
        "known_user_cpu_ms": 1000 * single_cpu,
        "bulk_users_per_cpu_second": len(users) / bulk_cpu,
        "bulk_users_per_second": {"median": float(np.median(bulk)), "best": float(max(bulk))},
    }
    write_json(path, result)


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/predict.md."""
    lines = [
        "| interactions | users | items | fit, processor seconds | fit, seconds | peak GiB | µs of processor per interaction |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for fit in sorted(result["fits"].values(), key=lambda fit: fit["edges"]):
        each = 1e6 * fit["fit_cpu_seconds"] / fit["edges"]
        sizes = f"{fit['edges']:,} | {fit['users']:,} | {fit['items']:,}"
        lines.append(f"| {sizes} | {fit['fit_cpu_seconds']:.1f} | {fit['fit_seconds']:.1f} | {fit['peak_mib'] / 1024:.2f} | {each:.0f} |")
    answers = result["answers"]
    if answers:
        clock, bulk = answers["known_user_ms"]["median"], answers["bulk_users_per_second"]["median"]
        lines += [
            "",
            f"`grasper.predict_items` on a catalogue of {answers['items']:,} items, after loading (medians): a known user in "
            f"{answers['known_user_cpu_ms']:.1f} ms of processor time ({clock:.1f} ms on the clock), {answers['users']:,} users at "
            f"{answers['bulk_users_per_cpu_second']:,.0f} per processor second ({bulk:,.0f} per second on the clock).",
        ]
    load = max(facts["load"] for facts in result["provenance"].values())
    lines += ["", f"Hardware: {result['hardware']}; load of the machine at the start up to {load}, so clock times are upper bounds."]
    return "\n".join(lines) + "\n"


def main() -> None:
    root = Path(__file__).parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", nargs="*", type=int, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-answers", action="store_true", help="Do not measure how fast it answers.")
    parser.add_argument("--out", type=Path, default=root / "experiments" / "results" / "link_prediction_scale.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = read_json(arguments.out) if arguments.out.exists() else {"fits": {}, "answers": {}}
    hardware = f"{platform.processor() or platform.machine()}, {arguments.threads} thread(s), torch {torch.__version__}"
    result["hardware"] = hardware
    part = arguments.out.with_suffix(".part.json")
    jobs: list[tuple[str, Any, tuple[Any, ...]]] = [(str(n), measure_fit, (n, arguments.epochs, part)) for n in arguments.edges]
    if not arguments.skip_answers:
        jobs.insert(0, ("answers", measure_answers, (part,)))
    facts = made_by(0) | {"load": round(os.getloadavg()[0], 1)}
    for name, target, values in jobs:
        process = multiprocessing.get_context("fork").Process(target=target, args=values)
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{name} failed with {process.exitcode}")
        if name == "answers":
            result["answers"] = read_json(part)
        else:
            result["fits"][name] = read_json(part)
        part.unlink()
        result.setdefault("provenance", {})[name] = facts
        write_json(arguments.out, result)
        if {"1000000"} <= set(result["fits"]) and result["answers"] and arguments.out.parent.name == "results":
            write_docs(markdown(result), root / "docs" / "predict.md", "link_prediction_scale.json")
        print(name, json.dumps(result["answers"] if name == "answers" else result["fits"][name]), flush=True)


if __name__ == "__main__":
    main()
