"""What methods wrote, read back: their outputs and their synthetic reviews."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from grasper.errors import RunMismatchError
from grasper.files import read_records
from grasper.records import Output, SyntheticReview

_Record = TypeVar("_Record", Output, SyntheticReview)


def load_outputs(path: Path) -> list[Output]:
    """What a method answered, in the order it was written; of a stage that was cut off, the whole batches.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: It is damaged, or holds a line that is no output.
    """
    return _load(path, "generate", Output.from_json)


def load_synthetic(path: Path) -> list[SyntheticReview]:
    """The synthetic reviews of a method, rejected ones included, by example and rank; of a stage that was cut off, the whole batches.

    Raises:
        MissingFileError: The file does not exist.
        RunMismatchError: It is damaged, or holds a line that is no synthetic review.
    """
    return _load(path, "synthesize", SyntheticReview.from_json)


def _load(path: Path, stage: str, as_record: Callable[[Mapping[str, Any]], _Record]) -> list[_Record]:
    written = []
    for record in read_records(path, stage):
        try:
            written.append(as_record(record))
        except (KeyError, TypeError):
            found = ", ".join(sorted(record))
            raise RunMismatchError(f"{path} holds a line of another form (its keys: {found}); delete it and run `grasper {stage}` again") from None
    return written


def by_example(reviews: Sequence[SyntheticReview]) -> dict[str, list[SyntheticReview]]:
    """Synthetic reviews by the example that they were written for."""
    grouped: dict[str, list[SyntheticReview]] = {}
    for review in reviews:
        grouped.setdefault(review.example_id, []).append(review)
    return grouped
