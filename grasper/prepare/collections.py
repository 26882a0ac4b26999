"""Data sets that everybody knows: what they are, their licence, size, where from, and which settings read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grasper.errors import ConfigError, MissingFileError
from grasper.prepare.download import download
from grasper.registry import Registry


@dataclass(frozen=True)
class Download:
    """One file of a collection."""

    url: str
    name: str
    """Where it is placed in the collection's folder."""
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Collection:
    """A data set that can be named."""

    name: str
    about: str
    source: str
    """Which source reads it."""
    licence: str
    origin: str
    size: str
    files: tuple[Download, ...] = ()
    by_hand: str = ""
    """What to do where the owner asks for a signature, or files have no fixed address."""


COLLECTIONS: Registry[Collection] = Registry("data set", ConfigError)

_UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"
_RESEARCH = "for research; the reviews belong to their writers and to Amazon"


def _amazon(category: str, size: str) -> Collection:
    name = f"amazon-2023-{category.lower().replace('_', '-')}"
    files = (
        Download(f"{_UCSD}/review_categories/{category}.jsonl.gz", f"{category}.jsonl.gz"),
        Download(f"{_UCSD}/meta_categories/meta_{category}.jsonl.gz", f"meta_{category}.jsonl.gz"),
    )
    about = f"Amazon Reviews 2023, {category.replace('_', ' ')}: reviews and metadata"
    return Collection(name, about, "amazon", _RESEARCH, "https://amazon-reviews-2023.github.io", size, files)


for _collection in (
    Collection("harbour", "generated reviews of a fictional harbour town", "harbour", "Apache-2.0", "comes with grasper", "350 kB"),
    Collection(
        "pgraphrag",
        "the PGraphRAG benchmark: Amazon, hotels, B2W, GAP (arXiv 2501.02157)",
        "pgraphrag",
        "see the benchmark; the reviews keep their own licences",
        "https://github.com/PGraphRAG-benchmark/PGraphRAG",
        "about 200 MB",
        by_hand="clone the repository and give its folder with the <name>_{train,dev,test}.json as --data",
    ),
    _amazon("All_Beauty", "90 MB"),
    _amazon("Digital_Music", "30 MB"),
    _amazon("Gift_Cards", "10 MB"),
    _amazon("Musical_Instruments", "900 MB"),
    Collection(
        "yelp",
        "Yelp Open Dataset: 7 million reviews of 150,000 businesses",
        "yelp",
        "Yelp Dataset License: academic use",
        "https://business.yelp.com/data/resources/open-dataset/",
        "4 GB packed, 9 GB unpacked",
        by_hand="sign on the page, unpack the archive, and place yelp_academic_dataset_review.json and …_business.json",
    ),
    Collection(
        "goodreads",
        "Goodreads reviews and books (Wan & McAuley 2018)",
        "goodreads",
        "academic use; not to be redistributed",
        "https://cseweb.ucsd.edu/~jmcauley/datasets/goodreads.html",
        "5 GB for all, less by genre",
        by_hand="fetch goodreads_reviews_<genre>.json.gz and goodreads_books_<genre>.json.gz from the page",
    ),
    Collection(
        "lamp",
        "LaMP, personalized classification and short texts (arXiv 2304.11406); its tasks 3, 4 and 5",
        "lamp",
        "CC BY-NC-SA 4.0",
        "https://lamp-benchmark.github.io/download",
        "100 MB to 1 GB per task",
        by_hand="fetch dev_questions.json and dev_outputs.json of one task",
    ),
    Collection(
        "longlamp",
        "LongLaMP, personalized long texts (arXiv 2407.11016)",
        "lamp",
        "CC BY-NC-SA 4.0",
        "https://longlamp-benchmark.github.io",
        "1 to 3 GB per task",
        by_hand="save one task as JSON lines (datasets.load_dataset(…).to_json) named train.json, val.json, test.json",
    ),
):
    COLLECTIONS.register(_collection.name, _collection)


def data_folder() -> Path:
    """Where fetched data sets are kept: `GRASPER_DATA`, else the user's cache."""
    if named := os.environ.get("GRASPER_DATA"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grasper" / "data"


def fetch_collection(collection: Collection, folder: Path, say: Callable[[str], None]) -> None:
    """Fetch what is missing of a collection's files. Every checksum is printed, and compared where it is known.

    Raises:
        MissingFileError: It must be fetched by hand, or a server cannot be reached; the message says what to place where.
        DataFormatError: A file with another checksum.
    """
    if not collection.files:
        if not collection.by_hand:
            say(f"{collection.name} {collection.origin}; there is nothing to fetch")
            return
        raise MissingFileError(f"{collection.name} cannot be fetched by a program: {collection.by_hand}, in {folder} ({collection.origin})")
    for file in collection.files:
        path = folder / file.name
        was_there = path.is_file()
        found = download(file.url, path, sha256=file.sha256, size=file.size, say=say)
        say(f"{path}: {path.stat().st_size:,} bytes, sha256 {found[:16]}…{' (was there)' if was_there else ''}")
