"""align: training pairs → reasoning paths → adapter (GraSPer, Sec. 3.2; REST-PG, Sec. 3)."""

from grasper.align.pairs import select_pairs
from grasper.align.stage import align

__all__ = ["align", "select_pairs"]
