"""Training pairs by leave-one-out over reserved train users, the users whom the embedded model never saw (DESIGN: leakage rules)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from grasper.desk import Desk
from grasper.prompts.templates import AnswerTask
from grasper.reason.traces import TrainingPair
from grasper.records import TASKS, Example, Request, Split, SyntheticReview, Tables, Task, request_for, tasks_of
from grasper.runs import stable_hash


def select_pairs(tables: Tables, split: Split, limit: int | None, *, seed: int) -> list[Example]:
    """At most `limit` examples of a reserved split, in an order that the seed decides; zero-history pairs are kept like any other."""
    examples = sorted(tables.select(split), key=lambda example: stable_hash(f"{seed}/{example.example_id}"))
    return examples[:limit]


def make_pairs(
    desk: Desk, examples: Sequence[Example], synthetic: Sequence[SyntheticReview] = (), *, tasks: Sequence[Task] = TASKS, with_reviews: bool = False
) -> list[TrainingPair]:
    """One pair per example: the tasks take turns, so that every task is aligned and no user counts more than another.

    The evidence is what the method's prompts will show at generation.

    Args:
        synthetic: The synthetic reviews of these examples.
        with_reviews: Whether the whole review, as synthesis asks for it, takes its turn too: GraSPer's t_{u,j} is the review of a predicted item,
            so the prompt that writes it is aligned as well. Its evidence is that of synthesis, without synthetic reviews.
    """
    written: dict[str, list[SyntheticReview]] = defaultdict(list)
    for review in synthetic:
        written[review.example_id].append(review)
    pairs = []
    for number, example in enumerate(examples):
        item = desk.store.tables.item(example.item_id)
        possible: list[AnswerTask] = [task for task in tasks if task in tasks_of(example)]
        if with_reviews and example.target.text:
            possible.append("review")
        if not possible:
            continue
        task = possible[number % len(possible)]
        if task == "review":
            request = Request(example.example_id, "long", example.user_id, item)
            pairs.append(TrainingPair(example, request, desk.profiles.for_item(item, example), is_review=True))
        else:
            request = request_for(example, task, item)
            pairs.append(TrainingPair(example, request, desk.profiles.for_request(request, example, written[example.example_id])))
    return pairs
