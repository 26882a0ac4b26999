"""Memory: how much there is, and what was freed, handed back to the system.

glibc keeps blocks of up to 32 MiB for itself, and work on ever new shapes makes it keep ever more.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUP_LIMIT, CGROUP_USAGE, CGROUP_PARTS = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current", "memory.stat"))


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


def available_gpu_bytes(device: torch.device) -> int:
    """Memory of a GPU that this process may still take: what nobody holds, and what torch keeps for itself without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def available_bytes() -> int:
    """Memory that this process may still take: of the machine, or of the container where that is less."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit, used = CGROUP_LIMIT.read_text().strip(), int(CGROUP_USAGE.read_text())
        parts = dict(line.split() for line in CGROUP_PARTS.read_text().splitlines()) if CGROUP_PARTS.exists() else {}
        used -= int(parts.get("inactive_file", 0))  # pages of files that were read are given up when they are needed
        return available if limit == "max" else min(available, int(limit) - used)
    except (OSError, ValueError):
        return available
