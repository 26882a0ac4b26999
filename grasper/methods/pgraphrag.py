"""PGraphRAG: own reviews and other users' reviews of the item (arXiv 2501.02157, mode `both`)."""

from grasper.methods.base import Method

PGRAPHRAG = Method("pgraphrag", "own reviews and neighbours", own=True, others="neighbours")
