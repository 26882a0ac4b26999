"""Sections of the stages that read data: prepare and predict."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from grasper.config.section import Section


class ColumnMapping(Section):
    """Which column of a user's own table holds which field."""

    user_id: str = Field("user_id", description="Column with the user's id.")
    item_id: str = Field("item_id", description="Column with the item's id.")
    text: str = Field("text", description="Column with the review text.")
    title: str | None = Field("title", description="Column with the title; null if there is none.")
    rating: str | None = Field("rating", description="Column with the rating; null if there is none.")
    timestamp: str | None = Field("timestamp", description="Column with Unix seconds or ISO dates; null if there is none.")
    name: str | None = Field(None, description="Column with the item's name; null if there is none.")
    category: str | None = Field(None, description="Column with the item's category; null if there is none.")
    brand: str | None = Field(None, description="Column with the item's brand; null if there is none.")


class ItemMapping(Section):
    """Which column of a table of items holds which field."""

    item_id: str = Field("item_id", description="Column with the item's id, as the reviews name it.")
    name: str | None = Field(None, description="Column with the item's name; null if there is none.")
    category: str | None = Field(None, description="Column with the item's category; null if there is none.")
    brand: str | None = Field(None, description="Column with the item's brand; null if there is none.")


def _known_encoding(value: str) -> str:
    """The usual name of an encoding of text."""
    try:
        "".encode(value)  # base64, rot13 and their like turn no text into bytes
        return codecs.lookup(value).name
    except (LookupError, UnicodeError):
        raise ValueError("unknown encoding; known are utf-8, cp1252, latin-1, utf-16 and the others of Python") from None


def _plain_number(value: float) -> float:
    """Whole numbers as such: messages show no fraction, and folders that were made when only whole ones were allowed keep their key."""
    return int(value) if value == int(value) else value


Number = Annotated[float, AfterValidator(_plain_number), PlainSerializer(_plain_number, return_type=Any)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]


def _without_absent(settings: dict[str, Any], *later: str) -> dict[str, Any]:
    """Settings without those that came later and are not used: folders that were made before them keep their key."""
    return {key: value for key, value in settings.items() if key not in later or value is not None}


def _can_name_folder(name: str) -> bool:
    return bool(name) and name == name.strip() and name[0] != "." and not any(letter in "/\\:" or not letter.isprintable() for letter in name)


class ItemTable(Section):
    """A user's own table of what is known of the items."""

    data: Path = Field(description="File with the items (relative to the reviews).")
    columns: ItemMapping = Field(default_factory=ItemMapping, description="Column mapping of that file.")
    encoding: Encoding | None = Field(None, description="Of that file, as prepare.encoding.")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Of that file, as prepare.delimiter.")
    quoted: bool | None = Field(None, description="Of that file, as prepare.quoted.")

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_absent(dump(self), "quoted")


class PrepareConfig(Section):
    """Raw files → reviews, items, examples."""

    source: str = Field("harbour", description="Layout of the data, a name of `grasper data list`.")
    data: Path | None = Field(None, description="Folder or file with the data, a Hub id (source `hub`); null for the bundled data set.")
    name: str = Field(
        "",
        min_length=1,
        max_length=100,
        description="Name of the data set in results; the file prefix of PGraphRAG's JSON. Not set: that of the data, or of the source.",
    )
    train: tuple[Path, ...] = Field((), description="Further files or folders whose rows join the training pool (relative to `data`).")
    language: str = Field("en", description="Language of the reviews, ISO 639-1.")
    columns: ColumnMapping = Field(default_factory=ColumnMapping, description="Column mapping of a user's own table.")
    items: ItemTable | None = Field(None, description="A further table with names, categories and brands of the items (source `table`).")
    split: Literal["given", "last-out", "users", "none"] = Field(
        "given", description="Benchmark splits; leave-last-out by time; users held out; none trains on all reviews and asks for nothing."
    )
    dev_share: float = Field(0.2, gt=0, lt=1, description="Share of users in dev (split: users), and again in test.")
    history_limit: int | None = Field(None, ge=0, description="Keep at most this many reviews of each user's history, the most recent ones.")
    pooled_user_limit: int = Field(
        50, ge=0, description="Training reviews kept of one user name; names like 'A Traveler' pool many people. 0 drops such users."
    )
    rating_scale: int = Field(5, ge=1, description="Highest rating in the source; ratings are mapped to 1–5.")
    rating_lowest: Number = Field(1, allow_inf_nan=False, description="Lowest rating in the source, for example 0, or 0.5 of half stars.")
    rating_fractions: bool = Field(False, description="Accept ratings between whole numbers, such as 3.5; they are rounded, halves up.")
    rating_in_words: bool = Field(False, description="Ratings are words around one number, such as '4 stars' or '4/5', or stars (★★★★☆).")
    invalid_rating: Literal["error", "null"] = Field("error", description="What to do with a rating that is not on the scale; null keeps the review.")
    encoding: Encoding | None = Field(None, description="Of text files, for example cp1252; null: UTF-8, or what a byte order mark says.")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Of CSV files; null: a tab in .tsv, else a comma.")
    quoted: bool | None = Field(
        None, description='Whether cells of CSV files may stand in quotes ("); null: yes, but none between tabs that spans what looks like rows.'
    )
    decimal: Literal[".", ","] = Field(".", description="Decimal mark of numbers in text.")
    date_formats: tuple[str, ...] = Field((), description="strptime formats tried in order on digits and on dates that are not ISO 8601: %d.%m.%Y.")
    invalid_timestamp: Literal["error", "null"] = Field("error", description="What to do with a date that cannot be read; null keeps the review.")
    invalid_rows: Literal["error", "skip"] = Field("error", description="Lines that are broken, of another number of cells, or not in the encoding.")
    timestamp_unit: Literal["s", "ms", "us", "ns"] = Field("s", description="Unit of numeric timestamps since 1970.")
    strip_html: bool = Field(False, description="Take tags off texts and titles, and read entities such as &amp;.")
    query: str | None = Field(None, description="SQL that selects the reviews (source `sql`), columns as in `columns`.")
    database_env: str = Field("DATABASE_URL", description="Environment variable with the SQLAlchemy URL of the database (source `sql`).")
    max_text_characters: int = Field(100_000, ge=1, description="Longer texts are cut, and counted.")
    max_name_characters: int = Field(1_000, ge=1, description="Longer titles, item names, categories and brands are cut; longer ids are refused.")
    max_line_mib: int = Field(64, ge=1, le=2**20, description="Longer lines of text files are refused (MiB).")
    max_unpacked_ratio: int = Field(200, ge=1, description="Compressed files that unpack to more than so many times their size are refused.")
    memory_mib: int = Field(768, ge=128, le=2**24, description="What joining and sorting may hold in memory before it goes to disk (MiB).")

    @model_serializer(mode="wrap")
    def _without_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_absent(dump(self), "items", "quoted")

    @property
    def is_bundled(self) -> bool:
        """Whether the data set is the bundled one itself, and no file in its layout."""
        return self.source == "harbour" and self.data is None

    @model_validator(mode="before")
    @classmethod
    def _is_called_as_its_data(cls, values: Any) -> Any:
        """Without a name of its own a data set goes by its file's or folder's, or by a Hub id's last part."""
        if not isinstance(values, Mapping) or "name" in values:
            return values
        found = Path(str(values.get("data") or "")).name.split(".")[0].strip()[:100]
        return {**values, "name": found if _can_name_folder(found) else values.get("source", cls.model_fields["source"].default)}

    @field_validator("name")
    @classmethod
    def _must_name_a_folder(cls, value: str) -> str:
        if not _can_name_folder(value):
            raise ValueError("a data set's name is also a folder's: no / \\ : or control characters, no dot at the start, no outer spaces")
        return value

    @model_validator(mode="after")
    def _scale_must_rise(self) -> PrepareConfig:
        if self.rating_lowest >= self.rating_scale:
            raise ValueError(f"rating_lowest {self.rating_lowest} is not below rating_scale {self.rating_scale}")
        return self


class PredictConfig(Section):
    """Link prediction: reviews → likely next items."""

    encoder: str = Field("hybrid", description="Item predictor: hybrid, lightgcn, sage, popularity, itemknn, ease, similarity, or a plugin's.")
    embedding_dim: int = Field(64, gt=0, description="Width of user and item embeddings.")
    num_layers: int = Field(2, ge=1, description="Propagation layers.")
    text_dim: int = Field(128, gt=0, description="Width of the text features after SVD.")
    text_encoder: str = Field("tfidf", description="`tfidf`, or a sentence-transformers id or path (extra `embeddings`).")
    learning_rate: float = Field(0.03, gt=0, description="Adam's learning rate.")
    weight_decay: float = Field(1e-6, ge=0, description="Adam's weight decay.")
    max_epochs: int = Field(30, ge=1, description="Upper bound; training stops early on validation edges.")
    patience: int = Field(3, ge=1, description="Epochs without a better validation NDCG@10 before training stops.")
    batch_size: int = Field(2048, ge=1, description="Edges in a batch.")
    top_k: int = Field(10, ge=1, description="Predicted items kept per example, or synthesize.num_items where that is more.")
    eras: int = Field(8, ge=1, description="Splits by time: stretches of time for which it is fitted anew, each on what was known when it began.")
