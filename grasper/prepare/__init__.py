"""prepare: raw files → reviews, items and examples.

`sources.py` finds and reads the files, `reduce.py` drops what does not stay, `split.py` decides pools and targets, `statistics.py`
describes the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.prepare.reduce import drop_duplicates, drop_unusable, limit_histories, limit_pooled_users
from grasper.prepare.sources import find_inputs, fingerprint_data, read_inputs
from grasper.prepare.split import assign_splits, make_examples
from grasper.prepare.statistics import describe
from grasper.records import ITEM_COLUMNS, REVIEW_COLUMNS, Tables
from grasper.runs import derive_seed, write_json

__all__ = ["build_tables", "fingerprint_data", "prepare"]


def prepare(config: PrepareConfig, out_dir: Path, *, seed: int) -> dict[str, Any]:
    """Write `reviews.parquet`, `items.parquet`, `examples.parquet` and `statistics.json`; the counts of the manifest.

    Nothing is written before all input has been read and checked.

    Raises:
        MissingFileError: A file or folder does not exist.
        DataFormatError: Input that does not fit; the message names file, line and field.
        ConfigError: A setting that does not fit the data.
    """
    tables, cleaned = build_tables(config, seed=seed)
    statistics = {"name": config.name, "language": config.language, "source": config.source, **describe(tables), "cleaned": cleaned}
    out_dir.mkdir(parents=True, exist_ok=True)
    tables.save(out_dir)
    write_json(out_dir / "statistics.json", statistics)
    return {**statistics["pools"]["all"], "examples": statistics["examples"], **cleaned}


def build_tables(config: PrepareConfig, *, seed: int) -> tuple[Tables, dict[str, int]]:
    """The three tables in memory, and how many rows each cleaning step dropped or changed."""
    reviews, items = read_inputs(find_inputs(config), config)
    cleaned = {"invalid_ratings": int(reviews["is_invalid_rating"].sum())}

    def step(name: str, kept: pd.DataFrame) -> pd.DataFrame:
        cleaned[name] = len(reviews) - len(kept)
        return kept

    reviews = step("unusable", drop_unusable(reviews))
    reviews = step("duplicates", drop_duplicates(reviews))
    if reviews.empty:
        raise DataFormatError(f"{config.name}: no review has a user, an item and a text")
    reviews = step("undated", assign_splits(reviews, config, seed))
    reviews = step("pooled", limit_pooled_users(reviews, config.pooled_user_limit, derive_seed(seed, "pooled users")))
    if config.history_limit is not None:
        reviews = step("beyond_history_limit", limit_histories(reviews, config.history_limit))
    examples = make_examples(reviews, has_time=config.split == "last-out")
    known = pd.concat([items, pd.DataFrame({"item_id": reviews["item_id"].unique()})]).drop_duplicates("item_id")
    return Tables(
        reviews[list(REVIEW_COLUMNS)].astype({"split": "str"}).reset_index(drop=True),
        known[list(ITEM_COLUMNS)].reset_index(drop=True),
        examples,
    ), cleaned
