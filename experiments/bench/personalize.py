"""Milliseconds that `grasper.personalize` takes beside the language model on a run with many reviews: the first call, which opens it, and later ones.

    python experiments/bench/personalize.py --reviews 200000

The model answers from a script, so what is timed is all the rest: the request, evidence, prompts, predicted items, parsing and the choice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import grasper
from experiments.publish import made_by
from grasper.files import write_json
from grasper.methods import get_method
from grasper.pipeline import Pipeline
from grasper.runs import Run

OUT = Path(__file__).parents[1] / "results" / "bench" / "personalize.json"
METHODS = ("pgraphrag", "grasper-popular-items")
WORDS = 2_000


def write_reviews(path: Path, count: int, rng: np.random.Generator) -> None:
    """Random reviews of ten words by a tenth as many users, about a 26th as many items; a few items hold many of them, as in real data."""
    users, items = rng.integers(0, count // 10, count), (rng.pareto(1.0, count) * count / 500).astype(np.int64) % (count // 26)
    words = np.array([f"word{number}" for number in range(WORDS)])
    texts = [" ".join(row) for row in words[rng.integers(0, WORDS, (count, 10))]]
    titles = [" ".join(row) for row in words[rng.integers(0, WORDS, (count, 2))]]
    table = pd.DataFrame({"user_id": users.astype(str), "item_id": items.astype(str), "text": texts, "title": titles, "rating": 1 + users % 5})
    table.to_parquet(path, index=False)


def measure(count: int, calls: int, seed: int) -> dict[str, Any]:
    """Milliseconds by method: the first call on a new run object, and median and maximum of later ones, each for another user and item."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        data, root = Path(folder) / "reviews.parquet", Path(folder) / "run"
        write_reviews(data, count, rng)
        settings = ["prepare.source=table", f"prepare.data={data}", "prepare.split=none", "prepare.columns.timestamp=null"]
        config = grasper.load_config(None, [*settings, "predict.encoder=popularity", "model.kind=scripted"], methods=METHODS)
        Pipeline(config, Run(root), only="prepare").carry_out()
        loaded = grasper.load_run(root)
        reviews, found = loaded.tables.reviews, {}
        for method in METHODS:
            system = loaded.workshop.system(get_method(method), is_aligned=False)
            rows = reviews.iloc[rng.integers(0, len(reviews), calls + 1)]
            spent = []
            for user_id, item_id in zip(rows["user_id"], rows["item_id"], strict=True):
                started = time.perf_counter()
                system.personalize("long", [loaded.asker.request(user_id, item_id, "long", title="word1 word2")])
                spent.append(1000 * (time.perf_counter() - started))
            found[method] = {"first": spent[0], "median": float(np.median(spent[1:])), "longest": max(spent[1:])}
        return {method: {name: round(value, 2) for name, value in facts.items()} for method, facts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=int, default=200_000)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found = measure(options.reviews, options.calls, options.seed)
    print(found)
    facts = made_by(options.seed) | {"n": options.calls, "unit": "ms"}
    write_json(options.out, {"provenance": facts, "methods": found})


if __name__ == "__main__":
    main()
