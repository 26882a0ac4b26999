"""prepare: raw files → reviews, items and examples.

`inputs.py` finds the inputs, `formats.py` reads them in batches, `rows.py` cleans a batch, `staging.py` keeps texts on disk meanwhile, `reduce.py`
drops what does not stay, `split.py` decides pools and targets, `statistics.py` describes the result.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from grasper.config import PrepareConfig
from grasper.errors import DataFormatError
from grasper.files import read_json, write_json
from grasper.prepare.fields import Problems
from grasper.prepare.inputs import find_inputs, fingerprint_data
from grasper.prepare.reduce import drop_duplicates, drop_unusable, limit_histories, limit_pooled_users
from grasper.prepare.rows import clean_items, clean_rows
from grasper.prepare.sources import Input
from grasper.prepare.split import assign_splits, make_examples
from grasper.prepare.staging import Staging
from grasper.prepare.statistics import describe
from grasper.records import Tables
from grasper.runs import derive_seed

__all__ = ["build_tables", "check_data", "fingerprint_data", "prepare"]


_CLEANED = {"pooled": "beyond prepare.pooled_user_limit", "beyond_history_limit": "beyond prepare.history_limit"}
"""Reviews that a setting leaves out, by that setting's name."""


def prepare(config: PrepareConfig, out_dir: Path, *, seed: int) -> dict[str, Any]:
    """Write `reviews.parquet`, `items.parquet`, `examples.parquet` and `statistics.json`; the counts of the manifest.

    Nothing is written into the folder before all input has been read and checked; what must be refused is told all at once. Texts are never all in
    memory.

    Raises:
        MissingFileError: A file or folder does not exist.
        DataFormatError: Input that does not fit; the message names file, line and field.
        ConfigError: A setting that does not fit the data.
    """
    inputs = find_inputs(config)
    with tempfile.TemporaryDirectory(prefix=".prepare-", suffix=".tmp", dir=out_dir if out_dir.is_dir() else None) as folder:
        staging = Staging(Path(folder))
        counts = read_inputs(inputs, config, staging)
        reviews, cleaned = _choose(staging.narrow(), config, seed, staging.names["user_id"])
        examples = make_examples(reviews, has_time=config.split == "last-out", names=staging.names)
        statistics = {"name": config.name, "language": config.language, "source": config.source, **describe(reviews, examples)}
        out_dir.mkdir(parents=True, exist_ok=True)
        examples.to_parquet(out_dir / "examples.parquet", index=False, compression="zstd")
        reviews = reviews[["row", "label", "number", "split"]]  # the rest is no longer needed in memory
        statistics["items_known"] = staging.write(reviews, out_dir, config.memory_mib)
    cleaned = {"invalid_ratings": counts["invalid_ratings"], **cleaned, **{name: counts[name] for name in ("cut", "skipped_lines") if counts[name]}}
    write_json(out_dir / "statistics.json", {**statistics, "cleaned": cleaned})
    return {**statistics["pools"]["all"], "examples": statistics["examples"], **cleaned}


def build_tables(config: PrepareConfig, *, seed: int) -> tuple[Tables, dict[str, int]]:
    """The three tables in memory, and how many rows each cleaning step dropped or changed."""
    with tempfile.TemporaryDirectory(prefix="grasper-tables-") as folder:
        prepare(config, Path(folder), seed=seed)
        return Tables.load(Path(folder)), read_json(Path(folder) / "statistics.json")["cleaned"]


def check_data(config: PrepareConfig, *, seed: int = 0) -> str:
    """Read, clean and split everything as `prepare` would, and keep nothing: what was found, in one line.

    Raises:
        MissingFileError, DataFormatError, ConfigError: What `prepare` would refuse, all of it.
    """
    with tempfile.TemporaryDirectory(prefix="grasper-check-") as folder:
        counts = prepare(config, Path(folder), seed=seed)
        cleaned = read_json(Path(folder) / "statistics.json")["cleaned"]
    told = ", ".join(f"{name} {counts[name]:,}" for name in ("reviews", "users", "items"))
    dropped = ", ".join(f"{_CLEANED.get(name, name.replace('_', ' '))} {count:,}" for name, count in cleaned.items() if count)
    return f"{config.name}: {told}" + (f"; cleaned: {dropped}" if dropped else "")


def read_inputs(inputs: list[Input], config: PrepareConfig, staging: Staging) -> Counter[str]:
    """Read, clean and stage all inputs, in batches; how many ratings were unusable and how many texts were cut.

    Raises:
        DataFormatError: Everything that must be refused, in one message.
    """
    problems, counts = Problems(), Counter[str]()
    for given in inputs:
        try:
            for batch in given.read(config):
                counts["skipped_lines"] += batch.skipped
                if given.holds == "reviews":
                    staging.add_reviews(clean_rows(batch, config, problems, counts), given.label, given.pool)
                else:
                    staging.add_items(clean_items(batch, config, problems, counts), is_wanted=given.holds == "items")
        except DataFormatError as error:  # what was found before in this file, and what is wrong with the others, is told with it
            problems.add(f"file {given.label} {given.path}", str(error), 1)
    problems.raise_any()
    return counts


def _choose(reviews: pd.DataFrame, config: PrepareConfig, seed: int, names: pa.Array) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows that stay, with their pools and targets, and what each step dropped."""
    cleaned: dict[str, int] = {}

    def step(name: str, kept: pd.DataFrame) -> pd.DataFrame:
        cleaned[name] = len(reviews) - len(kept)
        return kept

    reviews = step("unusable", drop_unusable(reviews))
    reviews = step("duplicates", drop_duplicates(reviews)).drop(columns=["title_key", "text_key"])  # for repeats only
    if reviews.empty:
        raise DataFormatError(f"{config.name}: no review has a user, an item and a text")
    reviews = assign_splits(reviews, config, seed, names)
    reviews = step("pooled", limit_pooled_users(reviews, config.pooled_user_limit, derive_seed(seed, "pooled users"), names))
    if config.history_limit is not None:
        reviews = step("beyond_history_limit", limit_histories(reviews, config.history_limit))
    return reviews, cleaned
