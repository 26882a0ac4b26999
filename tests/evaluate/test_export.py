"""Results and outputs leave a run whole, escaped, and with what is sure in bold."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from grasper.cli import app
from grasper.config import EvaluateConfig
from grasper.errors import ConfigError, MissingFileError
from grasper.evaluate.export import Selection, export_outputs, export_results
from grasper.evaluate.stage import evaluate
from grasper.evaluate.table_formats import CSV_COLUMNS, escape_latex
from grasper.evaluate.tables import clearly_best, result_tables
from grasper.files import read_json, write_json
from grasper.metrics.choose import metric_of
from grasper.runs import Run

EVERYTHING = Selection()


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of the evaluated run, to be changed as one likes."""
    return Path(shutil.copytree(evaluated, tmp_path / "toy_run"))


@pytest.fixture(scope="module")
def evaluated(world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated run whose data set has a name that means something in Markdown, LaTeX and rich."""
    folder = Run(tmp_path_factory.mktemp("evaluated") / "toy_run")
    prepare = folder.folder("prepare")
    prepare.mkdir(parents=True)
    world.tables.save(prepare)
    folder.finish(prepare, key={}, seed=0, counts={}, seconds=0.0)
    for method, path in world.outputs.items():
        folder.folder("generate", method).mkdir(parents=True)
        shutil.copy(path, folder.folder("generate", method) / "outputs.jsonl")
    config = EvaluateConfig(bootstrap_samples=200)
    evaluate(world.run_data(dataset="shop[/x]_50%"), config, folder.folder("evaluate"), seed=1)
    return folder.root


def test_tidy_csv_holds_every_number_with_its_interval(run: Path) -> None:
    """One line per task, method and metric, equal to the results file; what is clearly best is said."""
    rows = list(csv.DictReader(io.StringIO(export_results([run], None, "csv", Selection(metrics=("all",))))))
    results = read_json(run / "evaluate" / "metrics.json")
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == sum(len(metrics) for tasks in results["methods"].values() for metrics in tasks.values())
    for row in rows:
        entry = results["methods"][row["method"]][row["task"]][row["metric"]]
        assert [float(row[name]) for name in ("value", "low", "high", "n")] == [entry[name] for name in ("value", "low", "high", "n")]
    best = {(row["task"], row["metric"]): row["method"] for row in rows if row["clearly_best"] == "true"}
    assert best["long", "rougeL"] == "grasper"


def test_a_method_without_the_metric_is_no_rival(run: Path) -> None:
    """Copied texts have no bits: the best of the others is marked all the same; with nobody else it is not."""
    results = read_json(run / "evaluate" / "metrics.json")
    task, methods = "title", list(results["methods"])
    first, second = methods[:2]
    for method in (first, second):
        results["methods"][method][task]["bits"] = {"value": 1.0, "low": 0.9, "high": 1.1, "n": 3}
    pair = {"method": first, "other": second, "task": task, "metric": "bits", "difference": -0.2, "low": -0.3, "high": -0.1}
    results["comparison"]["pairs"].append(pair)
    assert len(methods) > 2
    assert (first, "bits") in clearly_best(results, task, methods, [metric_of("bits")])
    del results["methods"][second][task]["bits"]
    assert not clearly_best(results, task, methods, [metric_of("bits")])


def test_meteor_is_the_one_that_the_run_has(run: Path) -> None:
    """A machine without WordNet measures it under another name; the label says which it is."""
    path = run / "evaluate" / "metrics.json"
    for old, new in (("meteor_no_wordnet", "meteor"), ("meteor", "meteor_no_wordnet")):
        path.write_text(path.read_text(encoding="utf-8").replace(f'"{old}"', f'"{new}"'), encoding="utf-8")
        rows = list(csv.DictReader(io.StringIO(export_results([run], None, "csv", Selection(metrics=("meteor",))))))
        assert {row["metric"] for row in rows} == {new}


def test_columns_come_as_they_were_asked_for(run: Path) -> None:
    """One that is asked for twice comes once."""
    text = export_results([run], None, "csv", Selection(methods=("copy",), tasks=("long",), metrics=("rougeL", "rouge1", "rougeL")))
    assert [row["metric"] for row in csv.DictReader(io.StringIO(text))] == ["rougeL", "rouge1"]


def test_bold_needs_paired_intervals_and_not_only_the_largest_number(run: Path) -> None:
    """Two methods that resampling cannot tell apart are both plain."""
    results = read_json(run / "evaluate" / "metrics.json")
    for pair in results["comparison"]["pairs"]:
        if {pair["method"], pair["other"]} == {"grasper", "grasper-no-graph"}:
            pair["low"], pair["high"] = -1.0, 1.0
    write_json(run / "evaluate" / "metrics.json", results)
    assert "**0" not in export_results([run], None, "markdown", Selection(tasks=("long",), metrics=("rougeL",)))


def test_markdown_is_a_table_per_task(run: Path) -> None:
    """Values with intervals, arrows for the direction, the best in bold, names escaped."""
    text = export_results([run], None, "markdown", EVERYTHING)
    assert r"**long (shop\[/x\]\_50%, dev-a, n = 30)**" in text
    assert "| method | ROUGE-1 ↑ | ROUGE-L ↑ |" in text
    assert "| method | MAE ↓ | RMSE ↓ |" in text
    entry = read_json(run / "evaluate" / "metrics.json")["methods"]["grasper"]["long"]["rougeL"]
    assert f"**{entry['value']:.3f}** [{entry['low']:.3f}, {entry['high']:.3f}]" in text


def test_latex_is_escaped_and_compiles(run: Path, tmp_path: Path) -> None:
    """booktabs, `\\textbf`, special characters as text; where LaTeX is installed it accepts the table."""
    text = export_results([run], None, "latex", EVERYTHING)
    assert r"shop[/x]\_50\%, dev-a, n = 30" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    assert r"MAE $\downarrow$" in text
    assert r"\textbf{0." in text
    assert escape_latex("50% of $x_1 & {y}^2 #~\\ <a|b>") == (
        r"50\% of \$x\_1 \& \{y\}\textasciicircum{}2 \#\textasciitilde{}\textbackslash{} \textless{}a\textbar{}b\textgreater{}"
    )
    if shutil.which("pdflatex"):
        (tmp_path / "t.tex").write_text(f"\\documentclass{{article}}\\usepackage{{booktabs,textcomp}}\\begin{{document}}{text}\\end{{document}}")
        subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_a_failed_method_has_no_numbers(run: Path) -> None:
    """A method none of whose answers could be read stands as failed."""
    results = read_json(run / "evaluate" / "metrics.json")
    results["unparsed"]["lamp"]["title"]["unparsed"] = results["unparsed"]["lamp"]["title"]["n"]
    write_json(run / "evaluate" / "metrics.json", results)
    line = next(line for line in export_results([run], None, "markdown", Selection(tasks=("title",))).splitlines() if "lamp" in line)
    assert line.startswith("| lamp | failed | – |")
    assert "lamp,rouge1" not in export_results([run], None, "csv", Selection(tasks=("title",)))


def test_what_only_failed_methods_have_is_no_column(run: Path) -> None:
    """But the number of targets is that of all; where all failed, the table says so of as many targets."""
    results = read_json(run / "evaluate" / "metrics.json")
    results["methods"]["lamp"]["title"]["bits"] = {"value": 1.0, "low": 0.9, "high": 1.1, "n": 30}
    results["unparsed"]["lamp"]["title"]["unparsed"] = results["unparsed"]["lamp"]["title"]["n"]
    [title] = [table for table in result_tables(results) if table.task == "title"]
    assert "bits" not in {metric.name for metric in title.metrics}
    for counts in results["unparsed"].values():
        counts["title"]["unparsed"] = counts["title"]["n"]
    [title] = [table for table in result_tables(results) if table.task == "title"]
    assert (title.count, title.rows) == (30, {})


def test_outputs_are_written_in_three_formats(run: Path, world: Any, tmp_path: Path) -> None:
    """The same records everywhere, references only where they are asked for."""
    chosen = Selection(methods=("grasper",), tasks=("long", "rating"))
    for name in ("o.jsonl", "o.csv", "o.parquet"):
        export_outputs([run], tmp_path / name, None, chosen, references=True)
    records = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    frame = pd.read_parquet(tmp_path / "o.parquet")
    rows = list(csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8")))
    assert len(records) == len(frame) == len(rows) == 60
    written = {(output.example_id, output.task): output for output in world.records["grasper"]}
    for record in records:
        output = written[record["example_id"], record["task"]]
        assert (record["text"], record["rating"], record["is_parsed"]) == (output.text, output.rating, output.is_parsed)
    targets = {example.example_id: example.target.text for example in world.examples}
    assert all(record["reference_text"] == targets[record["example_id"]] for record in records if record["task"] == "long")
    assert "reference_text" not in json.loads(export_outputs([run], None, "jsonl", chosen).splitlines()[0])


def test_of_an_unfinished_run_whole_batches_leave(run: Path, world: Any) -> None:
    """What a kill left of the batch that it interrupted is written again, perhaps otherwise, and no output yet."""
    path = run / "generate" / "copy" / "outputs.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[0])
    exported = export_outputs([run], None, "jsonl", Selection(methods=("copy",)))
    assert len(exported.splitlines()) == len(world.records["copy"])


def test_texts_that_begin_like_formulas_are_harmless_in_csv_and_exact_in_jsonl(run: Path, world: Any, write_outputs: Any) -> None:
    """The apostrophe stands in CSV alone."""
    evil = [replace(output, text="=HYPERLINK(1)") if output.task == "long" else output for output in world.records["copy"]]
    write_outputs(run / "generate" / "copy" / "outputs.jsonl", evil)
    chosen = Selection(methods=("copy",), tasks=("long",))
    assert next(csv.DictReader(io.StringIO(export_outputs([run], None, "csv", chosen))))["text"] == "'=HYPERLINK(1)"
    assert json.loads(export_outputs([run], None, "jsonl", chosen).splitlines()[0])["text"] == "=HYPERLINK(1)"


def test_several_runs_stand_below_one_another(run: Path, tmp_path: Path) -> None:
    """Each line names its run."""
    other = tmp_path / "second"
    shutil.copytree(run, other)
    text = export_results([run, other], None, "markdown", Selection(methods=("copy",), tasks=("rating",)))
    assert r"| toy\_run · copy |" in text
    assert "| second · copy |" in text
    assert text.count("| method |") == 1


def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    """Unknown names list what the run has; a run without results says what to do."""
    with pytest.raises(ConfigError, match="unknown method 'graspr'; this run has grasper"):
        export_results([run], None, None, Selection(methods=("graspr",)))
    with pytest.raises(ConfigError, match="unknown metric 'rouge'; this run has rouge"):
        export_results([run], None, None, Selection(metrics=("rouge",)))
    with pytest.raises(ConfigError, match=r"unknown format '\.xls'; known: "):
        export_results([run], tmp_path / "t.xls", None, EVERYTHING)
    with pytest.raises(ConfigError, match="give a file"):
        export_outputs([run], None, "parquet", EVERYTHING)
    absent = tmp_path / "absent"
    with pytest.raises(MissingFileError, match=f"grasper evaluate --run {absent}`"):
        export_results([absent], None, None, EVERYTHING)


def test_a_run_without_targets_is_not_sent_to_stages_that_it_has_not(run: Path) -> None:
    """Nothing is generated or evaluated in it, so that no such command would help."""
    Run(run).finish(run / "prepare", key={"prepare": {"split": "none"}}, seed=0, counts={}, seconds=0.0)
    shutil.rmtree(run / "generate")
    shutil.rmtree(run / "evaluate")
    for export in (lambda: export_results([run], None, None, EVERYTHING), lambda: export_outputs([run], None, None, EVERYTHING)):
        with pytest.raises(MissingFileError, match=r"asks for no targets \(prepare.split is none\); use `grasper write`"):
            export()


def test_runs_in_folders_of_one_name_go_by_their_paths(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run in the current folder by that folder's name."""
    other = Path(shutil.copytree(run, tmp_path / "elsewhere" / run.name))
    exported = export_results([run, other], None, "csv", Selection(methods=("copy",), metrics=("rouge1",)))
    assert {row["run"] for row in csv.DictReader(io.StringIO(exported))} == {str(run), str(other)}
    monkeypatch.chdir(run)
    records = export_outputs([Path(".")], None, "jsonl", Selection(methods=("copy",))).splitlines()
    assert {json.loads(record)["run"] for record in records} == {run.name}


def test_the_command_writes_files_and_prints(run: Path, tmp_path: Path) -> None:
    """The suffix tells the format; without a file the table goes to the terminal."""
    result = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "t.tex")])
    assert result.exit_code == 0, result.output
    assert r"\toprule" in (tmp_path / "t.tex").read_text(encoding="utf-8")
    printed = CliRunner().invoke(app, ["export", str(run), "--metrics", "rouge1", "--tasks", "long"])
    assert printed.output.count("\n") == 4 + 6
    assert CliRunner().invoke(app, ["export", str(run), "--outputs", "--methods", "copy"]).output.count("\n") == 90
    for unfit in (["--references"], ["--outputs", "--metrics", "rouge1"]):
        assert isinstance(CliRunner().invoke(app, ["export", str(run), *unfit]).exception, ConfigError), unfit
