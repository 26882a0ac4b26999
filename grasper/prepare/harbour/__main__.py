"""`python -m grasper.prepare.harbour [FOLDER]` writes the data set anew and prints its statistics."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from grasper.prepare.harbour import HarbourData, write

_HEADER = (
    "split", "reviews", "users", "items", "1 review", "2", "3–5", ">5", "most", "words/text mean (min–max)", "words/title", "mean rating",
)  # fmt: skip


def statistics(data: HarbourData) -> str:
    """Sizes and sparsity as a Markdown table."""
    rows = [_HEADER, ("---", *["--:"] * (len(_HEADER) - 1))]
    rows += [_statistics_of(split, table) for split, table in (*data.reviews.items(), ("all", pd.concat(data.reviews.values())))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _statistics_of(split: str, table: pd.DataFrame) -> tuple[str, ...]:
    sizes = table.groupby("user_id").size()
    shares = ((sizes == 1).mean(), (sizes == 2).mean(), sizes.between(3, 5).mean(), (sizes > 5).mean())
    words, title_words = (table[column].map(lambda text: len(text.split())) for column in ("text", "title"))
    return (
        split,
        *(f"{count:,}" for count in (len(table), len(sizes), table["item_id"].nunique())),
        *(f"{share:.0%}" for share in shares),
        f"{sizes.max()}",
        f"{words.mean():.0f} ({words.min()}–{words.max()})",
        f"{title_words.mean():.1f}",
        f"{table['rating'].mean():.2f}",
    )


if __name__ == "__main__":
    default = Path(__file__).parents[3] / "data" / "harbour"
    print(statistics(write(Path(sys.argv[1]) if len(sys.argv) > 1 else default)))
