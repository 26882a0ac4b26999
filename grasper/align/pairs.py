"""Training pairs by leave-one-out over reserved train users, the users whom the embedded model never saw (DESIGN: leakage rules)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from grasper.desk import Desk
from grasper.prompts.templates import AnswerTask
from grasper.reason.pair import TrainingPair
from grasper.records import TASKS, Example, Split, SyntheticReview, Tables, Task, request_for, review_request, tasks_of
from grasper.runs import stable_hash
from grasper.written import by_example


def select_pairs(tables: Tables, split: Split, limit: int | None, *, seed: int) -> list[Example]:
    """At most `limit` examples of a reserved split, in an order that the seed decides; zero-history pairs are kept like any other.

    Users take turns, so that under a limit none has two examples before all others have one.
    """
    turns: Counter[str] = Counter()
    order: list[tuple[int, Example]] = []
    for example in sorted(tables.select(split), key=lambda example: stable_hash(f"{seed}/{example.example_id}")):
        order.append((turns[example.user_id], example))
        turns[example.user_id] += 1
    return [example for _, example in sorted(order, key=lambda placed: placed[0])][:limit]


def make_pairs(
    desk: Desk, examples: Sequence[Example], synthetic: Sequence[SyntheticReview] = (), *, tasks: Sequence[Task] = TASKS, with_reviews: bool = False
) -> list[TrainingPair]:
    """One pair per example: the tasks take turns, so that every task is aligned. The evidence is what the method's prompts will show at generation.

    The turns are the same for all methods, so that they learn the same texts, titles and ratings; those that write no synthetic reviews leave out the
    pairs whose turn is a whole review, and learn from fewer.

    Args:
        synthetic: The synthetic reviews of these examples.
        with_reviews: Whether the whole review, as synthesis asks for it, takes its turn too: GraSPer's t_{u,j} is the review of a predicted item,
            so the prompt that writes it is aligned as well, where a method predicts items. Its evidence is that of synthesis, without synthetic
            reviews.
    """
    written, pairs = by_example(synthetic), []
    for number, example in enumerate(examples):
        item = desk.store.tables.item(example.item_id)
        possible: list[AnswerTask] = [task for task in tasks if task in tasks_of(example)]
        if with_reviews and example.target.text:
            possible.append("review")
        if not possible:
            continue
        task = possible[number % len(possible)]
        if task == "review":
            if desk.method.predicts_items:
                pairs.append(TrainingPair(example, review_request(example, item), desk.profiles.for_item(item, example), is_review=True))
        else:
            request = request_for(example, task, item)
            pairs.append(TrainingPair(example, request, desk.profiles.for_request(request, example, written.get(example.example_id, ()))))
    return pairs
