"""How often long texts come in the form of a list (`Bad: … Good: …`): in real, learned, synthetic and written ones → JSON.

    python experiments/forms.py runs/hotel --out experiments/results/smollm2/forms.json

Beside the shares: words, and the paired differences of the aligned method to the baseline over targets where it wrote a list, and where not. Counts
alone leave this script, nobody's text.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.publish import made_by
from grasper.evaluate.compare import Bootstrap, summarize
from grasper.files import read_jsonl, write_json
from grasper.records import Tables
from grasper.runs import Run
from grasper.written import by_example, load_outputs, load_synthetic

SEED = 0
LIST = re.compile(r"(Bad|Good|Pros|Cons):", re.IGNORECASE)
METRICS = ("rouge1", "rougeL", "meteor", "words")


def share(texts: Iterable[str]) -> dict[str, Any]:
    """Texts that begin as a list, how many there are in all, and the mean words of both kinds."""
    written = [text.strip() for text in texts if text.strip()]
    is_list = [bool(LIST.match(text)) for text in written]
    words = pd.Series([len(text.split()) for text in written], dtype=float).groupby(is_list).mean().round(1)
    return {"lists": sum(is_list), "n": len(written), "mean_words": {"list" if kind else "prose": value for kind, value in words.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--method", default="grasper")
    parser.add_argument("--baseline", default="pgraphrag")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    run = Run(options.run)
    tables = Tables.load(run.folder("prepare"))
    texts = {
        path.name: {output.example_id: output.text or "" for output in load_outputs(path / "outputs.jsonl") if output.task == "long"}
        for path in sorted(run.folder("generate").iterdir())
    }
    scores = pd.read_parquet(run.folder("evaluate") / "per_example.parquet").query("task == 'long'").set_index("example_id")
    own, other = (scores[scores["method"] == name] for name in (options.method, options.baseline))
    is_list = pd.Series({row: bool(LIST.match(text.strip())) for row, text in texts[options.method].items()}).reindex(own.index)
    differences = own[list(METRICS)] - other.reindex(own.index)[list(METRICS)]
    columns = {
        (kind, "long", metric): differences[metric].where(chosen) for kind, chosen in (("list", is_list), ("prose", ~is_list)) for metric in METRICS
    }
    gold = {str(record["pair_id"]).split("/")[0] for record in read_jsonl(run.folder("align", options.method) / "gold.jsonl")}
    learned = tables.reviews[tables.reviews["review_id"].isin(gold)]
    synthetic = by_example(load_synthetic(run.folder("synthesize", options.method) / "synthetic.jsonl"))
    shown = {row: sum(bool(LIST.match(review.text.strip())) for review in synthetic.get(row, ())) for row in own.index}
    found = {
        "provenance": made_by(SEED),
        "real": {split: share(rows["text"].dropna()) for split, rows in tables.reviews.groupby("split")},
        "learned": share(learned["text"].dropna()),
        "synthetic": share(review.text for reviews in synthetic.values() for review in reviews),
        "lists_by_lists_among_the_synthetic": {
            str(count): {"lists": int(is_list[chosen].sum()), "n": len(chosen)}
            for count in sorted(set(shown.values()))
            if (chosen := [row for row in own.index if shown[row] == count])
        },
        "written": {name: share(written.values()) for name, written in texts.items()},
        f"{options.method} minus {options.baseline}": summarize(Bootstrap(own["item_id"].tolist(), seed=SEED).estimate(pd.DataFrame(columns))),
    }
    write_json(options.out, found)


if __name__ == "__main__":
    main()
