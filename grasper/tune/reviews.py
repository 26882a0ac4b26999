"""Which reviews of a prepared data set the pooled tuning may show and ask for (DESIGN: leakage rules).

Left out are reserved users (they give the pairs of the alignment), users of any evaluation split, and texts that share 13 words, or their beginning,
with a text of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from grasper.errors import ConfigError
from grasper.records import Tables, iterate_rows
from grasper.retrieve.pool import reserved_split
from grasper.runs import stable_hash
from grasper.tune.decontaminate import Reference
from grasper.tune.examples import ReviewSet


def allowed_reviews(tables: Tables, name: str) -> tuple[ReviewSet, ReviewSet, dict[str, int]]:
    """The reviews to train on; those of users reserved for holding out, which may be shown the former; and counts of what was left out, and why.

    Raises:
        ConfigError: No review is left to train on.
    """
    reviews = list(tables.reviews_by_id.values())
    evaluated = {review.user_id.lower() for review in reviews if review.split != "train"} | {
        str(row.user_id).lower() for row in iterate_rows(tables.examples) if row.split not in ("align", "held-out")
    }
    train = [review for review in reviews if review.split == "train" and review.text]
    reserved = {review.review_id for review in train if reserved_split(review.user_id)}
    forbidden = [review.text for review in reviews if review.split != "train" or review.review_id in reserved]
    reference = Reference(text for text in forbidden if text)
    counts = {"reviews": len(train), "reserved": len(reserved), "evaluated_user": 0, "shared": 0}
    allowed = []
    for review in train:
        if review.review_id in reserved:
            continue
        if review.user_id.lower() in evaluated:
            counts["evaluated_user"] += 1
        elif reference.shares(review.text):
            counts["shared"] += 1
        else:
            allowed.append(review)
    counts["kept"] = len(allowed)
    if not allowed:
        raise ConfigError(
            f"{name} leaves no review to tune on: of {len(train)} training reviews {len(reserved)} are of reserved users, "
            f"{counts['evaluated_user']} of evaluated ones, {counts['shared']} repeat their texts; tune on a larger data set, or "
            "on one that is split by users (prepare.split=last-out evaluates everybody with two reviews)"
        )
    held_out = [review for review in train if reserved_split(review.user_id) == "held-out" and review.user_id.lower() not in evaluated]
    items = tables.items_by_id
    return ReviewSet(name, 1.0, allowed, items), ReviewSet(name, 1.0, held_out, items, tuple(allowed)), counts


def fingerprint_sets(sets: Sequence[ReviewSet]) -> str:
    """A short hash of all that examples are made of: reviews with every field, items, shares. Equal data give equal fingerprints."""
    hashes = []
    for group in sets:
        reviews = (astuple(review) for review in (*group.reviews, *group.shown))
        items = (astuple(group.items[name]) for name in sorted(group.items))
        hashes.append(stable_hash("\n".join(map(repr, [(group.name, group.share, len(group.reviews)), *reviews, *items]))))
    return stable_hash("\n".join(hashes))[:16]
