"""Validation edges: the last training edge of every user, withheld for early stopping, weights and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grasper.metrics.ranking import ranks_of, reciprocal_gain
from grasper.predict.graph import FloatArray, IndexArray, Interactions

if TYPE_CHECKING:
    from grasper.predict.baselines import ItemPredictor

MAX_SCORES = 20_000_000
"""Validation users × items at most; more users are thinned out evenly."""


@dataclass(frozen=True)
class Withheld:
    """A graph whose users' last edges were taken out.

    `rest` is what is left; `users` `[num]` are those asked about, `histories` their edges in `rest`, `targets` `[num]` the withheld items, and
    `hidden` `[num, num_items]` marks what is no answer: seen items, and items without any edge in `rest`.
    """

    rest: Interactions
    users: IndexArray
    histories: Interactions
    targets: IndexArray
    hidden: np.ndarray

    def thinned(self, step: int) -> Withheld:
        """Every so-manieth of the users asked about, the same graph."""
        rows = np.arange(0, len(self.users), step)
        return Withheld(self.rest, self.users[rows], self.histories.of_users(rows), self.targets[rows], self.hidden[rows])


@dataclass(frozen=True)
class Validation:
    """Scores for users whose last edge was withheld, `[num_users, num_items]`, −inf where an item is no answer; and those edges' items."""

    scores: FloatArray
    targets: IndexArray


def withhold(graph: Interactions, max_scores: int = MAX_SCORES) -> Withheld:
    """Take out the last edge of every user with at least two; edges whose item has no other user are not asked about."""
    rest, users, targets = graph.leave_last_out()
    known = rest.item_degree[targets] > 0
    step = max(1, -(-int(known.sum()) * graph.num_items // max_scores))
    users, targets = users[known][::step], targets[known][::step]
    histories = rest.of_users(users)
    hidden = np.broadcast_to(rest.item_degree == 0, (len(users), graph.num_items)).copy()
    hidden[histories.user_index, histories.item_index] = True
    return Withheld(rest, users, histories, targets, hidden)


def validate(predictor: ItemPredictor, graph: Interactions, *, seed: int = 0) -> Validation:
    """Fit the predictor without every user's last edge, and score those users."""
    withheld = withhold(graph)
    predictor.fit(withheld.rest, seed=seed)
    by_user = getattr(predictor, "score_users", None)
    scores = by_user(withheld.users) if by_user else predictor.score(withheld.histories)
    scores[withheld.hidden] = -np.inf
    return Validation(scores, withheld.targets)


def validation_ndcg(validation: Validation) -> float:
    """Mean NDCG@10 over the withheld edges; 0 where there are none."""
    return float(reciprocal_gain(ranks_of(validation.scores, validation.targets), 10).mean()) if len(validation.targets) else 0.0
