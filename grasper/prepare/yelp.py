"""Yelp Open Dataset: `yelp_academic_dataset_review.json` and `yelp_academic_dataset_business.json`, JSON lines, joined by `business_id`."""

from __future__ import annotations

from grasper.config import PrepareConfig
from grasper.prepare.layouts import Layout, find_files, item_input, review_input
from grasper.prepare.sources import SOURCES, Input, Source, require_data

YELP = Layout(
    "Yelp",
    {
        "user_id": ("user_id",),
        "item_id": ("business_id",),
        "text": ("text",),
        "title": (),
        "rating": ("stars",),
        "timestamp": ("date",),
    },
    {"item_id": ("business_id",), "name": ("name",), "category": ("categories",), "brand": ()},
)


def find_yelp(config: PrepareConfig) -> list[Input]:
    """The reviews and, where they are in the folder, the businesses."""
    data = require_data(config)
    files = find_files(data, ("*review*.json*",), "Yelp reviews")
    folder = data.parent if data.is_file() else data
    labels = {path: config.name if len(files) == 1 else f"{config.name}-{number}" for number, path in enumerate(files, start=1)}
    items = [item_input(path, (YELP,)) for path in sorted(folder.glob("*business*.json*"))]
    return [review_input(path, (YELP,), label) for path, label in labels.items()] + items


SOURCES.register(
    "yelp",
    Source(
        "yelp",
        "a folder with yelp_academic_dataset_review.json and …_business.json",
        find_yelp,
        origin="https://business.yelp.com/data/resources/open-dataset/",
        licence="Yelp's own terms, to be signed on the page; not checked",
    ),
)
