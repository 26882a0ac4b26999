"""align: training pairs → reasoning paths → adapter (GraSPer, Sec. 3.2; REST-PG, Sec. 3)."""

from grasper.align.pairs import select_pairs
from grasper.align.stage import TRAINERS, align

__all__ = ["TRAINERS", "align", "select_pairs"]
