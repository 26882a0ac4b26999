"""Amazon review collections of UCSD: 2023 (Hou et al., arXiv 2403.03952), 2018 and 2014 (Ni et al. 2019, He & McAuley 2016).

`prepare.data` is a file of reviews, or a folder with `<Category>.jsonl.gz` and `meta_<Category>.jsonl.gz` (2023), or `reviews_<Category>.json.gz` or
`<Category>.json.gz` and `meta_<Category>.json.gz` (2014, 2018). The version is told by the keys. Items are joined by `parent_asin` or `asin`.
"""

from __future__ import annotations

from grasper.config import PrepareConfig
from grasper.prepare.layouts import Layout, Record, find_files, item_input, review_input, stem
from grasper.prepare.sources import SOURCES, Input, Source, require_data


def _to_seconds(record: Record) -> Record:
    """Milliseconds, as of 2023, become seconds."""
    moment = record["timestamp"]
    return {**record, "timestamp": moment // 1000 if isinstance(moment, int) and abs(moment) > 10**11 else moment}


AMAZON_2023 = Layout(
    "Amazon 2023",
    {
        "user_id": ("user_id",),
        "item_id": ("parent_asin", "asin"),
        "text": ("text",),
        "title": ("title",),
        "rating": ("rating",),
        "timestamp": ("timestamp", "sort_timestamp", "sortTimestamp"),
    },
    {"item_id": ("parent_asin",), "name": ("title",), "category": ("categories", "main_category"), "brand": ("store",)},
    _to_seconds,
)
AMAZON_2018 = Layout(
    "Amazon 2014/2018",
    {
        "user_id": ("reviewerID",),
        "item_id": ("asin",),
        "text": ("reviewText",),
        "title": ("summary",),
        "rating": ("overall",),
        "timestamp": ("unixReviewTime",),
    },
    {"item_id": ("asin",), "name": ("title",), "category": ("category", "categories", "main_cat"), "brand": ("brand",)},
)
_LAYOUTS = (AMAZON_2023, AMAZON_2018)
_PATTERNS = ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.json", "*.json.gz")


def find_amazon(config: PrepareConfig) -> list[Input]:
    """The reviews of every category in the folder, and their items."""
    data = require_data(config)
    files = find_files(data, _PATTERNS, "Amazon reviews")
    reviews = [path for path in files if not stem(path).startswith("meta_")]
    if data.is_file():
        category = stem(data).removeprefix("reviews_").removesuffix("_5")
        files = [path for path in data.parent.glob("meta_*") if stem(path) == f"meta_{category}"]
    labels = {path: config.name if len(reviews) == 1 else f"{config.name}-{stem(path)}" for path in reviews}
    items = [item_input(path, _LAYOUTS) for path in files if stem(path).startswith("meta_")]
    return [review_input(path, _LAYOUTS, label) for path, label in labels.items()] + items


SOURCES.register(
    "amazon",
    Source(
        "amazon",
        "a file of reviews, or a folder with reviews and meta_* files, as JSON lines (2023, 2018, 2014)",
        find_amazon,
        origin="https://amazon-reviews-2023.github.io",
        licence="the project's page names none; the reviews belong to their writers and to Amazon",
    ),
)
