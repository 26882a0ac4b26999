"""Single fields: what is trimmed, mapped, accepted and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError
from grasper.prepare.fields import Place, Problems, clean_id, clean_ratings, clean_text, clean_timestamps, strip_html
from grasper.records import none_if_missing


def place(count: int) -> Place:
    return Place(Path("reviews.jsonl"), "line", np.arange(1, count + 1) + 810)


def ratings(*values: object, scale: int = 5, invalid: str = "error", **settings: object) -> list[float]:
    config = PrepareConfig(rating_scale=scale, invalid_rating=invalid, **settings)  # type: ignore[arg-type]
    return clean_ratings(pd.Series(values), place(len(values)), config).tolist()


def test_text_is_trimmed_and_empty_becomes_missing() -> None:
    cleaned = clean_text(pd.Series(["  fine \n", " \t", None, "a\r\nb\rc"], dtype="str"))
    assert cleaned.isna().tolist() == [False, True, True, False]
    assert cleaned.dropna().tolist() == ["fine", "a\nb\nc"]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_every_line_end_keeps_the_words_around_it_apart(end: str) -> None:
    """Word and Excel end lines within a cell by a vertical tab, Macs by U+2028: without it, "staff" and "Rooms" would be one word."""
    assert clean_text(pd.Series([f"Kind staff{end}Rooms fine{end}"], dtype="str")).tolist() == ["Kind staff\nRooms fine"]
    assert clean_id(f"a{end}b{end}") == "a\nb"


def test_invisible_characters_vanish_but_emoji_stay_whole() -> None:
    """Directional marks can disguise text; the zero-width joiner makes one family of three people."""
    family = "\U0001f469‍\U0001f469‍\U0001f467"
    cleaned = clean_text(pd.Series(["a\x00b\x07", "‮live​‏", family, "x\ty\nz"], dtype="str"))
    assert cleaned.tolist() == ["ab", "live", family, "x\ty\nz"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
def test_cleaning_twice_is_cleaning_once(texts: list[str]) -> None:
    once = clean_text(pd.Series(texts, dtype="str"))
    pd.testing.assert_series_equal(once, clean_text(once))


def test_one_id_is_cleaned_as_a_column_of_them() -> None:
    ids = [" padded ", "\u200bdis\u202eguised\ufeff", "two\r\nlines\r", "\u00a0\u3000wide\u2003", "a b", ""]
    assert [clean_id(one) or None for one in ids] == [none_if_missing(one) for one in clean_text(pd.Series(ids))]


def test_ratings_of_other_scales_are_mapped_to_five() -> None:
    """Ten points fold in pairs, thumbs become the ends, three values the ends and the middle."""
    assert ratings(*range(1, 11), scale=10) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert ratings(1, 2, scale=2) == [1, 5]
    assert ratings(1, 2, 3, scale=3) == [1, 3, 5]
    assert ratings("1", "5.0", " 3") == [1, 5, 3]


@pytest.mark.parametrize("bad", [7.0, 0, 4.5, -1, "good", float("inf")])
def test_an_invalid_rating_names_its_line_or_becomes_null(bad: object) -> None:
    with pytest.raises(DataFormatError, match=r"reviews\.jsonl line 812: 'rating' is .*expected a whole number 1–5.*invalid_rating=null"):
        ratings(5, bad, 3)
    assert ratings(5, bad, 3, invalid="null")[0::2] == [5, 3]
    assert np.isnan(ratings(5, bad, 3, invalid="null")[1])


def test_a_seven_hints_at_a_wider_scale() -> None:
    with pytest.raises(DataFormatError, match="rating_scale=10"):
        ratings(7)


@pytest.mark.parametrize("nothing", [None, "", " ", "NaN", float("nan")])
def test_a_missing_rating_is_missing_and_no_fault(nothing: object) -> None:
    assert ratings("4", nothing)[0] == 4
    assert np.isnan(ratings("4", nothing)[1])


def test_ratings_that_begin_at_zero_or_have_fractions_are_mapped_when_declared() -> None:
    """0–10 onto 1–5: 0 → 1, 5 → 3, 10 → 5; half stars are rounded up."""
    assert ratings(0, 5, 10, scale=10, rating_lowest=0) == [1, 3, 5]
    assert ratings("3.5", "2,0", rating_fractions=True, decimal=",") == [4, 2]
    assert ratings(0, 1, scale=1, rating_lowest=0) == [1, 5]
    halves = [number / 2 for number in range(1, 11)]
    assert ratings(*halves, rating_lowest=0.5, rating_fractions=True) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize(
    ("text", "value"), [("4 stars", 4), ("4/5", 4), ("★★★☆☆", 3), ("⭐⭐", 2), ("2 von 5", 2), ("Rated 5", 5), ("3,0 Sterne", 3), ("1 or 2", None)]
)
def test_ratings_in_words(text: str, value: float | None) -> None:
    """The one number among words counts; two numbers that are no share are refused."""
    if value is None:
        with pytest.raises(DataFormatError, match="1 or 2"):
            ratings(text, rating_in_words=True)
    else:
        assert ratings(text, rating_in_words=True) == [value]


@pytest.mark.parametrize(
    ("value", "way"),
    [
        ("8", "rating_scale=10"),
        ("80", "rating_scale=100"),
        ("0", "rating_lowest=0 "),
        ("0.5", "rating_lowest=0.5 "),
        ("3.5", "rating_fractions=true"),
        ("3,5", "prepare.decimal=,"),
        ("4 stars", "rating_in_words=true"),
    ],
)
def test_a_refused_rating_says_how_to_allow_it(value: str, way: str) -> None:
    with pytest.raises(DataFormatError, match=way):
        ratings(value)


def test_all_refusals_are_told_at_once_with_the_owners_columns() -> None:
    problems = Problems()
    where = Place(Path("shop.csv"), "line", np.array([2, 3, 4]), {"rating": "Sterne", "timestamp": "Datum"})
    clean_ratings(pd.Series(["9", "5", "8"]), where, problems=problems)
    clean_timestamps(pd.Series(["x", "2020-01-01", "1"]), where, problems=problems)
    first, second = problems.messages()
    assert first.startswith("shop.csv line 2: 'Sterne' is 9")
    assert first.endswith("and 1 more")
    assert second.startswith("shop.csv line 2: 'Datum' is x")
    with pytest.raises(DataFormatError, match=r"Sterne.*Datum"):
        problems.raise_any()


def test_html_is_taken_off_and_comparisons_stay() -> None:
    texts = pd.Series(["a <b>b</b> &amp; c<br/>d", "2 < 3 and 5 > 4", None, "<script>x</script>"], dtype="str")
    assert strip_html(texts).iloc[[0, 1, 3]].tolist() == ["a b & c\nd", "2 < 3 and 5 > 4", "x"]


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


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_every_unit_is_read_where_it_is_declared_and_named_where_it_is_not(unit: str, per_second: int) -> None:
    """The unit that is named is that of the number in the file, whatever was declared."""
    values = pd.Series([str(1717113600 * per_second)], dtype="str")
    assert clean_timestamps(values, place(1), PrepareConfig(timestamp_unit=unit)).tolist() == [1717113600]  # type: ignore[arg-type]
    for declared in ("s", "ms", "us"):
        if per_second > {"s": 1, "ms": 10**3, "us": 10**6}[declared]:
            with pytest.raises(DataFormatError, match=rf"seconds\? --set prepare\.timestamp_unit={unit}\)"):
                clean_timestamps(values, place(1), PrepareConfig(timestamp_unit=declared))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "advice"),
    [(["2015", "2016.0", None], r"a year\? --set prepare\.date_formats='\[\"%Y\"\]'"), ([45000, 45000.5], "a day of a spreadsheet")],
)
def test_years_and_the_days_of_a_spreadsheet_are_no_seconds_of_1970(values: list[object], advice: str) -> None:
    with pytest.raises(DataFormatError, match=rf"'timestamp' is {values[0]}.*{advice}"):
        clean_timestamps(pd.Series(values), place(3))
    assert clean_timestamps(pd.Series([*values, 1717113600]), place(4)).notna().sum() == 3, "beside a second they are seconds"


def test_years_are_read_where_they_are_declared() -> None:
    assert clean_timestamps(pd.Series(["2015", "2016.0"]), place(2), PrepareConfig(date_formats=("%Y",))).tolist() == [1420070400, 1451606400]


@pytest.mark.parametrize("digits", ["123456", "1234567"])
def test_a_finer_fraction_leaves_other_dates_as_they_are(digits: str) -> None:
    """.NET writes seven digits, and its smallest date where there is none."""
    values = pd.Series(["0001-01-01T00:00:00", f"2024-05-31T10:00:00.{digits}Z", "2400-01-01"], dtype="str")
    assert clean_timestamps(values, place(3)).tolist() == [-62_135_596_800, 1_717_149_600, 13_569_465_600]


@pytest.mark.parametrize("bad", ["Infinity", "-inf", "1e300", "9999-01-01", "0000-00-00", "9" * 400, float("inf")])
def test_impossible_dates_are_one_line(bad: object) -> None:
    with pytest.raises(DataFormatError, match="line 811: 'timestamp' is "):
        clean_timestamps(pd.Series([bad]), place(1))


def test_dates_before_1970_and_in_year_one_are_exact() -> None:
    values = pd.Series(["0001-01-01", "1969-12-31 23:59:59", "-5", "-62135596800"], dtype="str")
    assert clean_timestamps(values, place(4)).tolist() == [-62135596800, -1, -5, -62135596800]


def test_declared_units_and_formats() -> None:
    """Day before month, and milliseconds, only when the owner says so."""
    config = PrepareConfig(date_formats=("%d.%m.%Y", "%d/%m/%y %H:%M"))
    values = pd.Series(["31.05.2024", "31/05/24 00:01", "2024-05-31"], dtype="str")
    assert clean_timestamps(values, place(3), config).tolist() == [1717113600, 1717113660, 1717113600]
    assert clean_timestamps(pd.Series([1717113600123]), place(1), PrepareConfig(timestamp_unit="ms")).tolist() == [1717113600]


@pytest.mark.parametrize(
    "values", [["20240531", "2024-05-31", "1717113600"], ["20240531.0", "1717113600.0"], [20240531, 1717113600], [20240531.0, 1717113600.0]]
)
def test_digits_are_a_date_where_a_declared_format_reads_them(values: list[object]) -> None:
    """As text, whole numbers and numbers of a column with gaps; seconds and ISO dates beside them stay what they are."""
    config = PrepareConfig(date_formats=("%d.%m.%Y", "%Y%m%d"))
    assert clean_timestamps(pd.Series(values), place(3), config).tolist() == [1717113600] * len(values)


@pytest.mark.parametrize("values", [["20240531", None, "20231201"], [20240531, 20231201], ["2024-05-31", "20240531.0"]])
@pytest.mark.parametrize("formats", [(), ("%d.%m.%Y",)])
def test_dates_in_digits_are_no_seconds_of_1970(values: list[object], formats: tuple[str, ...]) -> None:
    with pytest.raises(DataFormatError, match=r"'timestamp' is 20240531.*a date\? --set prepare.date_formats='\[\"%Y%m%d\"\]'"):
        clean_timestamps(pd.Series(values), place(3), PrepareConfig(date_formats=formats))
    kept = clean_timestamps(pd.Series(values), place(3), PrepareConfig(date_formats=formats, invalid_timestamp="null"))
    assert kept.dropna().isin([1717113600]).all(), "the ISO date at most"


@pytest.mark.parametrize("values", [["20240531", "1717113600"], ["20241331", "20240531"], ["20240531", "7"], ["20240531.5"]])
def test_other_numbers_beside_say_that_they_are_seconds(values: list[object]) -> None:
    assert clean_timestamps(pd.Series(values), place(2)).tolist() == [round(float(value)) for value in values]


def test_of_two_formats_that_read_the_same_digits_the_first_counts() -> None:
    values = pd.Series(["01022024"], dtype="str")
    found = [clean_timestamps(values, place(1), PrepareConfig(date_formats=order)).iloc[0] for order in (("%d%m%Y", "%m%d%Y"), ("%m%d%Y", "%d%m%Y"))]
    assert found == [1706745600, 1704153600]  # 1 February and 2 January 2024


@pytest.mark.parametrize("pattern", ["%Q", "%d.%m.%Y %", "%U.%m.%Y", "%d.%d.%Y"])
def test_what_is_no_format_of_dates_is_told(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"prepare\.date_formats: '%.* is no format of dates .* expected one such as %d\.%m\.%Y"):
        clean_timestamps(pd.Series(["1.2.2024"]), place(1), PrepareConfig(date_formats=(pattern,)))
