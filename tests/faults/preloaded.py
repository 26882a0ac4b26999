"""Importing this imports all that commands need, and reads WordNet where it is installed."""

from faults.process import preload
from grasper.metrics.meteor import meteor_name

preload()
meteor_name()
