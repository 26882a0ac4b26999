"""The consensus choice: planted majorities, and the rules that keep it fair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.generate.consensus import choose, evidence_for
from grasper.records import Item, Profile, Review, SyntheticReview

TEXTS = st.lists(st.sampled_from(["sea", "bed", "cake", "kind"]), max_size=6).map(" ".join)


def test_the_majority_wins() -> None:
    samples = ["clean room and kind staff", "terrible noise all night", "kind staff and clean room", "the room was clean and the staff kind"]
    assert choose(samples, []) in (0, 2)


def test_retrieved_texts_decide_between_two_samples() -> None:
    """Two samples agree with each other equally; the evidence does not."""
    samples = ["the bed was hard", "the cake was dry"]
    assert choose(samples, ["a dry cake", "the cake was dry and the coffee cold"]) == 1
    assert choose(samples, ["such a hard bed"]) == 0


@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(TEXTS, max_size=3))
def test_the_choice_is_one_of_the_samples_and_not_empty_if_another_is_not(samples: list[str], evidence: list[str]) -> None:
    chosen = choose(samples, evidence)
    assert 0 <= chosen < len(samples)
    assert samples[chosen] or not any(samples)


@pytest.mark.parametrize(("samples", "expected"), [(["", "warm bed"], 1), (["  ", "warm", "bed"], 1), (["warm", "\n", ""], 0)])
def test_an_empty_sample_is_never_chosen_over_another(samples: list[str], expected: int) -> None:
    """Also where nothing agrees with anything."""
    assert choose(samples, []) == expected


def test_one_sample_needs_no_vote() -> None:
    assert choose([""], ["anything"]) == 0


def test_only_retrieved_real_texts_are_evidence() -> None:
    """Titles for titles, texts for texts, of all sets of neighbours; synthetic reviews have no vote."""
    profile = Profile(
        own=(Review("o", "u", "j", "own text", "own title"),),
        neighbours=(Review("n", "v", "i", "neighbour text", None),),
        predicted=(SyntheticReview("e", "u", Item("k"), "synthetic text", "synthetic title"),),
        further=((Review("m", "w", "i", "text of another set", "its title"),),),
    )
    assert evidence_for("long", profile) == ["neighbour text", "text of another set", "own text"]
    assert evidence_for("title", profile) == ["its title", "own title"]
