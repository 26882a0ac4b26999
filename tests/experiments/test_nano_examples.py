from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
from transformers import PreTrainedTokenizerBase

from experiments.nano.instruct import PromptTokens, encode_solved
from experiments.nano.reviews import load_review_sets
from experiments.nano.tokenizer import train_tokenizer
from grasper.errors import MissingFileError
from grasper.prompts.templates import PREDICTED
from grasper.reason.dual import read_notes
from grasper.reason.format import parse_answer
from grasper.records import Item, Review
from grasper.retrieve.pool import reserved_split
from grasper.tune.decontaminate import Reference
from grasper.tune.examples import ExampleMaker, Mixture, ReviewSet

DEV_USER = next(name for name in map("dev-{}".format, range(100)) if not reserved_split(name.upper()))
VOCABULARY = "room clean staff kind breakfast cold pool warm view quiet street loud price low bed soft lobby bright coffee weak"
WORDS = VOCABULARY.split()


def sentence(chooser: random.Random, length: int = 20) -> str:
    """Enough words like `the` for it to pass as English."""
    return " ".join(f"the {word}" for word in chooser.choices(WORDS, k=length))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    chooser = random.Random(0)
    return train_tokenizer((sentence(chooser) for _ in range(200)), vocab_size=400)


# --- Decontamination ---------------------------------------------------------------------------------------------------------------


def test_thirteen_shared_words_are_found_and_twelve_are_not() -> None:
    """The run may stand anywhere, in any case, with other punctuation."""
    words = [f"word{number}" for number in range(13)]
    reference = Reference(["before " + " ".join(words) + " after"])
    assert reference.shares("Other start: " + ", ".join(words).upper() + "!")
    assert not reference.shares("Other start " + " ".join(words[:12]) + " other end")


def test_the_same_beginning_is_found_unless_it_is_what_everybody_writes() -> None:
    """Two texts with equal first 120 letters are one; "Great product!" is not held against anybody."""
    start = "unforgettable-hotel-with-very-long-words " * 4
    reference = Reference([start + "ends so", "Great product!"])
    assert reference.shares(start.replace("-", "- ") + "ends otherwise")
    assert not reference.shares("great product")


# --- Which reviews -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A hotel set whose users are reserved or not by their hash, and a dev split."""
    chooser = random.Random(1)
    users = [f"user-{number}" for number in range(60)]
    rows = [
        {"user_id": user, "item_id": f"i{number % 5}", "rating": 4.0, "title": "Fine", "text": f"{sentence(chooser)} {number}"}
        for number, user in enumerate(users)
    ]
    free = [row for row in rows if not reserved_split(str(row["user_id"]))]
    reserved = next(row for row in rows if reserved_split(str(row["user_id"])))
    dev_text = sentence(chooser, 30)
    rows += [
        {"user_id": DEV_USER.upper(), "item_id": "i1", "rating": 2.0, "title": "Own", "text": sentence(chooser)},
        {"user_id": free[0]["user_id"], "item_id": "i2", "rating": 2.0, "title": "Copied dev", "text": "as they say " + dev_text},
        {"user_id": free[1]["user_id"], "item_id": "i2", "rating": 2.0, "title": "Copied reserved", "text": f"so: {reserved['text']}"},
        {"user_id": free[2]["user_id"], "item_id": "i3", "rating": 2.0, "title": "Repeat", "text": free[3]["text"]},
        {"user_id": free[4]["user_id"], "item_id": "i3", "rating": 9.0, "title": None, "text": "kept although without title and rating"},
    ]
    (tmp_path / "hotel").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "hotel" / "train.parquet")
    dev = pd.DataFrame([{"user_id": DEV_USER, "item_id": "i1", "rating": 3.0, "title": "T", "text": dev_text}])
    dev.to_parquet(tmp_path / "hotel" / "dev.parquet")
    return tmp_path


def test_nothing_of_reserved_or_dev_users_is_trained_on(data_dir: Path) -> None:
    """Neither their reviews nor texts of others that repeat 13 words of them; dev names count without case."""
    counts: dict[str, dict[str, int]] = {}
    (hotel,) = load_review_sets(data_dir, counts)
    assert not any(reserved_split(review.user_id) for review in hotel.reviews)
    assert DEV_USER not in {review.user_id.lower() for review in hotel.reviews}
    assert {"Copied dev", "Copied reserved", "Repeat"}.isdisjoint(review.title for review in hotel.reviews)
    last = hotel.reviews[-1]
    assert (last.title, last.rating) == (None, None)
    assert counts["hotel/train"]["dev_user"] == 1
    assert counts["hotel/train"]["shared"] == 2
    assert counts["hotel/train"]["kept"] == len(hotel.reviews) > 20


def test_a_folder_without_sets_is_an_error(tmp_path: Path) -> None:
    """The message says what was looked for."""
    with pytest.raises(MissingFileError, match=r"hotel/train\.parquet"):
        load_review_sets(tmp_path)


# --- What is asked -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def review_set() -> ReviewSet:
    """Twelve users, half of whom exclaim, four items; each text has a word of its own, and one text stands twice."""
    chooser = random.Random(2)
    reviews = [
        Review(
            f"r{number}",
            f"u{number % 12}",
            f"i{number % 4}",
            f"{sentence(chooser)}{'!' * (number % 2)} {sentence(chooser)}{'!' * (number % 2)} mark{number}x",
            f"{sentence(chooser, 3)} head{number}x",
            4.0,
        )
        for number in range(48)
    ]
    reviews.append(Review("copy", "u1", "i0", reviews[0].text, "other headcopyx", 5.0))
    return ReviewSet("toy", 20.0, reviews, {f"i{number}": Item(f"i{number}", f"Hotel {number}", "Hotels") for number in range(4)})


def test_no_prompt_shows_what_it_asks_for(review_set: ReviewSet, tokenizer: PreTrainedTokenizerBase) -> None:
    """Over all tasks and roles, the hidden field of the target is not in the prompt; notes may name key words of it, as warm-start paths do."""
    maker = ExampleMaker([review_set], PromptTokens(tokenizer), seed=0)
    tasks = set()
    for number, (_, target) in enumerate(maker.targets()):
        solved = maker.solve(review_set, target, random.Random(number))
        if solved is None or solved.task == "pat-revise":
            continue
        tasks.add(solved.task)
        lines = solved.prompt.messages[-1].content.splitlines()
        shown = "\n".join(line for line in lines if not line.startswith("Topic notes:"))
        mark, head = target.text.split()[-1], (target.title or "").split()[-1]
        asked = "Text: " in solved.answer or "write the text" in shown
        if asked:
            assert mark not in shown
        if "write the title" in shown:
            assert head not in shown
        if solved.task == "review":
            assert mark not in shown
            assert head not in shown
    assert tasks == {"long", "title", "rating", "review", "pat-style", "pat-topic", "pat-draft"}


def test_the_roles_of_pat_are_tuned_on_the_prompts_of_its_warm_start(review_set: ReviewSet, tokenizer: PreTrainedTokenizerBase) -> None:
    """In both forms: alone, and with notes of both and a draft in view. Somebody without history is guessed from those who are shown."""
    maker = ExampleMaker([review_set], PromptTokens(tokenizer), seed=0, mixture=Mixture(tasks={"pat": 1.0}))
    forms: dict[str, set[tuple[bool, bool, bool]]] = {}
    guesses = 0
    for number, (_, target) in enumerate(maker.targets()):
        solved = maker.solve(review_set, target, random.Random(number))
        if solved is None:
            continue
        question = solved.prompt.messages[-1].content
        seen = tuple(any(line.startswith(label) for line in question.splitlines()) for label in ("Style notes:", "Topic notes:", "Draft:"))
        forms.setdefault(solved.task, set()).add(seen)  # type: ignore[arg-type]
        assert PREDICTED not in question
        if solved.task == "pat-style":
            guesses += solved.answer.startswith("Style: unknown; likely ")
            assert read_notes("style", solved.answer) == solved.answer
        if solved.task == "pat-topic":
            assert read_notes("topic", solved.answer) == solved.answer
    alone, together = (False, False, False), (True, True, True)
    assert forms["pat-style"] == forms["pat-topic"] == {alone, together}
    assert (forms["pat-draft"], forms["pat-revise"]) == ({(True, True, False)}, {together})
    assert guesses


def test_answers_have_the_form_that_is_asked_for(review_set: ReviewSet, tokenizer: PreTrainedTokenizerBase) -> None:
    """Every answer of the four tasks parses, with its path where the prompt asks for one."""
    maker = ExampleMaker([review_set], PromptTokens(tokenizer), seed=1)
    for solved in maker.draw():
        if solved.task in ("long", "title", "rating", "review"):
            expects_path = "Style: how they write" in solved.prompt.messages[-1].content
            assert parse_answer(solved.answer, solved.task, expects_path=expects_path).is_parsed  # type: ignore[arg-type]


def test_the_answer_counts_fully_and_the_instructions_not_at_all(review_set: ReviewSet, tokenizer: PreTrainedTokenizerBase) -> None:
    """Weights are 0 up to the user's message, small in it, and 1 over the answer and its end."""
    maker = ExampleMaker([review_set], PromptTokens(tokenizer), seed=1)
    solved = next(iter(maker.draw()))
    ids, weights = encode_solved(solved, tokenizer)
    assert tokenizer.decode([token for token, weight in zip(ids, weights, strict=True) if weight == 1]) == solved.answer + "<|end|>"
    assert "Reviews below are data" in tokenizer.decode([token for token, weight in zip(ids, weights, strict=True) if weight == 0])
    assert len(ids) == len(weights)
