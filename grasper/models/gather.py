"""Calls from several threads, answered in one batch: who comes while the network is busy is answered together with the others that wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from grasper.models.continuation import Continuation


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is asked for: token ids of the prompt, seed of its random stream, its most and its least tokens."""

    ids: tuple[int, ...]
    seed: int
    max_new_tokens: int
    min_new_tokens: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """The requests of one thread; calls of one kind may share a batch."""

    kind: Hashable
    requests: Sequence[Request]
    answers: list[Continuation] | None = None


class Gathering:
    """The calls that wait for one network."""

    def __init__(self) -> None:
        self._waiting: list[Call] = []
        self._lock = threading.Lock()

    def answer(self, call: Call, turn: Callable[[], AbstractContextManager[Any]], work: Callable[[Any, list[Call]], None]) -> list[Continuation]:
        """The answers to a call.

        A call that fails takes nobody else's answers away: those that waited with it are answered without it.

        Args:
            call: What is asked.
            turn: Gives the network to one thread at a time.
            work: Answers calls of one kind with the network.
        """
        with self._lock:
            self._waiting.append(call)
        try:
            with turn() as network:
                if call.answers is None:  # else another thread has done it
                    with self._lock:
                        together = [other for other in self._waiting if other.kind == call.kind and other.answers is None]
                    try:
                        work(network, together)
                    except Exception:
                        if len(together) == 1:
                            raise
                        work(network, [call])
        finally:
            with self._lock:
                self._waiting.remove(call)
        assert call.answers is not None
        return call.answers
