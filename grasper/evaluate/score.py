"""Saved outputs → one row of numbers per method, example and task. Needs no model, so a run can be scored again at any time.

Which numbers those are is decided by the metrics that are registered (`metrics.metric`). What needs a model is measured elsewhere, stored per
example, and joins here.

Every example counts for every method. An answer that could not be parsed is counted as such and scored on what can be read of it: the raw
completion for a text, its first line for a title, the middle of the scale for a rating. An answer that is missing is an error.

The evaluation is the one stage that may read targets (DESIGN: leakage rules); nothing that it writes is read by another stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from grasper.errors import RunMismatchError, ShapeError
from grasper.evaluate.measured import Measured
from grasper.evaluate.sparsity import level_of
from grasper.metrics.choose import choose_metrics
from grasper.metrics.metric import Batch, Metric, Targets
from grasper.reason.format import answer_of
from grasper.records import TASKS, Example, Output, Review, Tables, Task, tasks_of
from grasper.retrieve.pool import ReviewPool
from grasper.runs import derive_seed
from grasper.written import load_outputs

SCALE_MIDDLE = 3.0
"""The rating that an unreadable answer counts as."""

MAX_OTHERS = 8
"""Other reviewers in one line-up."""

SIZE = "bytes"
"""The column with the bytes of the real answer; 1 for a rating."""
UNAVERAGED = ("tokens_in", "tokens_out", SIZE)
"""Columns of per-example numbers that no table averages."""

Answers = dict[tuple[str, Task], Output]


@dataclass(frozen=True)
class Scores:
    """Numbers of all methods on the same examples, aligned."""

    values: pd.DataFrame
    """Index: example_id; columns: (method, task, metric); NaN where a metric has no meaning for an example."""
    examples: pd.DataFrame
    """Same index: user_id, item_id, own_reviews (visible ones), level (of sparsity), is_repeated."""

    def per_example(self) -> pd.DataFrame:
        """One row per method × example × task, with all metrics as columns."""
        long = self.values.stack(["method", "task"]).dropna(how="all").reset_index()  # a target without a title was asked for none
        metrics = [column for column in long.columns if column not in ("example_id", "method", "task")]
        table = long.merge(self.examples, left_on="example_id", right_index=True)
        order = pd.DataFrame({"method": table["method"], "task": pd.Categorical(table["task"], TASKS, ordered=True)})
        table = table.loc[order.sort_values(["method", "task"], kind="stable").index]
        return table[["method", "example_id", "task", *self.examples.columns, *metrics]].reset_index(drop=True)


def load_answers(path: Path) -> Answers:
    """The answers of one method, keyed by example and task.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: It is damaged, a line is no output, or an answer stands there twice.
    """
    answers: Answers = {}
    for output in load_outputs(path):
        if (output.example_id, output.task) in answers:
            raise RunMismatchError(f"{path} answers example {output.example_id!r} ({output.task}) twice; delete it and run `grasper generate` again")
        answers[output.example_id, output.task] = output
    return answers


def score(
    examples: Sequence[Example],
    tables: Tables,
    answers: Mapping[str, Answers],
    tasks: Sequence[Task],
    *,
    seed: int,
    metrics: Sequence[Metric] | None = None,
    measured: Mapping[str, Measured] | None = None,
) -> Scores:
    """All metrics of all methods on `examples`.

    Args:
        answers: For each method its answers; ones to other examples are left aside.
        seed: Chooses the other reviewers of each line-up, the same ones for every method.
        metrics: What is computed; by default all metrics that are registered for it.
        measured: For each method the numbers that were measured elsewhere; examples without one have NaN.

    Raises:
        RunMismatchError: A method lacks the answer to an example.
        ShapeError: A metric gave another number of values than there are answers.
    """
    metrics = choose_metrics() if metrics is None else metrics
    pool = ReviewPool(tables.reviews_by_id.values())
    frame = _describe_examples(examples, pool)
    columns: dict[tuple[str, Task, str], pd.Series] = {}
    for task in tasks:
        asked = [example for example in examples if task in tasks_of(example)]
        if not asked:
            continue
        index = pd.Index([example.example_id for example in asked])
        targets = _targets(asked, task, tables, pool, seed)
        for method, answered in answers.items():
            batch = _batch(targets, _require(method, answered, asked, task))
            known = (measured or {}).get(method, {})
            for metric in metrics:
                if task in metric.tasks and (numbers := _values(metric, batch, known)) is not None:
                    columns[method, task, metric.column] = pd.Series(numbers, index=index)
            for name in ("tokens_in", "tokens_out"):
                columns[method, task, name] = pd.Series([float(getattr(output, name)) for output in batch.outputs], index=index)
            columns[method, task, SIZE] = pd.Series([float(size_of(example, task)) for example in asked], index=index)
    values = pd.DataFrame(columns, index=frame.index, dtype=float)
    values.columns = pd.MultiIndex.from_tuples(list(columns), names=["method", "task", "metric"])
    return Scores(values, frame)


def _targets(asked: Sequence[Example], task: Task, tables: Tables, pool: ReviewPool, seed: int) -> Targets:
    """What every method is measured against."""
    ratings = np.array([example.target.rating for example in asked], dtype=float)
    if task == "rating":
        return Targets(task, asked, [""] * len(asked), ratings, reviews=tables.reviews_by_id, seed=seed)
    own = [reference_text(example.target, task) for example in asked]
    others = []
    for number, example in enumerate(asked):
        texts = [text for review in pool.neighbours(example) if (text := reference_text(review, task)) and text != own[number]]
        chosen = np.random.default_rng(derive_seed(seed, example.example_id)).permutation(len(texts))[:MAX_OTHERS]
        others.append([texts[place] for place in sorted(chosen)])
    return Targets(task, asked, own, ratings, others, tables.reviews_by_id, seed)


def _batch(targets: Targets, outputs: Sequence[Output]) -> Batch:
    is_rating = targets.task == "rating"
    texts = ["" if is_rating else answer_text(output) for output in outputs]
    return Batch(targets, outputs, texts, np.array([answer_rating(output) if is_rating else np.nan for output in outputs], dtype=float))


def _values(metric: Metric, batch: Batch, measured: Measured) -> np.ndarray | None:
    """A metric's numbers, those measured elsewhere first; None where there are none."""
    task = batch.targets.task
    values = np.array([measured.get((example.example_id, task, metric.column), np.nan) for example in batch.targets.examples])
    if not np.isnan(values).all():
        return values
    if metric.function is None:
        return None
    values = np.asarray(metric.function(batch), dtype=float)
    if values.shape != (len(batch.outputs),):
        raise ShapeError(f"metric {metric.name!r} gave values {list(values.shape)} for {len(batch.outputs)} answers")
    return values


def answer_text(output: Output) -> str:
    """What a text answer is scored on: the parsed text or, where parsing failed, what can be read of the completion."""
    if output.text:
        return output.text
    raw = output.raw.strip() if not output.is_parsed else ""
    return raw.partition("\n")[0] if output.task == "title" else raw


def answer_rating(output: Output) -> float:
    """What a rating answer is scored on: the rating or, where there is none, the middle of the scale."""
    return SCALE_MIDDLE if output.rating is None else float(output.rating)


def reference_text(target: Review, task: Task) -> str:
    """What the user really wrote."""
    return (target.title if task == "title" else target.text) or ""


def size_of(example: Example, task: Task) -> int:
    """Bytes of the real answer on one line, those that its bits are divided by; 1 for an answer that is not there."""
    return max(1, len(answer_of(example, task).encode()))


def sizes_of(examples: Sequence[Example], tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """The same of several examples, `[n]` for each task."""
    return {task: np.array([size_of(example, task) for example in examples], dtype=float) for task in tasks}


def _describe_examples(examples: Sequence[Example], pool: ReviewPool) -> pd.DataFrame:
    counts = [len(pool.own(example)) for example in examples]
    columns = {
        "user_id": [example.user_id for example in examples],
        "item_id": [example.item_id for example in examples],
        "own_reviews": counts,
        "level": [level_of(count) for count in counts],
        "is_repeated": [example.is_repeated for example in examples],
    }
    return pd.DataFrame(columns, index=pd.Index([example.example_id for example in examples], name="example_id"))


def _require(method: str, answered: Answers, asked: Sequence[Example], task: Task) -> list[Output]:
    missing = [example.example_id for example in asked if (example.example_id, task) not in answered]
    if missing:
        names = ", ".join(map(repr, missing[:3])) + (" …" if len(missing) > 3 else "")
        raise RunMismatchError(
            f"method {method!r} lacks {len(missing)} of {len(asked)} {task} answers (examples {names}); run `grasper generate` again"
        )
    return [answered[example.example_id, task] for example in asked]
