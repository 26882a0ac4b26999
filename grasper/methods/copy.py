"""The consensus neighbour's text behind the given title, without any model: what every method must beat.

The strategy is in `generate/copy.py`.
"""

from grasper.methods.base import Method

COPY = Method("copy", "the consensus neighbour's text, no model", writer="copy")
