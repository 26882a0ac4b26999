"""What the commands print: whole at any width, literal whatever names hold."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from grasper import terminal
from grasper.errors import RunMismatchError
from grasper.files import write_json
from grasper.records import Review
from grasper.terminal import print_metrics, print_statistics, print_user

NAMES = ("rouge1", "rougeL", "meteor", "personalization", "style_match")


def results(*methods: str, dataset: str = "toy") -> dict[str, Any]:
    """A results file of two tasks in which the last method is clearly best."""

    def entry(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 40}

    rows = {method: {"long": {name: entry(0.2 + 0.1 * place) for name in NAMES}} for place, method in enumerate(methods)}
    pairs = [
        {"method": methods[-1], "other": method, "task": "long", "metric": name, "difference": 0.1, "low": 0.05, "high": 0.15}
        for method in methods[:-1]
        for name in NAMES
    ]
    return {
        "dataset": dataset,
        "split": "dev-a",
        "methods": rows,
        "cost": {
            method: {"seconds": None, "tokens_in": 1000, "tokens_out": 20, "align_tokens_in": 5000, "align_tokens_out": 1} for method in methods
        },
        "comparison": {"baseline": methods[0], "pairs": pairs},
        "unparsed": {method: {"long": {"n": 40, "unparsed": 0}} for method in methods},
    }


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Prints results at a width and gives the lines."""

    def shown(content: dict[str, Any], width: int) -> list[str]:
        monkeypatch.setattr(terminal, "plain_console", lambda: Console(highlight=False, markup=False, emoji=False, width=width))
        write_json(tmp_path / "metrics.json", content)
        print_metrics(tmp_path)
        return capsys.readouterr().out.splitlines()

    return shown


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_number_is_ever_cut(width: int, show: Any) -> None:
    """Every interval that is shown is whole, on one line, inside the width; what does not fit is named."""
    lines = show(results("none", "grasper-no-synthetic"), width)
    text = "\n".join(lines)
    assert all(len(line) <= width for line in lines)
    assert "…" not in text
    assert len(re.findall(r"\[0\.\d{3}, 0\.\d{3}\]", text)) == text.count("[0.")
    labels = ("ROUGE-1", "ROUGE-L", "METEOR", "Personalization", "Style match")
    assert all(label in text for label in labels), "in the table or below it"
    assert ("not shown here" in text) == (width < 140)
    assert ("0.200 [0.190, 0.210]" in text) == (width >= 140)


def test_few_items_are_warned_of(show: Any) -> None:
    """Intervals of ten items or fewer are too narrow; with one there are none that could be."""

    def warned(count: int) -> list[str]:
        lines = show(results("none") | {"bootstrap": {"num_clusters": count}}, 200)
        return [line for line in lines if line.startswith("warning")]

    assert [len(warned(count)) for count in (1, 2, 10, 11)] == [0, 1, 1, 0]
    assert warned(2) == ["warning: the targets are about 2 items: with 10 or fewer, intervals are too narrow and p values too small"]


def test_failed_methods_and_warnings(show: Any) -> None:
    """A method without one readable answer shows no numbers; above five per cent it is said."""
    content = results("none", "lamp", "grasper")
    content["unparsed"]["lamp"]["long"]["unparsed"] = 40
    content["unparsed"]["none"]["long"]["unparsed"] = 2
    content["unparsed"]["grasper"]["long"]["unparsed"] = 3
    lines = show(content, 140)
    (lamp,) = (line for line in lines if "lamp" in line and "failed" in line)
    assert not re.search(r"\d\.\d", lamp)
    assert [line for line in lines if line.startswith("warning")] == [
        "warning: lamp, long: 40 of 40 answers (100%) are not in the expected format",
        "warning: grasper, long: 3 of 40 answers (8%) are not in the expected format",
    ]


def test_bits_over_different_numbers_of_paths_do_not_compare_in_silence(show: Any) -> None:
    content = results("none", "grasper", "pat")
    content["bits_paths"] = {"grasper": [4], "pat": [4]}
    assert not [line for line in show(content, 200) if line.startswith("warning")]
    content["bits_paths"] = {"grasper": [4], "pat": [2]}
    (line,) = (line for line in show(content, 200) if line.startswith("warning"))
    assert "(grasper over 4, pat over 2)" in line


@pytest.mark.parametrize("name", ["shop[/x]", "[bold]shop", ":smile:", "[link=x]a[/link]"])
def test_names_are_printed_as_they_are(name: str, show: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What rich would take for markup or for an emoji's name is a name here."""
    assert any(line.startswith(f"long · {name} · dev-a") for line in show(results("none", "copy", dataset=name), 120))
    facts = {"name": name, "language": "en", "pools": {}, "repeated_targets": {}, "examples": {}, "reviews_without_rating": 0}
    write_json(tmp_path / "statistics.json", facts)
    print_statistics(tmp_path)
    assert f"{name} (en)" in capsys.readouterr().out


def test_older_results_files_are_shown(show: Any) -> None:
    """Without descriptions of metrics and counts of unreadable answers."""
    content = copy.deepcopy(results("none", "copy"))
    del content["unparsed"]
    assert any("ROUGE-1" in line for line in show(content, 120))


def test_models_are_listed_literally(capsys: pytest.CaptureFixture[str]) -> None:
    """A model's name or licence is no markup either."""
    entry: Any = SimpleNamespace(name="shop[/x]", state="here", num_bytes=1_000_000, memory_bytes=None, licence="[bold]MIT", description="tiny")
    terminal.print_models([entry], {})
    printed = capsys.readouterr().out
    assert "shop[/x]" in printed
    assert "[bold]MIT" in printed


def test_one_stale_method_does_not_hide_the_rest_of_a_user(capsys: pytest.CaptureFixture[str]) -> None:
    """Its texts go back to other data than those that are there now; the others' do not."""

    def outputs(method: str) -> list[Any]:
        if method == "stale":
            raise RunMismatchError("made from another prepare")
        return [SimpleNamespace(example_id="e", path=None, task="long", text="A fine text.")]

    tables = SimpleNamespace(examples=pd.DataFrame({"user_id": ["u"], "split": ["dev"], "review_id": ["r"], "example_id": ["e"]}))
    tables.reviews_by_id = {"r": Review("r", "u", "i", "What was written.")}
    loaded = SimpleNamespace(
        tables=tables,
        names={},
        asker=SimpleNamespace(known_user=lambda user_id, advice: user_id),
        run=SimpleNamespace(folder=Path),
        methods=lambda: ["stale", "whole"],
        outputs=outputs,
        synthetic=lambda method: [],
    )
    print_user(loaded, "u")  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert "stale: not shown; made from another prepare" in told
    assert told.index("A fine text.") < told.index("reference") < told.index("What was written.")
    tables.examples = tables.examples[:0]
    print_user(loaded, "u")  # type: ignore[arg-type]
    assert "reference" not in capsys.readouterr().out, "there is none"
