"""One field at a time: trim text, check ratings, read dates; a bad value names its file, line and the owner's own column.

Refusals are gathered in `Problems`, so that all of them are told at once.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError

# Control characters except tab and newline, zero-width and directional marks: invisible, and able to disguise what a prompt or a report
# shows. The zero-width joiner stays: emoji are made with it.
_INVISIBLE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
_LINE_ENDS = "\r\n|[\r\x0b\x0c\x85\u2028\u2029]"
"""All but the Unix one; Word, Excel and Macs write the rarer ones within texts."""
_LAST_PLAUSIBLE_SECOND = 10**11
"""Year 5138; larger numbers are no seconds."""
DATES_IN_DIGITS = {"%Y%m%d": (19_000_101, 21_001_231), "%Y": (1900, 2100)}
"""Dates that are written like numbers, and between which they lie."""
SPREADSHEET_DAYS = (30_000, 80_000)
"""The numbers under which Excel keeps the days of 1982 to 2119."""
UNITS = {"s": (1, "seconds"), "ms": (1_000, "milliseconds"), "us": (1_000_000, "microseconds"), "ns": (1_000_000_000, "nanoseconds")}
"""How many make a second, and their name, by the setting `prepare.timestamp_unit`."""
_TAG = re.compile(r"<(?:br|p|/p|div|/div|li)\b[^<>]*>|</?[a-zA-Z][^<>]*>|<!--")
_STARS = re.compile(r"[★⭐]")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
_DEFAULTS = PrepareConfig()


@dataclass(frozen=True)
class Place:
    """Where the rows of one file come from: `number` of the i-th row, counted in `unit` (line, row, entry) from 1."""

    path: Path
    unit: str
    numbers: np.ndarray
    columns: Mapping[str, str] = field(default_factory=dict)
    """The owner's column of each field."""

    def of(self, index: int) -> str:
        return f"{self.path} {self.unit} {self.numbers[index]}"

    def column(self, name: str) -> str:
        return self.columns.get(name, name)


class Problems:
    """What must be refused, by kind: the first of each kind, and how many there are."""

    def __init__(self) -> None:
        self.first: dict[str, str] = {}
        self.counts: dict[str, int] = {}

    def add(self, kind: str, message: str, count: int) -> None:
        self.first.setdefault(kind, message)
        self.counts[kind] = self.counts.get(kind, 0) + count

    def messages(self) -> list[str]:
        """One line for each kind."""
        return [message + (f" – and {self.counts[kind] - 1:,} more" if self.counts[kind] > 1 else "") for kind, message in self.first.items()]

    def raise_any(self) -> None:
        """Refuse everything that was found.

        Raises:
            DataFormatError: Something was.
        """
        if self.first:
            raise DataFormatError("; ".join(self.messages()))


def clean_text(values: pd.Series) -> pd.Series:
    """Texts without invisible characters and outer white space, Unix line ends; empty ones become missing."""
    text = values.astype("str")
    disguised = text.str.contains(_INVISIBLE, regex=True, na=False)
    if disguised.any():
        plain = text[disguised].str.replace(_LINE_ENDS, "\n", regex=True).str.replace(_INVISIBLE, "", regex=True)
        text = text.mask(disguised, plain)
    text = text.str.strip()
    return text.mask(text == "")


def clean_id(value: str) -> str:
    """One id as `clean_text` leaves those of files; empty where nothing is left."""
    return re.sub(_INVISIBLE, "", re.sub(_LINE_ENDS, "\n", value)).strip()


def strip_html(values: pd.Series) -> pd.Series:
    """Texts without tags, entities read; `<br>` and block ends become line breaks. What is no tag, such as `a < b`, stays."""
    marked = values.str.contains("[<&]", regex=True, na=False)
    if not marked.any():
        return values
    return values.mask(marked, values[marked].map(_plain).astype("str"))


def _plain(text: str) -> str:
    return html.unescape(_TAG.sub(lambda tag: "\n" if re.match(r"</?(?:br|p|div|li)\b", tag[0]) else "", text))


def clean_ratings(values: pd.Series, place: Place, config: PrepareConfig = _DEFAULTS, problems: Problems | None = None) -> pd.Series:
    """Ratings mapped linearly from the source's scale to whole numbers 1–5, halves up; missing and (`invalid_rating: null`) invalid ones are NaN.

    Raises:
        DataFormatError: A rating is no number, off the scale or, without `rating_fractions`, no whole number; unless `problems` gathers them.
    """
    low, high = config.rating_lowest, config.rating_scale
    is_given = are_given(values)
    numbers = _numbers(values, config)
    if config.rating_in_words:
        words = is_given & numbers.isna()
        numbers = numbers.mask(words, values[words].map(lambda text: rating_in(str(text))).reindex(values.index).astype("float64"))
    is_valid = numbers.between(low, high) & (config.rating_fractions | (numbers % 1 == 0))
    wrong = is_given & ~is_valid
    if config.invalid_rating == "error" and wrong.any():
        index = int(np.argmax(wrong.to_numpy()))
        found = f"{place.of(index)}: '{place.column('rating')}' is {values.iloc[index]!s:.40}, expected "
        kind = "a number" if config.rating_fractions else "a whole number"
        ways = ["prepare.invalid_rating=null to keep such reviews without a rating", *_ways_out(values.iloc[index], numbers.iloc[index], config)]
        told = problems or Problems()
        told.add("rating", f"{found}{kind} {low}–{high} (use --set {'; '.join(ways)})", int(wrong.sum()))
        if problems is None:
            told.raise_any()
    mapped = (1 + (numbers - low) * 4 / (high - low) + 0.5) // 1
    return mapped.where(is_valid)


def _ways_out(value: object, number: float, config: PrepareConfig) -> list[str]:
    """Settings under which this value would be a rating."""
    ways = []
    if np.isnan(number):
        if config.decimal == "." and re.fullmatch(r"\s*\d+,\d+\s*", str(value)):
            ways.append("prepare.decimal=, for a decimal comma")
        elif _STARS.search(str(value)) or _NUMBER.search(str(value)):
            ways.append("prepare.rating_in_words=true if the rating is a number among words")
    elif config.rating_scale < number <= 100:
        ways.append(f"prepare.rating_scale={10 if number <= 10 else 100} if that is the source's scale")
    elif 0 <= number < config.rating_lowest:
        ways.append(f"prepare.rating_lowest={'0.5' if number == 0.5 else '0'} if the scale begins there")
    elif np.isfinite(number) and number % 1:
        ways.append("prepare.rating_fractions=true to round such ratings")
    return ways


def rating_in(text: str) -> float:
    """The one number that a text such as '4 stars' or '4/5' gives as a rating, or its count of stars; NaN if it is not clear."""
    if stars := len(_STARS.findall(text)):
        return stars
    numbers = _NUMBER.findall(text)
    is_share = len(numbers) == 2 and re.search(r"\d\s*(?:/|of|out of|von|de|sur|su|из)\s*\d", text)
    return float(numbers[0].replace(",", ".")) if len(numbers) == 1 or is_share else float("nan")


def clean_timestamps(values: pd.Series, place: Place, config: PrepareConfig = _DEFAULTS, problems: Problems | None = None) -> pd.Series:
    """Unix seconds (nullable integers, before 1970 below zero) from numbers, ISO 8601 dates (UTC unless they name a zone) or timestamp columns.

    Digits that one of `prepare.date_formats` reads (20240531) are a date and no number. Where all numbers look so, or like years or a spreadsheet's
    days, and nothing reads them, they are refused: as seconds they would all lie in 1970.

    Raises:
        DataFormatError: A value is neither, or looks like another unit or like a date in digits; unless `problems` gathers them.
        ConfigError: One of `prepare.date_formats` is none.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return _seconds(values)
    is_given = are_given(values)
    written = _numbers(values, config)
    numbers, is_number = written / UNITS[config.timestamp_unit][0], written.notna()
    is_plausible = numbers.abs() < _LAST_PLAUSIBLE_SECOND  # false for infinities
    seconds = numbers.where(is_plausible).round().astype("Int64")
    is_doubted, doubt = pd.Series(False, index=values.index), ""
    if is_number.any():
        digits, is_read = _digits(values[is_number]), pd.Series(False, index=values.index)
        for pattern in reversed(config.date_formats):  # the first one has the last word
            found = _seconds(_dates(digits, pattern)).reindex(values.index)
            seconds, is_read = found.fillna(seconds), is_read | found.notna()
        left = is_number & ~is_read
        if left.any() and (doubt := _why_no_seconds(written[left], digits[left[is_number]])):
            is_doubted = left
            seconds = seconds.mask(left)
    if (left := is_given & ~is_number).any():
        text = values[left].astype("str").str.strip()
        # Twice: one fraction finer than microseconds leaves those unread in the first round that lie before 1678 or after 2261.
        for pattern in ("ISO8601", "ISO8601", *config.date_formats):
            dates = _dates(text, pattern)
            seconds = seconds.fillna(_seconds(dates).reindex(values.index))
            text = text[dates.isna()]
            if text.empty:
                break
    wrong = is_given & (seconds.isna() | (seconds.abs() >= _LAST_PLAUSIBLE_SECOND).fillna(True)).astype(bool)
    if config.invalid_timestamp == "null":
        return seconds.mask(wrong)
    if wrong.any():
        index = int(np.argmax(wrong.to_numpy()))
        unit = unit_of(written.iloc[index])
        hint = f" ({UNITS[unit][1]}? --set prepare.timestamp_unit={unit})" if unit and unit != config.timestamp_unit else ""
        if is_doubted.iloc[index]:
            hint = f" ({doubt})"
        if not is_number.iloc[index]:
            ways = 'prepare.date_formats, for example ["%d.%m.%Y"]; prepare.invalid_timestamp=null keeps such reviews without a date'
            hint = f" ({ways})"
        told = problems or Problems()
        expected = "expected Unix seconds or an ISO date such as 2024-05-31"
        told.add("timestamp", f"{place.of(index)}: '{place.column('timestamp')}' is {values.iloc[index]!s:.40}, {expected}{hint}", int(wrong.sum()))
        if problems is None:
            told.raise_any()
        seconds = seconds.mask(wrong)
    return seconds


def unit_of(number: float) -> str | None:
    """The unit in which a number of this size is a time before the year 5138; None where it is too large for any, or no number."""
    return next((unit for unit, (per_second, _) in UNITS.items() if abs(number) < _LAST_PLAUSIBLE_SECOND * per_second), None)


def _why_no_seconds(numbers: pd.Series, digits: pd.Series) -> str:
    """What numbers are that, all together, can hardly be seconds, with the way out; empty where they may be seconds."""
    for pattern, bounds in DATES_IN_DIGITS.items():
        if numbers.between(*bounds).all() and _dates(digits, pattern).notna().all():
            return f"a {'year' if pattern == '%Y' else 'date'}? --set prepare.date_formats='[\"{pattern}\"]'"
    if numbers.between(*SPREADSHEET_DAYS).all():
        return "a day of a spreadsheet? show the column there as dates such as 2024-05-31 and save it anew; prepare.columns.timestamp=null reads none"
    return ""


def are_given(values: pd.Series) -> pd.Series:
    """Neither missing nor empty, nor the "nan" that programs write into numeric columns of text files."""
    return values.notna() & ~values.astype("str").str.strip().str.lower().isin(["", "nan"])


def _numbers(values: pd.Series, config: PrepareConfig) -> pd.Series:
    if config.decimal == "," and not pd.api.types.is_numeric_dtype(values):
        values = values.astype("str").str.replace(r"^\s*([-+]?\d+),(\d+)\s*$", r"\1.\2", regex=True)
    return pd.to_numeric(values, errors="coerce").astype("float64")


def _digits(values: pd.Series) -> pd.Series:
    """Numbers as they would be written, without a fraction of zero."""
    if not pd.api.types.is_numeric_dtype(values):
        return values.astype("str").str.strip().str.removesuffix(".0")  # as programs write a column of numbers with gaps
    whole = values.astype("float64")
    return whole.where(np.isfinite(whole) & (whole % 1 == 0) & (whole.abs() < 1e15)).astype("Int64").astype("str")


def _dates(text: pd.Series, pattern: str) -> pd.Series:
    try:
        return pd.to_datetime(text, format=pattern, utc=True, errors="coerce")
    except (ValueError, re.error) as error:
        raise ConfigError(f"prepare.date_formats: {pattern!r} is no format of dates ({error}), expected one such as %d.%m.%Y") from None


def _seconds(dates: pd.Series) -> pd.Series:
    if dates.dt.tz is None:
        dates = dates.dt.tz_localize("UTC")
    is_given = dates.notna()
    seconds = dates.dt.as_unit("s").astype("int64")  # whole seconds reach further than nanoseconds: years 1 and 9999 fit
    return seconds.astype("Int64").mask(~is_given)
