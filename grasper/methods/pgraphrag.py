"""PGraphRAG: own reviews and other users' reviews of the item (arXiv 2501.02157, mode `both`).

Two variants do one thing more each, which is ours: the answer of `pgraphrag-sets` stands behind several sets of neighbours at once, and
`pgraphrag-typical` takes the neighbours with which the others agree (`retrieve/typical.py`).
"""

from dataclasses import replace

from grasper.methods.base import Method

PGRAPHRAG = Method("pgraphrag", "own reviews and neighbours", own=True, others="neighbours")
PGRAPHRAG_SETS = replace(PGRAPHRAG, name="pgraphrag-sets", description="PGraphRAG behind several sets of neighbours", pools_neighbours=True)
PGRAPHRAG_TYPICAL = replace(PGRAPHRAG, name="pgraphrag-typical", description="PGraphRAG with typical neighbours", others="typical")
