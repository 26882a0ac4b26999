"""PGraphRAG: own reviews and other users' reviews of the item (arXiv 2501.02157, mode `both`).

`pgraphrag-sets` and `pgraphrag-contrast` do one thing more each, which is ours and GraSPer's here: the answer stands behind several sets of
neighbours at once; the text is set off against the prompt without evidence.
"""

from dataclasses import replace

from grasper.methods.base import Method

PGRAPHRAG = Method("pgraphrag", "own reviews and neighbours", own=True, others="neighbours")
PGRAPHRAG_SETS = replace(PGRAPHRAG, name="pgraphrag-sets", description="PGraphRAG behind several sets of neighbours", pools_neighbours=True)
PGRAPHRAG_CONTRAST = replace(
    PGRAPHRAG, name="pgraphrag-contrast", description="PGraphRAG set off against the prompt without evidence", contrasts=True
)
