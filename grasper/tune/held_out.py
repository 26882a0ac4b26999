"""Held-out examples: what a training is measured on while it runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from grasper.config import PromptConfig
from grasper.models.local import LocalModel
from grasper.tune.examples import ExampleMaker, Mixture, ReviewSet
from grasper.tune.sequences import TrainingRow, encode

NUM_EXAMPLES = 104
_TASKS = ("long", "title", "rating", "review")
_WITH_PATH = 4 / 13
MAX_WORDS = 330


def held_out_rows(
    groups: Sequence[ReviewSet], model: LocalModel, *, max_length: int, seed: int, prompts: PromptConfig | None = None
) -> list[TrainingRow]:
    """About a hundred examples by task, without and with a path (`long`, `long+path`, …), with all evidence that `pgraphrag` would show.

    Args:
        groups: Their `reviews` are asked for, their `shown` are shown beside them.
        prompts: What a prompt shows at most.
    """
    rows: list[TrainingRow] = []
    for group in groups:
        targets = [review for review in group.reviews if review.title and review.rating is not None and 4 <= len(review.text.split()) <= MAX_WORDS]
        random.Random(f"{seed}:held-out").shuffle(targets)
        share = NUM_EXAMPLES / len(groups) / len(_TASKS)
        for task in _TASKS:
            for path, count in ((0.0, round(share * (1 - _WITH_PATH))), (1.0, round(share * _WITH_PATH))):
                mixture = Mixture(tasks={task: 1.0}, path=path, neighbours=1.0, own=1.0, predicted=0.0, bare={}, item_name=1.0, ranked=1.0)
                maker = ExampleMaker([replace(group, reviews=targets)], model, seed, mixture, prompts)
                drawn = (maker.draw_one(maker.sets[0], target, f"{seed}:held-out:{task}:{number}") for number, target in enumerate(targets))
                solved = islice((example for example in drawn if example is not None), count)
                rows += [replace(encode(example, model, max_length), task=task + ("+path" if path else "")) for example in solved]
    return rows
