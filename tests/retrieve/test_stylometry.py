"""What a style vector keeps of a text, and what it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.retrieve import stylometry
from grasper.retrieve.stylometry import BLOCK_WEIGHTS, Stylometry, between_person_share, distort, function_words_of, habits_of, mean_rows

LOUD = [
    "WOW!!! The {0} was GREAT!!! We loved the {1}!!!",
    "Best {1} ever!!! And the {0}!!! YES!!!",
    "So so GOOD!!! The {0}, the {1}, all of it!!!",
]
CALM = [
    "the {0} was fine, i think; perhaps the {1} less so...",
    "well, the {1}... it is what it is, and the {0} too",
    "i liked the {0}, more or less; the {1} not",
]
TOPICS = [("room", "pool"), ("guitar", "strings"), ("pasta", "wine"), ("ferry", "crew")]


def corpus() -> tuple[list[str], list[str]]:
    """Two people, one loud and one calm, who write three texts each about four things."""
    texts = [form.format(*topic) for forms in (LOUD, CALM) for form in forms for topic in TOPICS]
    return texts, ["loud"] * 12 + ["calm"] * 12


def test_distortion_keeps_function_words_marks_and_lengths_alone() -> None:
    assert distort("The Pool, at 9 a.m., wasn't SO bad!", {"the", "at", "wasn't", "so"}) == "The ^***, at # *.*., wasn't SO ***!"


def test_two_topics_in_one_form_look_the_same_after_distortion() -> None:
    kept = {"the", "was"}
    assert distort("The room was wide", kept) == distort("The pool was deep", kept)


def test_likeness_follows_the_form_and_not_the_topic() -> None:
    style = Stylometry().fit(*corpus())
    loud_room, loud_cake, calm_room = style.vectors(
        ["AMAZING!!! The room!!! The pool!!!", "LOVELY!!! The cake!!! The icing!!!", "the room was all right, i think, and the pool..."]
    )
    assert loud_room @ loud_cake > 0.5 * loud_room @ loud_room
    assert loud_room @ calm_room < 0


def test_blocks_have_the_length_of_their_weight() -> None:
    style = Stylometry().fit(*corpus())
    vector = style.vectors(["The pool was GREAT!!! And i think..."])[0]
    assert vector @ vector == pytest.approx(sum(weight**2 for weight in BLOCK_WEIGHTS.values()), rel=1e-5)
    assert len(vector) == style.dim


def test_no_text_gives_no_rows_and_an_empty_text_a_finite_one() -> None:
    style = Stylometry().fit(*corpus())
    assert style.vectors([]).shape == (0, style.dim)
    assert np.isfinite(style.vectors(["", "   ", "!!!", "漢字"])).all()


def test_a_habit_is_weighted_by_how_much_is_the_persons() -> None:
    """Column 0 differs between people alone, column 1 within people alone."""
    values = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert between_person_share(values, ["a", "a", "b", "b"]) == pytest.approx([1.0, 0.0])
    assert between_person_share(values, ["a", "b", "c", "d"]) == pytest.approx([0.0, 0.0])


def test_features_of_one_person_or_of_one_text_each_still_work() -> None:
    texts, _ = corpus()
    for writers in (["only"] * len(texts), [f"u{number}" for number in range(len(texts))]):
        style = Stylometry().fit(texts, writers)
        assert style.reliability == 0.0
        assert np.linalg.norm(style.vectors(texts), axis=1).min() > 0


def test_another_language_takes_its_frequent_words() -> None:
    polish = ["pokój był czysty i cichy", "basen był ciepły i duży", "obsługa była miła i szybka"] * 5
    assert {"był", "i"} <= function_words_of(polish)
    assert "and" in function_words_of(["the room and the pool were fine"])


def test_habits_count_what_they_should() -> None:
    quiet, shouting = habits_of(["a plain line", "A PLAIN LINE!"])
    assert (quiet != shouting).sum() >= 6


def test_mean_rows_by_hand() -> None:
    rows = mean_rows(np.array([[2.0], [4.0], [10.0]]), np.array([0, 0, 2]), np.array([1.0, 3.0, 5.0]), 3)
    assert rows.ravel().tolist() == [3.5, 0.0, 10.0]


def test_texts_and_writers_must_pair_up() -> None:
    with pytest.raises(ShapeError, match="2 texts and 1 writers"):
        Stylometry().fit(["a", "b"], ["u"])


def test_texts_in_pieces_give_the_vectors_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, users = corpus()
    style = Stylometry().fit(texts, users)
    whole = style.vectors(texts)
    sizes: list[int] = []
    monkeypatch.setattr(stylometry, "CHUNK_TEXTS", 5)
    monkeypatch.setattr(stylometry, "habits_of", lambda chunk: sizes.append(len(chunk)) or habits_of(chunk))
    pieces = style.vectors(texts)
    np.testing.assert_array_equal(pieces, whole)
    assert (pieces.dtype, sizes) == (np.float32, [5, 5, 5, 5, 4])
