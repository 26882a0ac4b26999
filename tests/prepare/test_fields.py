"""Single fields: what is trimmed, mapped, accepted and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.errors import DataFormatError
from grasper.prepare.fields import Place, clean_ratings, clean_text, clean_timestamps


def place(count: int) -> Place:
    return Place(Path("reviews.jsonl"), "line", np.arange(1, count + 1) + 810)


def ratings(*values: object, scale: int = 5, invalid: str = "error") -> list[float]:
    return clean_ratings(pd.Series(values), place(len(values)), scale=scale, invalid=invalid).tolist()  # type: ignore[arg-type]


def test_text_is_trimmed_and_empty_becomes_missing() -> None:
    cleaned = clean_text(pd.Series(["  fine \n", " \t", None, "a\r\nb\rc"], dtype="str"))
    assert cleaned.isna().tolist() == [False, True, True, False]
    assert cleaned.dropna().tolist() == ["fine", "a\nb\nc"]


def test_invisible_characters_vanish_but_emoji_stay_whole() -> None:
    """Directional marks can disguise text; the zero-width joiner makes one family of three people."""
    family = "\U0001f469‍\U0001f469‍\U0001f467"
    cleaned = clean_text(pd.Series(["a\x00b\x07", "‮live​‏", family, "x\ty\nz"], dtype="str"))
    assert cleaned.tolist() == ["ab", "live", family, "x\ty\nz"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
def test_cleaning_twice_is_cleaning_once(texts: list[str]) -> None:
    once = clean_text(pd.Series(texts, dtype="str"))
    pd.testing.assert_series_equal(once, clean_text(once))


def test_ratings_of_other_scales_are_mapped_to_five() -> None:
    """Ten points fold in pairs, thumbs become the ends, three values the ends and the middle."""
    assert ratings(*range(1, 11), scale=10) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert ratings(1, 2, scale=2) == [1, 5]
    assert ratings(1, 2, 3, scale=3) == [1, 3, 5]
    assert ratings("1", "5.0", " 3") == [1, 5, 3]


@pytest.mark.parametrize("bad", [7.0, 0, 4.5, -1, "good", None, "", float("inf")])
def test_an_invalid_rating_names_its_line_or_becomes_null(bad: object) -> None:
    with pytest.raises(DataFormatError, match=r"reviews\.jsonl line 812: 'rating' is .*expected a whole number 1–5.*invalid_rating=null"):
        ratings(5, bad, 3)
    assert ratings(5, bad, 3, invalid="null")[0::2] == [5, 3]
    assert np.isnan(ratings(5, bad, 3, invalid="null")[1])


def test_a_seven_hints_at_a_wider_scale() -> None:
    with pytest.raises(DataFormatError, match="rating_scale=10"):
        ratings(7)


def test_a_blank_rating_is_missing() -> None:
    with pytest.raises(DataFormatError, match="'rating' is missing"):
        ratings("4", " ")


def test_dates_come_as_seconds_or_iso_days() -> None:
    """2024-05-31 begins at second 1717113600 UTC; a zone shifts it; missing stays missing."""
    values = pd.Series(["1717113600", "2024-05-31", "2024-05-31T02:00:00+02:00", "2024-05-31 00:00:01", None, " "], dtype="str")
    seconds = clean_timestamps(values, place(6))
    assert seconds.iloc[:4].tolist() == [1717113600, 1717113600, 1717113600, 1717113601]
    assert seconds.iloc[4:].isna().all()
    columns = pd.Series(pd.to_datetime(["2024-05-31", None]))
    assert clean_timestamps(columns, place(2)).iloc[0] == 1717113600


@pytest.mark.parametrize(("bad", "hint"), [("yesterday", "expected Unix seconds or an ISO date"), ("1717113600000", "milliseconds")])
def test_other_dates_are_refused_with_their_line(bad: str, hint: str) -> None:
    with pytest.raises(DataFormatError, match=rf"line 812: 'timestamp' is {bad}.*{hint}"):
        clean_timestamps(pd.Series(["1", bad], dtype="str"), place(2))
