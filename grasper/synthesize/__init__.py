"""synthesize: predicted items → reviews written in the user's stead (GraSPer, Sec. 3: synthetic history)."""

from grasper.synthesize.stage import synthesize

__all__ = ["synthesize"]
