"""The stage: examples × predicted items → `synthetic.jsonl`, batch by batch, resuming after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grasper.config import PromptConfig, SynthesizeConfig
from grasper.methods.base import Method
from grasper.models.base import TextModel
from grasper.progress import Progress
from grasper.prompts.exemplars import ExemplarSource
from grasper.records import Example, Item, SyntheticReview, Tables
from grasper.retrieve.profile import ProfileBuilder
from grasper.retrieve.rank import RankerName
from grasper.runs import BatchLog, derive_seed, read_jsonl
from grasper.synthesize.items import choose_items
from grasper.synthesize.write import SyntheticWriter

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 16
"""Examples in one batch, with all their items; a kill loses at most one batch."""


def synthesize(
    config: SynthesizeConfig,
    prompts: PromptConfig,
    method: Method,
    tables: Tables,
    examples: Sequence[Example],
    candidates: pd.DataFrame | None,
    model: TextModel,
    out_dir: Path,
    *,
    seed: int,
    ranker: RankerName = "bm25",
    exemplars: ExemplarSource | None = None,
) -> dict[str, Any]:
    """Write `synthetic.jsonl`: one `SyntheticReview` per example and predicted item, rejected ones included with their reason.

    A folder that was cut off is continued, with the result of an undisturbed run.

    Args:
        candidates: The link predictor's table; None for methods whose items do not come from it.
        exemplars: Solved requests to show, for models that cannot be fine-tuned.

    Returns:
        Counts for the manifest: written, kept, rejected by reason, tokens.
    """
    ordered = sorted(examples, key=lambda example: example.example_id)
    batches = [ordered[start : start + BATCH_SIZE] for start in range(0, len(ordered), BATCH_SIZE)]
    log = BatchLog(out_dir / "synthetic.jsonl")
    if log.num_batches < len(batches):
        profiles = ProfileBuilder(method, tables.reviews_by_id.values(), prompts, ranker=ranker, seed=seed)
        items = choose_items(method, ordered, candidates, profiles.pool, num_items=config.num_items, min_score=config.min_score, seed=seed)
        writer = SyntheticWriter(config, prompts, method, tables, profiles, items, model, exemplars)
        with Progress(f"synthesize/{method.name}", len(ordered), done=min(log.num_batches * BATCH_SIZE, len(ordered))) as progress:
            for number in range(log.num_batches, len(batches)):
                reviews = writer.write(batches[number], seed=derive_seed(seed, method.name, "synthesize", number))
                log.append(asdict(review) for review in reviews)
                progress.advance(len(batches[number]))
    return _counts(log.records, len(ordered))


def load_synthetic(path: Path) -> list[SyntheticReview]:
    """The synthetic reviews of a finished or cut-off stage, rejected ones included, in the order they were written."""
    records = [record for record in read_jsonl(path) if set(record) != {"batch"}]
    return [SyntheticReview(**record | {"item": Item(**record["item"])}) for record in records]


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
