"""Several runs that differ in the seed alone → one results file: means over the seeds, every seed's own mean, paired differences.

    for seed in 0 1 2; do grasper pipeline -c experiments/hotel.yaml --data … --run hotel-$seed --set seed=$seed …; done
    python -m experiments.seeds runs/hotel-0 runs/hotel-1 runs/hotel-2 --name seeds/hotel --command "…"

Intervals come from drawing items, with each target's scores averaged over the seeds first; `by_seed` shows what the seed alone changes. The
squared error is averaged before its root is taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.publish import RESULTS_DIR, provenance
from grasper.config import load_config
from grasper.errors import GrasperError, RunMismatchError
from grasper.evaluate.compare import Bootstrap, compare, summarize
from grasper.files import write_json
from grasper.metrics.choose import metric_of
from grasper.pipeline import dump_config
from grasper.runs import Run

METRICS = ("rouge1", "rougeL", "meteor", "meteor_no_wordnet", "words", "absolute_error", "squared_error")
ROWS = ("task", "example_id", "item_id")


def read_scores(runs: list[Run]) -> pd.DataFrame:
    """Scores of the methods that all runs hold, one row per target and task; columns are (seed, method, metric).

    Raises:
        RunMismatchError: The runs differ in more than the seed, two have the same one, or they hold other targets.
    """
    tables: dict[int, pd.DataFrame] = {}
    settings: set[str] = set()
    for run in runs:
        run.require(run.folder("evaluate"))
        config = load_config(run.root / "config.yaml")
        settings.add(dump_config(config.model_copy(update={"seed": 0, "methods": ()})))
        if config.seed in tables:
            raise RunMismatchError(f"{run.root}: a second run of seed {config.seed}; expected runs that differ in the seed")
        scores = pd.read_parquet(run.folder("evaluate") / "per_example.parquet")
        metrics = [metric for metric in METRICS if metric in scores]
        tables[config.seed] = scores.pivot(index=list(ROWS), columns="method", values=metrics).swaplevel(axis=1)
    if len(settings) > 1:
        raise RunMismatchError(f"the configurations of {', '.join(str(run.root) for run in runs)} differ in more than the seed")
    shared = set.intersection(*(set(table.columns.get_level_values("method")) for table in tables.values()))
    tables = {seed: table.loc[:, table.columns.isin(shared, level="method")] for seed, table in tables.items()}
    joined = pd.concat(tables, axis=1, join="inner").sort_index()
    if any(len(table) != len(joined) for table in tables.values()):
        raise RunMismatchError("the runs hold different targets; run all seeds with the same --limit and --split")
    return joined


def by_task(scores: pd.DataFrame) -> pd.DataFrame:
    """Columns (method, metric) → (method, task, metric), NaN in the rows of other tasks."""
    tasks = scores.index.get_level_values("task")
    columns = {(name[0], task, name[1]): scores[name].where(tasks == task) for task in tasks.unique() for name in scores.columns}
    return pd.DataFrame(columns).dropna(axis=1, how="all")


def summarize_seeds(scores: pd.DataFrame, baseline: str) -> dict[str, Any]:
    """Means over the seeds with intervals, means of each seed, and paired differences."""
    seeds = list(dict.fromkeys(scores.columns.get_level_values(0)))
    mean = by_task(sum(scores[seed] for seed in seeds) / len(seeds))
    bootstrap = Bootstrap(scores.index.get_level_values("item_id").tolist())
    estimate = bootstrap.estimate(mean)
    own: dict[str, Any] = {}
    for seed in seeds:
        means = by_task(scores[seed]).mean()
        for (method, task, metric), value in zip(means.index.tolist(), means.tolist(), strict=True):
            rooted = value**0.5 if metric_of(metric).is_rooted else value
            own.setdefault(method, {}).setdefault(task, {}).setdefault(metric_of(metric).name, []).append(round(float(rooted), 6))
    return {
        "seeds": seeds,
        "methods": summarize(estimate),
        "by_seed": own,
        "comparison": {"baseline": baseline, "pairs": compare(mean, bootstrap, baseline, estimate)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs")
    parser.add_argument("--command", required=True, help="the command line that made them")
    parser.add_argument("--name", required=True, help="name of the results file")
    parser.add_argument("--baseline", default="pgraphrag")
    arguments = parser.parse_args()
    runs = [Run(path) for path in arguments.runs]
    try:
        result = summarize_seeds(read_scores(runs), arguments.baseline)
    except GrasperError as error:
        raise SystemExit(str(error)) from None
    facts = [provenance(run, arguments.command, result["methods"]) for run in runs]
    path = RESULTS_DIR / f"{arguments.name}.json"
    write_json(path, {"provenance": facts, **result})
    print(path)


if __name__ == "__main__":
    main()
