"""The scripted model."""

from __future__ import annotations

from pathlib import Path

import pytest

from grasper.config import ModelConfig
from grasper.errors import AdapterError, ModelError
from grasper.models import TextModel, open_model
from grasper.models.base import Message, Prompt
from grasper.models.scripted import ScriptedModel


def ask(text: str) -> Prompt:
    return Prompt((Message("user", text),))


def test_answers_in_turn_and_from_the_start_again() -> None:
    """Two prompts of two samples from three answers."""
    model = ScriptedModel(["a", "b", "c"])
    assert [[completion.text for completion in row] for row in model.generate([ask("x"), ask("y")], n=2)] == [["a", "b"], ["c", "a"]]
    assert model.prompts == [ask("x"), ask("y")]


def test_answers_by_a_function_of_the_prompt() -> None:
    """The function sees the prompt; long answers are cut off at the limit."""
    model = ScriptedModel(lambda prompt: prompt.messages[0].content.upper())
    completion = model.generate([ask("one two three")], max_new_tokens=2)[0][0]
    assert (completion.text, completion.finish_reason, completion.tokens_in, completion.tokens_out) == ("ONE TWO", "length", 3, 2)


def test_choices() -> None:
    """Equal without a script, nearly certain with one."""
    assert ScriptedModel().score_choices([ask("x")], ["1", "2"]).tolist() == [[0.5, 0.5]]
    assert ScriptedModel(choice=lambda prompt: "2").score_choices([ask("x")], ["1", "2", "3"])[0].argmax() == 1


def test_is_a_text_model_from_the_configuration() -> None:
    """`open_model` gives one; an adapter on it is an error, and so is an empty script."""
    assert isinstance(open_model(ModelConfig(kind="scripted")), TextModel)
    with pytest.raises(AdapterError, match=r"model\.kind=local"):
        open_model(ModelConfig(kind="scripted"), adapter=Path("adapter"))
    with pytest.raises(ModelError, match="at least one answer"):
        ScriptedModel([])
