"""Three people's first ten minutes, as the pages for them tell: the owner of a shop, a researcher, an engineer; and a walk in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from pages import blocks, commands, run
from processes import TERSE, run_python
from servers import serving, write_reviews
from shop_export import write_shop

from grasper.metrics.meteor import meteor_name


def test_the_owner_of_a_shop(tmp_path: Path) -> None:
    """From the messy export to texts for a file of requests, for a table of results, and no line of the configuration written by hand."""
    write_shop(tmp_path / "reviews.csv")
    (tmp_path / "requests.csv").write_text(blocks("tutorial.md", "csv")[0], encoding="utf-8")
    said = {command: run(command, tmp_path) for command in commands("tutorial.md")}
    told = next(output for command, output in said.items() if command.startswith("grasper init"))
    for found in ("not UTF-8", "decimal commas", "HTML in 75 rows", "2 rows are exact duplicates", "reviews 188, users 117, items 25"):
        assert found in told
    ready = next(output for command, output in said.items() if "split=none" in command)
    assert "ready to use: runs/shop" in ready
    assert "grasper write --user USER --item ITEM --run runs/shop --method pgraphrag" in ready, "which needs no alignment"
    reviews = pd.read_parquet(tmp_path / "runs/shop/prepare/reviews.parquet")
    assert (len(reviews), set(reviews["split"])) == (188, {"train"})
    assert sorted(path.name for path in (tmp_path / "runs/shop").iterdir() if path.is_dir()) == ["predict", "prepare"]

    items = pd.read_csv(tmp_path / "items.csv", dtype=str)
    assert items.groupby("user_id").size().to_dict() == {"K0000": 5, "K0002": 5, "somebody-new": 5, "somebody-else": 5}
    seen = set(reviews.loc[reviews["user_id"] == "K0000", "item_id"])
    assert seen
    assert not seen & set(items.loc[items["user_id"] == "K0000", "item_id"])

    texts = pd.read_csv(tmp_path / "texts.csv", dtype=str)
    assert texts["user_id"].tolist() == ["K0000", "K0002", "somebody-new", "somebody-else"]
    assert texts["answer"].str.split().str.len().min() >= 2
    by_id = reviews.set_index("review_id")
    for row in texts.itertuples():
        evidence = [name for name in json.loads(row.evidence) if name in by_id.index]
        assert evidence
        assert set(by_id.loc[evidence, "item_id"][by_id.loc[evidence, "user_id"] != row.user_id]) <= {row.item_id}

    results = pd.read_csv(tmp_path / "results.csv")
    assert set(results["method"]) == {"copy", "pgraphrag"}
    assert (tmp_path / "runs/measured/evaluate/report.html").exists()


def test_a_researcher(tmp_path: Path) -> None:
    """A method and a metric of one file against PGraphRAG: evidence as declared, paired intervals, and a LaTeX table."""
    (tmp_path / "ours.py").write_text(blocks("researcher.md", "python")[0], encoding="utf-8")
    for command in commands("researcher.md"):
        run(command, tmp_path)
    folder = tmp_path / "runs/paper"
    metrics = json.loads((folder / "evaluate/metrics.json").read_text())
    for method in ("pgraphrag", "ours"):
        for name in ("rouge1", meteor_name(), "grounded"):
            entry = metrics["methods"][method]["long"][name]
            assert entry["n"] == 8
            assert 0 <= entry["low"] <= entry["value"] <= entry["high"] <= 1
    [pair] = [pair for pair in metrics["comparison"]["pairs"] if pair["task"] == "long" and pair["metric"] == "grounded"]
    assert {pair["method"], pair["other"]} == {"ours", "pgraphrag"}
    values = {method: metrics["methods"][method]["long"]["grounded"]["value"] for method in ("ours", "pgraphrag")}
    assert pair["difference"] == pytest.approx(values[pair["method"]] - values[pair["other"]], abs=1e-4)
    assert pair["low"] <= pair["difference"] <= pair["high"]

    reviews = pd.read_parquet(folder / "prepare/reviews.parquet").set_index("review_id")
    outputs = [json.loads(line) for line in (folder / "generate/ours/outputs.jsonl").read_text().splitlines()]
    for output in (output for output in outputs if output.get("task") == "long"):
        shown = reviews.loc[output["evidence"]]
        target = reviews.loc[output["example_id"]]
        own, others = shown[shown["user_id"] == target["user_id"]], shown[shown["user_id"] != target["user_id"]]
        assert set(others["item_id"]) <= {target["item_id"]}
        if len(own) == 1:  # then all that the user wrote stands in the prompt
            distances = (others["rating"] - own["rating"].iloc[0]).abs().tolist()
            assert distances == sorted(distances)
    table = (tmp_path / "table.tex").read_text()
    for part in (r"\toprule", "Grounded", "pgraphrag", "ours"):
        assert part in table


def test_an_engineer(tmp_path: Path) -> None:
    """A server, a plan with its price, a budget that stops in the middle, and the same command that goes on and asks for nothing twice."""
    with serving(write_reviews) as server:
        [page] = blocks("engineer.md", "yaml")
        (tmp_path / "server.yaml").write_text(page.replace("http://localhost:8000/v1", server.url), encoding="utf-8")
        (tmp_path / "requests.csv").write_text("user_id,item_id\nwool_and_maps,boat-02\nnew,cafe-03\n", encoding="utf-8")
        doctor, prepare, plan, stopped, resumed, write = commands("engineer.md")
        here = {"GRASPER_CACHE": str(tmp_path / "cache"), "MY_KEY": "sk-local", "OPENAI_API_KEY": ""}
        assert "answers" in run(doctor, tmp_path, **here)
        server.requests.clear()
        run(prepare, tmp_path, **here)
        assert "price at most about" in run(plan, tmp_path, **here)
        assert not server.requests
        assert "the budget of 6 requests is spent" in run(stopped, tmp_path, expect=3, **here)
        assert len(server.requests) == 6
        assert not (tmp_path / "runs/service/evaluate/report.html").exists()
        run(resumed, tmp_path, **here)
        assert (tmp_path / "runs/service/evaluate/report.html").exists()
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
        assert len(asked) == len(set(asked)) == 15  # five targets, three tasks
        run(write, tmp_path, **here)
        assert len(server.requests) == 17
        assert {key for key in server.keys if key} == {"Bearer sk-local"}
    texts = [json.loads(line)["answer"] for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [text.startswith("A lovely quiet place") for text in texts] == [True, True]


def test_a_walk_in_python(tmp_path: Path) -> None:
    """The page's blocks in order, in one process, and what its variables then hold."""
    checks = """
assert list(known["rank"]) == [1, 2, 3, 4, 5]
assert several.groupby('user_id').size().tolist() == [3, 3]
assert len(new) == 5 and len(nobody) == 5
assert "cafe-03" not in set(nobody["item_id"])
assert review.path and review.text
assert title.text and 1 <= stars.rating <= 5
"""
    page = "\n".join(blocks("python.md", "python"))
    assert page.count('["limit=4"]') == 1
    script = page.replace('["limit=4"]', repr(["limit=4", *TERSE])) + checks
    result = run_python(script, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "['copy', 'grasper-no-graph', 'pgraphrag']" in result.stdout
    assert "(700 users, e.g. wool_and_maps" in result.stdout.splitlines()[-1]
