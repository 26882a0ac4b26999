"""Files of requests: read in any form, answered batch by batch, continued after a kill, never half-written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from worlds import SeededModel, system_of

from grasper import asking, batch
from grasper.asking import Asker, as_reviews
from grasper.batch import answer_all, ask_all
from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, GrasperError, RunLockedError, RunMismatchError
from grasper.records import Tables
from grasper.retrieve.store import ReviewStore
from grasper.rows import read_rows

ROWS = [
    {"user_id": "dora", "item_id": "boat", "title": "Windy"},
    {"user_id": "nobody", "item_id": "inn", "title": None},
    {"user_id": None, "item_id": "cafe", "title": "=1+1", "history": [{"item_id": "inn", "text": "Fine."}]},
]


def answer(tables: Tables, out: Path, model: SeededModel | None = None, rows: Sequence[dict[str, Any]] = ROWS, **options: Any) -> int:
    system = system_of("lamp", tables, model or SeededModel())
    asked = ask_all(Asker(tables, "run"), rows, "long")

    def describe(one: batch.Asked, answered: Any) -> dict[str, Any]:
        return {"user_id": one.row["user_id"], "title": one.row["title"], "answer": answered.output.text, "is_newcomer": one.is_newcomer}

    return answer_all(system.personalize, asked, "long", out, origin={"rows": list(rows)}, describe=describe, **options)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_format_holds_the_same_answers_in_order(tables: Tables, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    assert answer(tables, out) == 3
    rows = read_rows(out)
    assert [row["user_id"] for row in rows] == ["dora", "nobody", None]
    assert all(row["answer"].startswith("It was a fine place") for row in rows)
    assert rows[2]["title"] == ("'=1+1" if suffix == ".csv" else "=1+1")
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_file_that_was_cut_off_is_continued(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """Killed in any batch: no file yet, nothing is asked twice, and the end is that of an undisturbed call."""
    monkeypatch.setattr(batch, "BATCH_SIZE", 1)
    answer(tables, tmp_path / "whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        answer(tables, tmp_path / "cut.jsonl", SeededModel(fails_at))
    assert not (tmp_path / "cut.jsonl").exists()
    rest = SeededModel()
    answer(tables, tmp_path / "cut.jsonl", rest)
    assert rest.calls == 3 - fails_at
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_other_requests_are_no_continuation(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BATCH_SIZE", 1)
    out = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        answer(tables, out, SeededModel(1))
    with pytest.raises(RunMismatchError, match=r"begun with other requests.*--overwrite"):
        answer(tables, out, rows=ROWS[:2])
    assert answer(tables, out, rows=ROWS[:2], overwrite=True) == 2
    with pytest.raises(ConfigError, match="exists already"):
        answer(tables, out)
    with pytest.raises(ConfigError, match=r"unknown format '\.txt'"):
        answer(tables, tmp_path / "out.txt")


def test_a_column_may_be_called_as_the_log_calls_its_own(tables: Tables, tmp_path: Path) -> None:
    """The requests' columns are a record of their own in the file that is being written."""
    system, out = system_of("lamp", tables, SeededModel()), tmp_path / "out.jsonl"
    rows = [{**row, "key": "mine", "row": 7, "origin": "Riga"} for row in ROWS]
    asked = ask_all(Asker(tables, "run"), rows, "long")
    answer_all(system.personalize, asked, "long", out, origin={}, describe=lambda one, answered: dict(one.row))
    assert [(row["key"], row["row"], row["origin"]) for row in read_rows(out)] == 3 * [("mine", 7, "Riga")]


def test_requests_of_one_person_about_one_item_do_not_disturb_each_other(tables: Tables) -> None:
    """They share their synthetic reviews, and each is answered as it would be alone."""
    rows = [{"user_id": "nobody", "item_id": "inn", "title": title} for title in ("Windy", "Calm", "Late", "Loud")]

    def personalized(asked: Sequence[batch.Asked]) -> list[Any]:
        return system_of("grasper-popular-items", tables, SeededModel()).personalize("long", [one.example for one in asked])

    asked = ask_all(Asker(tables, "run"), rows, "long")
    together = personalized(asked)
    assert [one.output for one in together] == [personalized([one])[0].output for one in asked]
    items = [review.item.item_id for review in together[0].synthetic]
    assert len(items) == len(set(items)) > 0


def test_all_faulty_rows_are_told_at_once(tables: Tables) -> None:
    rows = [{"item_id": "inn"}, {"user_id": "dora"}, {"item_id": "moon"}, {"item_id": "inn", "rating": "nine"}, {"item_id": "inn", "history": "{"}]
    with pytest.raises(
        DataFormatError, match=r"4 of 5 requests.*row 2: no 'item_id'; row 3: item 'moon'.*row 4: .*'rating' is 'nine'.*row 5: 'history'"
    ):
        ask_all(Asker(tables, "run"), rows, "long")


def test_a_column_that_is_not_there_is_told_once(tables: Tables) -> None:
    with pytest.raises(DataFormatError, match=r"^no column 'item_id'; the columns are: user, item$"):
        ask_all(Asker(tables, "run"), [{"user": "dora", "item": "inn"}] * 9, "long")
    with pytest.raises(DataFormatError, match=r"the columns are: user_id;item_id \(separated by ';'\? save it with commas\)"):
        ask_all(Asker(tables, "run"), [{"user_id;item_id": "dora;inn"}], "long")


def test_the_same_rows_asked_for_another_task_are_other_requests(tables: Tables) -> None:
    """What was answered to one task is no answer to another, where a file goes on."""
    rows = [{"item_id": "inn", "title": "Windy", "text": "Windy but fun."}]
    keys = {ask_all(Asker(tables, "run"), rows, task)[0].key for task in ("long", "title", "rating")}
    assert len(keys) == 3


def test_of_many_faulty_rows_no_more_are_looked_at_than_are_told(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find out what an unknown id resembles takes time."""
    looked_up: list[str] = []
    monkeypatch.setattr(asking, "nearest_first", lambda name, known: looked_up.append(name) or known)
    rows = [{"item_id": "inn"}, *({"item_id": f"moon{number}"} for number in range(100))]
    with pytest.raises(DataFormatError, match=r"5 of the first 6 of 101 requests cannot be asked: row 2: item 'moon0'.*row 6: item 'moon4'"):
        ask_all(Asker(tables, "run"), rows, "long")
    assert len(looked_up) == 5


@pytest.mark.parametrize("history", [[], "[]", [{"item_id": "cafe", "text": "Good cake."}], '[{"item_id": "cafe", "user_id": "dora"}]'])
def test_what_a_known_user_wrote_about_the_item_stays_hidden_whatever_history_they_bring(tables: Tables, history: Any) -> None:
    wrote = tables.reviews[tables.reviews["user_id"] == "dora"]
    store = ReviewStore(tables)
    for item_id in wrote["item_id"]:
        (asked,) = ask_all(Asker(tables, "run"), [{"user_id": "dora", "item_id": item_id, "history": history}], "long")
        assert (asked.is_newcomer, asked.example.user_id) == (False, "dora")
        assert not any(review.user_id == "dora" for review in store.pool.neighbours(asked.example))
        assert item_id not in {review.item_id for review in store.pool.own(asked.example)}
        others = store.pool.neighbours(replace(asked.example, target=replace(asked.example.target, user_id="somebody"), history=()))
        assert any(review.user_id == "dora" for review in others), "a stranger sees it"


def test_what_people_bring_is_read_as_the_data_of_the_run_were(tables: Tables) -> None:
    """On a scale of ten, in milliseconds and with tags, in a history and in a request; a record is ours already."""
    reading = PrepareConfig(rating_scale=10, timestamp_unit="ms", strip_html=True)
    asker = Asker(tables, "run", reading)
    history = json.dumps([{"item_id": "cafe", "text": "<b>Good</b> cake.", "rating": 10, "timestamp": 1_700_000_000_000}])
    (asked,) = ask_all(asker, [{"item_id": "inn", "rating": "8", "history": history}], "long")
    assert asked.example.target.rating == 4
    (review,) = asked.example.history or ()
    assert (review.text, review.rating, review.timestamp) == ("Good cake.", 5, 1_700_000_000)
    own = asking.as_reviews([{"item_id": "inn", "rating": 6}, review], reading)
    assert [one.rating for one in own] == [3, 5]
    assert own[1].timestamp == 1_700_000_000
    with pytest.raises(DataFormatError, match="'rating' is '11', expected a number from 1 to 10"):
        ask_all(asker, [{"item_id": "inn", "rating": "11"}], "long")


def test_ids_are_read_as_those_of_the_data_were(tables: Tables) -> None:
    """Padded by a database or holding what nobody sees, they are the ids that the run's tables hold without it."""
    padded = {"user_id": "dora  ", "item_id": " boat\u200b\r\n", "history": None}
    asked = ask_all(Asker(tables, "run"), [padded, {"user_id": "dora", "item_id": "boat"}], "long")
    assert asked[0].example == asked[1].example
    assert not asked[0].is_newcomer


@pytest.mark.parametrize(
    ("review", "message"),
    [
        ('{"item_id": "\\ud800"}', "item '' is not in run"),
        ('{"item_id": 1%s}', "item '10+' is not in run"),
        ('{"item_id": "inn", "rating": 1%s}', "'rating' is 10+"),
        ('{"item_id": "inn", "timestamp": -1%s}', "'timestamp' is -inf, expected Unix seconds"),
        ('{"item_id": "inn", "rating": "\\udfff9"}', "'rating' is '.*9', expected a number from 1 to 5"),
    ],
)
def test_what_json_can_say_and_no_column_can_hold_is_refused_in_words(tables: Tables, review: str, message: str) -> None:
    """Half characters, and whole numbers of hundreds of digits, from whoever sends requests to a service."""
    asker, review = Asker(tables, "run"), review.replace("%s", "0" * 400)
    for ask_with in (lambda: asker.people([json.loads(review)]), lambda: ask_all(asker, [{"item_id": "inn", "history": f"[{review}]"}], "long")):
        with pytest.raises(GrasperError, match=message):
            ask_with()


def test_half_characters_are_left_out_of_ids_and_dates(tables: Tables) -> None:
    """As they are of texts, and of all that a file of requests holds."""
    found = as_reviews([{"item_id": "in\ud800n", "user_id": "\udfffmia", "timestamp": "2024-05-31\udc00"}])[0]
    assert (found.item_id, found.user_id, found.timestamp) == ("inn", "mia", 1_717_113_600)
    assert Asker(tables, "run").known_user("\ud83ddora") == "dora"


def test_a_history_is_of_the_person_who_brings_it(tables: Tables) -> None:
    rows = [{"user_id": "dora", "item_id": "boat", "history": [{"item_id": "inn", "user_id": "lee", "text": "Fine."}]}]
    with pytest.raises(DataFormatError, match="holds a review by 'lee', expected those of 'dora' alone"):
        ask_all(Asker(tables, "run"), rows, "long")


@pytest.mark.parametrize("history", [["FelixD"], '"FelixD"', 5, "[1]", {"user_id": "dora"}, [[{"item_id": "inn"}]], "[" * 100_000])
def test_a_history_that_is_no_list_of_reviews_is_no_user_either(tables: Tables, history: Any) -> None:
    with pytest.raises(DataFormatError, match=r"row 2: .*history"):
        ask_all(Asker(tables, "run"), [{"item_id": "inn"}, {"item_id": "inn", "history": history}], "long")


def test_two_processes_do_not_write_one_file(tables: Tables, tmp_path: Path) -> None:
    """The second is refused while the first one writes; the lock goes with it, also where it fails."""
    out = tmp_path / "out.csv"

    class Meanwhile(SeededModel):
        def generate(self, *arguments: Any, **options: Any) -> Any:
            with pytest.raises(RunLockedError, match=r"out\.csv is being written by another process"):
                answer(tables, out)
            return super().generate(*arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        answer(tables, out, SeededModel(0))
    assert answer(tables, out, Meanwhile()) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
