"""Data sets that everybody knows: what they are, their licence, size, where from, and which settings read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from grasper.errors import ConfigError, MissingFileError
from grasper.files import cache_dir
from grasper.prepare.download import download
from grasper.registry import Registry


@dataclass(frozen=True)
class Download:
    """One file of a collection."""

    url: str
    name: str
    """Where it is placed in the collection's folder."""
    sha256: str | None = None
    """Only where the owner publishes it, or we saw the file; otherwise what was fetched is told, and compared with nothing."""
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
    checked: str = "not checked: licence, size and address are as far as we know"
    """Where the facts above were read, and which of them were not."""


COLLECTIONS: Registry[Collection] = Registry("data set", ConfigError)

_UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"
_AMAZON = "the project's page names none; the reviews belong to their writers and to Amazon"
_AMAZON_CHECKED = (
    "counts and fields on the project's page (repository amazon-reviews-2023/amazon-reviews-2023.github.io); "
    "addresses as other repositories use them; not checked: sizes and checksums of the files"
)


def _amazon(category: str, size: str) -> Collection:
    name = f"amazon-2023-{category.lower().replace('_', '-')}"
    files = (
        Download(f"{_UCSD}/review_categories/{category}.jsonl.gz", f"{category}.jsonl.gz"),
        Download(f"{_UCSD}/meta_categories/meta_{category}.jsonl.gz", f"meta_{category}.jsonl.gz"),
    )
    about = f"Amazon Reviews 2023, {category.replace('_', ' ')}: reviews and metadata"
    return Collection(name, about, "amazon", _AMAZON, "https://amazon-reviews-2023.github.io", size, files, checked=_AMAZON_CHECKED)


for _collection in (
    Collection(
        "harbour",
        "generated reviews of a fictional harbour town",
        "harbour",
        "texts and tables CC0 1.0, their generator Apache-2.0",
        "comes with grasper",
        "350 kB",
        checked="made by this project",
    ),
    Collection(
        "pgraphrag",
        "the PGraphRAG benchmark: Amazon, hotels, B2W, GAP (arXiv 2501.02157)",
        "pgraphrag",
        "the repository names none; the reviews keep their own",
        "https://github.com/PGraphRAG-benchmark/PGraphRAG",
        "size not checked",
        by_hand="clone the repository; its data_splits holds dev and test of b2w, gap and hotel, and its page says where the reviews are from",
        checked="files and README of the repository; it holds no licence file, of its splits we saw dev and test only; not checked: sizes",
    ),
    _amazon("All_Beauty", "701,500 reviews"),
    _amazon("Digital_Music", "130,400 reviews"),
    _amazon("Gift_Cards", "152,400 reviews"),
    _amazon("Musical_Instruments", "3.0 million reviews"),
    Collection(
        "yelp",
        "Yelp Open Dataset: reviews and businesses",
        "yelp",
        "Yelp's own terms, to be signed on the page; not checked",
        "https://business.yelp.com/data/resources/open-dataset/",
        "size not checked",
        by_hand="sign on the page, unpack the archive, and place yelp_academic_dataset_review.json and …_business.json",
    ),
    Collection(
        "goodreads",
        "Goodreads reviews and books (Wan & McAuley 2018)",
        "goodreads",
        "academic use only; not to be redistributed, no commercial use",
        "https://sites.google.com/eng.ucsd.edu/ucsdbookgraph/home",
        "size not checked",
        by_hand="fetch goodreads_reviews_<genre>.json.gz and goodreads_books_<genre>.json.gz from the page",
        checked="licence and address in the README of its authors' repository (MengtingWan/goodreads); not checked: sizes",
    ),
    Collection(
        "lamp",
        "LaMP, personalized classification and short texts (arXiv 2304.11406); its tasks 3, 4 and 5",
        "lamp",
        "CC BY-NC-SA 4.0 for code and making; its data sets keep their own licences",
        "https://lamp-benchmark.github.io/download",
        "size not checked",
        by_hand="fetch dev_questions.json and dev_outputs.json of one task",
        checked="licence in the README of the repository LaMP-Benchmark/LaMP; not checked: sizes, and that the address still serves the files",
    ),
    Collection(
        "longlamp",
        "LongLaMP, personalized long texts (arXiv 2407.11016)",
        "lamp",
        "not checked; see its page",
        "https://longlamp-benchmark.github.io",
        "size not checked",
        by_hand="save one task as JSON lines (datasets.load_dataset(…).to_json) named train.json, val.json, test.json",
    ),
):
    COLLECTIONS.register(_collection.name, _collection)


def data_folder() -> Path:
    """Where fetched data sets are kept: `$GRASPER_DATA`, else `data` in grasper's cache."""
    named = os.environ.get("GRASPER_DATA")
    return Path(named).expanduser() if named else cache_dir() / "data"


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
