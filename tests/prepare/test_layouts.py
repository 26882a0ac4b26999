"""The public collections in small files of their real layout: every one becomes our tables, items joined."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from grasper.config import ColumnMapping, PrepareConfig
from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.prepare import build_tables, fingerprint_data
from grasper.prepare.inputs import sources
from grasper.records import Tables


def save(path: Path, rows: list[dict[str, Any]], *, literal: bool = False) -> Path:
    """Lines of JSON, or of Python literals as in the oldest Amazon files; gzip where the name says so."""
    text = "".join((repr(row) if literal else json.dumps(row)) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(source: str, data: Path | None, **settings: Any) -> Tables:
    config = PrepareConfig(source=source, name="x", data=data, **{"split": "none", **settings})
    return build_tables(config, seed=0)[0]


def rows_of(tables: Tables) -> list[list[Any]]:
    columns = ["user_id", "item_id", "rating", "title", "text", "timestamp"]
    return tables.reviews[columns].astype("object").where(tables.reviews[columns].notna(), None).values.tolist()


def test_amazon_2023(tmp_path: Path) -> None:
    """Variants of a product join under their parent; milliseconds become seconds; an item that nobody reviewed is left out."""
    review = {"rating": 5.0, "title": "Soft", "text": "Soft and light", "images": [], "asin": "B1", "parent_asin": "P1", "user_id": "AE7"}
    save(tmp_path / "Fashion.jsonl.gz", [{**review, "timestamp": 1588687728923, "verified_purchase": True}])
    meta = {"main_category": "FASHION", "title": "Scarf", "store": "Wool & Co", "categories": ["Women", "Scarves"], "details": {}, "price": None}
    save(tmp_path / "meta_Fashion.jsonl.gz", [{**meta, "parent_asin": "P1"}, {**meta, "parent_asin": "P2"}])
    tables = read("amazon", tmp_path)
    assert rows_of(tables) == [["AE7", "P1", 5.0, "Soft", "Soft and light", 1588687728]]
    assert tables.items.values.tolist() == [["P1", "Scarf", "Women > Scarves", "Wool & Co"]]


@pytest.mark.parametrize("literal", [False, True])
def test_amazon_2014_and_2018(tmp_path: Path, literal: bool) -> None:
    """JSON of 2018, and metadata of 2014 as Python literals with nested categories; a review without a text does not stay."""
    review = {
        "reviewerID": "A2",
        "asin": "0528",
        "reviewerName": "J",
        "helpful": [2, 3],
        "overall": 4.0,
        "summary": "ok",
        "unixReviewTime": 1370131200,
    }
    save(tmp_path / "reviews_Toys_5.json.gz", [{**review, "reviewText": "I like it"}, {**review, "asin": "0529"}])
    save(
        tmp_path / "meta_Toys.json.gz",
        [{"asin": "0528", "title": "Ball's", "categories": [["Toys", "Balls"], ["Gifts"]], "brand": "B"}],
        literal=literal,
    )
    tables = read("amazon", tmp_path / "reviews_Toys_5.json.gz")
    assert rows_of(tables) == [["A2", "0528", 4.0, "ok", "I like it", 1370131200]]
    assert tables.items.values.tolist()[0] == ["0528", "Ball's", "Toys > Balls", "B"]


def test_yelp(tmp_path: Path) -> None:
    review = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 3.0, "useful": 0, "text": "Fine.", "date": "2018-07-07 22:09:11"}
    save(tmp_path / "yelp_academic_dataset_review.json", [review])
    save(tmp_path / "yelp_academic_dataset_business.json", [{"business_id": "b", "name": "Inn", "categories": "Bars, Food", "stars": 4.0}])
    tables = read("yelp", tmp_path)
    assert rows_of(tables) == [["u", "b", 3.0, None, "Fine.", 1531001351]]
    assert tables.items["category"].tolist() == ["Bars, Food"]


def test_goodreads(tmp_path: Path) -> None:
    """0 means not rated; dates carry a zone."""
    review = {"user_id": "8842", "book_id": "24375664", "review_id": "5cd", "review_text": "Read it.", "date_added": "Fri Aug 25 13:55:02 -0700 2017"}
    save(tmp_path / "goodreads_reviews_dedup.json.gz", [{**review, "rating": 5}, {**review, "rating": 0, "book_id": "2"}])
    save(tmp_path / "goodreads_books.json.gz", [{"book_id": "24375664", "title": "A Book", "publisher": "P", "popular_shelves": []}])
    tables = read("goodreads", tmp_path)
    assert rows_of(tables) == [["8842", "24375664", 5.0, None, "Read it.", 1503694502], ["8842", "2", None, None, "Read it.", 1503694502]]
    assert tables.items.set_index("item_id").loc["24375664", "name"] == "A Book"


def save_lamp(folder: Path, task: str, question: dict[str, Any], output: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "dev_questions.json").write_text(json.dumps([{"id": "30", **question}]))
    (folder / "dev_outputs.json").write_text(json.dumps({"task": task, "golds": [{"id": "30", "output": output}]}))


def test_lamp_ratings_and_titles(tmp_path: Path) -> None:
    """The question becomes the target with its answer, the profile the history."""
    asked = "What is the score of the following review on a scale of 1 to 5? just answer with a number. review: It broke."
    save_lamp(tmp_path / "3", "LaMP_3", {"input": asked, "profile": [{"id": "300", "text": "Great.", "score": "5"}]}, "2")
    tables = read("lamp", tmp_path / "3", split="given")
    assert [row[2:5] for row in rows_of(tables)] == [[2.0, None, "It broke."], [5.0, None, "Great."]]
    assert tables.examples["review_id"].tolist() == ["x-dev-000001"]
    asked = "Generate a headline for the following article: Rain is coming."
    save_lamp(tmp_path / "4", "LaMP_4", {"input": asked, "profile": [{"id": "4", "text": "Sun.", "title": "Sunny"}]}, "Rain")
    assert [row[3:5] for row in rows_of(read("lamp", tmp_path / "4", split="given"))] == [["Rain", "Rain is coming."], ["Sunny", "Sun."]]


def test_lamp_tasks_that_are_not_ours_say_why(tmp_path: Path) -> None:
    save_lamp(tmp_path / "7", "LaMP_7", {"input": "Paraphrase the following tweet: x", "profile": []}, "y")
    with pytest.raises(DataFormatError, match=r"LaMP_7 asks to paraphrase.*LaMP_3, LaMP_4 and LaMP_5"):
        read("lamp", tmp_path / "7", split="given")
    (tmp_path / "7" / "dev_outputs.json").unlink()
    with pytest.raises(MissingFileError, match=r"dev_outputs\.json is missing"):
        read("lamp", tmp_path / "7", split="given")


def test_lamp_keeps_the_answers_of_its_test_split_to_itself(tmp_path: Path) -> None:
    """Beside dev its questions are left alone; alone they are refused, with what is missing."""
    folder = tmp_path / "4"
    save_lamp(folder, "LaMP_4", {"input": "Generate a headline for the following article: Rain is coming.", "profile": []}, "Rain")
    (folder / "test_questions.json").write_bytes((folder / "dev_questions.json").read_bytes())
    assert [row[3] for row in rows_of(read("lamp", folder, split="given"))] == ["Rain"]
    (folder / "dev_questions.json").unlink()
    with pytest.raises(MissingFileError, match=r"test_outputs\.json is missing.*use dev"):
        read("lamp", folder, split="given")


def test_other_answers_are_other_data_though_the_questions_stay(tmp_path: Path) -> None:
    """Else a finished run would go on with the old ones."""
    question = {"input": "Generate a headline for the following article: Rain is coming.", "profile": []}
    config = PrepareConfig(source="lamp", name="lamp", data=tmp_path)
    save_lamp(tmp_path, "LaMP_4", question, "Rain")
    before = fingerprint_data(config)
    save_lamp(tmp_path, "LaMP_4", question, "Rain")
    assert fingerprint_data(config) == before
    save_lamp(tmp_path, "LaMP_4", question, "Umbrellas")
    assert fingerprint_data(config) != before


def test_longlamp_reviews(tmp_path: Path) -> None:
    past = {"overall": "4.0", "reviewText": "Works.", "summary": "Good", "description": "A lamp"}
    question = {"reviewerId": "A1", "input": 'Generate the review text with the title "Bright" …', "output": "So bright.", "profile": [past]}
    save(tmp_path / "val.json", [question])
    tables = read("lamp", tmp_path, split="given")
    assert [row[:1] + row[2:5] for row in rows_of(tables)] == [["A1", None, "Bright", "So bright."], ["A1", 4.0, "Good", "Works."]]
    assert tables.examples["user_id"].tolist() == ["A1"]


def test_a_folder_without_the_files_says_which(tmp_path: Path) -> None:
    for source in ("amazon", "yelp", "goodreads", "lamp"):
        with pytest.raises(MissingFileError, match=r"holds no .*expected"):
            read(source, tmp_path, split="given" if source == "lamp" else "none")


def test_another_layout_is_told_with_its_keys(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"line 1 has the keys foo; expected those of Amazon 2023: user_id, parent_asin"):
        read("amazon", save(tmp_path / "a.jsonl", [{"foo": 1}]))


def test_sql(tmp_path: Path) -> None:
    """A SQLite file by its path, read only; ids of any size; what the database refuses is one line."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE r (who INTEGER, what TEXT, body TEXT, stars REAL)")
        database.executemany("INSERT INTO r VALUES (?, ?, ?, ?)", [(2**53 + 1, "a b", "Fine.", 4.0), (2**53, "c", "Bad.", None)])
    columns = ColumnMapping(user_id="who", item_id="what", text="body", rating="stars", title=None, timestamp=None)
    tables = read("sql", path, query="SELECT * FROM r ORDER BY who", columns=columns)
    assert rows_of(tables) == [[str(2**53), "c", None, None, "Bad.", None], [str(2**53 + 1), "a b", 4.0, None, "Fine.", None]]
    with pytest.raises(DataFormatError, match=r"the database refuses.*no such table: absent"):
        read("sql", path, query="SELECT * FROM absent", columns=columns)
    with pytest.raises(DataFormatError, match=r"has no column 'user_id' for user_id.* \(set prepare\.columns\.user_id, .*null if there is none\)$"):
        read("sql", path, query="SELECT * FROM r")  # `grasper init` looks at no database
    with pytest.raises(DataFormatError, match="refuses"):
        read("sql", path, query="DELETE FROM r", columns=columns)
    with pytest.raises(ConfigError, match=r"prepare\.query is not set"):
        read("sql", path)


def test_a_database_is_the_file_of_that_path(tmp_path: Path) -> None:
    """Also where its name means something in an address; nothing is made beside it."""
    folder = tmp_path / "C# & 50%41"
    folder.mkdir()
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("CREATE TABLE r (user_id TEXT, item_id TEXT, text TEXT)")
        database.execute("INSERT INTO r VALUES ('u', 'i', 'Fine.')")
    columns = ColumnMapping(title=None, rating=None, timestamp=None)
    assert [row[4] for row in rows_of(read("sql", folder / "shop.db", query="SELECT * FROM r", columns=columns))] == ["Fine."]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_rows_in_the_log_of_a_database_count(tmp_path: Path) -> None:
    """What was written last stands beside the file until the database takes it in."""
    path = tmp_path / "shop.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE r (user_id TEXT, item_id TEXT, text TEXT)")
    database.commit()
    config = PrepareConfig(source="sql", data=path, query="SELECT * FROM r", split="users")
    before = fingerprint_data(config)
    database.execute("INSERT INTO r VALUES ('u', 'i', 'Fine.')")
    database.commit()
    assert fingerprint_data(config) != before
    database.close()


def test_a_database_url_stays_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="in the variable SHOP_DB"):
        read("sql", None, query="SELECT 1", database_env="SHOP_DB")
    monkeypatch.setenv("SHOP_DB", "postgresql+nonsense://user:secret@host/x")
    with pytest.raises(ConfigError) as caught:
        read("sql", None, query="SELECT 1", database_env="SHOP_DB")
    assert "secret" not in str(caught.value)


def test_hub_rows_are_mapped_as_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """All splits join; name, variant and revision are taken apart; nothing of the data set's own code is run."""
    datasets = pytest.importorskip("datasets", reason="needs the extra hub")

    asked: list[Any] = []

    def load(name: str, variant: str | None, *, revision: str | None, streaming: bool) -> dict[str, list[dict[str, Any]]]:
        asked.extend([name, variant, revision, streaming])
        return {"train": [{"u": 1, "i": 2, "t": "a"}], "test": [{"u": 1, "i": 3, "t": "b"}]}

    monkeypatch.setattr(datasets, "load_dataset", load)
    columns = ColumnMapping(user_id="u", item_id="i", text="t", title=None, rating=None, timestamp=None)
    tables = read("hub", Path("owner/name:raw@v1"), columns=columns)
    assert asked == ["owner/name", "raw", "v1", True]
    assert tables.reviews["text"].tolist() == ["a", "b"]


def test_every_source_says_what_it_is() -> None:
    for name, source in sources().items():
        assert source.name == name
        assert source.reads
        assert source.licence


LONG_REVIEW = (
    'Generate the review text written by a reviewer who has given an overall rating of "4.0" for a product with description "A pot". '
    'The summary of the review text is "Good pot".'
)


def test_the_hubs_parquet_of_longlamp(tmp_path: Path) -> None:
    """The rows name rating and summary in the instruction only; the rating, which is quoted first, is no title."""
    past = [{"overall": "5.0", "description": "A pot", "summary": "Great", "reviewText": "Great pot"}]
    rows = [{"reviewerId": user, "input": LONG_REVIEW, "output": f"It holds a lot, says {user}.", "profile": past} for user in ("A1", "A2")]
    for number, row in enumerate(rows):
        pd.DataFrame([row]).to_parquet(tmp_path / f"val-0000{number}-of-00002.parquet")
    tables, _ = build_tables(PrepareConfig(source="lamp", name="long", data=tmp_path), seed=0)
    targets = [example.target for example in tables.select("dev")]
    assert sorted((target.user_id, target.title, target.rating, target.text) for target in targets) == [
        ("A1", "Good pot", 4, "It holds a lot, says A1."),
        ("A2", "Good pot", 4, "It holds a lot, says A2."),
    ]
