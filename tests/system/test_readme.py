"""The README's code, taken from the page and run in order, as a new user would, on the run that `make pipeline` leaves (here with two targets)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from processes import BRIEF, options, run_grasper, run_python

from grasper.config import Config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


def grasper(*arguments: str, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    result = run_grasper(*arguments, cwd=cwd)
    assert result.returncode == 0, f"grasper {' '.join(arguments)}: {result.stderr[-2000:]}"
    return result.stdout


def blocks(language: str, section: str) -> list[str]:
    """The code blocks of a section of the page."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(section: str) -> list[list[str]]:
    """The grasper commands of a section, without comments."""
    lines = [line for block in blocks("bash", section) for line in block.splitlines()]
    parts = [shlex.split(line, comments=True) for line in lines]
    return [part[1:] for part in parts if part and part[0] == "grasper"]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make pipeline`'s command on two targets; returns the folder it was run in."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "experiments", folder / "experiments", ignore=lambda directory, names: [name for name in names if name != "harbour.yaml"])
    settings = options([*BRIEF, "prompts.path_tokens=40", "prompts.answer_tokens=40"])  # REST-PG learns samples that came to their end
    result = run_grasper("pipeline", "-c", "experiments/harbour.yaml", "--run", "harbour", "--limit", "2", *settings, cwd=folder)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "report.html" in result.stdout
    return folder


def test_pipeline_ends_in_a_table_for_every_method(finished_run: Path) -> None:
    """All methods of the configuration have texts, titles and ratings, with intervals around each number."""
    metrics = json.loads((finished_run / "runs/harbour/evaluate/metrics.json").read_text())
    assert set(Config().methods) == set(metrics["methods"])
    for method, tasks in metrics["methods"].items():
        assert set(tasks) == {"long", "title", "rating"}, method
        for entry in (tasks["long"]["rouge1"], tasks["title"]["rougeL"], tasks["rating"]["mae"]):
            assert entry["low"] <= entry["value"] <= entry["high"]
            assert entry["n"] == 2


def test_a_second_pipeline_skips_everything(finished_run: Path) -> None:
    """Nothing is computed twice: every step says that it was finished earlier, and no file changes."""
    files = {path: path.stat().st_mtime_ns for path in (finished_run / "runs/harbour").rglob("*.jsonl")}
    output = grasper("pipeline", "--run", "harbour", cwd=finished_run)
    assert len(re.findall("finished earlier", output)) >= 12
    assert "running" not in output
    assert files == {path: path.stat().st_mtime_ns for path in (finished_run / "runs/harbour").rglob("*.jsonl")}


def test_the_python_lines_run_and_print_a_text_with_its_evidence(finished_run: Path) -> None:
    (block,) = blocks("python", "From Python")
    result = run_python(block, finished_run)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Style:" in result.stdout
    assert "SyntheticReview" in result.stdout or "()" in result.stdout
    assert "Review(review_id=" in result.stdout


def test_the_commands_run_in_order(finished_run: Path) -> None:
    """Each does what its line says."""
    said = {}
    for arguments in commands("From the command line"):
        said[arguments[0]] = grasper(*arguments, cwd=finished_run)
    assert [line.split("\t")[:2] for line in said["recommend"].splitlines()][::3] == [["wool_and_maps", "1"], ["nobody-knows-me", "1"]]
    assert len(said["write"].split()) > 2
    for word in ("predicted", "grasper", "copy", "reference"):
        assert word in said["show"]
    assert (finished_run / "mira.svg").exists()
    assert "harbour: prepare, predict, align, synthesize, generate, evaluate" in said["runs"]
    assert r"\toprule" in said["export"]
    assert "evaluate" in said["pipeline"]
    assert "FAIL" not in said["doctor"]


def test_evaluation_gives_the_same_numbers_again(finished_run: Path) -> None:
    path = finished_run / "runs/harbour/evaluate/metrics.json"
    before = json.loads(path.read_text())
    path.unlink()
    grasper("evaluate", "--run", "harbour", cwd=finished_run)
    assert json.loads(path.read_text())["methods"] == before["methods"]


def test_another_configuration_is_refused(finished_run: Path) -> None:
    """A run folder keeps its configuration: the error names what differs, and nothing is touched."""
    result = run_grasper("pipeline", "--run", "harbour", "--set", "predict.top_k=3", cwd=finished_run)
    assert result.returncode == 2
    assert "predict.top_k: 10 → 3" in result.stderr
    assert (finished_run / "runs/harbour/predict/manifest.json").exists()


def test_a_table_of_ones_own_becomes_texts(finished_run: Path) -> None:
    """The shop's table is looked at, and the configuration that comes of it runs."""
    rows = [f"c{n % 23},sku{n % 7},Very nice product number {n} and quick delivery,Nice {n},{1 + n % 5},2024-0{1 + n % 9}-11" for n in range(120)]
    (finished_run / "reviews.csv").write_text("customer,sku,comment,headline,stars,created_at\n" + "\n".join(rows), encoding="utf-8")
    for arguments in commands("Your own data"):
        grasper(*arguments, cwd=finished_run)
    assert (finished_run / "runs/shop/evaluate/report.html").exists()


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Files of this repository only."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", PAGE):
        assert (ROOT / target).exists(), target
    assert "../" not in re.sub(r"NLTK_DATA=\S+|--data \S+", "", PAGE)
