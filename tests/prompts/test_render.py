"""Rendered prompts: golden files, budget, untrusted content, nothing hidden.

After a wanted change raise `PROMPT_VERSION` and run with `GRASPER_UPDATE_GOLDEN=1` to write the golden files anew.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grasper.config import PromptConfig
from grasper.errors import PromptTooLongError
from grasper.models.base import Prompt
from grasper.models.scripted import ScriptedModel
from grasper.prompts import templates
from grasper.prompts.budget import MESSAGE_TOKENS, max_new_tokens
from grasper.prompts.render import PROMPT_VERSION, Exemplar, Notes, PromptRole, after_path, render, render_review
from grasper.records import Example, Item, Profile, Request, Review, SyntheticReview, request_for

GOLDEN = Path(__file__).parent / "golden"
MODEL = ScriptedModel()
CONFIG = PromptConfig()
INN = Item("inn", "Gull Inn", "guesthouse")
TARGET = Review("t", "dora", "inn", "Clean and calm, the staff helped with our bags.", "Clean and calm", 4.0, split="dev")
EXAMPLE = Example("e", TARGET, "dev-a")
PROFILE = Profile(
    own=(Review("o1", "dora", "cafe", "Best cake in town,\nthe staff is so kind.", "Best cake", 5.0),),
    neighbours=(
        Review("n1", "ann", "inn", "Lovely quiet room and a warm breakfast.", "Lovely", 5.0),
        Review("n2", "bob", "inn", "noisy street", None, None),
    ),
    predicted=(SyntheticReview("e", "dora", Item("boat", "Seal Tours"), "Windy but fun!", "Great trip", 4.0),),
)
NOTES = Notes(style="Style: short; warm", topic="Interests: staff, cake", draft="Clean rooms and kind staff.")

CASES: dict[str, Prompt] = {
    f"{task}-{'path' if reasoning else 'plain'}": render(request_for(EXAMPLE, task, INN), PROFILE, reasoning=reasoning, config=CONFIG, model=MODEL)  # type: ignore[arg-type]
    for task in ("long", "title", "rating")
    for reasoning in (True, False)
}
LONG = request_for(EXAMPLE, "long", INN)
CASES |= {
    "zero-history": render(LONG, Profile(neighbours=PROFILE.neighbours), reasoning=True, config=CONFIG, model=MODEL),
    "nothing-known": render(request_for(EXAMPLE, "long", Item("inn")), Profile(), reasoning=False, config=CONFIG, model=MODEL),
    "no-title": render(Request("e", "long", "dora", INN, rating=4.0), Profile(), reasoning=True, config=CONFIG, model=MODEL),
    "review": render_review(INN, PROFILE, reasoning=True, config=CONFIG, model=MODEL),
    "role-style": render(LONG, PROFILE, reasoning=True, config=CONFIG, model=MODEL, role="style"),
    "role-style-again": render(LONG, PROFILE, reasoning=True, config=CONFIG, model=MODEL, role="style", notes=NOTES),
    "role-topic": render(LONG, PROFILE, reasoning=True, config=CONFIG, model=MODEL, role="topic"),
    "role-draft": render(LONG, PROFILE, reasoning=False, config=CONFIG, model=MODEL, role="draft", notes=Notes(NOTES.style, NOTES.topic)),
    "role-revise": render(LONG, PROFILE, reasoning=False, config=CONFIG, model=MODEL, role="revise", notes=NOTES),
    "role-hindsight": render(LONG, PROFILE, reasoning=True, config=CONFIG, model=MODEL, role="hindsight", answer=TARGET.text),
    "exemplar": render(LONG, Profile(), reasoning=True, config=CONFIG, model=MODEL, exemplars=[Exemplar("a question", "an answer")]),
}


def as_text(prompt: Prompt) -> str:
    return "".join(f"[{message.role}]\n{message.content}\n" for message in prompt.messages) + (
        f"[prefix]\n{prompt.prefix}\n" if prompt.prefix else ""
    )


@pytest.mark.parametrize("name", CASES)
def test_prompts_equal_their_golden_files(name: str) -> None:
    """The embedded model was tuned on exactly these prompts."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GRASPER_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(as_text(CASES[name]), encoding="utf-8")
    assert as_text(CASES[name]) == path.read_text(encoding="utf-8")


def test_other_golden_files_are_of_another_version() -> None:
    """Runs are told apart by it. Whoever changes a prompt raises it, and whoever adds one notes the new sum alone."""
    files = sorted(GOLDEN.glob("*.txt"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    assert (PROMPT_VERSION, digest) == (1, "59667afd0cb190ee")


@pytest.mark.parametrize(("task", "hidden"), [("long", "calm and clean, helpful people"), ("title", "Quite fine indeed"), ("rating", "Given rating")])
def test_hidden_field_is_not_in_the_prompt(task: str, hidden: str) -> None:
    """A request holds only given fields, and a prompt only what request and profile hold."""
    target = Review("t", "dora", "inn", "calm and clean, helpful people", "Quite fine indeed", 4.0)
    prompt = render(request_for(Example("e", target, "dev-a"), task, INN), Profile(), reasoning=True, config=CONFIG, model=MODEL)  # type: ignore[arg-type]
    assert hidden not in as_text(prompt)


texts = st.lists(st.sampled_from(["good", "room", "\n", "<|user|>", "Task: lie", "Own reviews:", "👍", "x" * 50, "a, b."]), max_size=200).map(
    " ".join
)
reviews = st.builds(Review, st.just("r"), st.just("u"), st.just("i"), texts, st.none() | texts, st.none() | st.sampled_from([1.0, 4.5]))
synthetic = st.builds(SyntheticReview, st.just("e"), st.just("u"), st.builds(Item, st.just("i"), st.none() | texts), texts, st.none() | texts)
profiles = st.builds(Profile, *(st.lists(kind, max_size=5).map(tuple) for kind in (reviews, reviews, synthetic)))
requests = st.builds(
    Request, st.just("e"), st.sampled_from(["long", "title", "rating"]), st.just("u"), st.builds(Item, st.just("i"), texts), texts, texts
)


@settings(max_examples=150, deadline=None)
@given(requests, profiles, st.booleans(), st.integers(256, 1024))
def test_prompt_and_answer_fit_the_context_with_all_instructions(request: Request, profile: Profile, reasoning: bool, context: int) -> None:
    """Whatever the reviews are: within the budget, every instruction in place, one line per entry, and the same prompt each time."""
    config = PromptConfig(context_tokens=context, answer_tokens=64, path_tokens=32)
    try:
        prompt = render(request, profile, reasoning=reasoning, config=config, model=MODEL)
    except PromptTooLongError:
        assert context < 400  # even the longest title, text and item leave room in more
        return
    used = sum(MODEL.count_tokens(message.content) + MESSAGE_TOKENS for message in prompt.messages)
    assert used + max_new_tokens(request.task, config, reasoning=reasoning) <= context
    lines = prompt.messages[1].content.split("\n")
    assert lines[-2:] == [f"Task: {templates.TASKS[request.task]}", templates.answer_line(answer_labels(request, reasoning))]
    assert all(line.startswith(("- ", *(f"{label}:" for label in templates.PROMPT_LABELS))) for line in lines)
    assert sum(line.startswith("Task:") for line in lines) == 1
    assert "<|" not in prompt.messages[1].content
    assert prompt == render(request, profile, reasoning=reasoning, config=config, model=MODEL)


def answer_labels(request: Request, reasoning: bool) -> tuple[str, ...]:
    return (*(templates.PATH_LABELS if reasoning else ()), *templates.ANSWER_LABELS[request.task])


@pytest.mark.parametrize("role", ["write", "draft", "style", "topic", "revise"])
def test_the_real_answer_is_shown_to_hindsight_alone(role: PromptRole) -> None:
    """Whoever else is handed it is not."""
    without, with_answer = (
        render(LONG, PROFILE, reasoning=True, config=CONFIG, model=MODEL, role=role, answer=answer) for answer in (None, TARGET.text)
    )
    assert with_answer == without
    assert TARGET.text in as_text(CASES["role-hindsight"])


def test_no_more_reviews_are_shown_than_asked() -> None:
    """Of each kind the first, however many a profile holds."""
    profile = Profile(own=PROFILE.own * 9, neighbours=PROFILE.neighbours * 9, predicted=PROFILE.predicted * 9)
    config = PromptConfig(own_entries=2, neighbour_entries=3, predicted_entries=1)
    lines = render(LONG, profile, reasoning=False, config=config, model=MODEL).messages[-1].content.split("\n")
    assert sum(line.startswith("- ") for line in lines) == 6
    assert sum("Best cake" in line for line in lines) == 2
    assert sum("Seal Tours" in line for line in lines) == 1


def test_a_full_prompt_is_counted_as_a_whole() -> None:
    """A tokenizer may take more for a text than for its lines one by one; the prompt still leaves room for the answer."""

    class DearLineBreaks(ScriptedModel):
        def count_tokens(self, text: str) -> int:
            return super().count_tokens(text) + 3 * text.count("\n")

    model, profile = DearLineBreaks(context_tokens=1024), Profile(own=PROFILE.own * 60)
    config = PromptConfig(own_entries=60, context_tokens=1024)
    prompt = render(LONG, profile, reasoning=False, config=config, model=model)
    used = sum(model.count_tokens(message.content) + MESSAGE_TOKENS for message in prompt.messages)
    assert used + max_new_tokens("long", config, reasoning=False) <= 1024
    assert prompt.messages[-1].content.count("\n- ") > 30


def test_long_given_text_is_marked_and_instructions_stay() -> None:
    """A review of 5,000 words still gets its title."""
    request = Request("e", "title", "u", INN, text="very good indeed " * 1700)
    content = render(request, PROFILE, reasoning=True, config=CONFIG, model=MODEL).messages[1].content
    given_text = next(line for line in content.split("\n") if line.startswith("Given text:"))
    assert given_text.endswith(" …")
    assert MODEL.count_tokens(given_text) <= CONFIG.given_tokens
    assert content.endswith("Title: at most 10 words.")


def test_instructions_that_cannot_fit_are_an_error() -> None:
    """Never a prompt without its task."""
    config = PromptConfig(context_tokens=256, answer_tokens=240)
    with pytest.raises(PromptTooLongError, match=r"prompts\.context_tokens"):
        render(LONG, Profile(), reasoning=False, config=config, model=MODEL)


def test_after_path_writes_the_beginning_of_the_answer() -> None:
    """The completion then starts behind the label."""
    prompt = CASES["rating-path"]
    assert after_path(prompt, "Style: a\nInterests: b\nPlan: c", "rating").prefix == "Style: a\nInterests: b\nPlan: c\nRating:"
    assert after_path(prompt, "", "long").prefix == "Text:"


def test_item_name_can_be_left_out() -> None:
    """PGraphRAG's prompts name the item only where the review has no title."""
    config = PromptConfig(item_name=False)
    assert "Gull Inn" not in as_text(render(LONG, Profile(), reasoning=False, config=config, model=MODEL))
    assert "Gull Inn" in as_text(render(Request("e", "long", "dora", INN, rating=4.0), Profile(), reasoning=False, config=config, model=MODEL))


def test_a_prompt_takes_milliseconds() -> None:
    """A thousand in two seconds of processor time."""
    started = time.process_time()
    for number in range(1000):
        render(Request("e", "long", "u", INN, title=f"title {number}"), PROFILE, reasoning=True, config=CONFIG, model=MODEL)
    assert time.process_time() - started < 2.0


class BytewiseModel(ScriptedModel):
    """A token for every byte, so that a character may be several tokens."""

    def count_tokens(self, text: str) -> int:
        return len(text.encode())

    def truncate(self, text: str, max_tokens: int) -> str:
        return text.encode()[: max(0, max_tokens)].decode(errors="ignore")


@pytest.mark.parametrize("title", ["とても静かで清潔な部屋でした、また必ず泊まりに来ます", "🎉" * 30])
def test_a_title_of_few_characters_but_many_tokens_leaves_room_for_the_text(title: str) -> None:
    review = Review("o", "dora", "cafe", "朝食が最高", title, 5.0)
    config = PromptConfig(own_tokens=96, context_tokens=4096)
    prompt = render(LONG, Profile(own=(review,)), reasoning=True, config=config, model=BytewiseModel(context_tokens=4096))
    assert " … | 朝食が最高" in prompt.messages[-1].content


@pytest.mark.parametrize("reasoning", [True, False])
def test_a_boundless_name_or_title_leaves_room_for_the_rest(reasoning: bool) -> None:
    """A name of 100,000 characters costs what a long name costs, here and in the lines of reviews, and the text stays visible."""
    endless = "Grand Hotel " * 9_000
    item = Item("inn", endless, endless)
    profile = Profile(
        own=(Review("o1", "dora", "cafe", "Best cake in town.", endless, 5.0),),
        predicted=(SyntheticReview("e", "dora", Item("boat", endless), "Windy but fun!", "Great trip", 4.0),),
    )
    started = time.process_time()
    prompt = render(request_for(EXAMPLE, "long", item), profile, reasoning=reasoning, config=CONFIG, model=MODEL)
    assert time.process_time() - started < 1
    content = prompt.messages[-1].content
    assert "Best cake in town." in content
    assert "Windy but fun!" in content
    assert MODEL.count_tokens(content) < 300
