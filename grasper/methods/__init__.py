"""The systems that are compared, one short declaration each."""

from __future__ import annotations

from grasper.errors import UnknownMethodError
from grasper.methods.base import Method
from grasper.methods.copy import COPY
from grasper.methods.grasper import ABLATIONS, GRASPER
from grasper.methods.lamp import LAMP
from grasper.methods.none import NONE
from grasper.methods.pgraphrag import PGRAPHRAG
from grasper.methods.random import RANDOM
from grasper.methods.rest_pg import REST_PG

__all__ = ["METHODS", "Method", "get_method"]

METHODS: dict[str, Method] = {method.name: method for method in (NONE, RANDOM, COPY, LAMP, PGRAPHRAG, REST_PG, GRASPER, *ABLATIONS)}


def get_method(name: str) -> Method:
    """The method of a name.

    Raises:
        UnknownMethodError: There is none of that name; the message lists the known ones.
    """
    if name not in METHODS:
        raise UnknownMethodError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
