"""generate: real + synthetic history → the target text, title or rating (GraSPer, Sec. 3; every other method through the same door)."""

from grasper.generate.stage import generate
from grasper.generate.writers import WRITERS, uses_model

__all__ = ["WRITERS", "generate", "uses_model"]
