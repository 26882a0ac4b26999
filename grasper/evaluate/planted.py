"""What only the bundled data set can be asked, since its truth is known: do the predicted items suit the users?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from grasper.evaluate.compare import Bootstrap, summarize
from grasper.prepare.harbour import load_latent, suitability
from grasper.records import Example
from grasper.retrieve.pool import ReviewPool


def suitability_of_predicted(
    latent_dir: Path, examples: Sequence[Example], pool: ReviewPool, candidates: pd.DataFrame, bootstrap: Bootstrap
) -> dict[str, Any]:
    """How well predicted items suit the users' latent interests, beside as many of the items most reviewed in training that the request does not see.

    The measure is an item's percentile among all items of that user by the latent truth: 0.5 is chance, 1 perfect.

    Args:
        latent_dir: Folder of the latent truth.
        examples: In the order of the bootstrap's clusters.

    Returns:
        `predicted`, `popular` and their paired `difference`, each with its interval.

    Raises:
        MissingFileError: The folder has no latent truth.
    """
    percentiles = suitability(load_latent(latent_dir)).rank(axis=1, pct=True)
    trained = {item_id: sum(review.split == "train" for review in reviews) for item_id, reviews in pool.by_item.items()}
    by_count = sorted(trained, key=lambda item_id: -trained[item_id])
    predicted = candidates.groupby("example_id")["item_id"].agg(list).to_dict()
    rows = []
    for example in examples:
        items = predicted.get(example.example_id, [])
        seen = {review.item_id for review in pool.own(example)} | {example.item_id}
        popular = [item_id for item_id in by_count if item_id not in seen][: len(items)]
        rows.append({"predicted": percentiles.loc[example.user_id, items].mean(), "popular": percentiles.loc[example.user_id, popular].mean()})
    values = pd.DataFrame(rows).assign(difference=lambda table: table["predicted"] - table["popular"])
    return summarize(bootstrap.estimate(values))
