"""What the synthetic reviews are worth: how many pass the gate and why others fail, and whether they sound like their user and fit their item.

Every likeness stands beside its chance level, the same measure against texts of other items or users: only the distance between the two says
something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from grasper.metrics.style import LineUp, StyleSpace
from grasper.metrics.text import rouge1, unicode_tokens
from grasper.records import Example, Review, SyntheticReview
from grasper.retrieve.pool import ReviewPool
from grasper.runs import derive_seed

MAX_COMPARED = 8
"""Real texts that one synthetic text is compared with."""


def analyse_synthetic(
    reviews: Mapping[str, Sequence[SyntheticReview]], examples: Sequence[Example], pool: ReviewPool, *, seed: int
) -> dict[str, Any]:
    """Counts and likeness of one method's synthetic reviews.

    Returns:
        `written`, `kept`, `rejected` (reason → count), `kept_per_example`, `reasoned` (share with a path), `words` (mean), and where measurable:
        `item_likeness` (mean ROUGE-1 with real reviews of the predicted item by others) beside `item_chance` (with those of another example's
        item); `user_likeness` (ROUGE-1 with the user's own other reviews) beside `user_chance` (with another user's); `style_match` (share of
        other users' texts that the synthetic text resembles less in style than the user's hidden text; chance 0.5).
    """
    written = [(example, review) for example in examples for review in reviews.get(example.example_id, ())]
    kept = [(example, review) for example, review in written if review.rejected is None]
    summary: dict[str, Any] = {
        "written": len(written),
        "kept": len(kept),
        "rejected": dict(Counter(review.rejected for _, review in written if review.rejected).most_common()),
        "kept_per_example": round(len(kept) / max(len(examples), 1), 4),
        "reasoned": round(sum(bool(review.path) for _, review in written) / max(len(written), 1), 4),
    }
    if kept:
        texts = [review.text for _, review in kept]
        summary["words"] = round(float(np.mean([len(unicode_tokens(text)) for text in texts])), 2)
        of_item = [_some(pool.of_item(review.item.item_id, example), seed, example.example_id, review.item.item_id) for example, review in kept]
        of_user = [_some(pool.own(example), seed, example.example_id, "own") for example, _ in kept]
        summary |= _likeness("item", texts, of_item, [review.item.item_id for _, review in kept])
        summary |= _likeness("user", texts, of_user, [example.user_id for example, _ in kept])
        summary |= _style_match(texts, [example for example, _ in kept], seed)
    return summary


def recall_of_hidden_items(examples: Sequence[Example], pool: ReviewPool, candidates: pd.DataFrame) -> dict[str, Any]:
    """How many items that the user is known to have reviewed, but that the request does not see, stand among the predicted ones.

    The targets' own items are never predicted, so only data whose users have further hidden reviews (other splits, later dates) can answer;
    `recall` is None where there are none.
    """
    predicted = candidates.groupby("example_id")["item_id"].agg(set).to_dict()
    found = known = 0
    for example in examples:
        visible = {review.item_id for review in pool.own(example)} | {example.item_id}
        hidden = {review.item_id for review in pool.by_user.get(example.user_id, ())} - visible
        known += len(hidden)
        found += len(hidden & predicted.get(example.example_id, set()))
    sizes = [len(predicted.get(example.example_id, ())) for example in examples]
    mean = round(float(np.mean(sizes)), 4) if sizes else 0.0
    return {"per_example": mean, "known": known, "found": found, "recall": round(found / known, 6) if known else None}


def _some(reviews: Sequence[Review], seed: int, *names: str) -> list[str]:
    """At most `MAX_COMPARED` of the reviews' texts, drawn by the seed."""
    texts = [review.text for review in reviews if review.text]
    places = np.random.default_rng(derive_seed(seed, *names)).permutation(len(texts))[:MAX_COMPARED]
    return [texts[place] for place in sorted(places)]


def _likeness(kind: str, texts: Sequence[str], real: Sequence[Sequence[str]], owners: Sequence[str]) -> dict[str, Any]:
    """Mean ROUGE-1 with the matching real texts, and with those of the next entry that belongs to another owner."""
    usable = [place for place, group in enumerate(real) if group]
    pairs: list[tuple[str, Sequence[str]]] = [(texts[place], real[place]) for place in usable]
    chance = []
    for position, place in enumerate(usable):
        following = usable[position + 1 :] + usable[:position]
        other = next((candidate for candidate in following if owners[candidate] != owners[place]), None)
        if other is not None:
            chance.append((texts[place], real[other]))
    result = {}
    for name, compared in ((f"{kind}_likeness", pairs), (f"{kind}_chance", chance)):
        if compared:
            means = [rouge1([text] * len(group), group).mean() for text, group in compared]
            result[name] = {"value": round(float(np.mean(means)), 6), "n": len(means)}
    return result


def _style_match(texts: Sequence[str], examples: Sequence[Example], seed: int) -> dict[str, Any]:
    """Line-ups of the user's hidden text among texts of other users; the subject differs from all of them, so only style can tell."""
    targets = {example.user_id: example.target.text for example in examples}
    users = sorted(targets)
    if len(users) < 2:
        return {}
    own, others = [], []
    for example in examples:
        order = np.random.default_rng(derive_seed(seed, example.example_id, "style")).permutation(len(users))
        rest = [targets[users[place]] for place in order if users[place] != example.user_id]
        own.append(example.target.text)
        others.append([text for text in rest if text != example.target.text][:MAX_COMPARED])
    rates = LineUp(StyleSpace().fit(list(targets.values())), own, others).win_rate(texts)
    return {} if np.isnan(rates).all() else {"style_match": {"value": round(float(np.nanmean(rates)), 6), "n": int((~np.isnan(rates)).sum())}}
