"""Which column holds what: by its name first, by what is in it where names do not tell."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

_WORDS = {
    "user_id": (
        "userid user customer customerid client clientid reviewer reviewerid author authorid member memberid uid username person "
        "kunde kundennr kundennummer kundenid nutzer benutzer cliente usuario idcliente utilisateur acheteur"
    ),
    "item_id": (
        "itemid item product productid sku asin parentasin isbn ean articleid article businessid bookid pid hotel hotelid "
        "artikel artikelnr artikelnummer produkt produktid producto idproducto produit"
    ),
    "text": (
        "text review reviewtext reviewbody comment comments body content message feedback kommentar bewertungstext rezension "
        "comentario opinion commentaire avis texte texto"
    ),
    "title": "title reviewtitle headline summary subject titel betreff ueberschrift uberschrift titulo titre",
    "rating": "rating stars star score overall grade points bewertung sterne punkte note nota puntuacion etoiles",
    "timestamp": (
        "timestamp date time datetime created createdat reviewdate reviewtime unixreviewtime reviewedat submittedat postedat "
        "datum zeit erstellt erstelltam bewertetam verfasstam fecha data"
    ),
    "name": "name itemname productname producttitle produktname artikelname bezeichnung hotelname nombre nom",
    "category": (
        "category categories maincategory genre group productgroup kategorie warengruppe gruppe artikelgruppe produktgruppe rubrik "
        "categoria categorie"
    ),
    "brand": "brand manufacturer maker store marke hersteller marca marque publisher",
}
_DATE = re.compile(r"(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d\d)|\d{4}([./-])\d{1,2}\2\d{1,2})(?:$|[ T,])")
_NAMES = {name: tuple(words.split()) for name, words in _WORDS.items()}
_ORDER = ("text", "title", "rating", "timestamp", "user_id", "item_id", "name", "category", "brand")


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
                words = _NAMES[name] + (("title", "titel", "titulo", "titre", "product", "produkt") if name == "name" and "title" not in only else ())
                chosen[name] = next((column for known in words for column in free if _matches(column, known, is_exact)), None)
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


def _plain(column: str) -> str:
    letters = unicodedata.normalize("NFKD", column.lower())
    return re.sub(r"[^a-z0-9]", "", letters)


def _matches(column: str, known: str, is_exact: bool) -> bool:
    """The whole name, or one of its words."""
    if is_exact:
        return _plain(column) == known
    words = re.split(r"[^a-zA-Z0-9äöüÄÖÜß]+|(?<=[a-z])(?=[A-Z])", column)
    return known in {_plain(word) for word in words} and len(known) > 3


def _longest(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """The column with the longest values, if they are longer than a name."""
    lengths = {column: rows[column].dropna().astype("str").str.len().mean() for column in columns}
    best = max(lengths, key=lambda column: lengths[column] if lengths[column] == lengths[column] else 0, default=None)
    return best if best is not None and lengths[best] > 30 else None


def _dated(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """The first column in which nearly everything that is there looks like a date."""
    for column in columns:
        values = rows[column].dropna().astype("str").str.strip()
        values = values[values != ""].head(1_000)
        if len(values) and values.str.match(_DATE).mean() > 0.9:
            return column
    return None


def _most_repeated(rows: pd.DataFrame, columns: list[str]) -> str | None:
    """A column of short values of which many come back, but not nearly all are equal: what an id of a user or an item looks like."""
    for column in columns:
        values = rows[column].dropna().astype("str")
        if len(values) > 10 and values.str.len().mean() < 40 and 5 < values.nunique() < 0.95 * len(values):
            return column
    return None
