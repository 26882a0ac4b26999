"""One random review as evidence: separates what retrieval finds from what any example of a review gives (PGraphRAG's `random` mode)."""

from grasper.methods.base import Method

RANDOM = Method("random", "one random review of anybody about anything", others="random")
