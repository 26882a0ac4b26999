"""All real reviews of a run, indexed once for every request: by user, by item, and with what rankers remember of each text."""

from __future__ import annotations

import threading
from collections.abc import Callable

from grasper.methods.base import Method
from grasper.records import Tables
from grasper.registry import Registry
from grasper.retrieve import Retriever
from grasper.retrieve.neighbours import Neighbours
from grasper.retrieve.own import OwnReviews
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.random_reviews import RandomReviews
from grasper.retrieve.rankers import RankerName, make_ranker
from grasper.retrieve.similar import LinkPredictor


class ReviewStore:
    """The reviews of a run and the retrievers over them, made once and shared by all methods and threads.

    Args:
        tables: What `prepare` wrote.
        ranker: How entries are ranked: `bm25`, `embedding` or `recency`.
        seed: For random evidence only.
        predictor: Opens the fitted link predictor, for retrievers that ask it.
    """

    def __init__(self, tables: Tables, *, ranker: RankerName = "bm25", seed: int = 0, predictor: Callable[[], LinkPredictor] | None = None) -> None:
        self.tables, self.seed, self.predictor = tables, seed, predictor
        self.pool = ReviewPool(tables.reviews_by_id.values())
        self.ranker = make_ranker(ranker)
        self._retrievers: dict[str, Retriever] = {}
        self._lock = threading.RLock()

    def retriever(self, name: str) -> Retriever:
        """The retriever of a name in `RETRIEVERS`, made on first use."""
        with self._lock:
            if name not in self._retrievers:
                self._retrievers[name] = RETRIEVERS.get(name)(self)
            return self._retrievers[name]


def _similar_writers(store: ReviewStore) -> Retriever:
    from grasper.retrieve.style import SimilarWriters

    return SimilarWriters(store.pool, store.ranker)


def _similar_taste(store: ReviewStore) -> Retriever:
    from grasper.retrieve.topic import SimilarTaste

    return SimilarTaste(store.pool, store.ranker, store.predictor)


class Retrievers(Registry[Callable[[ReviewStore], Retriever]]):
    """What makes a retriever over a store, by name."""

    def __init__(self) -> None:
        super().__init__("retriever")
        self._needing_predictor: set[str] = set()

    def register(self, name: str, part: Callable[[ReviewStore], Retriever], *, needs_predictor: bool = False) -> Callable[[ReviewStore], Retriever]:
        """Add a retriever and give it back.

        Args:
            needs_predictor: It asks `store.predictor`, so that a run of a method with it fits the link predictor first.

        Raises:
            PluginError: Another retriever has this name.
        """
        super().register(name, part)
        if needs_predictor:
            self._needing_predictor.add(name)
        return part

    def needs_predictor(self, name: str) -> bool:
        """Whether the retriever of a name asks the link predictor.

        Raises:
            UnknownNameError: There is none of that name.
        """
        self.get(name)
        return name in self._needing_predictor


RETRIEVERS = Retrievers()
"""The retrievers that `Method.others` and `Trajectory.retriever` name."""
RETRIEVERS.register("own", lambda store: OwnReviews(store.pool, store.ranker))
RETRIEVERS.register("neighbours", lambda store: Neighbours(store.pool, store.ranker))
RETRIEVERS.register("random", lambda store: RandomReviews(store.pool, store.seed))
RETRIEVERS.register("random-style-users", lambda store: RandomReviews(store.pool, store.seed, "random style users", is_by_user=True))
RETRIEVERS.register("random-topic-users", lambda store: RandomReviews(store.pool, store.seed, "random topic users", is_by_user=True))
RETRIEVERS.register("style", _similar_writers)
RETRIEVERS.register("topic", _similar_taste, needs_predictor=True)


def uses_predictor(method: Method) -> bool:
    """Whether a method needs the link predictor: for the items that it writes about, or for the people whose reviews it shows."""
    return method.needs_candidates or any(RETRIEVERS.needs_predictor(name) for name in method.retrievers)
