"""Which real texts a prompt may show."""

from __future__ import annotations

from typing import Protocol

from grasper.records import Example, Request, Review


class Retriever(Protocol):
    """Finds evidence for a request. Everything it gives comes through `ReviewPool`, so it is visible to the example."""

    def retrieve(self, request: Request, example: Example, k: int) -> list[Review]:
        """At most `k` reviews, best first. Where a synthetic review is to be written, the request's item is a predicted one and not the example's."""
        ...
