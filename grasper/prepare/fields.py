"""One field at a time: trim text, check ratings, read dates; a bad value names its file, line and field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from grasper.errors import DataFormatError

# Control characters except tab and newline, zero-width and directional marks: invisible, and able to disguise what a prompt or a report
# shows. The zero-width joiner stays: emoji are made with it.
_INVISIBLE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
_LAST_PLAUSIBLE_SECOND = 10**11
"""Year 5138; larger numbers are milliseconds."""


@dataclass(frozen=True)
class Place:
    """Where the rows of one file come from: `number` of the i-th row, counted in `unit` (line, row, entry) from 1."""

    path: Path
    unit: str
    numbers: np.ndarray

    def of(self, index: int) -> str:
        return f"{self.path} {self.unit} {self.numbers[index]}"


def clean_text(values: pd.Series) -> pd.Series:
    """Texts without invisible characters and outer white space, Unix line ends; empty ones become missing."""
    text = values.astype("str").str.replace("\r\n", "\n", regex=False).str.replace("\r", "\n", regex=False)
    disguised = text.str.contains(_INVISIBLE, regex=True, na=False)
    if disguised.any():
        text = text.mask(disguised, text[disguised].str.replace(_INVISIBLE, "", regex=True))
    text = text.str.strip()
    return text.mask(text == "")


def clean_ratings(values: pd.Series, place: Place, *, scale: int, invalid: Literal["error", "null"]) -> pd.Series:
    """Ratings mapped from 1…`scale` to whole numbers 1–5 (linearly, halves up); invalid ones are missing.

    Raises:
        DataFormatError: A rating is missing, no number, no whole number or out of range, and `invalid` is `error`.
    """
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    is_valid = numbers.between(1, scale) & (numbers % 1 == 0)
    if invalid == "error" and not is_valid.all():
        index = int(np.argmin(is_valid.to_numpy()))
        found = "missing" if pd.isna(values.iloc[index]) or not str(values.iloc[index]).strip() else f"{values.iloc[index]!s:.40}"
        wider = "; prepare.rating_scale=10 if that is the source's scale" if scale < numbers.iloc[index] <= 10 else ""
        raise DataFormatError(
            f"{place.of(index)}: 'rating' is {found}, expected a whole number 1–{scale} "
            f"(use --set prepare.invalid_rating=null to keep such reviews without a rating{wider})"
        )
    mapped = (1 + (numbers - 1) * 4 / (scale - 1) + 0.5) // 1
    return mapped.where(is_valid)


def clean_timestamps(values: pd.Series, place: Place) -> pd.Series:
    """Unix seconds (nullable integers) from Unix seconds, ISO 8601 dates (UTC unless they name a zone) or timestamp columns.

    Raises:
        DataFormatError: A value is neither, or looks like milliseconds.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return _seconds(values)
    is_given = values.notna() & (values.astype("str").str.strip() != "")
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    is_number = numbers.notna()
    if not (is_given & ~is_number).any():
        seconds = numbers.where(is_given).round().astype("Int64")
    else:
        dates = pd.to_datetime(values.astype("str").where(is_given & ~is_number), format="ISO8601", utc=True, errors="coerce")
        seconds = numbers.where(is_given).round().astype("Int64").fillna(_seconds(dates))
    wrong = (is_given & seconds.isna()) | (seconds.abs() >= _LAST_PLAUSIBLE_SECOND).fillna(False).astype(bool)
    if wrong.any():
        index = int(np.argmax(wrong.to_numpy()))
        hint = " (milliseconds? divide by 1000)" if is_number.iloc[index] else ""
        raise DataFormatError(
            f"{place.of(index)}: 'timestamp' is {values.iloc[index]!s:.40}, expected Unix seconds or an ISO date such as 2024-05-31{hint}"
        )
    return seconds


def _seconds(dates: pd.Series) -> pd.Series:
    if dates.dt.tz is None:
        dates = dates.dt.tz_localize("UTC")
    since = dates - pd.Timestamp(0, tz="UTC")
    return (since // pd.Timedelta(seconds=1)).astype("Int64")
