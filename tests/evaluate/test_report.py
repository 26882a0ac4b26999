"""The report: self-contained, escaped, small enough, and with everything in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from grasper.config import EvaluateConfig
from grasper.evaluate import evaluate, report
from grasper.files import read_json
from grasper.records import Item, Tables
from grasper.synthesize.select import REASONS
from grasper.written import load_synthetic

ATTACK = "<script>alert('pwned')</script><img src=x onerror=alert(1)>\" & {{ 7*7 }}"


class Page(HTMLParser):
    """Counts elements and collects attributes and the scripts' contents."""

    VOID = frozenset({"meta", "input", "br", "img", "link", "line", "circle", "rect", "polyline"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.stack: list[str] = []
        self.problems: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "script":
            self.scripts.append(data)


def write_report(world: Any, folder: Path, **changes: Any) -> str:
    config = EvaluateConfig(bootstrap_samples=100, report_examples=changes.pop("report_examples", 4))
    everything: dict[str, Any] = {"synthetic": world.synthetic, "candidates": world.candidates, "costs": world.costs}
    evaluate(world.run_data(**everything | changes), config, folder, seed=0)
    return (folder / "report.html").read_text(encoding="utf-8")


def rendering(world: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Callable[[], str]:
    """What renders the page of one evaluation as often as it is asked, from numbers that are computed once."""
    found: list[Callable[[], str]] = []

    def keep(*given: Any, **options: Any) -> str:
        found.append(partial(report.render_report, *given, **options))
        return ""

    monkeypatch.setattr("grasper.evaluate.stage.render_report", keep)
    write_report(world, folder, **changes)
    return found[0]


@pytest.fixture(scope="module")
def page(world: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(world, tmp_path_factory.mktemp("report"))


def test_the_page_is_well_formed_and_self_contained(page: str) -> None:
    """Every element is closed, and nothing is loaded from anywhere."""
    parsed = Page(page)
    assert parsed.problems == []
    assert parsed.stack == []
    assert not {"link", "img", "iframe", "object", "embed"} & set(parsed.tags)
    loading = {name: value for name, value in parsed.attributes if name in ("src", "srcset", "action", "data") or name.startswith("on")}
    assert loading == {}
    assert all(value and value.startswith("#") for name, value in parsed.attributes if name == "href")
    assert not re.search(r"url\(|@import|https?://", page)


def test_only_the_page_s_own_script_may_run(page: str) -> None:
    """There is one script, and the content security policy allows exactly its hash."""
    (script,) = Page(page).scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = dict(re.findall(r"(default-src|script-src) ([^;\"]+)", page))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].replace("&#39;", "'").replace("&#43;", "+") == f"'sha256-{digest}'"


def test_untrusted_text_is_escaped_everywhere(world: Any, build_world: Any, write_outputs: Any, tmp_path: Path) -> None:
    """A script in user id, title, text, item name, completion, path, synthetic review, gate reason, method or data set name stays text."""
    attacked = build_world(tmp_path / "world", num_users=6, methods=("copy",))
    tables = attacked.tables
    reviews = tables.reviews.assign(user_id=tables.reviews["user_id"] + ATTACK, title=ATTACK, text=tables.reviews["text"] + ATTACK)
    items = tables.items.assign(name=ATTACK)
    examples = tables.examples.assign(user_id=tables.examples["user_id"] + ATTACK)
    evil = Tables(reviews, items, examples)
    records = [
        dataclasses.replace(record, method=ATTACK, text=ATTACK if record.text else None, path=ATTACK, raw=ATTACK)
        for record in attacked.records["copy"]
    ]
    outputs = {ATTACK: write_outputs(tmp_path / "evil.jsonl", records)}
    lines = (world.synthetic["grasper"]).read_text(encoding="utf-8")
    synthetic = tmp_path / "synthetic.jsonl"
    item = dataclasses.asdict(Item("i0", ATTACK))
    synthetic.write_text(lines, encoding="utf-8")
    from grasper.records import SyntheticReview

    review = SyntheticReview("e0", f"user 0{ATTACK}", Item(**item), ATTACK, ATTACK, 4.0, ATTACK, 1, 0.5, ATTACK)
    write_outputs(synthetic, [_Record(review)])
    page = write_report(
        attacked,
        tmp_path,
        tables=evil,
        examples=evil.select("dev-a"),
        outputs=outputs,
        synthetic={ATTACK: synthetic},
        costs={},
        report_examples=6,
        dataset=ATTACK,
    )
    parsed = Page(page)
    assert len(parsed.scripts) == 1
    assert "img" not in parsed.tags
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in page, "not evaluated as a template either"
    assert page.count("&lt;script&gt;alert") > 20


def test_every_step_of_roles_that_took_turns_is_shown_and_escaped(build_world: Any, write_outputs: Any, tmp_path: Path) -> None:
    world = build_world(tmp_path / "world", num_users=6, methods=("copy",))
    steps = tuple({"step": str(n), "style": f"Style: style{n}", "topic": "", "draft": f"draft{n} {ATTACK}"} for n in range(2))
    steps[0]["style_evidence"] = "3 people who write alike"
    records = [dataclasses.replace(record, method="pat", path="Style: last", notes=steps) for record in world.records["copy"]]
    outputs = {"pat": write_outputs(tmp_path / "pat.jsonl", records)}
    page = write_report(world, tmp_path, outputs=outputs, synthetic={}, costs={}, report_examples=6)
    assert "Style from 3 people who write alike\n\nStep 0\nStyle: style0\nDraft: draft0" in page
    assert "Step 1\nStyle: style1\nDraft: draft1" in page
    assert "<script>alert" not in page


@dataclasses.dataclass
class _Record:
    """Lets the outputs' writer write any dataclass."""

    record: Any

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self.record)


def test_everything_is_in_it(page: str, world: Any) -> None:
    """Results, differences, sparsity, cost, and in the browser: history, predicted items, synthetic reviews, texts, reasoning, reference."""
    for method in world.outputs:
        assert f">{method}</span>" in page
    for words in (
        "ROUGE-1",
        "Personalization",
        "Quality by number of own reviews",
        "Synthetic reviews of grasper",
        "Predicted items",
        "Reference",
        "Reasoning",
    ):
        assert words in page
    assert page.count('<article class="example"') == 4
    assert page.count("<svg") == page.count("</svg>") > 10
    assert page.count('role="img" aria-label=') == page.count("<svg")
    assert any(f"rejected: {reason}" in page for reason in REASONS)


def test_the_best_value_is_marked_once_per_column(page: str) -> None:
    """The planted best method is marked in the text results."""
    table = page.split("<h3>Review text")[1].split("</table>")[0]
    grasper = next(row for row in table.split("<tr>") if ">grasper<" in row)
    assert grasper.count('class="best"') >= 3
    assert ">none<" in table
    assert 'class="best"' not in next(row for row in table.split("<tr>") if ">none<" in row)


def test_no_examples_no_browser(world: Any, tmp_path: Path) -> None:
    """`report_examples: 0` leaves the section and its link out."""
    page = write_report(world, tmp_path, report_examples=0)
    assert 'id="examples"' not in page
    assert 'href="#examples"' not in page


def test_link_prediction_is_shown_where_it_exists(world: Any, tmp_path: Path) -> None:
    """The link predictor's metrics become a table; a predictor without withheld edges has none."""
    outputs = {"copy": world.outputs["copy"]}
    known = {"encoder": "hybrid", "validation": {"num_edges": 1234, "recall@10": 0.4321, "calibration_error": 0.01}}
    page = write_report(world, tmp_path, outputs=outputs, prediction=known)
    assert all(words in page for words in ("0.432", "1,234", ">hybrid<", "calibration error"))
    unknown = {"encoder": "hybrid", "validation": {"num_edges": 0}}
    assert "<h3>Link prediction" not in write_report(world, tmp_path, outputs=outputs, prediction=unknown)


def test_one_method_and_no_extras(world: Any, tmp_path: Path) -> None:
    """The smallest evaluation has a report too."""
    page = write_report(world, tmp_path, outputs={"copy": world.outputs["copy"]}, synthetic=None, candidates=None, costs=None)
    assert "nothing to compare" in page
    assert 'href="#synthetic"' not in page


def test_a_baseline_without_a_readable_answer_hides_no_other_comparison(world: Any, tmp_path: Path, write_outputs: Any) -> None:
    """It is said, and the others are compared with each other all the same."""
    broken = [dataclasses.replace(output, is_parsed=False) for output in world.records["pgraphrag"]]
    outputs = {**world.outputs, "pgraphrag": write_outputs(tmp_path / "broken.jsonl", broken)}
    page = write_report(world, tmp_path, outputs=outputs).split('<section id="differences">')[1].split("</section>")[0]
    assert "compared with those of <b>pgraphrag</b>" in page
    assert "grasper − copy" in page or "copy − grasper" in page
    assert "nothing to compare" not in page


def test_a_big_report_is_cut_to_size(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page would grow past its limit, the browser's texts are cut shorter; no example is left out."""
    tables = world.tables
    wordy = Tables(tables.reviews.assign(text=tables.reviews["text"] + " more words" * 100), tables.items, tables.examples)
    settings: dict[str, Any] = {"tables": wordy, "examples": wordy.select("dev-a"), "outputs": {"copy": world.outputs["copy"]}, "synthetic": None}
    render = rendering(world, tmp_path, monkeypatch, report_examples=30, **settings)
    free = render()
    monkeypatch.setattr(report, "MAX_BYTES", len(free.encode()) - 20_000)
    cut = render()
    assert len(cut.encode()) <= report.MAX_BYTES
    assert cut.count('<article class="example"') == free.count('<article class="example"') == 30


def test_a_method_whose_answers_cannot_be_read_has_failed(world: Any, tmp_path: Path, write_outputs: Any) -> None:
    """No numbers, no dot in a plot, no difference, but a warning at the top; the others keep their best marks."""
    broken = [dataclasses.replace(output, is_parsed=output.task != "title", text=output.raw) for output in world.records["grasper"]]
    outputs = {**world.outputs, "grasper": write_outputs(tmp_path / "broken.jsonl", broken)}
    page = write_report(world, tmp_path, outputs=outputs)
    table = page.split("<h3>Title")[1].split("</table>")[0]
    row = next(row for row in table.split("<tr>") if ">grasper<" in row)
    assert "failed: none of 30 answers is in the expected format" in row
    assert "0." not in row
    plots = page.split("<h3>Title")[1].split("<h3>Rating")[0].split("</table>")[1]
    assert "grasper-no-graph" in plots
    assert ">grasper<" not in plots
    full = page.split('aria-label="Title, all targets"')[1].split("</table>")[0]
    assert ">grasper-no-graph<" in full
    assert ">grasper<" not in full
    pairs = [row for row in page.split('<section id="differences">')[1].split("</section>")[0].split("<tr>") if "<td>title</td>" in row]
    assert any("grasper-no-graph −" in row or "− grasper-no-graph<" in row for row in pairs)
    assert not any(">grasper −" in row or "− grasper<" in row for row in pairs)
    head = page.split("<nav")[0]
    assert "grasper, title: 30 of 30 answers (100%) are not in the expected format" in head
    unread = {method: sum(one.task == "title" and not one.is_parsed for one in answers) for method, answers in world.records.items()}
    del unread["grasper"]
    warned = {method for method in unread if f"<li>{method}, title: " in head}
    assert warned == {method for method, count in unread.items() if count > 1}, "a twentieth of 30 is passed over"
    assert set() < warned < set(unread)


def test_provenance_and_the_whole_cost_are_told(world: Any, tmp_path: Path) -> None:
    """Model, seed, commit, date and what was changed; tokens of the alignment stand beside those of writing."""
    facts = {"model": "nano <b>", "seed": 7, "split": "dev-a", "limit": None, "settings": {"align.epochs": 3.0, "align.sources": ["analysed"]}}
    facts |= {"commits": ["abc123"], "versions": {"torch": "2.13"}, "finished": ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"]}
    costs = {**world.costs, "grasper": {"generate_seconds": 1.0, "align_tokens_in": 390_000, "align_tokens_out": 624}}
    page = write_report(world, tmp_path, provenance=facts, costs=costs)
    section = page.split('<section id="provenance">')[1].split("</section>")[0]
    for words in (
        "nano &lt;b&gt;",
        "<dd>7</dd>",
        "dev-a, all targets",
        "abc123",
        "torch 2.13",
        "2026-01-02 03:04:05 UTC",
        "align.epochs",
        "[&#34;analysed&#34;]",
    ):
        assert words in section, words
    row = next(row for row in page.split('<section id="cost">')[1].split("<tr>") if ">grasper<" in row)
    assert "390,624" in row
    written = sum(output.tokens_in + output.tokens_out for output in world.records["grasper"])
    written += sum(review.tokens_in + review.tokens_out for review in load_synthetic(world.synthetic["grasper"]))
    assert f"{390_624 + written:,}" in row
    assert 'id="provenance"' not in write_report(world, tmp_path)


def test_seconds_that_nobody_noted_are_not_told_as_none(world: Any, tmp_path: Path) -> None:
    """Texts that took no time were written before seconds outlived a kill; what `copy` writes without a model may take none."""
    nothing = {"generate_seconds": 0.0, "synthesize_seconds": 0.0}
    write_report(world, tmp_path, costs=dict.fromkeys(world.outputs, nothing))
    cost = read_json(next(tmp_path.rglob("metrics.json")))["cost"]
    assert {method: entry["seconds"] for method, entry in cost.items()} == {
        method: None if any(record.tokens_in + record.tokens_out for record in world.records[method]) else 0.0 for method in world.outputs
    }
    assert None in [entry["seconds"] for entry in cost.values()]


def test_other_scripts_say_how_they_were_compared(world: Any, tmp_path: Path) -> None:
    """References without Latin letters are counted in the results and named on the page."""
    reviews = world.tables.reviews.assign(text="номер был очень чистый " + world.tables.reviews["item_id"], title="очень чисто")
    tables = Tables(reviews, world.tables.items, world.tables.examples)
    outputs = {"copy": world.outputs["copy"]}
    page = write_report(world, tmp_path, tables=tables, examples=tables.select("dev-a"), outputs=outputs, synthetic=None)
    assert "30 of 30 (long), 30 of 30 (title) references are compared by words" in page


def test_names_and_many_methods_do_not_blow_the_page_up(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of 100,000 characters and titles of 3,600 are cut; where the comparisons of many methods are too much, those with the baseline stay."""
    endless = "Grand Hotel " * 9_000
    items = world.tables.items.assign(name=endless)
    tables = Tables(world.tables.reviews.assign(title="Grand Hotel " * 300), items, world.tables.examples)
    many = {f"m{number}": world.outputs["copy"] for number in range(12)} | {"pgraphrag": world.outputs["pgraphrag"]}
    settings: dict[str, Any] = {"tables": tables, "examples": tables.select("dev-a"), "outputs": many, "synthetic": None}
    render = rendering(world, tmp_path, monkeypatch, report_examples=30, **settings)
    page = render()
    assert len(page.encode()) < report.MAX_BYTES
    assert "Grand Hotel" in page
    assert "Grand Hotel " * 101 not in page
    monkeypatch.setattr(report, "MAX_BYTES", 260_000)
    page = render()
    assert len(page.encode()) < 260_000
    assert "m11 − pgraphrag" in page
    assert "m2 − m1<" not in page
