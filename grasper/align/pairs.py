"""Training pairs by leave-one-out over reserved train users, the users whom the embedded model never saw (DESIGN: leakage rules)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from grasper.config import PromptConfig
from grasper.methods.base import Method
from grasper.reason.traces import TrainingPair
from grasper.records import TASKS, Example, Split, SyntheticReview, Tables, Task, request_for, tasks_of
from grasper.retrieve.profile import ProfileBuilder
from grasper.retrieve.rank import RankerName
from grasper.runs import derive_seed, stable_hash


def select_pairs(tables: Tables, split: Split, limit: int | None, *, seed: int) -> list[Example]:
    """At most `limit` examples of a reserved split, in an order that the seed decides; zero-history pairs are kept like any other."""
    examples = sorted(tables.select(split), key=lambda example: stable_hash(f"{seed}/{example.example_id}"))
    return examples[:limit]


def make_pairs(
    method: Method,
    tables: Tables,
    examples: Sequence[Example],
    synthetic: Sequence[SyntheticReview],
    prompts: PromptConfig,
    *,
    tasks: Sequence[Task] = TASKS,
    ranker: RankerName = "bm25",
    seed: int,
) -> list[TrainingPair]:
    """One pair per example: the tasks take turns, so that every task is aligned and no user counts more than another.

    The evidence is what the method's prompts will show at generation; `synthetic` holds the synthetic reviews of these examples.
    """
    builder = ProfileBuilder(method, tables.reviews_by_id.values(), prompts, ranker=ranker, seed=derive_seed(seed, "profiles"))
    written: dict[str, list[SyntheticReview]] = defaultdict(list)
    for review in synthetic:
        written[review.example_id].append(review)
    pairs = []
    for number, example in enumerate(examples):
        possible = [task for task in tasks if task in tasks_of(example)]
        if not possible:
            continue
        request = request_for(example, possible[number % len(possible)], tables.item(example.item_id))
        pairs.append(TrainingPair(example, request, builder.for_request(request, example, written[example.example_id])))
    return pairs
