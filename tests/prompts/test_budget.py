"""Token counts, shortening, and what leaves a prompt first."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.config import ModelConfig, PromptConfig
from grasper.models import open_model
from grasper.models.scripted import ScriptedModel
from grasper.prompts import budget
from grasper.prompts.budget import MARK, Entry, Kind, TokenCounter, keep_best, max_new_tokens, token_counter

entries = st.lists(
    st.builds(Entry, st.sampled_from(["own", "neighbours", "predicted", "exemplar"]), st.integers(0, 5), st.just("x"), st.integers(1, 100)),
    max_size=12,
)


@given(entries, st.integers(-10, 600))
def test_what_is_kept_fits_and_keeps_its_order(given_entries: list[Entry], room: int) -> None:
    """The kept entries are a subsequence of the given ones and cost no more than the room."""
    kept = keep_best(given_entries, room)
    assert sum(entry.tokens for entry in kept) <= max(room, 0)
    remaining = iter(given_entries)
    assert all(any(entry is other for other in remaining) for entry in kept)


def test_own_reviews_leave_last_and_worst_ranks_first() -> None:
    """Ten tokens each: with room for five, rank 3 and 2 of the neighbours and the worst predicted ones are gone, all own ones stay."""
    kinds = [("own", 2), ("neighbours", 4), ("predicted", 2), ("exemplar", 1)]
    given_entries = [Entry(kind, rank, f"{kind}{rank}", 10) for kind, count in kinds for rank in range(count)]  # type: ignore[arg-type]
    assert [entry.text for entry in keep_best(given_entries, 50)] == ["own0", "own1", "neighbours0", "predicted0", "exemplar0"]
    assert [entry.text for entry in keep_best(given_entries, 30)] == ["own0", "own1", "exemplar0"]
    assert [entry.text for entry in keep_best(given_entries, 10)] == ["own0"]


@pytest.mark.parametrize("kinds", [("neighbours", "predicted"), ("predicted", "neighbours")])
def test_a_predicted_review_leaves_before_a_real_one_of_its_rank(kinds: tuple[Kind, Kind]) -> None:
    """Whichever comes first."""
    given_entries = [Entry(kind, 0, kind, 10) for kind in kinds]
    assert [entry.kind for entry in keep_best(given_entries, 10)] == ["neighbours"]


@given(st.lists(st.sampled_from(["word", "a", "long-ish", "né", "!!"]), max_size=60).map(" ".join), st.integers(8, 40))
def test_fitted_lines_are_within_their_limit(text: str, limit: int) -> None:
    """A line is returned whole, or as its beginning with the mark; either way within the limit."""
    counter = token_counter(MODEL)
    fitted = counter.fit(text, limit)
    assert counter.count(fitted) <= limit
    assert fitted == text or (fitted.endswith(MARK) and text.startswith(fitted.removesuffix(MARK)))


MODEL = ScriptedModel()


def test_a_cut_falls_between_words() -> None:
    """`half-word` is one word of two tokens and a mark; no half of it is left."""
    fitted = token_counter(MODEL).fit("one two three half-word more words that follow", 7)
    assert fitted == "one two three" + MARK


@pytest.mark.parametrize("line", ["Given text: " + "这家酒店的早餐很好房间也很干净" * 40, "- [4] " + "部屋は静かで朝食もおいしかった。" * 40])
def test_a_script_without_spaces_is_cut_within_its_run(line: str) -> None:
    """The last space is the label's: to cut there would leave nothing of the text."""
    model = open_model(ModelConfig())
    fitted = TokenCounter(model).fit(line, 64)
    assert fitted.endswith(MARK)
    assert line.startswith(fitted.removesuffix(MARK))
    assert 50 <= TokenCounter(model).count(fitted) <= 64


def test_every_line_is_tokenized_once() -> None:
    """The same neighbours stand in many prompts."""
    calls = []

    class Counting(ScriptedModel):
        def count_tokens(self, text: str) -> int:
            calls.append(text)
            return super().count_tokens(text)

    model = Counting()
    for _ in range(3):
        assert token_counter(model).count("some line") == 3
    assert calls == ["some line"]


def test_counters_are_forgotten_with_their_model() -> None:
    """A large model must not be kept alive, nor its counts be taken for those of another at the same address."""
    model = ScriptedModel()
    token_counter(model).count("line")
    key = id(model)
    del model
    gc.collect()
    assert key not in budget._counters


def test_room_for_the_answer_depends_on_the_task() -> None:
    """160 tokens of text, 32 of title, 8 of rating, and 64 more where a path comes first."""
    config = PromptConfig()
    assert [max_new_tokens(task, config, reasoning=False) for task in ("long", "title", "rating", "review")] == [160, 32, 8, 160]
    assert max_new_tokens("long", config, reasoning=True) == 224
