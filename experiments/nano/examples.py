"""Allowed reviews → solved requests in the project's own prompts: every task and role, with and without history, neighbours, predictions, path.

The prompt comes from `grasper.prompts`, the path from `grasper.reason.analyse`, the answer from `grasper.reason.format`: nano is tuned on the very
code that will ask it. The context never holds the review that is asked for, nor a repeat of its text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.nano.reviews import MANY_REVIEWS, ReviewSet
from grasper.config import PromptConfig
from grasper.errors import PromptTooLongError
from grasper.models.base import Prompt, TextModel
from grasper.prompts.render import Notes, render, render_review
from grasper.prompts.templates import PromptRole
from grasper.reason.analyse import analyse, analyse_review
from grasper.reason.format import Answer, ReasoningPath, render_answer
from grasper.records import Example, Profile, Request, Review, SyntheticReview, Task, request_for
from grasper.retrieve.pool import ReviewPool

TASK_WEIGHTS = {"long": 0.26, "title": 0.27, "rating": 0.27, "review": 0.12, "pat": 0.08}
WITH_PATH = 0.6
WITH_NEIGHBOURS, WITH_OWN, WITH_PREDICTED = 0.75, 0.85, 0.3
WITHOUT_PROFILE = {"title": 0.4, "rating": 0.4}
"""How often a task that is mostly about the given text gets nothing else to read: such examples are short, so more of them fit in the hours."""
WITH_ITEM_NAME = 0.6


@dataclass(frozen=True, slots=True)
class Solved:
    """One training example: what is asked and what should come."""

    prompt: Prompt
    answer: str
    task: str


class ExampleMaker:
    """Draws solved requests from review sets."""

    def __init__(self, sets: list[ReviewSet], model: TextModel, seed: int) -> None:
        self.model = model
        self.seed = seed
        self.sets = [review_set for review_set in sets if review_set.reviews]
        self.pools = {review_set.name: ReviewPool(review_set.reviews) for review_set in self.sets}

    def targets(self) -> list[tuple[ReviewSet, Review]]:
        """Gives the reviews of one round in random order: each set enters as often as its share says."""
        chooser = random.Random(f"{self.seed}:targets")
        chosen = []
        for review_set in self.sets:
            for review in review_set.reviews:
                copies = int(review_set.share) + (chooser.random() < review_set.share % 1)
                chosen += [(review_set, review)] * copies
        chooser.shuffle(chosen)
        return chosen

    def draw(self) -> Iterator[Solved]:
        """Gives the examples of one round, the same ones for the same seed."""
        for number, (review_set, review) in enumerate(self.targets()):
            chooser = random.Random(f"{self.seed}:example:{number}")
            try:
                solved = self.solve(review_set, review, chooser)
            except PromptTooLongError:
                continue
            if solved is not None:
                yield solved

    def solve(self, review_set: ReviewSet, target: Review, chooser: random.Random) -> Solved | None:
        """Gives one request about the review with its answer, or None where the drawn task needs a field that it lacks."""
        kind = chooser.choices(list(TASK_WEIGHTS), list(TASK_WEIGHTS.values()))[0]
        example = Example(f"nano-{target.review_id}", target, "align")
        bare = chooser.random() < WITHOUT_PROFILE.get(kind, 0.0)
        profile = Profile() if bare else self._profile(review_set, example, chooser)
        config = _prompt_config(chooser)
        reasoning = chooser.random() < WITH_PATH
        if kind == "review":
            return self._whole_review(review_set, target, profile, config, reasoning)
        task: Task = chooser.choices(("long", "title", "rating"), (0.6, 0.25, 0.15))[0] if kind == "pat" else kind  # type: ignore[assignment]
        if (task == "title" and not target.title) or (task == "rating" and target.rating is None):
            return None
        request = request_for(example, task, review_set.item(target.item_id))
        if task == "long" and request.title is None and request.rating is None:
            return None
        path = analyse(request, profile, Answer(None, target.title, target.text, target.rating, is_parsed=True))
        if kind == "pat":
            return self._pat(request, profile, target, path, config, chooser)
        prompt = render(request, profile, reasoning=reasoning, config=config, model=self.model)
        return Solved(prompt, _answer(task, target, path if reasoning else None), task)

    def _whole_review(self, review_set: ReviewSet, target: Review, profile: Profile, config: PromptConfig, reasoning: bool) -> Solved | None:
        if not target.title or target.rating is None:
            return None
        path = analyse_review(profile, Answer(None, target.title, target.text, target.rating, is_parsed=True)) if reasoning else None
        prompt = render_review(review_set.item(target.item_id), profile, reasoning=reasoning, config=config, model=self.model)
        answer = render_answer("review", title=target.title, text=target.text, rating=target.rating, path=path)
        return Solved(prompt, answer, "review")

    def _pat(self, request: Request, profile: Profile, target: Review, path: ReasoningPath, config: PromptConfig, chooser: random.Random) -> Solved:
        """One step of PAT: notes on style, notes on topic, a draft from both, or a revision of somebody's draft."""
        role: PromptRole = chooser.choices(("style", "topic", "draft", "revise"), (0.25, 0.25, 0.3, 0.2))[0]
        style, topic = path.style, f"{path.interests}; {path.plan}"
        if role == "style":
            notes, answer = Notes(topic=topic if chooser.random() < 0.5 else ""), f"Style: {path.style}"
        elif role == "topic":
            notes, answer = Notes(style=style if chooser.random() < 0.5 else ""), f"Interests: {path.interests}\nPlan: {path.plan}"
        else:
            draft = self._draft(request.task, profile, target, chooser) if role == "revise" else ""
            notes, answer = Notes(style, topic, draft), _answer(request.task, target, None)
        prompt = render(request, profile, reasoning=False, config=config, model=self.model, role=role, notes=notes)
        return Solved(prompt, answer, f"pat-{role}")

    def _draft(self, task: Task, profile: Profile, target: Review, chooser: random.Random) -> str:
        """A draft that a revision may start from: what a neighbour wrote, or the beginning of the real text."""
        if task == "rating":
            return f"{chooser.choice((3, 4, 5)):g}"
        others = [value for entry in profile.neighbours if (value := entry.title if task == "title" else entry.text)]
        if others:
            return chooser.choice(others)
        words = ((target.title if task == "title" else target.text) or "").split()
        return " ".join(words[: max(1, len(words) // 2)])

    def _profile(self, review_set: ReviewSet, example: Example, chooser: random.Random) -> Profile:
        """A random part of what a request for the example may see, and made-up predictions: real reviews of other items."""
        pool = self.pools[review_set.name]
        own = pool.own(example) if chooser.random() < WITH_OWN else []
        own = [] if len(own) > MANY_REVIEWS else own
        predicted: list[Review] = []
        if chooser.random() < WITH_PREDICTED:
            others = [review for review in own if review.item_id != example.item_id]
            source = others if others and chooser.random() < 0.5 else review_set.reviews
            predicted = [
                review
                for review in chooser.sample(source, min(len(source), chooser.randint(1, 3)))
                if review.item_id != example.item_id and review.text != example.target.text
            ]
            shown = {review.review_id for review in predicted}
            own = [review for review in own if review.review_id not in shown]
        neighbours = pool.neighbours(example) if chooser.random() < WITH_NEIGHBOURS else []
        neighbours = chooser.sample(neighbours, min(len(neighbours), chooser.choice((1, 2, 2, 3, 4, 4))))
        own = chooser.sample(own, min(len(own), chooser.choice((1, 2, 3, 4))))
        return Profile(tuple(own), tuple(neighbours), tuple(self._as_predicted(review, review_set, rank) for rank, review in enumerate(predicted)))

    @staticmethod
    def _as_predicted(review: Review, review_set: ReviewSet, rank: int) -> SyntheticReview:
        item = review_set.item(review.item_id)
        return SyntheticReview("nano", review.user_id, item, review.text, review.title, review.rating, rank=rank + 1)


def _prompt_config(chooser: random.Random) -> PromptConfig:
    """The defaults, sometimes with shorter entries or without the item's name, so that no single form is learned by heart."""
    config = PromptConfig(item_name=chooser.random() < WITH_ITEM_NAME)
    if chooser.random() < 0.4:
        limit = chooser.choice((32, 48, 64))
        config = config.model_copy(update={"own_tokens": limit, "neighbour_tokens": limit, "predicted_tokens": limit})
    return config


def _answer(task: Task, target: Review, path: ReasoningPath | None) -> str:
    return render_answer(task, title=target.title, text=target.text, rating=target.rating, path=path)
