"""What the minimum-Bayes-risk choice gains → experiments/results/bench/consensus.json.

    NLTK_DATA=../shared/nltk_data python experiments/bench/consensus.py --data ../shared/data --sets hotel stylized --limit 100
    NLTK_DATA=../shared/nltk_data python experiments/bench/consensus.py --runs runs/hotel-eight --out experiments/results/smollm2/consensus.json

For each method n samples per request; compared are the mean over the samples (what one sample is worth) and the chosen one, on the same requests.
`agreement only` lets only the other samples vote, `with evidence` also the retrieved texts, as `generate.consensus_samples` does, `with synthetic`
the synthetic reviews beside them, where a method has any. With `--runs` the samples are those that runs with `generate.consensus_samples` have saved,
of all their methods, and no model is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.publish import made_by
from grasper.config import Config, load_config
from grasper.desk import Desk
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import write_json
from grasper.generate.consensus import choose
from grasper.methods import get_method
from grasper.metrics.meteor import meteor, meteor_name
from grasper.metrics.text import copied_share, rouge1, rougeL
from grasper.models import TextModel, open_model
from grasper.prepare import build_tables
from grasper.records import Example, Output, Review, SyntheticReview, Tables, Task, tasks_of
from grasper.retrieve.store import ReviewStore
from grasper.runs import Run
from grasper.system import System
from grasper.written import by_example, load_outputs, load_synthetic

ROOT = Path(__file__).parents[2]
SETS = {"amazon": "amazon", "hotel": "hotel", "stylized": "gap", "multilingual": "b2w"}
TEXT_TASKS: tuple[Task, ...] = ("long", "title")


def measure(name: str, method: str, model: TextModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores by task and way of choosing, with paired gains, for one data set and method without synthetic reviews."""
    overrides = [f"prepare.data={arguments.data.resolve() / SETS[name]}", f"generate.consensus_samples={arguments.samples}"]
    config = load_config(ROOT / "experiments" / f"{name}.yaml", [*overrides, f"generate.temperature={arguments.temperature}"])
    tables, _ = build_tables(config.prepare, seed=0)
    examples = tables.select("dev-b", arguments.limit)
    desk = Desk(get_method(method), ReviewStore(tables), config.prompts, lambda: model, arguments.seed)
    system = System(desk, config.synthesize, config.generate)
    outputs = [output for task in TEXT_TASKS for output in system.write(task, [e for e in examples if task in tasks_of(e)], {})]
    by_id = {example.example_id: example for example in examples}
    return {task: compare_choices([output for output in outputs if output.task == task], by_id, tables, task) for task in TEXT_TASKS}


def compare_choices(
    outputs: Sequence[Output],
    examples: dict[str, Example],
    tables: Tables,
    task: Task,
    synthetic: Mapping[str, Sequence[SyntheticReview]] | None = None,
) -> dict[str, Any]:
    """Scores of every way of choosing among the same samples, unreadable ones included."""
    asked = [examples[output.example_id] for output in outputs]
    references = [example.target.text if task == "long" else example.target.title for example in asked]
    evidence = [[tables.reviews_by_id[review_id] for review_id in output.evidence] for output in outputs]
    votes = [_fields(reviews, task) for reviews in evidence]
    voters: dict[str, list[list[str]]] = {"agreement only": [[] for _ in outputs], "with evidence": votes}
    if synthetic:
        made = [[review for review in synthetic.get(output.example_id, ()) if review.rejected is None] for output in outputs]
        voters["with synthetic"] = [[*real, *_fields(reviews, task)] for real, reviews in zip(votes, made, strict=True)]
    ways = {way: [output.samples[choose(output.samples, texts)] for output, texts in zip(outputs, each, strict=True)] for way, each in voters.items()}
    columns: dict[tuple[str, str], np.ndarray] = {}
    for metric, score in (("rouge1", rouge1), ("rougeL", rougeL), (meteor_name(), meteor)):
        each = [score([output.samples[number] for output in outputs], references) for number in range(len(outputs[0].samples))]
        columns["one sample", metric] = np.mean(each, axis=0)
        for way, texts in ways.items():
            columns[way, metric] = score(texts, references)
            columns[f"gain {way}", metric] = columns[way, metric] - columns["one sample", metric]
        columns["gain of evidence", metric] = columns["with evidence", metric] - columns["agreement only", metric]
        if synthetic:
            columns["gain of synthetic", metric] = columns["with synthetic", metric] - columns["with evidence", metric]
    sources = [[review.text for review in reviews] for reviews in evidence]
    columns["with evidence", "copied"] = copied_share(ways["with evidence"], sources)
    columns["one sample", "copied"] = copied_share([output.samples[0] for output in outputs], sources)
    bootstrap = Bootstrap([example.item_id for example in asked])
    return summarize(bootstrap.estimate(pd.DataFrame(columns)))


def _fields(reviews: Sequence[Review | SyntheticReview], task: Task) -> list[str]:
    """What of each review is compared with an answer of the task; nothing of those that lack it."""
    return [field for review in reviews if (field := review.text if task == "long" else review.title)]


def measure_run(folder: Path) -> tuple[Config, dict[str, Any]]:
    """The configuration of a run, and scores by method, task and way of choosing from its saved samples."""
    run = Run(folder)
    config = load_config(run.root / "config.yaml")
    tables = Tables.load(run.folder("prepare"))
    examples = {example.example_id: example for example in tables.select(config.split, config.limit)}
    found: dict[str, Any] = {}
    for method in config.methods:
        path = run.folder("synthesize", method) / "synthetic.jsonl"
        synthetic = by_example(load_synthetic(path)) if path.exists() else None
        outputs = [output for output in load_outputs(run.folder("generate", method) / "outputs.jsonl") if output.example_id in examples]
        for task in TEXT_TASKS:
            chosen = [output for output in outputs if output.task == task and len(output.samples) == config.generate.consensus_samples]
            if chosen:
                found.setdefault(method, {})[task] = compare_choices(chosen, examples, tables, task, synthetic)
    return config, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the benchmark sets, one folder each")
    parser.add_argument("--runs", type=Path, nargs="+", help="finished runs whose samples are compared, in the place of new ones")
    parser.add_argument("--sets", nargs="*", default=["hotel", "stylized"], choices=list(SETS))
    parser.add_argument("--methods", nargs="*", default=["none", "pgraphrag"])
    parser.add_argument("--limit", type=int, default=100, help="targets of dev-b")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "experiments" / "results" / "bench" / "consensus.json")
    arguments = parser.parse_args()
    if (arguments.data is None) == (arguments.runs is None):
        parser.error("give either --data, to draw samples, or --runs, to compare saved ones")
    results: dict[str, Any] = {}
    configs: list[Config] = []
    for folder in arguments.runs or []:
        config, found = measure_run(folder)
        if config.prepare.name in results:
            parser.error(f"{folder} is the second run of {config.prepare.name}; give one run of each data set")
        configs.append(config)
        results[config.prepare.name] = found
        print(config.prepare.name, *found, flush=True)
    if arguments.runs is None:
        model = open_model(load_config().model)
        model_name = model.name
        for name in arguments.sets:
            for method in arguments.methods:
                results.setdefault(name, {})[method] = measure(name, method, model, arguments)
                print(name, method, results[name][method], flush=True)
    else:
        model_name = ", ".join(sorted({config.model.name for config in configs}))
    facts = made_by(arguments.seed) | {
        "split": ", ".join(sorted({config.split for config in configs})) or "dev-b",
        "model": model_name,
        "interval": "95 % bootstrap, 1000 draws of whole items",
    }
    write_json(arguments.out, {"provenance": facts, "sets": results})


if __name__ == "__main__":
    main()
