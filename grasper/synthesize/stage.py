"""The stage: examples → `synthetic.jsonl`, batch by batch, resuming after a kill; a later call with more examples writes the missing ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grasper.files import BatchLog
from grasper.progress import Progress
from grasper.records import Example, SyntheticReview

BATCH_SIZE = 16
"""Examples in one batch, with all their items, where the model does not want more at once; a kill loses at most one batch."""


def synthesize(
    write: Callable[[Sequence[Example]], Sequence[SyntheticReview]],
    examples: Sequence[Example],
    out_dir: Path,
    *,
    name: str,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Write `synthetic.jsonl`: one `SyntheticReview` per example and predicted item, rejected ones included with their reason.

    What the file holds already is kept; the end is the same as that of an undisturbed run.

    Args:
        write: Gives the reviews of a batch of examples, see `System.synthesize`.
        name: Method, for the progress.
        batch_size: Examples in one batch; None: `BATCH_SIZE`.

    Returns:
        Counts for the manifest: written, kept, rejected by reason, tokens.
    """
    log, size = BatchLog(out_dir / "synthetic.jsonl"), batch_size or BATCH_SIZE
    missing = sorted((example for example in examples if example.example_id not in log.done), key=lambda example: example.example_id)
    with Progress(f"synthesize/{name}", len(examples), done=len(examples) - len(missing)) as progress:
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            reviews = write(batch)
            log.append((asdict(review) for review in reviews), done=[example.example_id for example in batch])
            progress.advance(len(batch))
    return _counts(log.records, len(examples))


def _counts(records: Sequence[dict[str, Any]], num_examples: int) -> dict[str, Any]:
    rejected = Counter(record["rejected"] for record in records if record["rejected"])
    return {
        "examples": num_examples,
        "written": len(records),
        "kept": len(records) - rejected.total(),
        "rejected": dict(rejected.most_common()),
        "tokens_in": sum(record["tokens_in"] for record in records),
        "tokens_out": sum(record["tokens_out"] for record in records),
    }
