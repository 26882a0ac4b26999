"""Goodreads collections of UCSD (Wan & McAuley 2018): `goodreads_reviews_*.json.gz` and `goodreads_books*.json.gz`, joined by `book_id`.

A rating of 0 says that the book was not rated. Dates read `Sun Jul 30 07:44:10 -0700 2017`.
"""

from __future__ import annotations

from datetime import datetime

from grasper.config import PrepareConfig
from grasper.prepare.layouts import Layout, Record, find_files, item_input, review_input, stem
from grasper.prepare.sources import SOURCES, Input, Source, require_data

_DATE = "%a %b %d %H:%M:%S %z %Y"


def _understand(record: Record) -> Record:
    moment = record["timestamp"]
    try:
        seconds = int(datetime.strptime(moment, _DATE).timestamp()) if isinstance(moment, str) else moment
    except ValueError:
        seconds = moment  # refused with its line, unless it is an ISO date
    return {**record, "rating": record["rating"] or None, "timestamp": seconds}


GOODREADS = Layout(
    "Goodreads",
    {
        "user_id": ("user_id",),
        "item_id": ("book_id",),
        "text": ("review_text",),
        "title": (),
        "rating": ("rating",),
        "timestamp": ("date_added",),
    },
    {"item_id": ("book_id",), "name": ("title",), "category": (), "brand": ("publisher",)},
    _understand,
)


def find_goodreads(config: PrepareConfig) -> list[Input]:
    """The reviews and, where they are in the folder, the books."""
    data = require_data(config)
    files = find_files(data, ("goodreads_reviews*.json*",), "Goodreads reviews")
    folder = data.parent if data.is_file() else data
    labels = {path: config.name if len(files) == 1 else f"{config.name}-{stem(path)}" for path in files}
    items = [item_input(path, (GOODREADS,)) for path in sorted(folder.glob("goodreads_books*.json*"))]
    return [review_input(path, (GOODREADS,), label) for path, label in labels.items()] + items


SOURCES.register(
    "goodreads",
    Source(
        "goodreads",
        "a folder with goodreads_reviews_*.json.gz and goodreads_books*.json.gz",
        find_goodreads,
        origin="https://cseweb.ucsd.edu/~jmcauley/datasets/goodreads.html",
        licence="academic use only; not to be redistributed, no commercial use",
    ),
)
