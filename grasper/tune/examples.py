"""Allowed reviews → solved requests in the project's own prompts: every task and role, with and without history, neighbours, predictions, path.

The prompt comes from `grasper.prompts`, the path from `grasper.reason.analyse`, the answer from `grasper.reason.format`: a model is tuned on the
very code that will ask it. The context never holds the review that is asked for, nor a repeat of its text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from grasper.config import PromptConfig
from grasper.errors import PromptTooLongError
from grasper.methods.base import REASONERS
from grasper.models.base import Prompt, TextModel
from grasper.prompts.render import Notes, render, render_review
from grasper.reason.analyse import analyse
from grasper.reason.dual import DualReasoning, Evidence, notes_of
from grasper.reason.format import Answer, ReasoningPath, render_answer
from grasper.reason.pair import TrainingPair
from grasper.reason.roles import Role, analysed_notes, role_examples
from grasper.records import Example, Item, Profile, Request, Review, SyntheticReview, Task, request_for
from grasper.retrieve.bm25 import Bm25Ranker
from grasper.retrieve.pool import ReviewPool, is_visible
from grasper.retrieve.rank import best, query_of

MANY_REVIEWS = 60
"""A name with more reviews than this ("A Traveler") is not one person; its reviews have no history."""


@dataclass(frozen=True)
class ReviewSet:
    """Reviews that may be shown and asked for, and their items.

    `share` is how often a review is asked for, relative to other sets. `shown` are further reviews that prompts may show but never ask for.
    """

    name: str
    share: float
    reviews: list[Review]
    items: Mapping[str, Item]
    shown: Sequence[Review] = ()

    def item(self, item_id: str) -> Item:
        """Gives the item's metadata, or an item without a name."""
        return self.items.get(item_id, Item(item_id))


@dataclass(frozen=True)
class Mixture:
    """How often each kind of example is drawn, and what its prompt shows. The defaults are those that nano was tuned with."""

    tasks: Mapping[str, float] = field(default_factory=lambda: {"long": 0.26, "title": 0.27, "rating": 0.27, "review": 0.12, "pat": 0.08})
    path: float = 0.6
    """Share of examples whose answer begins with a reasoning path."""
    neighbours: float = 0.75
    own: float = 0.85
    predicted: float = 0.3
    bare: Mapping[str, float] = field(default_factory=lambda: {"title": 0.4, "rating": 0.4})
    """How often a task that is mostly about the given text gets nothing else to read: such examples are short, so more of them fit in the hours."""
    item_name: float = 0.6
    ranked: float = 0.0
    """How often the entries are the best ones by BM25, as at inference; else they are drawn at random."""


NANO_MIXTURE = Mixture()


@dataclass(frozen=True, slots=True)
class Solved:
    """One training example: what is asked and what should come."""

    prompt: Prompt
    answer: str
    task: str


class ExampleMaker:
    """Draws solved requests from review sets.

    Args:
        sets: What may be asked for and shown.
        model: Counts the tokens of the prompts.
        seed: Equal seeds give equal examples.
        mixture: Which kinds of examples, how often.
        prompts: What a prompt shows at most.
    """

    def __init__(
        self, sets: list[ReviewSet], model: TextModel, seed: int, mixture: Mixture = NANO_MIXTURE, prompts: PromptConfig | None = None
    ) -> None:
        self.model = model
        self.seed = seed
        self.mixture = mixture
        self.prompts = prompts or PromptConfig()
        self.sets = [review_set for review_set in sets if review_set.reviews]
        self.pools = {review_set.name: ReviewPool([*review_set.reviews, *review_set.shown]) for review_set in self.sets}
        self._ranker = Bm25Ranker()

    def targets(self, round_number: int = 0) -> list[tuple[ReviewSet, Review]]:
        """Gives the reviews of one round in random order: each set enters as often as its share says."""
        chooser = random.Random(f"{self.seed}:targets" + (f":{round_number}" if round_number else ""))
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
            solved = self.draw_one(review_set, review, f"{self.seed}:example:{number}")
            if solved is not None:
                yield solved

    def draw_one(self, review_set: ReviewSet, target: Review, seed: str) -> Solved | None:
        """Gives one example about the review, the same one for the same seed, or None where the drawn kind does not suit it."""
        try:
            return self.solve(review_set, target, random.Random(seed))
        except PromptTooLongError:
            return None

    def solve(self, review_set: ReviewSet, target: Review, chooser: random.Random) -> Solved | None:
        """Gives one request about the review with its answer, or None where the drawn task needs a field that it lacks."""
        kind = chooser.choices(list(self.mixture.tasks), list(self.mixture.tasks.values()))[0]
        example = Example(f"tune-{target.review_id}", target, "align")
        bare = chooser.random() < self.mixture.bare.get(kind, 0.0)
        profile = Profile() if bare else self._profile(review_set, example, kind, chooser)
        config = _varied(self.prompts, chooser, self.mixture.item_name)
        reasoning = chooser.random() < self.mixture.path
        if kind == "review":
            return self._whole_review(review_set, target, profile, config, reasoning)
        task: Task = chooser.choices(("long", "title", "rating"), (0.6, 0.25, 0.15))[0] if kind == "pat" else kind  # type: ignore[assignment]
        if (task == "title" and not target.title) or (task == "rating" and target.rating is None):
            return None
        request = request_for(example, task, review_set.item(target.item_id))
        if task == "long" and request.title is None and request.rating is None:
            return None
        if kind == "pat":
            return self._pat(request, replace(profile, predicted=()), example, config, review_set, chooser)
        path = analyse(request, profile, Answer(None, target.title, target.text, target.rating, is_parsed=True))
        prompt = render(request, profile, reasoning=reasoning, config=config, model=self.model)
        return Solved(prompt, _answer(task, target, path if reasoning else None), task)

    def _whole_review(self, review_set: ReviewSet, target: Review, profile: Profile, config: PromptConfig, reasoning: bool) -> Solved | None:
        if not target.title or target.rating is None:
            return None
        example = Example(f"tune-{target.review_id}", target, "align")
        pair = TrainingPair(example, request_for(example, "long", review_set.item(target.item_id)), profile, is_review=True)
        path = pair.analysed_path(sees_answer=True) if reasoning else None
        prompt = render_review(review_set.item(target.item_id), profile, reasoning=reasoning, config=config, model=self.model)
        answer = render_answer("review", title=target.title, text=target.text, rating=target.rating, path=path)
        return Solved(prompt, answer, "review")

    def _pat(self, request: Request, profile: Profile, example: Example, config: PromptConfig, shown: ReviewSet, chooser: random.Random) -> Solved:
        """One step of PAT by `reason.roles`, as its warm start asks it: notes on style, notes on topic, a draft from both, or a revision of one.

        Neither writers alike nor people of similar taste are looked for here: anybody's reviews stand in their places; notes are about what is shown.
        Nor has a model written a step that could be improved: the earlier notes of one are about other people's reviews, without sight of the answer.
        """
        role: Role = chooser.choices(("style", "topic", "draft", "revise"), (0.25, 0.25, 0.3, 0.2))[0]
        style, topic = (replace(profile, neighbours=self._strangers(shown, example, chooser)) for _ in REASONERS)
        pair = TrainingPair(example, request, profile)
        draft = self._draft(pair, chooser, may_quote=role == "revise") if role == "revise" or chooser.random() < 0.5 else ""
        reasoning = DualReasoning(self.model, config, steps=0)
        earlier = Notes(*self._other_notes(pair, shown, chooser), draft) if draft else None
        solved = [one for one in role_examples(pair, Evidence(profile, style, topic), reasoning, earlier) if one.role == role]
        return Solved(solved[-1].prompt, solved[-1].answer, f"pat-{role}")

    def _other_notes(self, pair: TrainingPair, shown: ReviewSet, chooser: random.Random) -> tuple[str, str]:
        """Notes on style and topic that other people's reviews suggest, in the places of the person's own and of the others'."""
        own, others = (self._strangers(shown, pair.example, chooser) for _ in range(2))
        profile = Profile(own if pair.profile.own else (), others)
        path = analysed_notes(pair, Evidence(profile, profile, profile), sees_answer=False)
        return notes_of("style", path), notes_of("topic", path)

    def _strangers(self, shown: ReviewSet, example: Example, chooser: random.Random) -> tuple[Review, ...]:
        """Up to four reviews of other people, in half of all cases of the item in mind."""
        about = self.pools[shown.name].neighbours(example) if chooser.random() < 0.5 else chooser.sample(shown.reviews, min(len(shown.reviews), 8))
        others = [review for review in about if is_visible(review, example) and review.user_id != example.user_id]
        return tuple(chooser.sample(others, min(len(others), chooser.choice((1, 2, 3, 4)))))

    @staticmethod
    def _draft(pair: TrainingPair, chooser: random.Random, *, may_quote: bool) -> str:
        """A draft that a step may start from: what a neighbour wrote, or, if it may be quoted, the beginning of the real text; else none."""
        task, target = pair.request.task, pair.example.target
        if task == "rating":
            return f"{chooser.choice((3, 4, 5)):g}"
        others = [value for entry in pair.profile.neighbours if (value := entry.title if task == "title" else entry.text)]
        if others:
            return chooser.choice(others)
        words = ((target.title if task == "title" else target.text) or "").split()
        return " ".join(words[: max(1, len(words) // 2)]) if may_quote else ""

    def _profile(self, review_set: ReviewSet, example: Example, kind: str, chooser: random.Random) -> Profile:
        """A part of what a request for the example may see, and made-up predictions: real reviews of other items."""
        pool, mixture = self.pools[review_set.name], self.mixture
        own = pool.own(example) if chooser.random() < mixture.own else []
        own = [] if len(own) > MANY_REVIEWS else own
        predicted: list[Review] = []
        if chooser.random() < mixture.predicted:
            others = [review for review in own if review.item_id != example.item_id]
            source = others if others and chooser.random() < 0.5 else review_set.reviews
            predicted = [
                review
                for review in chooser.sample(source, min(len(source), chooser.randint(1, 3)))
                if review.item_id != example.item_id and is_visible(review, example)
            ]
            shown = {review.review_id for review in predicted}
            own = [review for review in own if review.review_id not in shown]
        neighbours = pool.neighbours(example) if chooser.random() < mixture.neighbours else []
        choose = self._best if mixture.ranked and chooser.random() < mixture.ranked else self._any
        query = self._query(review_set, example, kind)
        neighbours = choose(neighbours, query, chooser.choice((1, 2, 2, 3, 4, 4)), chooser)
        own = choose(own, query, chooser.choice((1, 2, 3, 4)), chooser)
        return Profile(tuple(own), tuple(neighbours), tuple(self._as_predicted(review, review_set, rank) for rank, review in enumerate(predicted)))

    def _best(self, reviews: Sequence[Review], query: str, count: int, chooser: random.Random) -> list[Review]:
        return best(reviews, self._ranker.scores(query, reviews), count)

    @staticmethod
    def _any(reviews: Sequence[Review], query: str, count: int, chooser: random.Random) -> list[Review]:
        return chooser.sample(list(reviews), min(len(reviews), count))

    @staticmethod
    def _query(review_set: ReviewSet, example: Example, kind: str) -> str:
        """What the request shows of the target: the only thing that evidence may be ranked by."""
        item = review_set.item(example.item_id)
        task: Task = "title" if kind == "title" else "rating" if kind == "rating" else "long"
        return (item.name or "") if kind in ("review", "pat") else query_of(request_for(example, task, item))  # PAT's task is drawn later

    @staticmethod
    def _as_predicted(review: Review, review_set: ReviewSet, rank: int) -> SyntheticReview:
        item = review_set.item(review.item_id)
        return SyntheticReview("tune", review.user_id, item, review.text, review.title, review.rating, rank=rank + 1)


def _varied(prompts: PromptConfig, chooser: random.Random, item_name: float) -> PromptConfig:
    """These prompts, sometimes with shorter entries or without the item's name, so that no single form is learned by heart."""
    is_named = chooser.random() < item_name
    changes: dict[str, int | bool] = {"item_name": prompts.item_name and is_named}
    if chooser.random() < 0.4:
        limit = chooser.choice((32, 48, 64))
        changes |= {name: min(limit, getattr(prompts, name)) for name in ("own_tokens", "neighbour_tokens", "predicted_tokens")}
    return prompts.model_copy(update=changes)


def _answer(task: Task, target: Review, path: ReasoningPath | None) -> str:
    return render_answer(task, title=target.title, text=target.text, rating=target.rating, path=path)
