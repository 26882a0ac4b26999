"""Which column holds what: by its name first, by what is in it where names do not tell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pandas as pd

from grasper.prepare.values import are_dates

_WORDS = {
    "user_id": (
        "userid customerid clientid reviewerid authorid memberid uid kundennr kundennummer kundenid idcliente "
        "user customer client reviewer author member critic consumer username profilename person "
        "kunde nutzer benutzer cliente usuario utilisateur acheteur"
    ),
    "item_id": (
        "itemid productid sku asin parentasin isbn ean articleid businessid bookid hotelid pid artikelnr artikelnummer produktid idproducto "
        "item product article hotel artikel produkt producto produit"
    ),
    "text": (
        "text review reviewtext reviewbody comment comments body content message feedback kommentar bewertungstext rezension "
        "comentario opinion commentaire avis texte texto"
    ),
    "title": "title reviewtitle headline summary subject titel betreff ueberschrift uberschrift titulo titre",
    "rating": "rating stars star score overall grade points bewertung sterne punkte note nota puntuacion etoiles",
    "timestamp": (
        "timestamp date time datetime created createdat reviewdate unixreviewtime reviewtime reviewedat submittedat postedat "
        "datum zeit erstellt erstelltam bewertetam verfasstam fecha data"
    ),
    "name": "name itemname productname producttitle produktname artikelname bezeichnung hotelname nombre nom product produkt",
    "category": (
        "category categories maincategory genre group productgroup kategorie warengruppe gruppe artikelgruppe produktgruppe rubrik "
        "categoria categorie"
    ),
    "brand": "brand manufacturer maker store marke hersteller marca marque publisher",
}
"""In the order of preference: ids before the nouns that may be names for show."""
_TITLES = ("title", "titel", "titulo", "titre")
_NO_TEXT = frozenset(("id", "type", "date", "time", "score", "rating", "title", "titel", "headline", "name", "link", "url"))
"""A column with one of these words tells something about the text."""
_PEOPLE = frozenset((*_WORDS["user_id"].split(), "profile"))
"""A name with one of these words is nobody's but the reviewer's."""
_SHORTEST_MEAN = 30
"""Characters that texts have in the mean, where a column's name does not tell alone that it holds them."""
_DATE = re.compile(r"(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d\d)|\d{4}([./-])\d{1,2}\2\d{1,2})(?:$|[ T,])")
_NAMES = {name: tuple(words.split()) for name, words in _WORDS.items()}
_PARTS = _NAMES | {
    "text": (*(word for word in _NAMES["text"] if word != "review"), "review"),
    "name": tuple(word for word in _NAMES["name"] if word not in ("product", "produkt")),
}
"""The same, for one word of several: any column of a table may be called after the review or the product."""
_ORDER = ("text", "title", "rating", "timestamp", "user_id", "item_id", "category", "brand", "name")
"""A brand's or a category's name is no item's."""


def guess_columns(rows: pd.DataFrame, only: tuple[str, ...] = _ORDER) -> dict[str, str | None]:
    """Field → column, or None where no column seems to hold the field; no column is used twice.

    Args:
        only: The fields in question; an item's name may stand under `title` where no review's title is asked for.
    """
    columns = [str(column) for column in rows.columns]
    chosen: dict[str, str | None] = {name: None for name in _NAMES if name in only}
    for is_exact in (True, False):
        for name in (name for name in _ORDER if name in only):
            if chosen[name] is None:
                free = [column for column in columns if column not in chosen.values()]
                words = (_NAMES if is_exact else _PARTS)[name] + (_TITLES if name == "name" and "title" not in only else ())
                named = (column for known in words for column in free if _matches(column, known, is_exact))
                chosen[name] = next((column for column in named if is_exact or _may_be(name, rows[column], column)), None)
    if "text" not in only:
        return chosen
    if chosen["timestamp"] is None:
        chosen["timestamp"] = _dated(rows, [column for column in columns if column not in chosen.values()])
    if chosen["text"] is None:
        chosen["text"] = _longest(rows, [column for column in columns if column not in chosen.values()])
    for name in ("user_id", "item_id"):
        if chosen[name] is None:
            chosen[name] = _most_repeated(rows, [column for column in columns if column not in chosen.values()])
    return chosen


def rivals(rows: pd.DataFrame, chosen: dict[str, str | None]) -> dict[str, list[str]]:
    """Field → columns that nothing is read from and that fit the field as well as the chosen one, by the same word of several."""
    free = [str(column) for column in rows.columns if column not in chosen.values()]
    found = {}
    for name, column in chosen.items():
        if column is None or _plain(column) in _NAMES[name]:
            continue
        words = [known for known in _PARTS[name] if _matches(column, known, is_exact=False)]
        like = [other for other in free if any(_matches(other, known, is_exact=False) for known in words) and _may_be(name, rows[other], other)]
        if like:
            found[name] = like
    return found


def _plain(column: str) -> str:
    letters = unicodedata.normalize("NFKD", column.lower())
    return re.sub(r"[^a-z0-9]", "", letters)


def _words(column: str) -> set[str]:
    return {_plain(word) for word in re.split(r"[^a-zA-Z0-9äöüÄÖÜß]+|(?<=[a-z])(?=[A-Z])", column)}


def _matches(column: str, known: str, is_exact: bool) -> bool:
    """The whole name, or one of its words."""
    return _plain(column) == known if is_exact else known in _words(column) and len(known) > 3


_MAY_BE: dict[str, Callable[[pd.Series, set[str]], bool]] = {
    "text": lambda values, words: words.isdisjoint(_NO_TEXT) and _mean_length(values) > _SHORTEST_MEAN,
    "timestamp": lambda values, words: bool(are_dates(values.dropna().astype("str").str.strip().head(1_000)).any()),
    "name": lambda values, words: words.isdisjoint(_PEOPLE),
}
"""Whether a column may hold the field that one of its words names, by its values and all of its words."""


def _may_be(name: str, values: pd.Series, column: str) -> bool:
    return name not in _MAY_BE or _MAY_BE[name](values, _words(column))


def _mean_length(values: pd.Series) -> float:
    """Characters of what is there; 0 where nothing is."""
    there = values.dropna()
    return float(there.astype("str").str.len().mean()) if len(there) else 0.0


def _longest(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """The column with the longest values, if they are longer than a name."""
    lengths = {column: _mean_length(rows[column]) for column in columns}
    best = max(lengths, key=lambda column: lengths[column], default=None)
    return best if best is not None and lengths[best] > _SHORTEST_MEAN else None


def _dated(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """The first column in which nearly everything that is there looks like a date."""
    for column in columns:
        values = rows[column].dropna().astype("str").str.strip()
        values = values[values != ""].head(1_000)
        if len(values) and values.str.match(_DATE).mean() > 0.9:
            return column
    return None


def _most_repeated(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """A column of short values of which many come back, but not nearly all are equal: what an id of a user or an item looks like.

    One that is called an id comes before all others.
    """
    for column in sorted(columns, key=lambda column: "id" not in _words(column)):
        values = rows[column].dropna().astype("str")
        if len(values) > 10 and values.str.len().mean() < 40 and 5 < values.nunique() < 0.95 * len(values):
            return column
    return None
