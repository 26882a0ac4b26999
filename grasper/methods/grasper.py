"""GraSPer (arXiv 2602.21219) and its ablations.

Own reviews, neighbours, and synthetic reviews of predicted items; reasons before it writes. Each ablation changes one thing. Those that change
only what is shown or which items are written about share an adapter and the seeds of what is drawn, so that nothing else differs:

- `no-graph`: nothing that comes from the graph, neither predicted items nor neighbours.
- `no-reasoning`: trained on the real texts and writes them without a path.
- `no-synthetic`: no predicted items, neighbours stay.
- `one-set`: the answer stands behind one set of neighbours, as PGraphRAG's does (see `generate.neighbour_sets`).
- `random-items`, `popular-items`: synthetic reviews of other items than the link predictor's.
- `no-own`: the user's own texts are hidden.
- `oracle-items`: as `no-own`, but the items that the user really reviewed elsewhere come first among the predicted ones. Their real texts stay
  hidden, so that only the item's identity is given away: the difference to `no-own` is what a perfect link predictor would gain. For a user
  without other reviews the two are the same.
"""

from dataclasses import replace

from grasper.methods.base import Method

GRASPER = Method(
    "grasper",
    "own reviews, neighbours, synthetic reviews of predicted items, reasoning alignment",
    own=True,
    others="neighbours",
    pools_neighbours=True,
    predicted="graph",
    reasoning=True,
    training="gold",
)
NO_GRAPH = replace(GRASPER, name="grasper-no-graph", description="without neighbours and predicted items", others="", predicted="none")
NO_REASONING = replace(GRASPER, name="grasper-no-reasoning", description="without reasoning paths", reasoning=False)
NO_SYNTHETIC = replace(GRASPER, name="grasper-no-synthetic", description="without predicted items", predicted="none")
ONE_SET = replace(GRASPER, name="grasper-one-set", description="behind one set of neighbours", pools_neighbours=False, adapter_of="grasper")
RANDOM_ITEMS = replace(GRASPER, name="grasper-random-items", description="random items for predicted ones", predicted="random", adapter_of="grasper")
POPULAR_ITEMS = replace(
    GRASPER, name="grasper-popular-items", description="popular items for predicted ones", predicted="popular", adapter_of="grasper"
)
NO_OWN = replace(GRASPER, name="grasper-no-own", description="without the user's own texts", own=False)
ORACLE_ITEMS = replace(
    NO_OWN,
    name="grasper-oracle-items",
    description="without own texts, the user's real items first",
    predicted="oracle",
    adapter_of="grasper-no-own",
)

ABLATIONS = (NO_GRAPH, NO_REASONING, NO_SYNTHETIC, ONE_SET, RANDOM_ITEMS, POPULAR_ITEMS, NO_OWN, ORACLE_ITEMS)
