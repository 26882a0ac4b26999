"""What a table's columns hold, value by value: findings for a person to read, and the settings of `prepare` that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.fields import DATES_IN_DIGITS, SPREADSHEET_DAYS, UNITS, clean_text, rating_in, unit_of
from grasper.prepare.split import assign_splits

DATE_FORMATS = (
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %I:%M %p",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%B %d, %Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%m %d, %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%Y-%m-%d %H:%M:%S %Z",
    "%Y-%m-%d %H:%M:%S.%f %Z",
)
"""Tried in this order; of two that read the same dates, the one that reads more comes first."""
_HTML = r"</?[a-zA-Z][^<>]*>|&(?:[a-z]+|#\d+);"


@dataclass
class Survey:
    """What was found, and the settings that follow."""

    path: Path
    findings: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    """Keys of `prepare`, in the order of writing."""
    missing: list[str] = field(default_factory=list)
    """Fields that grasper needs and that no column seems to hold."""
    item_ids: frozenset[str] = frozenset()
    """Of the reviews that were looked at."""


def look_at_ratings(values: pd.Series, column: str, survey: Survey) -> None:
    """Decimal commas, words, the scale, fractions, and what is left over."""
    text = values.dropna().astype("str").str.strip()
    text = text[(text != "") & (text.str.lower() != "nan")]
    if len(text) < len(values):
        survey.findings.append(f"'{column}': {len(values) - len(text):,} ratings are missing; such reviews are kept without one")
    if text.str.fullmatch(r"-?\d+,\d+").any():
        survey.settings["decimal"] = ","
        survey.findings.append(f"'{column}': decimal commas, for example {text[text.str.contains(',')].iloc[0]}")
        text = text.str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(text, errors="coerce")
    words = text[numbers.isna()]
    if (in_words := words.map(rating_in)).notna().any():
        survey.settings["rating_in_words"] = True
        survey.findings.append(f"'{column}': {int(in_words.notna().sum()):,} ratings are words, for example {words[in_words.notna()].iloc[0]!r}")
        numbers = numbers.fillna(in_words.astype("float64"))
    known = numbers.dropna()
    known = known[known.between(-1e6, 1e6)]
    if known.empty:
        if len(text):
            survey.settings["columns"]["rating"] = None
            told = "no number is in them, so the column is not read; ratings as numbers, in a column of their own, would be"
            survey.findings.append(f"'{column}': no ratings can be read, for example {text.iloc[0]!r:.40}: {told}")
        return
    low, high = _scale(known)
    if high != 5:
        survey.settings["rating_scale"] = high
    if low != 1:
        survey.settings["rating_lowest"] = low
    off = (~numbers.between(low, high)) | numbers.isna()
    survey.findings.append(
        f"'{column}': a scale of {low}–{high} ({known.min():g} to {known.max():g} found)" + (", mapped to 1–5" if (low, high) != (1, 5) else "")
    )
    if ((known % 1) != 0).any():
        survey.settings["rating_fractions"] = True
        survey.findings.append(f"'{column}': ratings between whole numbers, for example {known[known % 1 != 0].iloc[0]:g}; they are rounded")
    if off.any():
        survey.settings["invalid_rating"] = "null"
        example = text[off].iloc[0]
        survey.findings.append(
            f"'{column}': {int(off.sum()):,} ratings are not on the scale, for example {example!r:.40}; such reviews lose their rating"
        )


def _scale(known: pd.Series) -> tuple[float, int]:
    """The usual scale that holds all but one in a hundred of the ratings; thumbs where there are only 0 and 1, half stars where all are."""
    if set(known) == {0, 1}:
        return 0, 1
    low, high = known.quantile(0.005), known.quantile(0.995)
    usual: list[tuple[float, int]] = [(1, 5), (0, 5), (1, 10), (0, 10), (1, 100), (0, 100)]
    if ((2 * known) % 1 == 0).all():
        usual.insert(1, (0.5, 5))
    ends = next(((first, last) for first, last in usual if first <= low and high <= last), None)
    return ends or (int(known.min()), max(int(known.max()), int(known.min()) + 1))


def look_at_dates(values: pd.Series, column: str, survey: Survey) -> None:
    """Missing dates, numbers and their unit, written forms, and what is left over."""
    text = values.dropna().astype("str").str.strip()
    text = text[(text != "") & (text.str.lower() != "nan")]
    if len(text) < len(values):
        survey.findings.append(f"'{column}': {len(values) - len(text):,} reviews have no date; they are kept for training")
    numbers = pd.to_numeric(text, errors="coerce")
    digits = text.str.removesuffix(".0")  # of a column of numbers with gaps
    plausible = numbers.dropna()
    used: list[str] = []
    for pattern, bounds in DATES_IN_DIGITS.items():
        found = digits[numbers.between(*bounds)]
        found = found[pd.to_datetime(found, format=pattern, errors="coerce").notna()]
        if len(found) and (pattern != "%Y" or len(found) == len(plausible)):
            used.append(pattern)
            survey.findings.append(f"'{column}': {len(found):,} dates as {pattern}, for example {found.iloc[0]}")
    if len(plausible) and not used:
        if plausible.between(*SPREADSHEET_DAYS).all():
            survey.settings["columns"]["timestamp"] = None
            told = "days of a spreadsheet, which are not read: show the column there as dates such as 2024-05-31 and save it anew"
            survey.findings.append(f"'{column}': numbers such as {text[plausible.index[0]]} look like {told}")
            return
        unit = unit_of(plausible.abs().median())
        if unit and unit != "s":
            survey.settings["timestamp_unit"] = unit
            survey.findings.append(f"'{column}': numbers in {UNITS[unit][1]}, for example {text[plausible.index[0]]}")
    left = text[numbers.isna()]
    left = left[~_reads(left, "ISO8601")]
    while len(left):
        reads = {pattern: _reads(left, pattern) for pattern in DATE_FORMATS}
        best = max(reads, key=lambda pattern: int(reads[pattern].sum()))
        if not reads[best].any():
            break
        used.append(best)
        twin = best.replace("%d/%m", "%m/%d") if "%d/%m" in best else best.replace("%m/%d", "%d/%m")
        same = twin != best and twin in reads and int(reads[twin].sum()) == int(reads[best].sum())
        doubt = f"; {twin} reads as many: check which is meant" if same else ""
        survey.findings.append(f"'{column}': {int(reads[best].sum()):,} dates as {best}, for example {left[reads[best]].iloc[0]}{doubt}")
        left = left[~reads[best]]
    if len(left) and len(left) == len(text):
        survey.settings["columns"]["timestamp"] = None
        told = "so the column is not read; dates such as 2024-05-31 would be"
        survey.findings.append(f"'{column}': no dates can be read, for example {left.iloc[0]!r:.40}: {told}")
        return
    if used:
        survey.settings["date_formats"] = used
    if len(left):
        survey.settings["invalid_timestamp"] = "null"
        survey.findings.append(f"'{column}': {len(left):,} dates cannot be read, for example {left.iloc[0]!r:.40}; such reviews are kept without one")


def are_dates(text: pd.Series) -> pd.Series:
    """Which values can be read as a date; numbers are one from the smallest year on."""
    numbers = pd.to_numeric(text, errors="coerce")
    found = numbers.abs() >= DATES_IN_DIGITS["%Y"][0]
    for pattern in ("ISO8601", *DATE_FORMATS):
        found |= numbers.isna() & _reads(text, pattern)
    return found


def _reads(text: pd.Series, pattern: str) -> pd.Series:
    """Which values a pattern reads; each is looked at once, since days come back."""
    codes, distinct = pd.factorize(text, use_na_sentinel=False)
    is_read = pd.to_datetime(pd.Series(distinct), format=pattern, utc=True, errors="coerce").notna().to_numpy()
    return pd.Series(is_read[codes], index=text.index)


def look_at_texts(rows: pd.DataFrame, columns: dict[str, str | None], survey: Survey) -> None:
    """HTML, and empty titles and texts."""
    for name in ("title", "text"):
        if (column := columns.get(name)) is None:
            continue
        marked = rows[column].astype("str").str.contains(_HTML, regex=True, na=False)
        if marked.any():
            survey.settings["strip_html"] = True
            example = re.search(_HTML, str(rows.loc[marked, column].iloc[0]))
            survey.findings.append(f"'{column}': HTML in {int(marked.sum()):,} rows, for example {example[0] if example else ''!r}; it is taken off")
        empty = int((rows[column].isna() | (rows[column].astype("str").str.strip() == "")).sum())
        if empty:
            fate = "such reviews are left out" if name == "text" else "such reviews are kept"
            survey.findings.append(f"'{column}': {empty:,} rows are empty; {fate}")


def look_at_people(rows: pd.DataFrame, columns: dict[str, str | None], survey: Survey) -> None:
    """Missing ids, duplicates, how cold the users are, and the split that follows."""
    for name in ("user_id", "item_id"):
        if (column := columns.get(name)) is not None:
            values = rows[column].astype("str").str.strip()
            missing = int((values.isna() | (values == "")).sum())
            if missing:
                survey.findings.append(f"'{column}': {missing:,} rows without an id; they are left out")
            once_numbers = values[values.str.fullmatch(r"\d+\.0", na=False)]
            if len(once_numbers):
                survey.findings.append(f"'{column}': ids such as {once_numbers.iloc[0]} were numbers once; they stay text as they are")
    compared = [column for name in ("user_id", "item_id", "rating", "title", "text") if (column := columns.get(name)) is not None]
    named = rows[compared].apply(clean_text).dropna(subset=[column for column in (columns.get("user_id"), columns.get("item_id")) if column])
    if not survey.missing and (repeated := int(named.duplicated().sum())):  # as `prepare` compares them
        survey.findings.append(f"{repeated:,} rows are exact duplicates; each is kept once")
    if columns.get("user_id") is None:
        return
    sizes = clean_text(rows[columns["user_id"]]).value_counts()
    if sizes.empty:
        return
    cold = float((sizes == 1).mean())
    dated = columns.get("timestamp") is not None and (rows[columns["timestamp"]].fillna("").astype("str").str.strip() != "").mean() > 0.5
    split = "last-out" if dated and cold < 0.3 else "users"
    survey.settings["split"] = split if _has_targets(named[columns["user_id"]], split) else "none"
    why = {
        "none": "too few to hold anybody out: all reviews train, to write and recommend with",
        "users": "users are held out, those with a single review among them",
        "last-out": "the last review of everybody with two or more is asked for",
    }[survey.settings["split"]]
    survey.findings.append(f"{len(sizes):,} users, {cold:.0%} of them with one review; proposed split: {survey.settings['split']} ({why})")


def _has_targets(user_ids: pd.Series, split: str) -> bool:
    """Whether a split of reviews of these users holds somebody out, and leaves somebody to train on."""
    reviews = pd.DataFrame({"user_id": user_ids, "timestamp": range(len(user_ids)), "split": None})
    try:
        assign_splits(reviews, PrepareConfig.model_validate({"split": split}), seed=0)
    except DataFormatError:
        return False
    return True
