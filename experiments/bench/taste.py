"""Do people with similar taste share the item that is held out? Nearest users by the encoder's vectors, random users, and popularity-matched ones.

    python experiments/bench/taste.py --data ../shared/data

Every user's last item is withheld, `lightgcn` is fitted on the rest, and each user's ten nearest (cosine of user vectors, as in
`grasper/retrieve/topic.py`) are asked whether they ever met the withheld item. Against ten random users, and against ten random ones who met as many
items each, and items as popular, as the nearest did: whoever met more shares more by chance. All met two items or more, as in
the retriever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from link_prediction import RESAMPLES, interval, load_dataset, over_sets

from grasper.predict.graph import Interactions
from grasper.predict.learned import EncoderPredictor
from grasper.predict.tastes import nearest_rows
from grasper.retrieve.similar import unit

NUM_NEAREST = 10
MAX_USERS = 1_500
"""Users asked about at most, drawn evenly."""


def measure(data: Path, name: str, seed: int) -> dict[str, Any]:
    """Share of users among each group of ten who met the withheld item, with intervals over the users asked about."""
    dataset = load_dataset(data, name)
    graph = dataset.all_edges
    rest, users, targets = graph.leave_last_out()
    known = rest.item_degree[targets] > 0
    step = max(1, -(-int(known.sum()) // MAX_USERS))
    users, targets = users[known][::step], targets[known][::step]
    model = EncoderPredictor("lightgcn").fit(rest, seed=seed)
    everyone = np.flatnonzero(rest.user_degree > 1)
    encoder = model.vectors_over(rest)
    vectors, asked = (unit(encoder.users(rest.of_users(chosen))) for chosen in (everyone, users))
    places, _ = nearest_rows(asked, vectors, NUM_NEAREST + 1)
    nearest = np.stack([row[row != user][:NUM_NEAREST] for row, user in zip(everyone[places], users, strict=True)])
    rng = np.random.default_rng(seed)
    groups = {"nearest": nearest, "random": strangers(everyone, users, rng), "matched": matched(rest, everyone, users, nearest, rng)}
    values = {group: met(graph, chosen, targets).mean(1) for group, chosen in groups.items()}
    resamples = np.random.default_rng(0).integers(0, len(users), (RESAMPLES, len(users)))
    found: dict[str, Any] = {group: interval(value, resamples) for group, value in values.items()}
    differences = {f"over_{group}": interval(values["nearest"] - values[group], resamples) for group in ("random", "matched")}
    return {"num_users": len(users), "num_people": len(everyone), **found, **differences}


def strangers(everyone: np.ndarray, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ten random people for each user, never the user."""
    chosen = everyone[rng.integers(0, len(everyone), (len(users), NUM_NEAREST))]
    while (wrong := chosen == users[:, None]).any():
        chosen[wrong] = everyone[rng.integers(0, len(everyone), int(wrong.sum()))]
    return chosen


def matched(rest: Interactions, everyone: np.ndarray, users: np.ndarray, nearest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each of the nearest somebody random who met as many items, or nearly, of the same quintile of mean popularity; never the user."""
    popularity = np.bincount(rest.user_index, np.log(rest.item_degree[rest.item_index]), rest.num_users) / np.maximum(rest.user_degree, 1)
    quintile = np.searchsorted(np.quantile(popularity[everyone], (0.2, 0.4, 0.6, 0.8)), popularity[everyone])
    order = everyone[np.lexsort((rng.random(len(everyone)), quintile, rest.user_degree[everyone]))]
    place = np.empty(rest.num_users, np.int64)
    place[order] = np.arange(len(order))
    offset = rng.integers(1, 26, nearest.shape) * rng.choice([-1, 1], nearest.shape)
    chosen = order[np.clip(place[nearest] + offset, 0, len(order) - 1)]
    clash = chosen == users[:, None]
    chosen[clash] = order[np.clip(place[nearest][clash] - offset[clash], 0, len(order) - 1)]
    return chosen


def met(graph: Interactions, people: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Whether each of the people ever met the row's item, `[num_rows, num_people]`."""
    pairs = np.sort(graph.user_index * graph.num_items + graph.item_index)
    keys = people * graph.num_items + items[:, None]
    return pairs[np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)] == keys


def markdown(result: dict[str, Any]) -> str:
    """The table of docs/predict.md."""
    lines = ["| set | users | nearest | matched | random | nearest − matched (95 %) |", "|---|--:|--:|--:|--:|---|"]
    for name, row in result["datasets"].items():
        d, shares = row["over_matched"], [f"{100 * row[group]['value']:.2f} %" for group in ("nearest", "matched", "random")]
        difference = f"{100 * d['value']:+.2f} ({100 * d['low']:+.2f} … {100 * d['high']:+.2f})"
        lines.append(f"| {name} | {row['num_users']} | {' | '.join(shares)} | {difference} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    over_sets(__doc__, "taste.json", measure, markdown)
