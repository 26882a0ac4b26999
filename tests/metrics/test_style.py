"""Personalization: planted authors must be found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from grasper.errors import ShapeError
from grasper.metrics.style import CharacterSpace, LineUp, Space, StyleSpace

LOUD = ["WOW!!! Best rooms EVER!!!", "LOVED the pool!!! So good!!!", "Amazing staff!!! GO THERE!!!"]
QUIET = [
    "rather a pleasant stay, i would say; the rooms, though small, were tidy.",
    "the pool, i must admit, was a little cold; one could return, perhaps.",
    "the staff, in the main, were attentive; i would, perhaps, recommend it.",
]


@pytest.mark.parametrize("space", [CharacterSpace(), StyleSpace(num_words=10)])
def test_a_text_is_most_like_itself(space: CharacterSpace | StyleSpace) -> None:
    """The user's own text always wins over different ones, and theirs always over it."""
    texts = LOUD + QUIET
    space.fit(texts)
    others = [[other for other in texts if other != text] for text in texts]
    line_up = LineUp(space, texts, others)
    assert line_up.win_rate(texts).tolist() == [1.0] * len(texts)
    assert LineUp(space, texts[:1], [[texts[3]]]).win_rate([texts[3]]).tolist() == [0.0]


def test_style_finds_the_author_whatever_the_subject() -> None:
    """A loud text about the pool is nearer to a loud one about the staff than to a quiet one about the pool."""
    space = StyleSpace(num_words=10).fit(LOUD + QUIET)
    line_up = LineUp(space, [LOUD[2], QUIET[2]], [[QUIET[1]], [LOUD[1]]])
    assert line_up.win_rate([LOUD[1], QUIET[1].replace("pool", "lake")]).tolist() == [1.0, 1.0]


def test_characters_find_the_subject() -> None:
    """Words about the same thing are alike in characters, in whatever style."""
    space = CharacterSpace().fit(LOUD + QUIET)
    assert LineUp(space, ["the pool was cold"], [["breakfast buffet"]]).win_rate(["POOL!!! so cold"]).tolist() == [1.0]


def test_win_rate_by_hand() -> None:
    """Likeness is minus the distance of lengths: of four others, one is farther, one equally far and two nearer → 1.5 / 4."""

    class Lengths(Space):
        def vectors(self, texts: object) -> np.ndarray:
            return np.array([[len(text)] for text in texts], dtype=float)  # type: ignore[attr-defined]

        def likeness(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return -np.abs(left - right)[:, 0]

    line_up = LineUp(Lengths(), ["xxxx", "x"], [["xxxxxxx", "x" * 4, "xx", "xxx"], ["xx"]])
    assert line_up.win_rate(["xx", "x"]).tolist() == [1.5 / 4, 1.0]


def test_a_text_about_nobody_wins_half_of_the_time() -> None:
    """Over random line-ups a fixed text has no preference for the author: chance is 0.5."""
    rng = np.random.default_rng(0)
    words = np.array(["room", "pool", "staff", "view", "bed", "noise", "price", "food", "clean", "warm"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(900)]
    space = CharacterSpace().fit(texts)
    line_up = LineUp(space, texts[:300], [texts[300 + 2 * i : 302 + 2 * i] for i in range(300)])
    assert line_up.win_rate([texts[0]] * 300)[1:].mean() == pytest.approx(0.5, abs=0.06)


def test_no_line_up_no_answer() -> None:
    """Where nobody else wrote about the item the rate is NaN; an empty text is at chance."""
    space = CharacterSpace().fit(LOUD)
    rates = LineUp(space, LOUD[:2], [[], [LOUD[2]]]).win_rate(["anything", ""])
    assert np.isnan(rates[0])
    assert rates[1] == 0.5
    assert np.isnan(LineUp(space, LOUD[:1], [[]]).win_rate(["x"])).all()
    assert LineUp(space, [], []).win_rate([]).shape == (0,)


def test_wrong_counts_are_an_error() -> None:
    """Texts, groups and predictions must pair up, and a style must be learned from something."""
    space = CharacterSpace().fit(LOUD)
    with pytest.raises(ShapeError):
        LineUp(space, LOUD, [[]])
    with pytest.raises(ShapeError):
        LineUp(space, LOUD[:1], [[]]).win_rate([])
    with pytest.raises(ShapeError):
        StyleSpace().fit([])
