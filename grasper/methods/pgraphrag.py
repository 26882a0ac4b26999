"""PGraphRAG: own reviews and other users' reviews of the item (arXiv 2501.02157, mode `both`).

`pgraphrag-sets` does one thing more, which is ours and GraSPer's here: its answer stands behind several sets of neighbours at once.
"""

from dataclasses import replace

from grasper.methods.base import Method

PGRAPHRAG = Method("pgraphrag", "own reviews and neighbours", own=True, others="neighbours")
PGRAPHRAG_SETS = replace(PGRAPHRAG, name="pgraphrag-sets", description="PGraphRAG behind several sets of neighbours", pools_neighbours=True)
