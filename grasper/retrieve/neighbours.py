"""Other users' reviews of the requested item, best first: the neighbours on the bipartite graph (PGraphRAG, Sec. 3.1)."""

from __future__ import annotations

from grasper.records import Example, Request, Review
from grasper.retrieve.pool import ReviewPool
from grasper.retrieve.rank import Ranker, best, query_of


class Neighbours:
    """Chooses among what others wrote about an item; texts without content are passed over."""

    def __init__(self, pool: ReviewPool, ranker: Ranker) -> None:
        self._pool, self._ranker = pool, ranker

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        return self.of_item(request.item.item_id, query_of(request), example, k)

    def of_item(self, item_id: str, query: str, example: Example, k: int) -> list[Review]:
        """The same for any item, for example a predicted one; without a query the order of the table decides."""
        reviews = [review for review in self._pool.of_item(item_id, example) if review.text]
        return best(reviews, self._ranker.scores(query, reviews), k)
