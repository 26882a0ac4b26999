"""No more requests under way at a server than it is to get (`model.concurrency`), whichever threads and models of this process ask it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

LOOK_SECONDS = 0.02
"""Pause between two looks whether the turn has come, where other threads hold all slots."""


class Slots:
    """The slots of one server, as one call of a model sees them.

    Args:
        count: Requests under way at once.
        stopping: Set once nothing is sent any more; nobody waits for a slot then.
    """

    def __init__(self, base_url: str, count: int, stopping: asyncio.Event) -> None:
        self._own, self._queue, self._stopping = asyncio.Semaphore(count), _queue_of(base_url, count), stopping

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A slot within the block."""
        async with self._own:
            turn = self._queue.join()
            try:
                while not turn.is_set() and not self._stopping.is_set():
                    await asyncio.sleep(LOOK_SECONDS)
                yield
            finally:
                self._queue.leave(turn)


class _Queue:
    """Hands slots on in the order in which they were asked for, so that a long batch in one thread keeps no request of another waiting."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting, self._lock = count, deque[threading.Event](), threading.Lock()

    def join(self) -> threading.Event:
        """A turn; set once it has a slot."""
        turn = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                turn.set()
            else:
                self._waiting.append(turn)
        return turn

    def leave(self, turn: threading.Event) -> None:
        """Give back the slot of a turn, or its place among those that wait."""
        with self._lock:
            if not turn.is_set():
                self._waiting.remove(turn)
            elif self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1


@lru_cache(maxsize=64)
def _queue_of(base_url: str, count: int) -> _Queue:
    return _Queue(count)
