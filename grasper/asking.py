"""From what people ask with to examples of a run: ids of any kind, histories in any form, given fields checked as files are."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, UnknownIdError
from grasper.prepare.fields import Place, clean_id, clean_ratings, clean_text, clean_timestamps, strip_html
from grasper.records import TASKS, Example, Review, Tables, Task, iterate_rows, none_if_missing, request_for
from grasper.registry import nearest_first
from grasper.rows import without_halves
from grasper.runs import fingerprint

History: TypeAlias = "Sequence[Review] | Sequence[Mapping[str, Any]] | Review | Mapping[str, Any] | pd.DataFrame"
Person: TypeAlias = "str | list[Review]"
"""A known user, or the reviews of a newcomer."""

NEWCOMER = "new user"
_NO_ITEM = ""
_GIVEN: dict[Task, tuple[str, ...]] = {"long": ("title", "rating"), "title": ("text",), "rating": ("title", "text")}
"""The fields that each task may be given."""
_MAX_COMPARED = 20_000
"""Ids that a mistyped one is compared with at most."""
_OURS = PrepareConfig()
"""How records are read: ratings from 1 to 5, dates in seconds."""


class Asker:
    """Answers for whom and about what a request is, over the tables of one run.

    Args:
        name: Of the run, for messages.
        reading: How the run's own data were read: what people bring is read likewise, on the scale of its ratings and in the unit of its dates.
    """

    def __init__(self, tables: Tables, name: str, reading: PrepareConfig = _OURS) -> None:
        self._tables, self._name, self._reading = tables, name, reading

    def people(self, users: Any) -> list[Person]:
        """Who is asked about: known users by their ids, or newcomers by the reviews that they bring, one entry per `user_id`.

        An empty list is one newcomer without any history.

        Raises:
            UnknownIdError: An id without any review in the run.
            DataFormatError: A history that cannot be read, or ids and reviews mixed.
        """
        if isinstance(users, pd.DataFrame | Review | Mapping):
            return self._newcomers(as_reviews(users, self._reading))
        if isinstance(users, str | bytes) or not isinstance(users, Iterable):
            return [self.known_user(users)]
        entries = list(users)
        are_reviews = [isinstance(entry, Review | Mapping) for entry in entries]
        if all(are_reviews):
            return self._newcomers(as_reviews(entries, self._reading))
        if any(are_reviews):
            position = are_reviews.index(not are_reviews[0])
            raise DataFormatError(f"entry {position} is {_short(entries[position])}, expected all ids of known users or all reviews of a newcomer")
        return [self.known_user(entry) for entry in entries]

    def known_user(self, user_id: Hashable, *, advice: str = "pass a new user's reviews instead") -> str:
        """The id of a user of the run.

        Args:
            advice: What to do about one that it does not know.

        Raises:
            UnknownIdError: There is none of that id.
        """
        return self._known(user_id, "user", self._pools, advice)

    def knows_user(self, user_id: Hashable) -> bool:
        """Whether the run holds a review by this user."""
        return none_if_missing(user_id) is not None and as_id(user_id) in self._pools

    def nearest_users(self, user_id: Hashable) -> list[str]:
        """Up to three users of the run whose ids are likest one that it may not know."""
        return _likest(as_id(user_id), self._pools)

    def given(self, task: Task) -> tuple[str, ...]:
        """The fields that a task may be given.

        Raises:
            ConfigError: An unknown task.
        """
        if task not in TASKS:
            raise ConfigError(f"unknown task {task!r}; known: {', '.join(nearest_first(str(task), list(TASKS)))}")
        return _GIVEN[task]

    def wondering(self, who: Person, near: Hashable | None = None) -> Example:
        """Somebody as an example without a task: what would they meet next, perhaps with an item in mind?"""
        return self._example(who, _NO_ITEM if near is None else self._known_item(near))

    def request(
        self,
        who: Any,
        item_id: Hashable,
        task: Task,
        *,
        title: str | None = None,
        text: str | None = None,
        rating: float | None = None,
        user_id: Hashable | None = None,
    ) -> Example:
        """A request as an example: the run's own target where user, item and given fields are its, else one that holds the given fields only.

        Args:
            rating: On the scale of the run's data (`prepare.rating_scale`).
            user_id: Whose history `who` is, where it is one. What a known user wrote about the item stays hidden, whatever history they bring along.

        Raises:
            UnknownIdError: An unknown user or item.
            DataFormatError: A history that cannot be read, or that is somebody else's.
            ConfigError: An unknown task, a field that it does not take or needs, or one of the wrong type or range.
        """
        people = self.people(who) if user_id is None else [self._brought_by(as_id(user_id), who)]
        if len(people) != 1:
            raise ConfigError(f"{len(people)} people are given, expected one user id or the reviews of one person")
        given = _checked(task, self.given(task), {"title": title, "text": text, "rating": rating}, self._reading)
        item = self._known_item(item_id)
        if isinstance(people[0], str):
            for example in self._targets(people[0], item):
                request = request_for(example, task, self._tables.item(item))
                if (request.title, request.text, request.rating) == (given["title"], given["text"], given["rating"]):
                    return example
        return self._example(people[0], item, None if user_id is None else as_id(user_id), **given)

    def _brought_by(self, user_id: str, history: Any) -> list[Review]:
        """A history as its owner's, who need not be named in it."""
        brought = as_reviews(history, self._reading)
        reviews = [replace(review, user_id=user_id) if review.user_id == NEWCOMER else review for review in brought]
        for review in reviews:
            if review.user_id != user_id:
                raise DataFormatError(f"the history holds a review by {review.user_id!r}, expected those of {user_id!r} alone")
            self._known_item(review.item_id)
        return reviews

    def _example(self, who: Person, item_id: str, owner: str | None = None, **given: Any) -> Example:
        user_id = who if isinstance(who, str) else owner or next((review.user_id for review in who), NEWCOMER)
        pool = self._pools.get(user_id, "train")  # of a known user who brings a history along, too: it holds what they reviewed
        history = None if isinstance(who, str) else tuple(who)
        name = f"request:{fingerprint([user_id, item_id, [review.review_id for review in history or ()]])}"
        target = Review(name, user_id, item_id, given.get("text") or "", given.get("title"), given.get("rating"), split=pool)
        return Example(name, target, "test" if pool == "test" else "dev", is_request=True, history=history)

    def _targets(self, user_id: str, item_id: str) -> list[Example]:
        """The run's own targets of a user and an item."""
        return self._tables.examples_of(self._rows_of.get((user_id, item_id), ()))

    @cached_property
    def _rows_of(self) -> dict[tuple[str, str], list[Any]]:
        """The rows of the run's own targets, by user and item."""
        table = self._tables.examples
        rows: dict[tuple[str, str], list[Any]] = {}
        for row in iterate_rows(table[~table["split"].isin(["align", "held-out"])]):
            rows.setdefault((row.user_id, row.item_id), []).append(row)
        return rows

    def _newcomers(self, reviews: Sequence[Review]) -> list[Person]:
        for review in reviews:
            self._known_item(review.item_id)
        by_user: dict[str, list[Review]] = {}
        for review in reviews:
            by_user.setdefault(review.user_id, []).append(review)
        return list(by_user.values()) or [[]]

    def _known_item(self, item_id: Hashable) -> str:
        return self._known(item_id, "item", self._items, "item ids are listed in prepare/items.parquet")

    def _known(self, value: Hashable, kind: str, known: Mapping[str, Any], advice: str) -> str:
        found = as_id(value)
        if found not in known:
            nearest = ", ".join(_likest(found, known))
            raise UnknownIdError(f"{kind} {found!r} is not in {self._name} ({len(known)} {kind}s, e.g. {nearest}); {advice}")
        return found

    @cached_property
    def _pools(self) -> dict[str, str]:
        """The split of each user, that of their last review."""
        reviews = self._tables.reviews
        return dict(zip(reviews["user_id"], reviews["split"], strict=True))

    @cached_property
    def _items(self) -> dict[str, None]:
        return dict.fromkeys([*self._tables.items["item_id"], *self._tables.reviews["item_id"]])


def _likest(value: str, known: Iterable[str]) -> list[str]:
    return nearest_first(value, list(islice(known, _MAX_COMPARED)))[:3]


def as_id(value: Hashable) -> str:
    """An id of any kind as the text that the run's tables hold it as, without invisible characters and outer white space.

    Raises:
        ConfigError: A missing value, or nothing that can be an id.
    """
    if isinstance(value, str):
        return clean_id(without_halves(value))
    if not isinstance(value, Hashable) or isinstance(value, bool) or none_if_missing(value) is None:
        raise ConfigError(f"{_short(value)} is no id; expected text or a number")
    if isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer()):
        return str(int(value))
    return str(value)


def as_reviews(history: Any, reading: PrepareConfig = _OURS) -> list[Review]:
    """Reviews from records, mappings or a table, read as files are; only `item_id` is needed, title and text count where they are given.

    Args:
        reading: How mappings and tables are read: the scale of ratings, the unit and formats of dates. Records (`Review`) are ours, and stay so.

    Raises:
        DataFormatError: An entry without `item_id`, or a field that cannot be read; the message names its position.
    """
    if isinstance(history, pd.DataFrame):
        entries: list[Any] = history.to_dict("records")
    else:
        entries = [history] if isinstance(history, Review | Mapping) else list(history)
    rows: list[dict[str, Any]] = []
    for position, entry in enumerate(entries):
        if isinstance(entry, Review):
            rows.append({name: getattr(entry, name) for name in ("user_id", "item_id", "text", "title", "rating", "timestamp")})
        elif isinstance(entry, Mapping) and none_if_missing(entry.get("item_id")) not in (None, ""):
            rows.append({name: none_if_missing(entry.get(name)) for name in ("user_id", "item_id", "text", "title", "rating", "timestamp")})
        else:
            raise DataFormatError(f"history entry {position} is {_short(entry)}, expected a Review or a mapping with at least 'item_id'")
    if not rows:
        return []
    table = pd.DataFrame(rows, dtype=object)
    are_ours = np.array([isinstance(entry, Review) for entry in entries])
    read = [_read(part, how) for part, how in ((table[are_ours], _OURS), (table[~are_ours], reading)) if len(part)]
    reviews = []
    for position, (row, clean) in enumerate(zip(rows, pd.concat(read).sort_index().to_dict("records"), strict=True)):
        fields = {
            "user_id": NEWCOMER if row["user_id"] is None else as_id(row["user_id"]),
            "item_id": as_id(row["item_id"]),
            "text": none_if_missing(clean["text"]) or "",
            "title": none_if_missing(clean["title"]),
            "rating": none_if_missing(clean["rating"]),
            "timestamp": None if pd.isna(clean["timestamp"]) else int(clean["timestamp"]),
        }
        reviews.append(Review(f"history:{fingerprint([position, fields])}", **fields))
    return reviews


def _read(rows: pd.DataFrame, reading: PrepareConfig) -> pd.DataFrame:
    """Texts, ratings and dates of some entries of a history, read as the run's files were; the index tells their positions."""
    place = Place(Path("history"), "entry", rows.index.to_numpy())
    read = {name: _texts(rows[name], reading) for name in ("text", "title")}
    ratings = _ratings(rows["rating"], reading, lambda position: f"history entry {position}")
    return pd.DataFrame({**read, "rating": ratings, "timestamp": clean_timestamps(rows["timestamp"].map(_readable), place, reading)})


def _texts(values: pd.Series, reading: PrepareConfig) -> pd.Series:
    texts = values.map(lambda value: None if value is None else without_halves(str(value))).astype("str")
    return clean_text(strip_html(texts) if reading.strip_html else texts)


def _checked(task: Task, takes: tuple[str, ...], fields: Mapping[str, Any], reading: PrepareConfig) -> dict[str, Any]:
    """The given fields of a request, cleaned as those of files are."""
    given = {name: value for name, value in fields.items() if none_if_missing(value) is not None}
    for name in given:
        if name not in takes:
            raise ConfigError(f"task '{task}' is not given a {name}; it takes {' and '.join(takes)}")
        if name != "rating" and not isinstance(given[name], str):
            raise ConfigError(f"{name} is {_short(given[name])}, expected text")
    if task == "title" and not given.get("text"):
        raise ConfigError("task 'title' needs the text that the title is for; give text")
    if task == "rating" and not given:
        raise ConfigError("task 'rating' needs the text or the title that the rating is for; give text or title")
    checked = {name: none_if_missing(_texts(pd.Series([given[name]], dtype=object), reading).iloc[0]) for name in ("title", "text") if name in given}
    rating = None
    if "rating" in given:
        try:
            rating = float(_ratings(pd.Series([given["rating"]], dtype=object), reading, lambda _: "the request").iloc[0])
        except DataFormatError as error:
            raise ConfigError(str(error)) from None
    return {"title": checked.get("title"), "text": checked.get("text"), "rating": rating}


def _ratings(values: pd.Series, reading: PrepareConfig, where: Callable[[int], str]) -> pd.Series:
    """Ratings from 1 to 5, in halves rounded up, from those on the scale of the run's data; missing ones are NaN.

    Raises:
        DataFormatError: One is not on the scale.
    """
    is_given = values.notna()
    plain = values.map(lambda value: _readable(value if value is None or (isinstance(value, Real) and not isinstance(value, bool)) else str(value)))
    lenient = reading.model_copy(update={"rating_fractions": True, "invalid_rating": "null"})
    ratings = clean_ratings(plain, Place(Path("history"), "entry", values.index.to_numpy()), lenient)
    if (wrong := is_given & ratings.isna()).any():
        position = int(np.argmax(wrong.to_numpy()))
        told = f"expected a number from {reading.rating_lowest} to {reading.rating_scale}"
        raise DataFormatError(f"{where(values.index[position])}: 'rating' is {_short(values.iloc[position])}, {told}")
    return ratings


def _readable(value: Any) -> Any:
    """A rating or a date without what JSON can say and no column can hold: half characters, and numbers that are longer than any float."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return math.inf if value > 0 else -math.inf
    return without_halves(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
