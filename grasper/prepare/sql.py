"""The result of a SQL query, streamed through SQLAlchemy (extra `sql`).

`prepare.data` is a SQLite file, or the environment variable `prepare.database_env` holds the SQLAlchemy URL of a server, password included: it is
never part of the configuration. `prepare.query` selects the rows, ordered so that the same data give the same review ids.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from grasper.config import PrepareConfig
from grasper.errors import ConfigError, DataFormatError, MissingFileError
from grasper.files import fingerprint_file
from grasper.prepare.batches import Batch, gather
from grasper.prepare.sources import SOURCES, Input, Source
from grasper.prepare.table import mapped_columns
from grasper.runs import fingerprint

_FETCHED_ROWS = 10_000
_EXPECTED = "for example postgresql+psycopg://user:password@host/name (letters such as @ : / in the password as %40 %3A %2F)"


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
    content = [fingerprint_file(path) for path in _files_of(config.data)] if config.data else [None]
    return [Input(config.name, partial(read_query, config.query), identity=fingerprint([config.query, *content]))]


def _files_of(database: Path) -> list[Path]:
    """A SQLite file, and the log beside it that holds what was written last, where there is one."""
    log = database.with_name(f"{database.name}-wal")
    return [database, log] if log.is_file() and log.stat().st_size else [database]


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
    # A path is no URI: what follows # or ? in it would be taken off, and the file in its place opened, or made.
    file = f"file:{quote(str(config.data))}"
    url = sqlalchemy.URL.create("sqlite", database=file, query={"mode": "ro", "uri": "true"}) if config.data else None
    place = config.data or Path(f"${config.database_env}")
    try:
        engine = sqlalchemy.create_engine(url or os.environ[config.database_env].strip(), hide_parameters=True)
    except (sqlalchemy.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(f"the driver of this database is not installed ({error})") from None
    except (sqlalchemy.exc.ArgumentError, ValueError):  # also a port that is no number, as of a password with an @ in it
        raise ConfigError(f"{config.database_env} holds no SQLAlchemy URL, expected {_EXPECTED}") from None
    try:
        with engine.connect().execution_options(stream_results=True, max_row_buffer=_FETCHED_ROWS) as connection:
            literal = sqlalchemy.text(query.replace(":", "\\:"))  # a colon in the query is no parameter
            rows = connection.execute(literal).mappings()
            yield from gather(place, "row", ((number, _plain(row)) for number, row in enumerate(rows, start=1)), mapped_columns(config))
    except sqlalchemy.exc.ResourceClosedError:
        raise ConfigError("prepare.query returns no rows, expected a SELECT") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise DataFormatError(f"{place}: the database refuses ({_reason(error, engine.url.password)})") from None
    finally:
        engine.dispose()


def _plain(row: Any) -> dict[str, Any]:
    """The row with values of the database's own types, such as UUIDs and intervals, as text."""
    return {name: str(value) if isinstance(value, UUID | timedelta) else value for name, value in row.items()}


def _reason(error: Exception, password: Any) -> str:
    """What the database says in its first line, without the cursor that was put around the query, and without the password."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    told = " ".join((lines[0] if lines else type(error).__name__).split())[:300]
    return told.replace(str(password), "***") if password else told


SOURCES.register(
    "sql",
    Source("sql", "a SQLite file, or nothing where DATABASE_URL names a server; prepare.query selects the reviews", find_sql, extra="sql"),
)
