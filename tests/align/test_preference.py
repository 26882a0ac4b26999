"""Which notes make a pair, and what is told of the rest."""

from __future__ import annotations

import pytest

from grasper.align.preference import JudgedNotes, choose_pairs, repeated_words
from grasper.models.base import Message, Prompt

PROMPT = Prompt((Message("user", "note how they write."),))


def notes(text: str, difference: float, pair: str = "e/long", **options) -> JudgedNotes:
    return JudgedNotes(pair, options.pop("reasoner", "style"), PROMPT, text, difference, **options)


def choose(*judged: JudgedNotes, margin: float = 0.05, ratio: float = 1.5):
    return choose_pairs(judged, margin=margin, max_length_ratio=ratio)


def test_the_best_helpful_notes_are_preferred_to_worse_ones_of_like_length() -> None:
    pairs, counts = choose(
        notes("Style: short and warm", 0.2), notes("Style: long and cold", 0.0), notes("Style: a", -0.5), notes("Style: dry and plain", 0.18)
    )
    assert [(pair.chosen.notes, pair.rejected.notes) for pair in pairs] == [("Style: short and warm", "Style: long and cold")]
    assert counts["pairs"] == 1
    assert counts["mean_gap"] == pytest.approx(0.2)


def test_notes_that_do_not_help_are_never_chosen() -> None:
    pairs, counts = choose(notes("Style: one", 0.0), notes("Style: two", -0.4))
    assert (pairs, counts["useless"]) == ([], 1)


def test_without_the_margin_it_is_a_tie() -> None:
    pairs, counts = choose(notes("Style: one", 0.10), notes("Style: two", 0.06))
    assert (pairs, counts["ties"]) == ([], 1)


def test_equal_rewards_are_ties_even_at_margin_zero() -> None:
    pairs, counts = choose(notes("Style: one", 0.1), notes("Style: two", 0.1), margin=0.0)
    assert (pairs, counts["ties"], counts["share_longer_chosen"]) == ([], 1, None)


def test_sides_of_other_lengths_are_no_pair() -> None:
    pairs, counts = choose(notes("Style: one two three four five", 0.3), notes("Style: one", 0.0))
    assert (pairs, counts["unmatched"]) == ([], 1)
    assert len(choose(notes("Style: one two three four five", 0.3), notes("Style: one", 0.0), ratio=3.0)[0]) == 1


def test_repetition_and_unreadable_notes_stand_on_the_rejected_side_alone() -> None:
    stuck = "Style: warm warm warm warm warm warm warm warm"
    pairs, counts = choose(notes(stuck, 0.9), notes("Style: short and dry", 0.3), notes("Style: warm and dry", 0.0))
    assert (len(pairs), counts["useless"], counts["unsound"]) == (1, 0, 1)
    assert pairs[0].chosen.notes == "Style: short and dry"
    pairs, _ = choose(notes(stuck, 0.1), notes("Style: short and dry", 0.3), notes("Style: warm and dry", 0.0))
    assert pairs[0].rejected.notes == stuck
    pairs, _ = choose(notes("no label", 0.9, is_read=False), notes("Style: short and dry", 0.3))
    assert pairs[0].rejected.notes == "no label", "its drafts were lucky"


def test_pairs_stay_within_a_training_pair_and_a_reasoner() -> None:
    pairs, counts = choose(
        notes("Style: one", 0.5), notes("Style: two", 0.0, pair="other/long"), notes("Interests: x\nPlan: y", 0.0, reasoner="topic")
    )
    assert (pairs, counts["groups"], counts["ties"], counts["useless"]) == ([], 3, 1, 2)


def test_share_of_longer_chosen_notes_and_drafts_is_told() -> None:
    _, counts = choose(
        notes("Style: one two three", 0.3, draft_words=50.0),
        notes("Style: one two", 0.0, draft_words=40.0),
        notes("Style: one two", 0.3, pair="b", draft_words=30.0),
        notes("Style: one two three", 0.0, pair="b", draft_words=45.0),
    )
    assert (counts["share_longer_chosen"], counts["share_longer_drafts"]) == (0.5, 0.5)


def test_where_no_drafts_were_written_none_is_called_longer() -> None:
    _, counts = choose(notes("Style: one two", 0.3), notes("Style: one", 0.0), ratio=3.0)
    assert (counts["pairs"], counts["share_longer_chosen"], counts["share_longer_drafts"]) == (1, 1.0, None)


@pytest.mark.parametrize(("text", "is_sound"), [("Style: room room room staff", True), ("Style: room room room room", False)])
def test_notes_may_repeat_two_of_five_words(text: str, is_sound: bool) -> None:
    """The label counts as one of them; three of five are too many."""
    assert repeated_words(text) == pytest.approx(0.4 if is_sound else 0.6)
    assert notes(text, 0.3).is_sound == is_sound


def test_repeated_words_by_hand() -> None:
    assert repeated_words("Style: room, room, room and staff") == pytest.approx(2 / 5)
    assert repeated_words("the and of") == 0.0
