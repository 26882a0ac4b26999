"""Saved outputs → one row of numbers per method, example and task. Needs no model, so a run can be scored again at any time.

Every example counts for every method. An answer that could not be parsed is counted as such and scored on what can be read of it: the raw
completion for a text, its first line for a title, the middle of the scale for a rating. An answer that is missing is an error.

The evaluation is the one stage that may read targets (DESIGN: leakage rules); nothing that it writes is read by another stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from grasper.errors import MissingFileError, RunMismatchError
from grasper.evaluate.sparsity import level_of
from grasper.metrics.rating import absolute_error, squared_error
from grasper.metrics.style import CharacterSpace, LineUp, StyleSpace
from grasper.metrics.text import copied_share, score_texts
from grasper.records import TASKS, Example, Output, Review, Tables, Task, tasks_of
from grasper.retrieve.pool import ReviewPool
from grasper.runs import derive_seed, read_jsonl

SCALE_MIDDLE = 3.0
"""The rating that an unreadable answer counts as."""

MAX_OTHERS = 8
"""Other reviewers in one line-up."""

MAX_FITTED_TEXTS = 4000
"""Texts that the spaces of the line-ups are learned from."""

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
        long = self.values.stack(["method", "task"]).reset_index()
        metrics = [column for column in long.columns if column not in ("example_id", "method", "task")]
        table = long.merge(self.examples, left_on="example_id", right_index=True)
        order = pd.DataFrame({"method": table["method"], "task": pd.Categorical(table["task"], TASKS, ordered=True)})
        table = table.loc[order.sort_values(["method", "task"], kind="stable").index]
        return table[["method", "example_id", "task", *self.examples.columns, *metrics]].reset_index(drop=True)


def read_outputs(path: Path) -> Answers:
    """The answers of one method, keyed by example and task.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: A line is no output, or an answer stands there twice.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; run `grasper generate` first")
    known = {field.name for field in fields(Output)}
    answers: Answers = {}
    for record in read_jsonl(path):
        if "batch" in record:
            continue
        if not {"example_id", "task", "method"} <= set(record) <= known:
            raise RunMismatchError(f"{path} holds a line that is no output (its keys: {', '.join(sorted(record))}); run `grasper generate` again")
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        output = Output(**values)
        if (output.example_id, output.task) in answers:
            raise RunMismatchError(f"{path} answers example {output.example_id!r} ({output.task}) twice; delete it and run `grasper generate` again")
        answers[output.example_id, output.task] = output
    return answers


def score(examples: Sequence[Example], tables: Tables, answers: Mapping[str, Answers], tasks: Sequence[Task], *, seed: int) -> Scores:
    """All metrics of all methods on `examples`.

    Args:
        answers: For each method its answers; ones to other examples are left aside.
        seed: Chooses the other reviewers of each line-up, the same ones for every method.

    Raises:
        RunMismatchError: A method lacks the answer to an example.
    """
    pool = ReviewPool(tables.reviews_by_id.values())
    frame = _describe_examples(examples, pool)
    columns: dict[tuple[str, Task, str], pd.Series] = {}
    for task in tasks:
        asked = [example for example in examples if task in tasks_of(example)]
        if not asked:
            continue
        index = pd.Index([example.example_id for example in asked])
        line_ups = _line_ups(asked, task, pool, seed) if task != "rating" else {}
        for method, answered in answers.items():
            outputs = _require(method, answered, asked, task)
            numbers = _score_rating(outputs, asked) if task == "rating" else _score_texts(outputs, asked, task, tables, line_ups)
            numbers |= _describe_outputs(outputs)
            columns |= {(method, task, metric): pd.Series(value, index=index) for metric, value in numbers.items()}
    values = pd.DataFrame(columns, index=frame.index, dtype=float)
    values.columns = pd.MultiIndex.from_tuples(list(columns), names=["method", "task", "metric"])
    return Scores(values, frame)


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


def _line_ups(asked: Sequence[Example], task: Task, pool: ReviewPool, seed: int) -> dict[str, LineUp]:
    """The targets of a task among other people's texts about the same item; by style only where texts are long enough to have one."""
    own = [reference_text(example.target, task) for example in asked]
    others = []
    for number, example in enumerate(asked):
        texts = [text for review in pool.neighbours(example) if (text := reference_text(review, task)) and text != own[number]]
        chosen = np.random.default_rng(derive_seed(seed, example.example_id)).permutation(len(texts))[:MAX_OTHERS]
        others.append([texts[place] for place in sorted(chosen)])
    corpus = [*own, *(text for texts in others for text in texts)]
    places = np.random.default_rng(seed).permutation(len(corpus))[:MAX_FITTED_TEXTS]
    corpus = [corpus[place] for place in sorted(places)]
    line_ups = {"personalization": LineUp(CharacterSpace().fit(corpus), own, others)}
    if task == "long":
        line_ups["style_match"] = LineUp(StyleSpace().fit(corpus), own, others)
    return line_ups


def _score_texts(
    outputs: Sequence[Output], asked: Sequence[Example], task: Task, tables: Tables, line_ups: Mapping[str, LineUp]
) -> dict[str, np.ndarray]:
    texts = [answer_text(output) for output in outputs]
    numbers = score_texts(texts, [reference_text(example.target, task) for example in asked])
    numbers |= {name: line_up.win_rate(texts) for name, line_up in line_ups.items()}
    if task == "long":
        reviews = tables.reviews_by_id
        sources = [[reviews[review_id].text for review_id in output.evidence if review_id in reviews] for output in outputs]
        numbers["copied"] = copied_share(texts, sources)
    numbers["words"] = np.array([float(len(text.split())) for text in texts])
    return numbers


def _score_rating(outputs: Sequence[Output], asked: Sequence[Example]) -> dict[str, np.ndarray]:
    predicted = np.array([answer_rating(output) for output in outputs])
    true = np.array([example.target.rating for example in asked], dtype=float)
    return {"absolute_error": absolute_error(predicted, true), "squared_error": squared_error(predicted, true)}


def _describe_outputs(outputs: Sequence[Output]) -> dict[str, np.ndarray]:
    described: dict[str, list[Any]] = {
        "parsed": [output.is_parsed for output in outputs],
        "reasoned": [bool(output.path) for output in outputs],
        "tokens_in": [output.tokens_in for output in outputs],
        "tokens_out": [output.tokens_out for output in outputs],
    }
    return {name: np.array(values, dtype=float) for name, values in described.items()}
