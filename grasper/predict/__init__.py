"""Reviews → likely next items: link prediction on the user–item graph (GraSPer, context expansion)."""

from grasper.predict.predictor import Predictor
from grasper.predict.stage import fit, load

__all__ = ["Predictor", "fit", "load"]
