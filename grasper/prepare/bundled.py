"""Where the bundled data set is: beside the package in a checkout, generated once into the user's cache when grasper is installed alone."""

from __future__ import annotations

import os
from pathlib import Path

from grasper import __version__

HARBOUR_FILES = ("train.parquet", "dev.parquet", "test.parquet", "items.parquet")


def harbour_folder() -> Path:
    """The folder with harbour's parquet files; only its reviews and items, never its latent truth, are read by the pipeline."""
    checkout = Path(__file__).parents[2] / "data" / "harbour"
    if is_complete(checkout):
        return checkout
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grasper" / f"harbour-{__version__}"
    if not is_complete(cache):
        _generate(cache)
    return cache


def _generate(folder: Path) -> None:
    from grasper.prepare.harbour import write

    write(folder)


def is_complete(folder: Path) -> bool:
    """Whether all files of the data set are there."""
    return all((folder / name).is_file() for name in HARBOUR_FILES)
