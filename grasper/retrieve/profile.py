"""The evidence that one prompt of a method shows: where retrievers and methods meet, for alignment, synthesis and generation alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from grasper.config import PromptConfig
from grasper.errors import LeakError, ShapeError
from grasper.methods.base import Method
from grasper.records import Example, Item, Profile, Request, Review, SyntheticReview, review_request, with_text
from grasper.retrieve.pool import is_visible
from grasper.retrieve.store import ReviewStore

RANDOM_ENTRIES = 1
"""Random reviews in a prompt: one, as in PGraphRAG's `random` mode."""


class ProfileBuilder:
    """Builds the profiles of one method over one store of reviews; what each example may see of it is `ReviewPool`'s to decide."""

    def __init__(self, method: Method, store: ReviewStore, prompts: PromptConfig) -> None:
        self._method, self._prompts, self._store = method, prompts, store

    def for_request(self, request: Request, example: Example, synthetic: Sequence[SyntheticReview] = (), *, sets: int = 1) -> Profile:
        """The evidence for a request.

        Args:
            synthetic: The example's synthetic reviews; rejected ones are left out.
            sets: Sets of other people's reviews, as far as there are enough of them.
        """
        accepted = sorted((review for review in synthetic if review.rejected is None), key=lambda review: review.rank)
        neighbours, *further = in_sets(self.others(self._method.others, request, example, sets=sets), self._prompts.neighbour_entries)
        shown = Profile(
            own=self._own(request, example),
            neighbours=neighbours,
            predicted=tuple(accepted[: self._prompts.predicted_entries]) if self._method.predicts_items else (),
            further=tuple(further),
        )
        return shown if with_text((*shown.own, *shown.others())) else replace(shown, typical=tuple(self._store.pool.typical(example)))

    def for_item(self, item: Item, example: Example) -> Profile:
        """The evidence for a review of a predicted item: own reviews and what others wrote about it, nearest to its name."""
        request = review_request(example, item)
        return Profile(own=self._own(request, example), neighbours=self.others(self._method.others, request, example))

    def others(self, retriever: str, request: Request, example: Example, *, sets: int = 1) -> tuple[Review, ...]:
        """What a named retriever finds for so many sets; nothing for an empty name.

        Raises:
            LeakError: It gave a review that the example may not see, or one that is no record of the run.
            ShapeError: It gave something else than reviews.
        """
        if not retriever:
            return ()
        return self._found(retriever, request, example, RANDOM_ENTRIES if retriever == "random" else sets * self._prompts.neighbour_entries)

    def _own(self, request: Request, example: Example) -> tuple[Review, ...]:
        return self._found("own", request, example, self._prompts.own_entries) if self._method.own else ()

    def _found(self, retriever: str, request: Request, example: Example, k: int) -> tuple[Review, ...]:
        """What a retriever finds: reviews of the store, or brought along, that the example may see, at most `k`, whatever it gives."""
        answer = self._store.retriever(retriever).retrieve(request, example, k)
        found = list(answer) if isinstance(answer, Iterable) else [answer]
        if wrong := [one for one in found if not isinstance(one, Review)]:
            raise ShapeError(f"the retriever {retriever!r} gave {wrong[0]!r:.80}, expected a list of reviews (grasper.records.Review)")
        for review in found:
            if fault := self._fault_of(review, example):
                raise LeakError(
                    f"the retriever {retriever!r} gave review {review.review_id}, {fault}; choose among what `store.pool` gives for the example"
                )
        return tuple(found[:k])

    def _fault_of(self, review: Review, example: Example) -> str:
        """Why a review cannot be shown, empty where it can. One of somebody's own making is no evidence, and may hold anything under any id."""
        if not is_visible(review, example):
            return f"which example {example.example_id} may not see"
        if self._store.tables.reviews_by_id.get(review.review_id) != review and review not in (example.history or ()):
            return "which is no review of the run, or not as it stands there"
        return ""


def in_sets(reviews: Sequence[Review], size: int) -> list[tuple[Review, ...]]:
    """Reviews, best first, in sets of `size`, at least one; what is left over at the end is a set where it is the half of one, or more."""
    starts = range(size, len(reviews) - (size + 1) // 2 + 1, size) if size else ()
    return [tuple(reviews[:size]), *(tuple(reviews[start : start + size]) for start in starts)]
