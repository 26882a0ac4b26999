"""A batch of raw rows made clean: our fields, every one checked, absent ones added as missing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from grasper.config import PrepareConfig
from grasper.prepare.batches import Batch
from grasper.prepare.fields import Problems, are_given, clean_ratings, clean_text, clean_timestamps, strip_html
from grasper.records import ITEM_COLUMNS

_IDS = ("user_id", "item_id")
_PROSE = ("title", "text")
_NAMES = ("name", "category", "brand")


def clean_rows(batch: Batch, config: PrepareConfig, problems: Problems, counts: Counter[str]) -> pd.DataFrame:
    """The rows with every field cleaned; `is_target` is kept where the source says it, `number` is each row's place.

    Args:
        problems: Receives what must be refused.
        counts: Receives `invalid_ratings` and `cut` (texts and names beyond their limits).
    """
    rows, place = batch.rows, batch.place
    cleaned = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for name in (*_IDS, *_PROSE, *_NAMES):
        cleaned[name] = _clean(rows[name], name, config, counts) if name in rows else pd.Series(None, index=cleaned.index, dtype="str")
    for name in _IDS:
        _refuse_long_ids(cleaned[name], batch, name, config, problems)
    cleaned["rating"] = np.nan
    if "rating" in rows:
        cleaned["rating"] = clean_ratings(rows["rating"], place, config, problems)
        counts["invalid_ratings"] += int((are_given(rows["rating"]) & cleaned["rating"].isna()).sum())
    cleaned["timestamp"] = pd.Series(pd.NA, index=cleaned.index, dtype="Int64")
    if "timestamp" in rows:
        cleaned["timestamp"] = clean_timestamps(rows["timestamp"], place, config, problems)
    cleaned["is_target"] = rows["is_target"].to_numpy(dtype=bool) if "is_target" in rows else False
    cleaned["number"] = place.numbers
    return cleaned


def clean_items(batch: Batch, config: PrepareConfig, problems: Problems, counts: Counter[str]) -> pd.DataFrame:
    """The items of a batch of metadata, cleaned."""
    rows = pd.DataFrame({name: batch.rows[name] if name in batch.rows else pd.Series(None, index=batch.rows.index) for name in ITEM_COLUMNS})
    cleaned = pd.DataFrame({name: _clean(rows[name], name, config, counts) for name in ITEM_COLUMNS})
    _refuse_long_ids(cleaned["item_id"], batch, "item_id", config, problems)
    return cleaned


def _clean(values: pd.Series, name: str, config: PrepareConfig, counts: Counter[str]) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.astype("str")
    if config.strip_html and name not in _IDS:
        values = strip_html(values.astype("str"))
    text = clean_text(values)
    if name in _IDS:
        return text
    limit = config.max_text_characters if name == "text" else config.max_name_characters
    is_long = (text.str.len() > limit).fillna(False).astype(bool)
    if is_long.any():
        counts["cut"] += int(is_long.sum())
        text = text.mask(is_long, text.str.slice(0, limit).str.rstrip())
    return text


def _refuse_long_ids(values: pd.Series, batch: Batch, name: str, config: PrepareConfig, problems: Problems) -> None:
    is_long = (values.str.len() > config.max_name_characters).fillna(False).to_numpy(dtype=bool)
    if is_long.any():
        index = int(np.argmax(is_long))
        found = f"{batch.place.of(index)}: '{batch.place.column(name)}' has {len(values.iloc[index]):,} characters"
        problems.add(name, f"{found}, expected an id of at most {config.max_name_characters:,} (prepare.max_name_characters)", int(is_long.sum()))
