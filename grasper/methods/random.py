"""One random review as evidence: separates what retrieval finds from what any example of a review gives (PGraphRAG's `random` mode).

It stands where the item's reviews stand for other methods, under "Others about this item": the model is not told that it is about something else, so
that the prompts differ in the review alone.
"""

from grasper.methods.base import Method

RANDOM = Method("random", "one random review of anybody about anything", others="random")
