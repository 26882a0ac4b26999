"""A language model as judge: how well does a text match the real one, by its expected grade? The same judge as the reward `judge`.

An option for those who have a strong model; the evaluation itself never needs one. The judge sees the real text, so its grades compare methods
and are no measure of what a reader without it would think. Grades are kept per output, so that a judge that was stopped goes on. A text that it names
no grade for has none, and is tried again by the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from grasper.errors import RunMismatchError
from grasper.evaluate.measured import judges_in
from grasper.evaluate.score import answer_text, load_answers, reference_text
from grasper.files import BatchLog
from grasper.models.base import TextModel
from grasper.progress import Progress
from grasper.reason.reward import JudgeReward
from grasper.records import Example, Task, tasks_of
from grasper.runs import stable_hash

BATCH_SIZE = 32
"""Grades in one batch; a kill loses at most one."""


def judge_outputs(model: TextModel, outputs_path: Path, path: Path, examples: Sequence[Example], tasks: Sequence[Task]) -> tuple[int, int]:
    """Grade a method's texts and titles that have no grade yet; gives how many got one, and how many were asked about.

    Args:
        outputs_path: The method's `outputs.jsonl`.
        path: Where the grades are kept, `measure/<method>/judge.jsonl`; those of the other methods stand beside it.

    Raises:
        MissingFileError: There are no outputs.
        RunMismatchError: Another model graded this method, or another one of the run, before.
    """
    answers = load_answers(outputs_path)
    log = BatchLog(path)
    for place in sorted(path.parent.parent.glob(f"*/{path.name}")):
        if others := judges_in([place]) - {model.name}:
            raise RunMismatchError(f"{place} holds grades by {', '.join(sorted(others))}, not by {model.name}; delete it to let another model judge")
    known = {(record["example_id"], record["task"], record["output"]) for record in log.records}
    wanted = []
    for example in examples:
        for task in tasks_of(example):
            if task in tasks and task != "rating" and (output := answers.get((example.example_id, task))):
                text = answer_text(output)
                if (example.example_id, task, stable_hash(text)) not in known:
                    wanted.append((example, task, text))
    reward, count = JudgeReward(model), 0
    with Progress(f"judge/{path.parent.name}", len(wanted)) as progress:
        for start in range(0, len(wanted), BATCH_SIZE):
            batch = wanted[start : start + BATCH_SIZE]
            texts, references = [text for _, _, text in batch], [reference_text(example.target, task) for example, task, _ in batch]
            graded = [(one, grade) for one, grade in zip(batch, reward.grades(texts, references), strict=True) if not np.isnan(grade)]
            log.append(
                {
                    "example_id": example.example_id,
                    "task": task,
                    "metric": "judge",
                    "value": round(float(grade), 6),
                    "judge": model.name,
                    "output": stable_hash(text),
                }
                for (example, task, text), grade in graded
            )
            progress.advance(len(batch))
            count += len(graded)
    return count, len(wanted)
