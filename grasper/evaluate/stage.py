"""The stage: saved outputs → `metrics.json`, `per_example.parquet` and `report.html`. Needs no model, and nothing outside the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grasper.config import Config, EvaluateConfig
from grasper.errors import ConfigError, RunMismatchError
from grasper.evaluate.compare import Bootstrap, compare, summarize
from grasper.evaluate.measured import judges_in, paths_in, read_measured
from grasper.evaluate.planted import suitability_of_predicted
from grasper.evaluate.report import render_report
from grasper.evaluate.report_data import ReportData
from grasper.evaluate.run_data import RunData
from grasper.evaluate.score import UNAVERAGED, Answers, Scores, answer_text, load_answers, reference_text, score, sizes_of
from grasper.evaluate.sparsity import LEVELS, describe_sparsity, score_by_level
from grasper.evaluate.swap import swap_test
from grasper.evaluate.synthetic import analyse_synthetic, recall_of_hidden_items
from grasper.files import atomic_path, write_json, write_text
from grasper.metrics.choose import choose_metrics
from grasper.metrics.text import tokenization_of
from grasper.records import Example, SyntheticReview, Task, tasks_of
from grasper.retrieve.pool import ReviewPool
from grasper.runs import Run, derive_seed, stable_hash
from grasper.written import by_example, load_synthetic


def evaluate_run(config: Config, run: Run, methods: Sequence[str], out_dir: Path, *, latent_dir: Path | None = None) -> dict[str, Any]:
    """Score the methods of a run from its folder alone; gives the counts of the manifest. Scoring is cheap, so it is always done anew.

    Args:
        methods: Those whose outputs are compared, in the order of the tables.
        latent_dir: Folder of the latent truth of a generated data set, if it has one.

    Raises:
        MissingFileError: The run is not prepared, or a method's outputs do not exist.
        ConfigError: The split has no targets, or there is no method.
        RunMismatchError: A method lacks the answer to an example.
    """
    data = RunData.load(run, config, methods, latent_dir=latent_dir)
    return evaluate(data, config.evaluate, out_dir, seed=derive_seed(config.seed, "evaluate"))


def evaluate(run: RunData, config: EvaluateConfig, out_dir: Path, *, seed: int) -> dict[str, Any]:
    """Score every method on the same examples and write the three files; gives the counts of the manifest.

    Raises:
        ConfigError: There is no method or no example, or an extra metric's package is missing.
        UnknownNameError: There is no metric of a name.
        MissingFileError: A file of outputs does not exist.
        RunMismatchError: A file is damaged, a method lacks the answer to an example, or two models graded the texts.
    """
    tables, examples, tasks, files = run.tables, run.examples, run.tasks, run.files
    if not files or not examples:
        raise ConfigError(f"nothing to evaluate: {len(files)} methods, {len(examples)} examples")
    answers = {method: load_answers(one.outputs) for method, one in files.items()}
    reviews = {method: by_example(load_synthetic(one.synthetic)) for method, one in files.items() if one.synthetic}
    chosen = choose_metrics(config.extra_metrics)
    hashes = {method: {key: stable_hash(answer_text(output)) for key, output in found.items()} for method, found in answers.items()}
    numbers = {method: read_measured(one.measured, hashes[method], one.source) for method, one in files.items()}
    judges = sorted({judge for method, one in files.items() for judge in judges_in(one.measured, hashes[method])})
    if len(judges) > 1:
        raise RunMismatchError(f"texts were graded by {' and by '.join(judges)}, whose grades do not compare; delete `judge.jsonl` of all but one")
    scores = score(examples, tables, answers, tasks, seed=seed, metrics=chosen, measured=numbers)
    pool = ReviewPool(tables.reviews_by_id.values())

    values = scores.values.drop(columns=[name for name in scores.values.columns if name[-1] in UNAVERAGED])
    items, sizes = scores.examples["item_id"].tolist(), sizes_of(examples, tasks)
    bootstrap = Bootstrap(items, sizes=sizes, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    estimate = bootstrap.estimate(values)
    is_repeated = scores.examples["is_repeated"].to_numpy(dtype=bool)
    levels = scores.examples["level"]
    baseline = config.baseline if config.baseline in answers else next(iter(answers))
    metrics: dict[str, Any] = {
        "dataset": run.dataset,
        "split": run.split,
        "n_examples": len(examples),
        "methods": {method: {} for method in answers} | summarize(estimate),
        "cost": {method: _cost(answers[method], reviews.get(method, {}), examples, tasks, one.cost) for method, one in files.items()},
        "sparsity": {
            "data": describe_sparsity(tables),
            "n_examples": {level: int((levels == level).sum()) for level in LEVELS},
            "methods": score_by_level(values, levels, bootstrap),
        },
        "synthetic": {method: analyse_synthetic(entries, examples, pool, seed=seed) for method, entries in reviews.items()},
        "comparison": {"baseline": baseline, "pairs": compare(values, bootstrap, baseline, estimate)},
        "without_repeated": _without_repeated(values, is_repeated, bootstrap, baseline),
        "metrics": {metric.name: metric.describe() for metric in chosen if metric.column in set(values.columns.get_level_values("metric"))},
        "unparsed": count_unparsed(scores),
        "tokenization": {task: tokenization_of(_references(examples, task)) for task in tasks if task != "rating"},
        "provenance": dict(run.provenance),
        "bootstrap": {
            "samples": config.bootstrap_samples,
            "confidence": config.confidence,
            "clusters": "item_id",
            "num_clusters": len(set(items)),
            "seed": seed,
        },
    }
    if swaps := swap_test(values, bootstrap):
        metrics["swap"] = swaps
    if judges:
        metrics["judge"] = judges[0]
    if averaged := {method: found for method, one in files.items() if (found := paths_in(one.measured, one.source))}:
        metrics["bits_paths"] = averaged
    if run.candidates is not None:
        metrics["predicted"] = recall_of_hidden_items(examples, pool, run.candidates)
        if run.latent_dir is not None:
            metrics["predicted"]["suitability"] = suitability_of_predicted(run.latent_dir, examples, pool, run.candidates, bootstrap)

    data = ReportData(examples, tables, pool, tuple(tasks), answers, reviews, run.candidates, run.prediction, scores)
    with atomic_path(out_dir / "per_example.parquet") as path:
        scores.per_example().to_parquet(path, index=False, compression="zstd")
    write_json(out_dir / "metrics.json", metrics)
    write_text(out_dir / "report.html", render_report(metrics, data, max_examples=config.report_examples))
    unparsed = {method: sum(entry["unparsed"] for entry in entries.values()) for method, entries in metrics["unparsed"].items()}
    return {"examples": len(examples), "methods": len(answers), "repeated": int(is_repeated.sum()), "unparsed": unparsed}


def _without_repeated(values: pd.DataFrame, is_repeated: np.ndarray, bootstrap: Bootstrap, baseline: str) -> dict[str, Any]:
    """What remains without the targets whose text stands verbatim elsewhere, so that evidence may hold it word for word; where there are none, the
    means alone."""
    values = values[~is_repeated].reindex(values.index)
    estimate = bootstrap.estimate(values)
    found: dict[str, Any] = {"n_examples": int((~is_repeated).sum()), "methods": summarize(estimate)}
    if is_repeated.any():
        found["pairs"] = compare(values, bootstrap, baseline, estimate)
        if swaps := swap_test(values, bootstrap):
            found["swap"] = swaps
    return found


def _cost(
    answers: Answers,
    synthetic: Mapping[str, Sequence[SyntheticReview]],
    examples: Sequence[Example],
    tasks: Sequence[Task],
    spent: Mapping[str, float],
) -> dict[str, float | None]:
    """What the answers that are evaluated cost: their tokens, and of the seconds behind each file their share of its entries."""
    wanted = {example.example_id for example in examples}
    records = [output for (example_id, task), output in answers.items() if example_id in wanted and task in tasks]
    kept = {example_id: entries for example_id, entries in synthetic.items() if example_id in wanted}
    written = [review for entries in kept.values() for review in entries]
    shares = {"generate_seconds": len(records) / max(len(answers), 1), "synthesize_seconds": len(kept) / max(len(synthetic), 1)}
    tokens = {name: sum(getattr(record, name) for record in (*records, *written)) for name in ("tokens_in", "tokens_out")}
    total = sum(spent.get(name, 0.0) * share for name, share in shares.items())
    seconds = round(total, 3) if total or (any(name in spent for name in shares) and not any(tokens.values())) else None  # no text takes no time
    return {"seconds": seconds, **tokens, **{name: value for name, value in spent.items() if name not in shares}}


def count_unparsed(scores: Scores) -> dict[str, dict[str, dict[str, int]]]:
    """Answers that were not in the expected format: `{method: {task: {n, unparsed}}}`. A method whose every answer failed has no results."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    parsed = scores.values.xs("parsed", axis=1, level="metric")
    for column in parsed.columns:
        known = parsed[column].dropna()
        method, task = str(column[0]), str(column[1])
        counts.setdefault(method, {})[task] = {"n": len(known), "unparsed": int((known == 0).sum())}
    return counts


def _references(examples: Sequence[Example], task: Task) -> list[str]:
    return [reference_text(example.target, task) for example in examples if task in tasks_of(example)]
