"""The stage: examples × tasks → `outputs.jsonl`, batch by batch, resuming after a kill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grasper.config import GenerateConfig, PromptConfig
from grasper.errors import ConfigError
from grasper.generate.copy import Copier
from grasper.generate.write import Writer
from grasper.methods.base import Method
from grasper.models.base import TextModel
from grasper.progress import Progress
from grasper.prompts.exemplars import ExemplarSource
from grasper.records import TASKS, Example, Output, SyntheticReview, Tables, Task, tasks_of
from grasper.retrieve.profile import ProfileBuilder
from grasper.runs import BatchLog, derive_seed, read_jsonl

BATCH_SIZE = 32
"""Requests in one batch, all of one task; a kill loses at most one batch."""

Batch = tuple[Task, list[Example]]


def generate(
    config: GenerateConfig,
    prompts: PromptConfig,
    method: Method,
    tables: Tables,
    examples: Sequence[Example],
    tasks: Sequence[Task],
    synthetic: Sequence[SyntheticReview],
    model: TextModel | None,
    out_dir: Path,
    *,
    seed: int,
    exemplars: ExemplarSource | None = None,
    needs_reference: bool = True,
) -> dict[str, Any]:
    """Write `outputs.jsonl`: one `Output` per example and task. A folder that was cut off is continued, with the result of an undisturbed run.

    Args:
        synthetic: Synthetic reviews of these examples; rejected ones are not shown.
        model: None for methods that use none.
        exemplars: Solved requests to show, for models that cannot be fine-tuned.
        needs_reference: Leave out tasks whose answer the data do not hold, since they cannot be evaluated.

    Returns:
        Counts for the manifest: requests by task, unparsed answers, tokens.
    """
    batches = plan(examples, tasks, needs_reference=needs_reference)
    log = BatchLog(out_dir / "outputs.jsonl")
    if log.num_batches < len(batches):
        writer = _writer(config, prompts, method, tables, synthetic, model, seed, exemplars)
        done = sum(len(batch) for _, batch in batches[: log.num_batches])
        with Progress(f"generate/{method.name}", sum(len(batch) for _, batch in batches), done=done) as progress:
            for number in range(log.num_batches, len(batches)):
                task, batch = batches[number]
                outputs = writer.write(task, batch, seed=derive_seed(seed, method.name, "generate", number))
                log.append(output.to_json() for output in outputs)
                progress.advance(len(batch))
    return _counts(log.records)


def plan(examples: Sequence[Example], tasks: Sequence[Task], *, needs_reference: bool = True) -> list[Batch]:
    """The fixed batches: by task, then by example id; the same for the same targets, however often a run is cut off."""
    batches: list[Batch] = []
    for task in (task for task in TASKS if task in tasks):
        asked = [example for example in examples if not needs_reference or task in tasks_of(example)]
        asked.sort(key=lambda example: example.example_id)
        batches += [(task, asked[start : start + BATCH_SIZE]) for start in range(0, len(asked), BATCH_SIZE)]
    return batches


def load_outputs(path: Path) -> list[Output]:
    """The outputs of a finished or cut-off stage, in the order they were written."""
    records = [record for record in read_jsonl(path) if set(record) != {"batch"}]
    return [Output(**record | {name: tuple(record[name]) for name in ("samples", "probabilities", "evidence")}) for record in records]


def _writer(
    config: GenerateConfig,
    prompts: PromptConfig,
    method: Method,
    tables: Tables,
    synthetic: Sequence[SyntheticReview],
    model: TextModel | None,
    seed: int,
    exemplars: ExemplarSource | None,
) -> Writer | Copier:
    if not method.uses_model:
        return Copier(tables, method.name)
    if model is None:
        raise ConfigError(f"method '{method.name}' writes with a language model, but none was given")
    by_example: dict[str, list[SyntheticReview]] = defaultdict(list)
    for review in synthetic:
        by_example[review.example_id].append(review)
    profiles = ProfileBuilder(method, tables.reviews_by_id.values(), prompts, ranker=config.ranker, seed=seed)
    return Writer(config, prompts, method, tables, profiles, by_example, model, exemplars)


def _counts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratings = [record for record in records if record["task"] == "rating" and record["tokens_in"]]
    by_task = {task: sum(record["task"] == task for record in records) for task in TASKS}
    return {
        "requests": len(records),
        **{f"requests_{task}": count for task, count in by_task.items() if count},
        "unparsed": sum(not record["is_parsed"] for record in records),
        "ratings_without_probabilities": sum(not record["probabilities"] for record in ratings),
        "tokens_in": sum(record["tokens_in"] for record in records),
        "tokens_out": sum(record["tokens_out"] for record in records),
    }
