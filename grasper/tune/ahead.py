"""Processes that draw a training's examples ahead of it: a GPU takes them faster than one process can draw them."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from grasper.config import PromptConfig
from grasper.errors import ModelError
from grasper.models.local import LocalModel
from grasper.models.spelling import Speller
from grasper.tune.examples import ExampleMaker, Mixture, ReviewSet
from grasper.tune.sequences import Drawer, TrainingRow

if TYPE_CHECKING:
    from grasper.models.base import TextModel

WINDOWS_AHEAD = 3
"""Windows that are drawn before they are asked for, per process."""


@dataclass(frozen=True)
class Recipe:
    """All that windows follow from."""

    sets: Sequence[ReviewSet]
    model_name: str
    seed: int
    mixture: Mixture
    max_length: int
    context_tokens: int
    """The model's."""
    turn_end: tuple[int, ...]
    """The model's."""
    template: Mapping[str, Any]
    """What its chat template is told."""
    prompts: PromptConfig = field(default_factory=PromptConfig)

    @classmethod
    def of(
        cls,
        model: LocalModel,
        name: str,
        sets: Sequence[ReviewSet],
        seed: int,
        mixture: Mixture,
        max_length: int,
        prompts: PromptConfig | None = None,
    ) -> Self:
        """What is drawn for a model that is loaded by this name."""
        return cls(sets, name, seed, mixture, max_length, model.context_tokens, model.turn_end, model.template, prompts or PromptConfig())

    def drawer(self, model: LocalModel | Speller | None = None) -> Drawer:
        """Draws in this process, with the tokenizer of a model that is in memory, or with one of its own and without any network."""
        model = model or Speller(self.model_name, self.template, context_tokens=self.context_tokens, turn_end=self.turn_end)
        asks_nothing = cast("TextModel", model)  # prompts are counted and spelled with it
        maker = ExampleMaker(list(self.sets), asks_nothing, self.seed, self.mixture, self.prompts)
        return Drawer(maker, model, max_length=self.max_length)


class Drawers:
    """Draws windows in several processes, the next ones while the present one is trained on; the windows are those of one `Drawer`.

    A context manager: the processes end with the block, or with the process that began them.

    Args:
        recipe: What is drawn.
        processes: How many, ≥ 1.
    """

    def __init__(self, recipe: Recipe, processes: int) -> None:
        content = pickle.dumps(recipe)
        # As an argument it would be sent to one process after the other, each time in full.
        self._memory = SharedMemory(create=True, size=len(content))
        view = self._memory.buf
        assert view is not None
        view[: len(content)] = content
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(self._memory.name, len(content)))
        for _ in range(processes):
            self._pool.submit(os.getpid)  # starts all of them now
        self._ahead = processes * WINDOWS_AHEAD
        self._drawn: dict[tuple[int, int], Future[list[TrainingRow]]] = {}
        self._sizes: dict[int, Future[int]] = {}

    def num_windows(self, round_number: int) -> int:
        """How many windows a round has.

        Raises:
            ModelError: A process has ended.
        """
        with _all_there():
            if round_number not in self._sizes:
                self._sizes[round_number] = self._pool.submit(_num_windows, round_number)
            return self._sizes[round_number].result()

    def draw(self, round_number: int, window: int) -> list[TrainingRow]:
        """The examples of one window; those that follow it are begun.

        Raises:
            ModelError: A process has ended.
        """
        size = self.num_windows(round_number)
        following = [(round_number, number) if number < size else (round_number + 1, number - size) for number in range(window, window + self._ahead)]
        with _all_there():
            self._drawn = {place: self._drawn.get(place) or self._pool.submit(_draw, *place) for place in following}
            return self._drawn.pop((round_number, window)).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._memory.close()
        self._memory.unlink()


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise ModelError(
            "a process that draws examples was ended from outside, perhaps for want of memory; the same command goes on from the last checkpoint, "
            "with less memory where tune.drawers is smaller"
        ) from None


_drawer: Drawer | None = None
"""Of a drawing process."""


def _begin(memory_name: str, size: int) -> None:
    """Makes a new process ready. Whether a training goes on is for the one that trains to decide, so signals to stop are left to that one."""
    global _drawer
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    memory = SharedMemory(memory_name)
    assert memory.buf is not None
    recipe: Recipe = pickle.loads(bytes(memory.buf[:size]))  # written by the process that began this one
    memory.close()
    _drawer = recipe.drawer()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(0)


def _num_windows(round_number: int) -> int:
    assert _drawer is not None
    return _drawer.num_windows(round_number)


def _draw(round_number: int, window: int) -> list[TrainingRow]:
    assert _drawer is not None
    return _drawer.draw(round_number, window)
