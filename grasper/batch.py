"""A file of requests → a file of answers: batch by batch, resumable, for people who want texts and items, not a benchmark."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grasper.asking import Asker, as_id
from grasper.errors import ConfigError, DataFormatError, GrasperError, RunLockedError, RunMismatchError
from grasper.files import BatchLog
from grasper.progress import Progress
from grasper.records import Example, Task, none_if_missing
from grasper.rows import FORMATS, require_column, write_rows
from grasper.runs import fingerprint
from grasper.system import Personalized

BATCH_SIZE = 32
"""Requests in one batch; a kill loses at most one."""
PART_FORMAT = 2
"""Of the file that is being written; one of another format is not continued."""
_MAX_TOLD = 5
"""Faulty rows that an error names."""


@dataclass(frozen=True)
class Asked:
    """One row of a file of requests, ready to be answered."""

    key: str
    row: Mapping[str, Any]
    example: Example
    is_newcomer: bool


def ask_all(asker: Asker, rows: Sequence[Mapping[str, Any]], task: Task) -> list[Asked]:
    """Every row as a request. A user whom the run does not know is a newcomer, with the reviews of the column `history` or none.

    The history that a known user brings along stands in the place of the one in the run; what they wrote about the item stays hidden all the same.

    Raises:
        DataFormatError: Rows that cannot be asked; the message names the first ones, with what each lacks, and no further row is looked at then.
    """
    require_column(rows, "item_id")
    asked: list[Asked] = []
    faults: list[str] = []
    for number, row in enumerate(rows, start=1):
        if len(faults) == _MAX_TOLD:
            break  # to name what resembles an unknown id takes tenths of a second
        try:
            asked.append(ask(asker, row, task, number))
        except GrasperError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        looked_at = f"{len(rows)}" if len(asked) + len(faults) == len(rows) else f"the first {len(asked) + len(faults)} of {len(rows)}"
        raise DataFormatError(f"{len(faults)} of {looked_at} requests cannot be asked: {'; '.join(faults)}")
    return asked


def ask(asker: Asker, row: Mapping[str, Any], task: Task, number: int = 1) -> Asked:
    """One row as a request.

    Raises:
        GrasperError: It cannot be asked.
    """
    given = {name: row.get(name) for name in asker.given(task)}
    if none_if_missing(row.get("item_id")) is None:
        raise DataFormatError("no 'item_id'")
    who, user_id = _person(asker, row)
    example = asker.request(who, row["item_id"], task, user_id=user_id, **given)
    return Asked(f"{number}/{fingerprint([row, task])}", row, example, is_newcomer=user_id is None and not isinstance(who, str))


def _person(asker: Asker, row: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Who asks: a known user's id, or a history with the id of the known user who brings it; without the latter it is a newcomer's."""
    history = row.get("history")
    if isinstance(history, str):
        try:
            history = json.loads(history)
        except (ValueError, RecursionError):
            raise DataFormatError("'history' is no JSON list of reviews") from None
    if not (history is None or isinstance(history, Mapping) or (isinstance(history, list) and all(isinstance(one, Mapping) for one in history))):
        raise DataFormatError(f"'history' is {history!r:.60}, expected a list of reviews, each with at least 'item_id'")
    user = none_if_missing(row.get("user_id"))
    known = as_id(user) if user is not None and asker.knows_user(user) else None
    if history is None and known is not None:
        return known, None
    return history or [], known


def answer_all(
    personalize: Callable[[Task, Sequence[Example]], Sequence[Personalized]],
    asked: Sequence[Asked],
    task: Task,
    out_path: Path,
    *,
    origin: Mapping[str, Any],
    describe: Callable[[Asked, Personalized], dict[str, Any]],
    overwrite: bool = False,
) -> int:
    """Answer all requests into one file, which appears when all are answered; the same call again goes on where it was cut off.

    Args:
        personalize: Answers a batch, see `System.personalize`.
        origin: What decides the answers; a file that was begun with another origin is not continued.
        describe: Turns an answer into a row.

    Returns:
        The number of rows.

    Raises:
        ConfigError: An unknown format, or the file is there already and `overwrite` is not set.
        RunMismatchError: The file was begun by another command.
        RunLockedError: Another process writes it now.
    """
    if out_path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{out_path}: unknown format '{out_path.suffix}', expected one of {', '.join(FORMATS)}")
    if out_path.exists() and not overwrite:
        raise ConfigError(f"{out_path} exists already; choose another --out, or replace it with --overwrite")
    part, begun = out_path.with_name(f".{out_path.name}.part"), fingerprint([PART_FORMAT, origin])
    with _held(out_path):
        log = BatchLog(part)
        if log.records and log.records[0].get("origin") != begun:
            if not overwrite:
                raise RunMismatchError(f"{out_path} was begun with other requests or settings; choose another --out, or start anew with --overwrite")
            part.unlink()
            log = BatchLog(part)
        if not log.records:
            log.append([{"origin": begun}], done=["origin"])
        missing = [one for one in asked if one.key not in log.done]
        with Progress("writing", len(asked), done=len(asked) - len(missing)) as progress:
            for start in range(0, len(missing), BATCH_SIZE):
                batch = missing[start : start + BATCH_SIZE]
                answers = personalize(task, [one.example for one in batch])
                rows = [{"key": one.key, "row": describe(one, answer)} for one, answer in zip(batch, answers, strict=True)]
                log.append(rows, done=[one.key for one in batch])
                progress.advance(len(batch))
        by_key = {record["key"]: record["row"] for record in log.records if "key" in record}
        write_rows(out_path, [by_key[one.key] for one in asked])
        part.unlink()
    return len(asked)


@contextmanager
def _held(out_path: Path) -> Iterator[None]:
    """Hold a file that is being written against a second writer; the lock file is gone afterwards."""
    path = out_path.with_name(f".{out_path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunLockedError(f"{out_path} is being written by another process; wait for it, or choose another --out") from None
            try:
                if os.fstat(handle.fileno()).st_ino != path.stat().st_ino:
                    continue
            except FileNotFoundError:
                continue  # the other process has ended between the two calls, and taken its lock with it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
