"""Validation edges: the last training edge of every user, withheld for early stopping, weights and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from grasper.metrics.ranking import ranks_of, reciprocal_gain
from grasper.predict.graph import FloatArray, IndexArray, Interactions
from grasper.predict.topk import hide, scores_of

if TYPE_CHECKING:
    from grasper.predict.baselines import ItemPredictor

MAX_SCORES = 20_000_000
"""Users × items whose scores are looked at; more users are thinned out evenly."""
MIN_SCORED = 200
"""Users whose scores are looked at all the same, however large the catalogue: fewer tell little of how well they are ranked."""


@dataclass(frozen=True)
class Withheld:
    """A graph whose users' last edges were taken out.

    `rest` is what is left; `users` `[num]` are those asked about, `targets` `[num]` their withheld items. Seen items are no answer, nor are items
    without any edge in `rest`.
    """

    rest: Interactions
    users: IndexArray
    targets: IndexArray

    @cached_property
    def histories(self) -> Interactions:
        """The edges in `rest` of the users asked about, `[num, num_items]`."""
        return self.rest.of_users(self.users)

    def spread(self, num_users: int) -> IndexArray:
        """Places of at most so many of the users asked about, evenly spread, ascending."""
        num = min(len(self.users), num_users)
        return np.arange(num) * len(self.users) // max(1, num)

    def only(self, places: IndexArray) -> Withheld:
        """The same graph, some of the users asked about."""
        return Withheld(self.rest, self.users[places], self.targets[places])

    def scored(self) -> Withheld:
        """Those of the users whose scores of the whole catalogue are looked at."""
        return self.only(self.spread(num_scored(self.rest.num_items)))

    def hide(self, scores: FloatArray) -> None:
        """Put −inf at what is no answer, in place; `[num, num_items]`."""
        hide(scores, self.histories, self.rest.item_degree > 0)

    def is_answer(self, items: IndexArray) -> np.ndarray:
        """Which of these items could be each user's answer, `[num, …]` for items of that shape."""
        keys = np.arange(len(self.users))[:, None] * self.rest.num_items + items
        return (self.rest.item_degree[items] > 0) & ~np.isin(keys, self.histories.pair_keys)


def num_scored(num_items: int) -> int:
    """Users whose scores of a catalogue are looked at, at most."""
    return max(MIN_SCORED, MAX_SCORES // max(1, num_items))


@dataclass(frozen=True)
class Validation:
    """Scores for users whose last edge was withheld, `[num_users, num_items]`, −inf where an item is no answer; and those edges' items."""

    scores: FloatArray
    targets: IndexArray


def withhold(graph: Interactions) -> Withheld:
    """Take out the last edge of every user with at least two; edges whose item has no other user are not asked about."""
    rest, users, targets = graph.leave_last_out()
    known = rest.item_degree[targets] > 0
    return Withheld(rest, users[known], targets[known])


def validate(predictor: ItemPredictor, graph: Interactions, *, seed: int = 0) -> Validation:
    """Fit the predictor without every user's last edge, and score those users."""
    withheld = withhold(graph).scored()
    predictor.fit(withheld.rest, seed=seed)
    by_user = getattr(predictor, "score_users", None)
    scores = by_user(withheld.users) if by_user else scores_of(predictor.score, withheld.histories)
    withheld.hide(scores)
    return Validation(scores, withheld.targets)


def validation_ndcg(validation: Validation) -> float:
    """Mean NDCG@10 over the withheld edges; 0 where there are none."""
    return float(reciprocal_gain(ranks_of(validation.scores, validation.targets), 10).mean()) if len(validation.targets) else 0.0
