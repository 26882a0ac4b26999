"""A GPU without room: smaller batches, the same texts, and one line where nothing helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from grasper.errors import ModelError
from grasper.models import local
from grasper.models.base import Completion, Message, Prompt, even_mixture
from grasper.models.batching import LEAST
from grasper.models.local import LocalModel
from grasper.models.room import room_to_train, within_memory
from tests.models.test_local import open_tiny

PROMPTS = [Prompt((Message("user", f"{'word ' * 45}{number:02}"),), "Text:") for number in range(30)]


def limited(function: Callable[..., Any], rows: int, failed: list[int]) -> Callable[..., Any]:
    """The function, which finds no room for more than so many."""

    def call(model: Any, batch: Any, *args: Any, **options: Any) -> Any:
        if len(batch) > rows:
            failed.append(len(batch))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return function(model, batch, *args, **options)

    return call


def texts(completions: list[list[Completion]]) -> list[str]:
    return [one.text for group in completions for one in group]


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("decode", lambda model: model.generate(PROMPTS, n=2, max_new_tokens=8, seed=1)),
        ("decode_pooled", lambda model: model.generate_pooled([even_mixture([prompt, PROMPTS[0]]) for prompt in PROMPTS], max_new_tokens=8, seed=1)),
    ],
)
def test_half_as_much_is_tried_until_it_fits(
    name: str, ask: Callable[[LocalModel], Any], model_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The texts are those of a model with room; what fitted once is kept to."""
    failed: list[int] = []
    expected = texts(ask(open_tiny(model_dir, batch_tokens=32_768)))
    model = open_tiny(model_dir, batch_tokens=32_768)
    monkeypatch.setattr(local, name, limited(getattr(local, name), 16, failed))
    assert texts(ask(model)) == expected
    assert failed
    assert LEAST <= model.batch_tokens < 32_768
    assert len([record for record in caplog.records if "no room" in record.message]) == len(failed)
    before = len(failed)
    assert texts(ask(model)) == expected
    assert len(failed) == before


def test_where_nothing_fits_it_is_said(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []
    model = open_tiny(model_dir, batch_tokens=3 * LEAST)
    monkeypatch.setattr(local, "decode", limited(local.decode, 0, failed))
    with pytest.raises(ModelError, match=rf"no room for a batch of {LEAST:,} tokens with .*; end what else uses it"):
        model.generate(PROMPTS, max_new_tokens=8)
    assert len(failed) == 3


def test_nothing_of_a_failed_call_is_held_while_the_next_one_runs() -> None:
    """Its tensors are what there is no room for."""
    alive: list[int] = []

    class Large:
        def __del__(self) -> None:
            alive.append(1)

    class Model:
        name, batch_tokens = "m", 4 * LEAST

        @within_memory
        def work(self) -> list[int]:
            large = Large()
            if self.batch_tokens > LEAST:
                raise torch.OutOfMemoryError
            del large
            return list(alive)

    assert Model().work() == [1, 1, 1]  # two failed calls and this one


def test_a_training_without_room_names_the_setting() -> None:
    with pytest.raises(ModelError, match=r"lower align\.batch_size"), room_to_train("align.batch_size"):
        raise torch.OutOfMemoryError("CUDA out of memory")
