"""Review corpus → documents in the section form that all of grasper's prompts use.

A corpus is a folder of `*.jsonl` or `*.jsonl.zst` files, one object a line: `text`, and where known `title`, `rating` and `source`.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from grasper.errors import DataFormatError, MissingFileError

END = "<|end|>"

# How often a source enters one pass over the corpus, when a pass is all that the time allows (--share sets it for the sources not named).
# Named are those whose reviews are like the ones nano is asked for: short, of hotels, household goods and beauty; and the little Portuguese.
NEAR_SOURCES = {
    "datafiniti_hotels": 1.0,
    "pgraphrag_hotel_train": 1.0,
    "pgraphrag_gap_train": 1.0,
    "datafiniti_amazon_consumer": 0.7,
    "datafiniti_electronics": 0.7,
    "amazon18_all_beauty": 1.0,
    "amazon23_multi": 1.0,
    "amazon18_fashion": 1.0,
    "womens_clothing_part": 1.0,
    "b2w_train": 2.0,
    "b2w_extra": 2.0,
    "b2w_10k": 2.0,
}
HELD_OUT_EVERY = 500
"""One document of this many is never trained on and serves as validation."""


@dataclass(frozen=True)
class Document:
    """One review of the corpus; title and rating are None where the source has none."""

    text: str
    title: str | None = None
    rating: float | None = None
    source: str = ""


def corpus_files(corpus_dir: Path) -> list[Path]:
    """Gives the parts of a corpus in the order of their names.

    Raises:
        MissingFileError: The folder does not exist or holds no part.
    """
    files = sorted([*corpus_dir.glob("*.jsonl"), *corpus_dir.glob("*.jsonl.zst")])
    if not files:
        raise MissingFileError(f"{corpus_dir}: expected *.jsonl or *.jsonl.zst files, found none; name the corpus with --corpus")
    return files


def read_documents(corpus_dir: Path) -> Iterator[Document]:
    """Gives every document of the corpus in file order.

    Raises:
        MissingFileError: There is no part in the folder.
        DataFormatError: A line is not an object with a text, or the corpus is empty; the message names file and line.
    """
    found = False
    for path in corpus_files(corpus_dir):
        with _open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    found = True
                    yield _parse_line(line, f"{path.name} line {number}")
    if not found:
        raise DataFormatError(f"{corpus_dir}: expected at least one document, found only empty files")


def _open_text(path: Path) -> io.TextIOBase:
    if path.suffix == ".zst":
        return zstandard.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _parse_line(line: str, where: str) -> Document:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataFormatError(f"{where}: expected a JSON object, found {line[:40]!r} ({error.msg})") from error
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise DataFormatError(f"{where}: expected a non-empty 'text', found {text!r}; remove the line")
    title, rating = record.get("title"), record.get("rating")
    return Document(
        text=text,
        title=title if isinstance(title, str) and title.strip() else None,
        rating=float(rating) if isinstance(rating, int | float) else None,
        source=str(record.get("source") or ""),
    )


def render_document(document: Document, chooser: random.Random) -> str:
    """Gives the document as labelled lines, in a random order and sometimes with the text alone, closed by the end token.

    Every order occurs, so that the model learns to write the title from the text, the text from the title, and the rating from both.
    """
    fields = [f"Text: {document.text}"]
    if document.title is not None and chooser.random() < 0.85:
        fields.append(f"Title: {document.title}")
    if document.rating is not None and chooser.random() < 0.85:
        fields.append(f"Rating: {document.rating:g}")
    chooser.shuffle(fields)
    return "\n".join(fields).replace("<|", "< |") + END


def select_for_pass(documents: list[Document], number: int, share: float, seed: int) -> list[int]:
    """Gives the indices of the documents of one pass over the corpus, shuffled; held-out documents never occur.

    A source with share s gives a fresh s-th of its documents to every pass until all have been seen; a share of 2 gives each twice.

    Args:
        documents: The whole corpus.
        number: Which pass, from 0.
        share: Share of the sources that `NEAR_SOURCES` does not name, in (0, 1].
        seed: Seed of the order and of the choice.
    """
    chooser = random.Random(f"{seed}:order")
    chosen = []
    for index, document in enumerate(documents):
        place = chooser.random()
        if index % HELD_OUT_EVERY:
            source_share = NEAR_SOURCES.get(document.source, share)
            # The passes cut the line [0, inf) into pieces as long as the share; a document lies at place, place + 1, place + 2 …
            copies = int(place * -1 + (number + 1) * source_share + 1) - int(place * -1 + number * source_share + 1)
            chosen += [index] * copies
    random.Random(f"{seed}:pass:{number}").shuffle(chosen)
    return chosen


def held_out(documents: list[Document]) -> list[Document]:
    """Gives the validation documents: every 500th, never trained on."""
    return documents[::HELD_OUT_EVERY]
