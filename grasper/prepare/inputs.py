"""Which sources there are, and which files a configuration reads.

A data set is a list of inputs: its own splits (or table), then the sets of `prepare.train`, whose rows all join the training pool.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, MissingFileError
from grasper.prepare.bundled import harbour_folder
from grasper.prepare.pgraphrag import read_split
from grasper.prepare.sources import SOURCES, Input, Source, items_of
from grasper.prepare.table import read_table
from grasper.registry import Registry
from grasper.runs import fingerprint


def sources() -> Registry[Source]:
    """All sources: the shipped ones, those of installed packages and of plugins."""
    for name in ("bundled", "pgraphrag", "table", "amazon", "yelp", "goodreads", "lamp", "hub", "sql"):
        importlib.import_module(f"grasper.prepare.{name}")
    return SOURCES


def find_inputs(config: PrepareConfig) -> list[Input]:
    """All that the configuration reads.

    Raises:
        ConfigError: An unknown source, `prepare.data` is not set, or two inputs have one name.
        MissingFileError: A file or folder does not exist.
    """
    source = sources().get(config.source)
    if config.split == "given" and not source.splits:
        bringing = ", ".join(name for name, other in sources().items() if other.splits)
        raise ConfigError(f"prepare.split is 'given', but a {source.name} brings no splits (only {bringing}); use last-out, users or none")
    inputs = source.find(config)
    folder = _folder(config)
    for entry in config.train:
        inputs += _training_inputs(folder / entry, config)
    labelled: dict[str, list[str]] = {}
    for given in inputs:
        if given.holds == "reviews":
            labelled.setdefault(given.label, []).append(str(given.path))
    for label, paths in labelled.items():
        if len(paths) > 1:
            raise ConfigError(f"several inputs are called '{label}': {', '.join(paths)}; keep one of them, or rename the others")
    return inputs


def fingerprint_data(config: PrepareConfig) -> str:
    """A short hash of the content of all inputs."""
    return fingerprint([(given.label, given.holds, given.fingerprint()) for given in find_inputs(config)])


def _folder(config: PrepareConfig) -> Path:
    if config.data is None:
        return harbour_folder() if config.is_bundled else Path()
    return config.data.parent if config.data.is_file() else config.data


def _training_inputs(path: Path, config: PrepareConfig) -> list[Input]:
    """The files of one entry of `prepare.train`: a folder in the parquet layout, or a single file."""
    if path.is_dir():
        for stem in ("train", "reviews"):
            if (file := path / f"{stem}.parquet").is_file():
                return [Input(f"{path.resolve().name}-{stem}", partial(read_split, file, "train"), file, pool="train"), *items_of(path)]
        raise MissingFileError(f"prepare.train: {path} holds neither train.parquet nor reviews.parquet")
    if not path.is_file():
        raise MissingFileError(f"prepare.train: {path} does not exist (paths are relative to prepare.data)")
    label = f"{path.resolve().parent.name}-{path.name.split('.')[0]}"
    read = partial(read_table, path) if config.source == "table" else partial(read_split, path, "train")
    return [Input(label, read, path, pool="train")]
