"""generate: real + synthetic history → the target text, title or rating (GraSPer, Sec. 3; every other method through the same door)."""

from grasper.generate.stage import generate, load_outputs

__all__ = ["generate", "load_outputs"]
