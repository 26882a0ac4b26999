"""The SQL source on a real PostgreSQL server, started here; skipped where its binaries or the driver are not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
from postgres_server import PASSWORD, binaries, running_server

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, GrasperError
from grasper.prepare import build_tables
from grasper.prepare.inputs import find_inputs
from grasper.prepare.sql import read_query

sqlalchemy = pytest.importorskip("sqlalchemy", reason="needs the extra `sql`")
pytest.importorskip("psycopg", reason="needs PostgreSQL's driver (pip install 'psycopg[binary]')")
pytestmark = pytest.mark.skipif(binaries() is None, reason="needs PostgreSQL's binaries (apt-get install postgresql)")

TABLE = """
CREATE TABLE reviews (id bigserial PRIMARY KEY, customer bigint, sku uuid, stars numeric(3, 1), body text, head text, at timestamptz, day date);
INSERT INTO reviews (customer, sku, stars, body, head, at, day) VALUES
  (9007199254740993, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 4.0, 'Schön 😀 שלום', NULL, '2024-05-31 12:00:00+02', '2024-05-31'),
  (-5, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', NULL, E'two\\nlines', 'at 10:30, 100%s', NULL, NULL),
  (NULL, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', 3, 'by nobody', 'x', '1969-12-31 23:59:59Z', '0900-01-01'),
  (7, NULL, 'NaN', NULL, '', NULL, NULL),
  (8, NULL, NULL, NULL, NULL, 'infinity', NULL);
CREATE TABLE many AS SELECT n AS id, n % 1000 AS customer, n AS sku, repeat('word ', 100) || n AS body FROM generate_series(1, 200000) AS n;
"""
COLUMNS = {"user_id": "customer", "item_id": "sku", "text": "body", "title": "head", "rating": "stars", "timestamp": "at"}
PLAIN = {"user_id": "customer", "item_id": "sku", "text": "body", "title": None, "rating": None, "timestamp": None}


def url(address: str, password: str = PASSWORD, database: str = "postgres") -> str:
    return f"postgresql+psycopg://postgres:{quote(password, safe='')}@{address}/{database}"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_server() as where:
        engine = sqlalchemy.create_engine(url(where))
        with engine.begin() as connection:
            for statement in TABLE.strip().split(";\n"):
                connection.exec_driver_sql(statement.rstrip(";").replace("%", "%%"))
        engine.dispose()
        yield where


@pytest.fixture(autouse=True)
def _connected(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url(address))


def asking(query: str, columns: dict[str, str | None], **settings: Any) -> PrepareConfig:
    return PrepareConfig(source="sql", name="shop", split="none", query=query, columns=columns, **settings)  # type: ignore[arg-type]


def rows(config: PrepareConfig) -> pd.DataFrame:
    return pd.concat([batch.rows for batch in find_inputs(config)[0].read(config)], ignore_index=True)


def test_every_type_becomes_what_it_stands_for() -> None:
    """A large id exactly, UUIDs, decimals, zones, NULL and NaN as missing, Unicode; colons and percent signs of the query as they stand."""
    where = "id < 5 AND (body NOT LIKE '%:x%' OR body IS NULL)"
    found = rows(asking(f"SELECT *, '12:30'::time FROM reviews WHERE {where} ORDER BY id", {**COLUMNS}))
    assert found["user_id"].tolist()[:2] == ["9007199254740993", "-5"]
    assert found["item_id"][0] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert found["text"].tolist()[:3] == ["Schön 😀 שלום", "two\nlines", "by nobody"]
    assert found["title"][1] == "at 10:30, 100%s"
    assert found["rating"][0] == "4"
    assert found["rating"].isna().tolist() == [False, True, False, True]
    assert found["user_id"].isna().tolist() == [False, False, True, False]


def test_prepared_tables_of_a_server() -> None:
    tables, cleaned = build_tables(asking("SELECT * FROM reviews WHERE id < 4 ORDER BY id", {**COLUMNS}), seed=0)
    assert tables.reviews["timestamp"].dropna().tolist() == [1_717_149_600]  # 10:00 in UTC
    assert tables.reviews["user_id"].tolist() == ["9007199254740993", "-5"]
    assert cleaned["unusable"] == 1
    tables, _ = build_tables(asking("SELECT * FROM reviews WHERE id = 1", {**COLUMNS, "timestamp": "day"}), seed=0)
    assert tables.reviews["timestamp"].tolist() == [1_717_113_600]


def test_dates_that_no_calendar_holds_are_told() -> None:
    with pytest.raises(DataFormatError, match=r"the database refuses .*timestamp too large"):
        rows(asking("SELECT * FROM reviews WHERE id = 5", {**COLUMNS}))


@pytest.mark.parametrize(
    ("query", "columns", "error", "message"),
    [
        ("SELECT * FROM nothere", PLAIN, DataFormatError, r'^\$DATABASE_URL: the database refuses \(relation "nothere" does not exist\)$'),
        ("SELECT 1; SELECT 2", PLAIN, DataFormatError, "multiple commands"),
        ("DELETE FROM reviews", PLAIN, DataFormatError, "syntax error"),
        ("SELECT * FROM many", {**PLAIN, "text": "bodies"}, DataFormatError, "no column 'bodies' for text; it has: body"),
        ("SELECT *, true AS t FROM many", {**PLAIN, "text": "t"}, DataFormatError, "row 1: 't' is a bool, expected text"),
    ],
)
def test_a_query_that_does_not_fit_is_told_in_one_line(query: str, columns: dict[str, str | None], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as told:
        rows(asking(query, columns))
    assert "\n" not in str(told.value)


def test_logins_that_fail_never_tell_the_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = asking("SELECT 1", PLAIN)
    cases = {
        url(address, "wr0ng:pass"): (DataFormatError, "password authentication failed"),
        url(address, database="absent"): (DataFormatError, 'database "absent" does not exist'),
        url("127.0.0.1:9"): (DataFormatError, "Connection refused"),
        f"postgresql+psycopg://postgres:{PASSWORD}@{address}/x": (GrasperError, "DATABASE_URL"),  # not escaped: its @ and : say something else
        "postgresql+psycopg://postgres:wr0ng:pass@127.0.0.1:port/x": (ConfigError, "holds no SQLAlchemy URL"),
    }
    for given, (error, message) in cases.items():
        monkeypatch.setenv("DATABASE_URL", given)
        with pytest.raises(error, match=message) as told:
            list(read_query("SELECT 1", config))
        assert not any(part in str(told.value) for part in ("s3cret", "wr0ng", "\n"))


def test_rows_are_streamed() -> None:
    """200,000 rows of 500 characters, 100 MB: a process that has read 60,000 of them grows by less than half of the rest."""
    script = (
        "import resource\nfrom grasper.config import PrepareConfig\nfrom grasper.prepare.sql import read_query\n"
        f"config = PrepareConfig(source='sql', columns={PLAIN!r})\n"
        "def count(query): return sum(len(part.rows) for part in read_query(query, config))\n"
        "count('SELECT * FROM many WHERE id <= 60000')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(count('SELECT * FROM many'), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert int(answer[0]) == 200_000
    assert int(answer[1]) < 35
