"""`python -m grasper.prepare.harbour [FOLDER]` writes the data set anew and prints its statistics."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from grasper.prepare.harbour import HarbourData, write


def statistics(data: HarbourData) -> str:
    """Sizes and sparsity as a Markdown table."""
    lines = [
        "| split | reviews | users | items | 1 review | 2 | 3–5 | >5 | most | words/text mean (min–max) | words/title | mean rating |",
        "|---|" + "--:|" * 11,
    ]
    for split, table in (*data.reviews.items(), ("all", pd.concat(data.reviews.values()))):
        sizes = table.groupby("user_id").size()
        shares = [(sizes == 1).mean(), (sizes == 2).mean(), sizes.between(3, 5).mean(), (sizes > 5).mean()]
        words = table["text"].str.split().str.len()
        cells = [split, f"{len(table):,}", len(sizes), table["item_id"].nunique(), *(f"{share:.0%}" for share in shares), sizes.max()]
        cells += [
            f"{words.mean():.0f} ({words.min()}–{words.max()})",
            f"{table['title'].str.split().str.len().mean():.1f}",
            f"{table['rating'].mean():.2f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    default = Path(__file__).parents[3] / "data" / "harbour"
    print(statistics(write(Path(sys.argv[1]) if len(sys.argv) > 1 else default)))
