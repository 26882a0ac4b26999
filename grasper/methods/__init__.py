"""The systems that are compared, one short declaration each."""

from __future__ import annotations

from grasper.errors import UnknownMethodError
from grasper.methods.base import Method, Trajectory
from grasper.methods.copy import COPY
from grasper.methods.grasper import ABLATIONS, GRASPER
from grasper.methods.lamp import LAMP
from grasper.methods.none import NONE
from grasper.methods.pat import ABLATIONS as PAT_ABLATIONS
from grasper.methods.pat import PAT
from grasper.methods.pgraphrag import PGRAPHRAG, PGRAPHRAG_SETS
from grasper.methods.random import RANDOM
from grasper.methods.rest_pg import REST_PG
from grasper.registry import Registry

__all__ = ["BUILT_IN", "METHODS", "Method", "Trajectory", "get_method"]

METHODS: Registry[Method] = Registry("method", UnknownMethodError)
"""All methods by name; `METHODS.register(method.name, method)` adds one."""
BUILT_IN = (NONE, RANDOM, COPY, LAMP, PGRAPHRAG, PGRAPHRAG_SETS, REST_PG, GRASPER, *ABLATIONS, PAT, *PAT_ABLATIONS)
for _method in BUILT_IN:
    METHODS.register(_method.name, _method)


def get_method(name: str) -> Method:
    """The method of a name.

    Raises:
        UnknownMethodError: There is none of that name; the message lists the known ones, the nearest first.
    """
    return METHODS.get(name)
