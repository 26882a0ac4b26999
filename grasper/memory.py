"""Freed memory, handed back to the system: glibc keeps blocks of up to 32 MiB for itself, and work on ever new shapes makes it keep ever more."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def give_back() -> None:
    """Return the free pages of the heap; nothing where the C library is not glibc.

    For the time between two large tasks: within a task what was given back has to be fetched again, in small pages, so that fine-tuning and sampling
    become slower.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], int]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl and macOS, Windows
        return lambda keep: 0
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda keep: int(trim(keep))
