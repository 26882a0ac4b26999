"""A little shop for tests: two tastes, and people who ask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from grasper.records import EXAMPLE_COLUMNS, ITEM_COLUMNS, REVIEW_COLUMNS, Example, Review, Tables

DAY = 86_400


def make_tables(target_text: str = "the hidden words", *, cutoff: float | None = None) -> Tables:
    """Two tastes of 12 items each, 60 train users, 10 dev users with one visible and one target review; a0 … a11 are tea, b0 … b11 coffee."""
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = []
    for user in range(60):
        taste = "ab"[user % 2]
        for place, item in enumerate(rng.permutation(12)[: 2 + user % 4]):
            words = f"lovely {'tea' if taste == 'a' else 'coffee'} number{item}"
            rows.append((f"t{user}-{place}", f"user{user}", f"{taste}{item}", 5.0, "Nice", words, (10 * user + place) * DAY, "train"))
    examples: list[tuple[object, ...]] = []
    for user in range(10):
        taste = "ab"[user % 2]
        rows.append((f"d{user}-0", f"dev{user}", f"{taste}{user}", 4.0, "Target", target_text if user == 0 else "fine drink", 700 * DAY, "dev"))
        rows.append((f"d{user}-1", f"dev{user}", f"{taste}{(user + 5) % 12}", 4.0, "Seen", "fine drink", 690 * DAY, "dev"))
        examples.append((f"d{user}-0", f"d{user}-0", f"dev{user}", f"{taste}{user}", "dev-a", cutoff, False))
    examples.append(("t0-0", "t0-0", "user0", next(str(row[2]) for row in rows if row[0] == "t0-0"), "align", None, False))
    items = pd.DataFrame([(f"{t}{i}", f"drink {t}{i}", None, None) for t in "ab" for i in range(12)], columns=ITEM_COLUMNS)
    return Tables(pd.DataFrame(rows, columns=REVIEW_COLUMNS), items, pd.DataFrame(examples, columns=EXAMPLE_COLUMNS))


def someone(user_id: str = "new", item_id: str = "", *, history: Sequence[Review] | None = None, cutoff: int | None = None) -> Example:
    """Somebody who asks outside the benchmark."""
    return Example(
        "request", Review("request", user_id, item_id, ""), "dev", cutoff, is_request=True, history=None if history is None else tuple(history)
    )
