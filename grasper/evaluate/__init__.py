"""evaluate: saved outputs → numbers with intervals, paired comparisons, and one self-contained report. Needs no model."""

from grasper.evaluate.run_data import MethodFiles, RunData
from grasper.evaluate.stage import evaluate

__all__ = ["MethodFiles", "RunData", "evaluate"]
