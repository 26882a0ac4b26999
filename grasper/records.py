"""The only types that cross a stage, and the tables that hold them.

A record is identified by `review_id`; leakage is a matter of record identity, so every review keeps its id from `prepare` to the report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from grasper.runs import stable_hash

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["long", "title", "rating"]
TASKS: tuple[Task, ...] = ("long", "title", "rating")

Split = Literal["align", "held-out", "dev-a", "dev-b", "dev", "test"]
"""`align` and `held-out` are pairs of reserved train users; `dev` is both halves of the development users."""

REVIEW_COLUMNS = ("review_id", "user_id", "item_id", "rating", "title", "text", "timestamp", "split")
ITEM_COLUMNS = ("item_id", "name", "category", "brand")
EXAMPLE_COLUMNS = ("example_id", "review_id", "user_id", "item_id", "split", "cutoff", "is_repeated")
CANDIDATE_COLUMNS = ("example_id", "user_id", "item_id", "rank", "score")


@dataclass(frozen=True, slots=True)
class Review:
    """One review that somebody really wrote: an edge of the user–item graph.

    `rating` is 1–5 or None; `timestamp` is in Unix seconds or None; `split` is the pool it belongs to (`train`, `dev` or `test`).
    """

    review_id: str
    user_id: str
    item_id: str
    text: str
    title: str | None = None
    rating: float | None = None
    timestamp: int | None = None
    split: str = "train"

    @property
    def when(self) -> float:
        """Its place in time: undated ones stand before all others, those from before 1970 too."""
        return -math.inf if self.timestamp is None else self.timestamp


@dataclass(frozen=True, slots=True)
class Item:
    """What is known of an item besides its reviews."""

    item_id: str
    name: str | None = None
    category: str | None = None
    brand: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One review to be predicted. `target` is hidden: only `request_for` decides which of its fields a task may see.

    `cutoff` (Unix seconds) hides every later review in splits by time; None where the split has no time.
    `is_repeated` flags a target whose text stands verbatim at another visible record.
    """

    example_id: str
    target: Review
    split: Split
    cutoff: int | None = None
    is_repeated: bool = False
    is_request: bool = False
    """Asked by user and item, outside the benchmark: `target` holds the given fields only, and any review of this user about this item is hidden."""
    history: tuple[Review, ...] | None = None
    """The reviews that somebody brings along who is not in the tables; None for known users."""

    @property
    def user_id(self) -> str:
        return self.target.user_id

    @property
    def item_id(self) -> str:
        return self.target.item_id


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a method: a task, the item, and the given fields only. It never holds a hidden field."""

    example_id: str
    task: Task
    user_id: str
    item: Item
    title: str | None = None
    text: str | None = None
    rating: float | None = None


def request_for(example: Example, task: Task, item: Item) -> Request:
    """The request of one task; the single place where a target's fields become visible (PGraphRAG, Sec. 3).

    `long` sees the title, or rating and item name where the target has no title; `title` sees the text; `rating` sees both. A request outside
    the benchmark holds nothing but what was given, so it is seen whole.
    """
    target = example.target
    has_title = bool(target.title)
    return Request(
        example_id=example.example_id,
        task=task,
        user_id=example.user_id,
        item=item,
        title=target.title if task in ("long", "rating") and has_title else None,
        text=target.text if task in ("title", "rating") else None,
        rating=target.rating if task == "long" and (not has_title or example.is_request) else None,
    )


def review_request(example: Example, item: Item) -> Request:
    """The request for a whole review of any item by the example's user, with nothing given."""
    return Request(example.example_id, "long", example.user_id, item)


def tasks_of(example: Example) -> tuple[Task, ...]:
    """The tasks whose reference the target really has."""
    target = example.target
    has: dict[Task, bool] = {"long": bool(target.text), "title": bool(target.title and target.text), "rating": target.rating is not None}
    return tuple(task for task in TASKS if has[task])


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that the link predictor expects the user to interact with. `score` is probability-like, 0–1; `rank` starts at 1."""

    example_id: str
    user_id: str
    item_id: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class SyntheticReview:
    """A review that the model wrote in the user's stead for a predicted item. It is never mixed up with a `Review`."""

    example_id: str
    user_id: str
    item: Item
    text: str
    title: str | None = None
    rating: float | None = None
    path: str | None = None
    rank: int = 1
    score: float = 0.0
    rejected: str | None = None
    """Why the quality gate dropped it; None if it passed."""
    tokens_in: int = 0
    tokens_out: int = 0

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SyntheticReview:
        """The review that `asdict` turned into a mapping."""
        return cls(**{**record, "item": Item(**record["item"])})


@dataclass(frozen=True, slots=True)
class Profile:
    """The entries chosen for one prompt, best first, each kind under its own label, and the neighbours for others beside it."""

    own: tuple[Review, ...] = ()
    neighbours: tuple[Review, ...] = ()
    predicted: tuple[SyntheticReview, ...] = ()
    further: tuple[tuple[Review, ...], ...] = ()
    """More neighbours, set by set: each stands in the place of `neighbours` in a prompt of its own (`generate.neighbour_sets`)."""
    typical: tuple[Review, ...] = ()
    """Training reviews of the usual length, where neither own nor others' texts are shown. No prompt holds them: they only say how long a text is."""

    def texts(self) -> tuple[str, ...]:
        """The text of every entry of the prompt."""
        return (*(review.text for review in (*self.own, *self.neighbours)), *(review.text for review in self.predicted))

    def others(self) -> tuple[Review, ...]:
        """The neighbours of all sets, best first."""
        return (*self.neighbours, *chain.from_iterable(self.further))

    def review_ids(self) -> tuple[str, ...]:
        """Ids of all real reviews that are shown."""
        return tuple(review.review_id for review in (*self.own, *self.others()))


def with_text(reviews: Sequence[Review]) -> tuple[Review, ...]:
    """The reviews that show how somebody writes; a bare rating does not."""
    return tuple(review for review in reviews if review.text.strip())


@dataclass(frozen=True, slots=True)
class Output:
    """What a method answered to one request, with its evidence and cost."""

    example_id: str
    task: Task
    method: str
    text: str | None = None
    """The written text or title; None for ratings."""
    rating: float | None = None
    path: str | None = None
    raw: str = ""
    """The completion as it came."""
    is_parsed: bool = True
    is_cut: bool = False
    """Whether the text lacks its end, for want of tokens."""
    samples: tuple[str, ...] = ()
    """All candidates of a consensus choice, the chosen one included."""
    probabilities: tuple[float, ...] = ()
    """Of the ratings 1–5; empty for texts, and where the model gives none."""
    evidence: tuple[str, ...] = ()
    """Ids of the real reviews that were chosen for the prompt; where they do not fit together, it shows fewer."""
    notes: tuple[dict[str, str], ...] = ()
    """What the reasoners of a method with trajectories wrote, step by step, and the draft of each step."""
    tokens_in: int = 0
    tokens_out: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Output:
        """The output that `to_json` turned into a mapping."""
        return cls(**{**record, **{name: tuple(record.get(name, ())) for name in ("samples", "probabilities", "evidence", "notes")}})


@dataclass(frozen=True)
class Tables:
    """What `prepare` wrote: reviews, items and examples as pandas tables, plus their records on demand."""

    reviews: pd.DataFrame
    items: pd.DataFrame
    examples: pd.DataFrame

    @classmethod
    def load(cls, prepare_dir: Path) -> Tables:
        """Read `reviews.parquet`, `items.parquet` and `examples.parquet` of a finished prepare stage."""
        import pandas as pd

        reviews, items, examples = (pd.read_parquet(prepare_dir / f"{name}.parquet") for name in ("reviews", "items", "examples"))
        return cls(reviews, items, examples)

    def save(self, prepare_dir: Path) -> None:
        """Write the three tables, zstd-compressed."""
        for name, table in (("reviews", self.reviews), ("items", self.items), ("examples", self.examples)):
            table.to_parquet(prepare_dir / f"{name}.parquet", index=False, compression="zstd")

    @cached_property
    def reviews_by_id(self) -> dict[str, Review]:
        """All reviews as records, keyed by id, in table order."""
        return {review.review_id: review for review in iterate_reviews(self.reviews)}

    @cached_property
    def items_by_id(self) -> dict[str, Item]:
        """The metadata of all items that have a row, keyed by id."""
        rows = iterate_rows(self.items)
        return {row.item_id: Item(row.item_id, *map(none_if_missing, (row.name, row.category, row.brand))) for row in rows}

    def item(self, item_id: str) -> Item:
        """The item's metadata; an item without a row has only its id."""
        return self.items_by_id.get(item_id, Item(item_id))

    def select(self, split: Split, limit: int | None = None) -> list[Example]:
        """The examples of a split in table order; with `limit`, the same fixed subset for every method (ordered by hash of the id)."""
        splits = ("dev-a", "dev-b") if split == "dev" else (split,)
        rows = self.examples[self.examples["split"].isin(splits)]
        if limit is not None and len(rows) > limit:
            keep = set(sorted(rows["example_id"], key=stable_hash)[:limit])
            rows = rows[rows["example_id"].isin(keep)]
        return self.examples_of(iterate_rows(rows))

    def examples_of(self, rows: Iterable[Any]) -> list[Example]:
        """Rows of `examples` (see `iterate_rows`) as records."""
        reviews = self.reviews_by_id
        return [Example(row.example_id, reviews[row.review_id], row.split, none_if_missing(row.cutoff), bool(row.is_repeated)) for row in rows]


def iterate_reviews(table: pd.DataFrame) -> Iterator[Review]:
    """The rows of a reviews table as records, missing values as None."""
    for row in iterate_rows(table):
        rating, timestamp = none_if_missing(row.rating), none_if_missing(row.timestamp)
        yield Review(
            review_id=row.review_id,
            user_id=row.user_id,
            item_id=row.item_id,
            text=row.text,
            title=none_if_missing(row.title),
            rating=None if rating is None else float(rating),
            timestamp=None if timestamp is None else int(timestamp),
            split=row.split,
        )


def iterate_rows(table: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table as tuples whose fields have the columns' names."""
    return iter(table.itertuples(index=False))


def none_if_missing(value: Any) -> Any:
    """The value, or None for the several ways pandas says "missing" (None, NaN, NA, NaT)."""
    import pandas as pd

    return None if value is None or value is pd.NA or value is pd.NaT or value != value else value
