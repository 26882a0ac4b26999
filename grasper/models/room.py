"""What happens where a GPU has no room: reading and writing go on in smaller batches, and training says what to lower."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import torch

from grasper.errors import ModelError
from grasper.models.batching import LEAST

logger = logging.getLogger(__name__)


class Batching(Protocol):
    """A model that works in batches."""

    name: str
    batch_tokens: int


M = TypeVar("M", bound=Batching)
P = ParamSpec("P")
R = TypeVar("R")


def within_memory(method: Callable[Concatenate[M, P], R]) -> Callable[Concatenate[M, P], R]:
    """Calls the method again with half as many tokens at once where its batches did not fit into a GPU; the model keeps to the smaller ones.

    Raises:
        ModelError: Not even the smallest batches fit.
    """

    @wraps(method)
    def call(model: M, *args: P.args, **options: P.kwargs) -> R:
        while True:
            try:
                return method(model, *args, **options)
            except torch.OutOfMemoryError:
                if model.batch_tokens <= LEAST:
                    raise ModelError(
                        f"the GPU has no room for a batch of {model.batch_tokens:,} tokens with {model.name}; end what else uses it, "
                        "or take a smaller model or device=cpu"
                    ) from None
            # Here nothing of the failed call holds memory any more.
            torch.cuda.empty_cache()
            model.batch_tokens = max(LEAST, model.batch_tokens // 2)
            logger.warning("the GPU had no room for a batch of %s; going on with %s tokens at once", model.name, f"{model.batch_tokens:,}")

    return call


@contextmanager
def room_to_train(setting: str) -> Iterator[None]:
    """Says in one line which setting to lower where a training does not fit into a GPU.

    Raises:
        ModelError: It does not.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise ModelError(f"the GPU has no room for a training step; lower {setting} or end what else uses it, and run the stage again") from None
