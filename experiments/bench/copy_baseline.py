"""Measure the `copy` baseline on all of dev-b of the four benchmark sets → experiments/results/copy_baseline.json.

    NLTK_DATA=../shared/nltk_data python experiments/bench/copy_baseline.py --data ../shared/data

No model, nothing tuned. `expected` are the values that were to be reproduced (long text, ROUGE-1 / ROUGE-L / METEOR).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.publish import made_by
from grasper.config import load_config
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.generate.copy import Copier
from grasper.metrics.meteor import meteor, meteor_name
from grasper.metrics.rating import absolute_error, squared_error
from grasper.metrics.text import rouge1, rougeL
from grasper.prepare import build_tables
from grasper.records import TASKS, Example, Output, Task, tasks_of
from grasper.retrieve.store import ReviewStore

ROOT = Path(__file__).parents[2]
SEED = 0
SETS = {"amazon": "amazon", "hotel": "hotel", "stylized": "gap", "multilingual": "b2w"}
EXPECTED = {
    "amazon": (0.188, 0.130, 0.177),
    "hotel": (0.301, 0.174, 0.237),
    "stylized": (0.239, 0.161, 0.216),
    "multilingual": (0.197, 0.150, 0.152),
}


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Scores of one data set by task, with 95 % intervals clustered by item."""
    config = load_config(ROOT / "experiments" / f"{name}.yaml", [f"prepare.data={folder}"])
    tables, _ = build_tables(config.prepare, seed=SEED)
    examples = tables.select("dev-b")
    copier = Copier(ReviewStore(tables))
    result: dict[str, Any] = {"targets": len(examples), "expected": EXPECTED[name], "tasks": {}}
    for task in TASKS:
        asked = [example for example in examples if task in tasks_of(example)]
        started = time.monotonic()
        outputs = copier.write(task, asked)
        seconds = time.monotonic() - started
        bootstrap = Bootstrap([example.item_id for example in asked], seed=SEED)
        summary = summarize(bootstrap.estimate(pd.DataFrame(score(task, outputs, asked))))
        result["tasks"][task] = summary | {"seconds": round(seconds, 1)}
    result["title_rule"] = "consensus" if copier.prefers_consensus_title else "first ten words"
    return result


def score(task: Task, outputs: list[Output], asked: list[Example]) -> dict[str, Any]:
    if task == "rating":
        ratings = np.array([output.rating for output in outputs], dtype=float)
        true = np.array([example.target.rating for example in asked], dtype=float)
        return {"absolute_error": absolute_error(ratings, true), "squared_error": squared_error(ratings, true)}
    texts = [output.text for output in outputs]
    references = [example.target.text if task == "long" else example.target.title for example in asked]
    return {"rouge1": rouge1(texts, references), "rougeL": rougeL(texts, references), meteor_name(): meteor(texts, references)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the benchmark sets, one folder each")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / "results" / "copy_baseline.json")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.sets:
        results[name] = measure(name, arguments.data.resolve() / SETS[name])
        for task, entry in results[name]["tasks"].items():
            print(name, task, {metric: value["value"] for metric, value in entry.items() if isinstance(value, dict)}, flush=True)
    facts = made_by(SEED) | {"split": "dev-b", "interval": "95 % bootstrap, 1000 draws of whole items"}
    write_json(arguments.out, {"provenance": facts, "sets": results})


if __name__ == "__main__":
    main()
