"""The evidence that one prompt of a method shows: where retrievers and methods meet, for alignment, synthesis and generation alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grasper.config import PromptConfig
from grasper.methods.base import Method
from grasper.records import Example, Item, Profile, Request, Review, SyntheticReview
from grasper.retrieve.neighbours import Neighbours
from grasper.retrieve.own import OwnReviews
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.random_reviews import RandomReviews
from grasper.retrieve.rank import RankerName, make_ranker


class ProfileBuilder:
    """Builds the profiles of one method over one pool of reviews.

    Args:
        reviews: All reviews of the data set; what each example may see of them is `ReviewPool`'s to decide.
        seed: For random evidence only.
    """

    def __init__(self, method: Method, reviews: Iterable[Review], prompts: PromptConfig, *, ranker: RankerName = "bm25", seed: int = 0) -> None:
        self._method, self._prompts = method, prompts
        self.pool = ReviewPool(reviews)
        scorer = make_ranker(ranker)
        self._own = OwnReviews(self.pool, scorer)
        self._neighbours = Neighbours(self.pool, scorer)
        self._random = RandomReviews(self.pool, seed) if method.random_reviews else None

    def for_request(self, request: Request, example: Example, synthetic: Sequence[SyntheticReview] = ()) -> Profile:
        """The evidence for a request. `synthetic` holds the example's synthetic reviews; rejected ones are left out."""
        accepted = sorted((review for review in synthetic if review.rejected is None), key=lambda review: review.rank)
        others: list[Review] = []
        if self._random:
            others = self._random.retrieve(request, example, self._method.random_reviews)
        elif self._method.neighbours:
            others = self._neighbours.retrieve(request, example, self._prompts.neighbour_entries)
        return Profile(
            own=tuple(self._own.retrieve(request, example, self._prompts.own_entries)) if self._method.own else (),
            neighbours=tuple(others),
            predicted=tuple(accepted[: self._prompts.predicted_entries]) if self._method.predicted != "none" else (),
        )

    def for_item(self, item: Item, example: Example) -> Profile:
        """The evidence for a review of a predicted item: own reviews and what others wrote about it, nearest to its name."""
        request = Request(example.example_id, "long", example.user_id, item)
        others = self._neighbours.retrieve(request, example, self._prompts.neighbour_entries) if self._method.neighbours else ()
        return Profile(
            own=tuple(self._own.retrieve(request, example, self._prompts.own_entries)) if self._method.own else (),
            neighbours=tuple(others),
        )
