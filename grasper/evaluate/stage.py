"""The stage: saved outputs → `metrics.json`, `per_example.parquet` and `report.html`. Needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import EvaluateConfig
from grasper.errors import ConfigError
from grasper.evaluate.compare import Bootstrap, compare, summarize
from grasper.evaluate.planted import suitability_of_predicted
from grasper.evaluate.report import Evidence, render_report
from grasper.evaluate.score import Answers, read_outputs, score
from grasper.evaluate.sparsity import LEVELS, describe_sparsity, score_by_level
from grasper.evaluate.synthetic import analyse_synthetic, read_synthetic, recall_of_hidden_items
from grasper.records import TASKS, Example, SyntheticReview, Tables, Task
from grasper.retrieve.pool import ReviewPool
from grasper.runs import atomic_path, read_json, write_json, write_text

_UNSUMMARIZED = ("tokens_in", "tokens_out")


def evaluate(
    config: EvaluateConfig,
    tables: Tables,
    examples: Sequence[Example],
    outputs: Mapping[str, Path],
    out_dir: Path,
    *,
    dataset: str,
    split: str,
    seed: int,
    tasks: Sequence[Task] = TASKS,
    synthetic: Mapping[str, Path] | None = None,
    candidates: pd.DataFrame | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    predict_metrics: Path | None = None,
    latent_dir: Path | None = None,
) -> dict[str, Any]:
    """Score every method on the same examples and write the three files; gives the counts of the manifest.

    Args:
        outputs: `outputs.jsonl` of each method, in the order of the results table.
        synthetic: `synthetic.jsonl` of the methods that have one.
        candidates: Predicted items of the examples, for the report.
        costs: `seconds`, `tokens_in`, `tokens_out` of each method; tokens that are not given are summed from the files.
        predict_metrics: The link predictor's `metrics.json`, for the report; may be missing.
        latent_dir: Folder of the latent truth of a generated data set, if it has one.

    Raises:
        ConfigError: There is no method or no example.
        MissingFileError: A file of outputs does not exist.
        RunMismatchError: A method lacks the answer to an example.
    """
    if not outputs or not examples:
        raise ConfigError(f"nothing to evaluate: {len(outputs)} methods, {len(examples)} examples")
    answers = {method: read_outputs(path) for method, path in outputs.items()}
    reviews = {method: read_synthetic(path) for method, path in (synthetic or {}).items()}
    scores = score(examples, tables, answers, tasks, seed=seed)
    pool = ReviewPool(tables.reviews_by_id.values())

    values = scores.values.drop(columns=[name for name in scores.values.columns if name[-1] in _UNSUMMARIZED])
    bootstrap = Bootstrap(scores.examples["item_id"].tolist(), samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    estimate = bootstrap.estimate(values)
    is_repeated = scores.examples["is_repeated"].to_numpy(dtype=bool)
    unrepeated = bootstrap.estimate(values, where=~is_repeated)
    levels = scores.examples["level"]
    baseline = config.baseline if config.baseline in answers else next(iter(answers))
    metrics: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "n_examples": len(examples),
        "methods": {method: {} for method in answers} | summarize(estimate),
        "cost": {method: _cost(method, answers[method], reviews.get(method, {}), examples, costs or {}) for method in answers},
        "sparsity": {
            "data": describe_sparsity(tables),
            "n_examples": {level: int((levels == level).sum()) for level in LEVELS},
            "methods": score_by_level(values, levels, bootstrap),
        },
        "synthetic": {method: analyse_synthetic(entries, examples, pool, seed=seed) for method, entries in reviews.items()},
        "comparison": {"baseline": baseline, "pairs": compare(values, estimate, baseline)},
        "without_repeated": {"n_examples": int((~is_repeated).sum()), "methods": summarize(unrepeated)},
        "bootstrap": {"samples": config.bootstrap_samples, "confidence": config.confidence, "clusters": "item_id", "seed": seed},
    }
    if candidates is not None:
        metrics["predicted"] = recall_of_hidden_items(examples, pool, candidates)
        if latent_dir is not None:
            metrics["predicted"]["suitability"] = suitability_of_predicted(latent_dir, examples, pool, candidates, bootstrap)
    prediction = read_json(predict_metrics) if predict_metrics is not None and predict_metrics.exists() else None

    evidence = Evidence(examples, tables, pool, tuple(tasks), answers, reviews, candidates, prediction, scores)
    with atomic_path(out_dir / "per_example.parquet") as path:
        scores.per_example().to_parquet(path, index=False, compression="zstd")
    write_json(out_dir / "metrics.json", metrics)
    write_text(out_dir / "report.html", render_report(metrics, evidence, max_examples=config.report_examples))
    return {"examples": len(examples), "methods": len(answers), "repeated": int(is_repeated.sum()), "unparsed": _count_unparsed(answers, examples)}


def _cost(
    method: str,
    answers: Answers,
    synthetic: Mapping[str, Sequence[SyntheticReview]],
    examples: Sequence[Example],
    costs: Mapping[str, Mapping[str, float]],
) -> dict[str, float | None]:
    """The measured cost; tokens that were not handed on are summed over the answers and synthetic reviews themselves."""
    given = costs.get(method, {})
    wanted = {example.example_id for example in examples}
    records = [output for (example_id, _), output in answers.items() if example_id in wanted]
    written = [review for example_id, entries in synthetic.items() if example_id in wanted for review in entries]
    tokens = {name: sum(getattr(record, name) for record in (*records, *written)) for name in ("tokens_in", "tokens_out")}
    return {"seconds": given.get("seconds"), **{name: given.get(name) or total for name, total in tokens.items()}} | {
        name: value for name, value in given.items() if name not in ("seconds", *tokens)
    }


def _count_unparsed(answers: Mapping[str, Answers], examples: Sequence[Example]) -> dict[str, int]:
    wanted = {example.example_id for example in examples}
    return {
        method: sum(not output.is_parsed for (example_id, _), output in answered.items() if example_id in wanted)
        for method, answered in answers.items()
    }
