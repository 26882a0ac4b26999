"""The result of a SQL query, streamed through SQLAlchemy (extra `sql`).

`prepare.data` is a SQLite file, or the environment variable `prepare.database_env` holds the SQLAlchemy URL of a server, password included: it is
never part of the configuration. `prepare.query` selects the rows, ordered so that the same data give the same review ids.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.prepare.formats import Batch, gather
from grasper.prepare.sources import SOURCES, Input, Source
from grasper.prepare.table import mapped_columns
from grasper.runs import fingerprint, fingerprint_file

_FETCHED_ROWS = 10_000


def find_sql(config: PrepareConfig) -> list[Input]:
    """One input: the query. For a SQLite file its content counts in the fingerprint; that a server's rows changed is not seen.

    Raises:
        ConfigError: No query, or neither a file nor the environment variable.
        MissingFileError: The file does not exist.
    """
    if not config.query:
        raise ConfigError("prepare.query is not set: the SQL that selects the reviews, for example SELECT * FROM reviews ORDER BY id")
    if config.data is None and not os.environ.get(config.database_env):
        raise ConfigError(f"source 'sql' needs prepare.data (a SQLite file) or the database's SQLAlchemy URL in the variable {config.database_env}")
    if config.data is not None and not config.data.is_file():
        raise MissingFileError(f"{config.data} does not exist, expected a SQLite file")
    content = fingerprint_file(config.data) if config.data else None
    return [Input(config.name, partial(read_query, config.query), identity=fingerprint([config.query, content]))]


def read_query(query: str, config: PrepareConfig) -> Iterator[Batch]:
    """The rows of the query, fetched in parts.

    Raises:
        ConfigError: SQLAlchemy or the database's driver is not installed.
        DataFormatError: The database refuses; the message holds no password.
    """
    try:
        import sqlalchemy
    except ImportError:
        raise ConfigError("source 'sql' needs the extra `sql` (pip install 'grasper[sql]')") from None
    url = sqlalchemy.URL.create("sqlite", database=f"file:{config.data}", query={"mode": "ro", "uri": "true"}) if config.data else None
    place = config.data or Path(f"${config.database_env}")
    try:
        engine = sqlalchemy.create_engine(url or os.environ[config.database_env].strip())
        with engine.connect().execution_options(yield_per=_FETCHED_ROWS) as connection:
            rows = connection.execute(sqlalchemy.text(query)).mappings()
            yield from gather(place, "row", ((number, _size(row), dict(row)) for number, row in enumerate(rows, start=1)), mapped_columns(config))
        engine.dispose()
    except (sqlalchemy.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(f"the driver of this database is not installed ({error})") from None
    except sqlalchemy.exc.ArgumentError:
        expected = "postgresql+psycopg://user:password@host/name"
        raise ConfigError(f"{config.database_env} holds no SQLAlchemy URL, expected for example {expected}") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        raise DataFormatError(f"{place}: the database refuses ({reason})") from None


def _size(row: Any) -> int:
    return sum(len(value) for value in row.values() if isinstance(value, str))


SOURCES.register(
    "sql",
    Source("sql", "a SQLite file, or nothing where DATABASE_URL names a server; prepare.query selects the reviews", find_sql, extra="sql"),
)
