"""No evidence at all: what the model writes from the request alone."""

from grasper.methods.base import Method

NONE = Method("none", "the request alone")
