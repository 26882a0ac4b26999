from __future__ import annotations

import time

import pytest

from grasper.align.dpo import tokenise
from grasper.align.preference import JudgedNotes, PreferencePair
from grasper.align.sft import make_sequence
from grasper.models.base import Completion, Message, Prompt
from grasper.models.decoding import Continuation
from grasper.models.local import LocalModel
from grasper.models.spelling import _tell_of_thoughts
from grasper.models.thoughts import end_of_thought, ends_in_thought, split_thoughts
from grasper.tune.examples import Solved
from grasper.tune.sequences import encode


@pytest.mark.parametrize(
    ("completion", "text", "thought"),
    [
        ("<think>On a scale 1 to 5 this is a 2.</think>4", "4", "On a scale 1 to 5 this is a 2."),
        ("<think>\nfirst\n</think>\n\nText: Lovely.", "Text: Lovely.", "first"),
        ("<Thinking>a</Thinking><reasoning>b</reasoning>Title: x", "Title: x", "a\nb"),
        ("[THINK]mm[/THINK]4", "4", "mm"),
        ("◁think▷mm◁/think▷4", "4", "mm"),
        ("<seed:think>mm</seed:think>4", "4", "mm"),
        ("<|begin_of_thought|>mm<|end_of_thought|>4", "4", "mm"),
        ("<|channel|>analysis<|message|>mm<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>", "4", "mm<|end|><|start|>assistant"),
        ("the template opened it</think> 4", " 4", "the template opened it"),
        ("<think>a</think>Text: one <think>b</think>two", "Text: one two", "a\nb"),
        ("<think></think>4", "4", ""),
        ("<think>a</think>Text: I was like <thinking> for days", "Text: I was like <thinking> for days", "a"),
    ],
)
def test_thoughts_are_taken_off(completion: str, text: str, thought: str) -> None:
    """Whatever the marks: the answer alone is left."""
    spoken = split_thoughts(completion)
    assert (spoken.text, spoken.thought, spoken.is_cut) == (text, thought, False)


@pytest.mark.parametrize(
    "text",
    ["Text: Lovely place.\n  Rating: 4", "", "We <think it is> fine, [think] about it", "a < b, and I was like <thinking> about it for days"],
)
def test_texts_without_thoughts_stay_as_they_are(text: str) -> None:
    assert split_thoughts(text) == (text, "", 0, False)


@pytest.mark.parametrize(("completion", "is_open"), [("<think>The user wants 5 sta", False), ("  <think>", False), ("so it goes on", True)])
def test_a_thought_that_is_cut_off_is_no_answer(completion: str, is_open: bool) -> None:
    """The token limit ended it; nothing of it is a review."""
    spoken = split_thoughts(completion, is_open=is_open)
    assert (spoken.text, spoken.is_cut) == ("", True)


def test_where_the_answer_begins() -> None:
    completion = "<think>1 or 2?</think>\n\nRating: 4"
    assert completion[split_thoughts(completion).start :] == "\n\nRating: 4"


def test_prompts_that_open_a_thought() -> None:
    assert ends_in_thought("<|assistant|>\n<think>\n")
    assert not ends_in_thought("<|assistant|>\n<think>\n\n</think>\n\n")
    assert not ends_in_thought("a review that says <think> and goes on with the question itself")


@pytest.mark.parametrize(
    "opened",
    ["<think>", "<|user|>x<reasoning>\n", "[THINK]", "◁think▷", "<seed:think>", "<|begin_of_thought|>\n\n", "<|channel|>analysis<|message|>"],
)
def test_an_opened_thought_can_be_ended(opened: str) -> None:
    """What follows is an answer then, and nothing is added where no thought is open."""
    ended = opened + end_of_thought(opened)
    assert ends_in_thought(opened)
    assert not ends_in_thought(ended)
    assert split_thoughts(ended.removeprefix("<|user|>x") + "4").text == "4"
    assert end_of_thought(ended) == ""


def test_a_prefix_is_no_part_of_a_thought(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the template opens one and the answer has begun, the thought is over, in texts, choices and scores; without a prefix it goes on."""
    template = "{{ messages[-1]['content'] + '<|assistant|>\n<think>\n' }}"
    monkeypatch.setattr(tiny.tokenizer, "chat_template", template)
    plain, begun = (Prompt((Message("user", "Rate it."),), prefix) for prefix in ("", "Rating:"))
    assert tiny.chat_text(plain) == "Rate it.<|assistant|>\n<think>\n"
    expected = "Rate it.<|assistant|>\n<think>\n\n</think>\n\nRating:"
    assert tiny.chat_text(begun) == tiny.tokenizer.decode(tiny.encode(begun)) == tiny.tokenizer.decode(tiny.encode_all([begun])[0]) == expected
    assert tiny.tokenizer.decode(tiny.split_choices(begun, [" 1", " 5"])[0]).startswith(expected.removesuffix("Rating:"))
    assert not ends_in_thought(tiny.chat_text(begun))


def test_what_is_learned_is_read_as_an_answer(tiny: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In alignment and tuning the end of the thought that a template opens is learned before the answer: else all of it would be taken off."""
    monkeypatch.setattr(tiny.tokenizer, "chat_template", "{{ messages[-1]['content'] + '<|assistant|>\n<think>\n' }}")
    prompt, notes = Prompt((Message("user", "Rate it."),)), JudgedNotes("p", "style", Prompt((Message("user", "Note."),)), "Style: short", 1.0)
    aligned = make_sequence(tiny, prompt, "Plan: praise", "Rating: 5", "rating", path_weight=0.25)
    tuned = encode(Solved(prompt, "Rating: 5", "rating"), tiny, 500)
    for row, path in ((aligned, "Plan: praise\n"), (tuned, "")):
        asked = tiny.encode(prompt)
        assert row.ids[: len(asked)] == asked
        assert tiny.answer_in(row.ids[len(asked) : -1], is_open=True) == f"{path}Rating: 5"
        assert [weight > 0 for weight in row.weights] == [number >= len(asked) for number in range(len(row.ids))]
    assert aligned.weights[len(tiny.encode(prompt))] == 0.25
    assert not ends_in_thought(tiny.ending_of(tokenise(tiny, PreferencePair(notes, notes)).prompt_ids))


def test_an_answer_that_was_all_thought_is_told_once(tiny: LocalModel, caplog: pytest.LogCaptureFixture) -> None:
    _tell_of_thoughts.cache_clear()
    for _ in range(2):
        assert tiny.answer_in(tiny.encode_text("<think>1 to 5"), is_open=False) == ""
        assert tiny.answer_in(tiny.encode_text("4"), is_open=False) == "4"
    assert len(caplog.records) == 1
    assert "model.extra={chat_template_kwargs: {enable_thinking: false}}" in caplog.text


def test_takes_linear_time() -> None:
    """Marks without end, in any number."""
    for piece in ("<think>", "</think>", "<" * 8, "<a:" * 3, "<|channel|>analysis", "a<think></think>", "a</think>"):
        started = time.process_time()
        split_thoughts(piece * (400_000 // len(piece)))
        assert time.process_time() - started < 1.5


def test_local_models_take_thoughts_off_as_well(tiny: LocalModel) -> None:
    """Also where the prompt opens the thought; the tokens are counted in full."""

    def complete(prompt: str, answer: str) -> Completion:
        tokens = tiny.encode_text(answer)
        return tiny._complete(tiny.encode_text(prompt), Continuation(tokens, len(tokens), is_ended=True, logprob=-1.0), is_read=True)

    closed = complete("Rate it.", "<think>1 to 5</think>4")
    assert (closed.text, closed.tokens_out) == ("4", len(tiny.encode_text("<think>1 to 5</think>4")))
    assert complete("Rate it.<think>", "1 to 5").text == ""
    assert complete("Rate it.<think>", "1 to 5</think>4").text == "4"
    assert complete("Rate it.", "1 to 5").text == "1 to 5"
