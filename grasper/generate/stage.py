"""The stage: examples × tasks → `outputs.jsonl`, batch by batch, resuming after a kill; a later call with more requests writes the missing ones."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from grasper.files import BatchLog
from grasper.progress import Progress
from grasper.records import TASKS, Example, Output, Task, tasks_of

BATCH_SIZE = 32
"""Requests in one batch, all of one task, where the model does not want more at once; a kill loses at most one batch."""

Batch = tuple[Task, list[Example]]


def generate(
    write: Callable[[Task, Sequence[Example]], Sequence[Output]],
    examples: Sequence[Example],
    tasks: Sequence[Task],
    out_dir: Path,
    *,
    name: str,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Write `outputs.jsonl`: one `Output` per example and task. What the file holds already is kept.

    Args:
        write: Gives the outputs of a batch of examples of one task, see `System.write`.
        name: Method, for the progress.
        batch_size: Requests in one batch; None: `BATCH_SIZE`.

    Returns:
        Counts for the manifest: requests by task, unparsed answers, tokens.
    """
    log = BatchLog(out_dir / "outputs.jsonl")
    requests = sum(len(batch) for _, batch in plan(examples, tasks))
    batches = plan(examples, tasks, done=log.done, batch_size=batch_size)
    with Progress(f"generate/{name}", requests, done=requests - sum(len(batch) for _, batch in batches)) as progress:
        for task, batch in batches:
            log.append((output.to_json() for output in write(task, batch)), done=[key_of(task, example) for example in batch])
            progress.advance(len(batch))
    return _counts(log.records)


def plan(
    examples: Sequence[Example],
    tasks: Sequence[Task],
    *,
    done: Container[str] = (),
    batch_size: int | None = None,
) -> list[Batch]:
    """The batches of requests that are not done: by task, then by example id. Tasks whose answer the data do not hold are left out."""
    batches: list[Batch] = []
    size = batch_size or BATCH_SIZE
    for task in (task for task in TASKS if task in tasks):
        asked = [example for example in examples if task in tasks_of(example)]
        asked = sorted((example for example in asked if key_of(task, example) not in done), key=lambda example: example.example_id)
        batches += [(task, asked[start : start + size]) for start in range(0, len(asked), size)]
    return batches


def key_of(task: Task, example: Example) -> str:
    """What one output is known by in the log of its method."""
    return f"{task}/{example.example_id}"


def _counts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratings = [record for record in records if record["task"] == "rating" and record["tokens_in"] + record["tokens_out"]]
    by_task = {task: sum(record["task"] == task for record in records) for task in TASKS}
    return {
        "requests": len(records),
        **{f"requests_{task}": count for task, count in by_task.items() if count},
        "unparsed": sum(not record["is_parsed"] for record in records),
        "ratings_without_probabilities": sum(not record["probabilities"] for record in ratings),
        "tokens_in": sum(record["tokens_in"] for record in records),
        "tokens_out": sum(record["tokens_out"] for record in records),
    }
