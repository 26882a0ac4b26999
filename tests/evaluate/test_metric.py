"""A metric is one record; registered, it stands everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from grasper.config import EvaluateConfig
from grasper.errors import ConfigError, ModelNotFoundError, PluginError, RunMismatchError, ShapeError, UnknownNameError
from grasper.evaluate.measured import read_measured
from grasper.evaluate.stage import evaluate
from grasper.files import read_json
from grasper.metrics import standard
from grasper.metrics.choose import choose_metrics, metric_of
from grasper.metrics.metric import METRICS, Batch, Metric, Targets, register
from grasper.metrics.standard import bleu, chrf, distinct
from grasper.metrics.text import ngrams
from grasper.terminal import print_metrics


@pytest.fixture
def shouting() -> Iterator[Metric]:
    """A metric of somebody else's: the share of capitals, better where lower."""

    def share(text: str) -> float:
        return sum(character.isupper() for character in text) / max(len(text), 1)

    metric = Metric(
        "shouting", "Shouting", lambda batch: [share(text) for text in batch.texts], ("long",), False, chance=0.3, shown="plot", meaning="Capitals."
    )
    register(metric)
    yield metric
    del METRICS._parts["shouting"]


def evaluated(world: Any, folder: Path, **settings: Any) -> dict[str, Any]:
    config = settings.pop("config", EvaluateConfig(bootstrap_samples=100))
    outputs = {name: world.outputs[name] for name in ("none", "pgraphrag", "grasper")}
    evaluate(world.run_data(outputs, **settings), config, folder, seed=1)
    return dict(read_json(folder / "metrics.json"))


def test_one_registration_puts_a_metric_everywhere(shouting: Metric, world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Per-example table, results, levels, comparisons (lower is better), report and terminal know it."""
    metrics = evaluated(world, tmp_path)
    entry = metrics["methods"]["grasper"]["long"]["shouting"]
    table = pd.read_parquet(tmp_path / "per_example.parquet")
    mine = table[(table["method"] == "grasper") & (table["task"] == "long")]["shouting"]
    assert entry["value"] == pytest.approx(mine.mean(), abs=1e-6)
    assert "shouting" not in metrics["methods"]["grasper"]["title"]
    assert metrics["metrics"]["shouting"] == {
        "label": "Shouting",
        "tasks": ["long"],
        "higher_is_better": False,
        "chance": 0.3,
        "shown": "plot",
        "form": "score",
        "meaning": "Capitals.",
        "is_rooted": False,
        "is_by_bytes": False,
    }
    assert "shouting" in metrics["sparsity"]["methods"]["grasper"]["long"]
    pair = next(pair for pair in metrics["comparison"]["pairs"] if pair["metric"] == "shouting" and pair["method"] == "none")
    theirs = table[(table["method"] == "none") & (table["task"] == "long")].set_index("example_id")["shouting"]
    base = table[(table["method"] == "pgraphrag") & (table["task"] == "long")].set_index("example_id")["shouting"]
    assert pair["wins"] == pytest.approx((theirs < base).mean(), abs=1e-6)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<th scope="col">Shouting</th>' in page
    assert "<figcaption>Shouting <span>lower is better</span></figcaption>" in page
    assert "<dt>Shouting</dt><dd>Capitals.</dd>" in page
    print_metrics(tmp_path)
    assert "Shouting" in capsys.readouterr().out


def test_numbers_that_need_a_model_are_handed_in(world: Any, tmp_path: Path) -> None:
    """`bits` has no function; stored per example it is averaged, compared and plotted like any metric, with its own n."""
    files = {}
    for place, method in enumerate(("none", "grasper")):
        path = tmp_path / f"measured-{method}.jsonl"
        lines = [{"example_id": example.example_id, "task": "long", "metric": "bits", "value": 2.0 - place} for example in world.examples[:20]]
        path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"batch": 0}]), encoding="utf-8")
        files[method] = [path]
    metrics = evaluated(world, tmp_path / "out", measured=files)
    assert metrics["methods"]["none"]["long"]["bits"]["value"] == 2.0
    assert metrics["methods"]["grasper"]["long"]["bits"]["n"] == 20
    assert "bits" not in metrics["methods"]["pgraphrag"]["long"]
    assert "bits" not in metrics["methods"]["none"]["title"]
    pair = next(pair for pair in metrics["comparison"]["pairs"] if pair["metric"] == "bits")
    assert (pair["difference"], pair["wins"], pair["n"]) == ((1.0, 0.0, 20) if pair["method"] == "none" else (-1.0, 1.0, 20))
    assert '<th scope="col">Bits per byte</th>' in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ('{"example_id": "e1", "task": "long", "metric": "bits"}', RunMismatchError, "no measured number"),
        ('{"example_id": "e1", "task": "long", "metric": "bits", "value": NaN}', RunMismatchError, "is nan"),
        ('{"example_id": "e1", "task": "long", "metric": "bitz", "value": 1}', UnknownNameError, "unknown metric 'bitz'; known: bits"),
    ],
)
def test_measured_numbers_are_checked(line: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    """A damaged file is named instead of being averaged."""
    (tmp_path / "m.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(error, match=message):
        read_measured([tmp_path / "m.jsonl"])


def test_extra_metrics_are_asked_for_by_name(world: Any, tmp_path: Path) -> None:
    """BLEU and chrF come when they are named; what is not installed or known is refused."""
    metrics = evaluated(world, tmp_path, config=EvaluateConfig(bootstrap_samples=100, extra_metrics=("bleu", "chrf")))
    assert {"bleu", "chrf"} <= set(metrics["methods"]["grasper"]["long"])
    assert "bleu" not in [metric.name for metric in choose_metrics()]
    with pytest.raises(UnknownNameError, match="unknown metric 'blue'; known: bleu"):
        choose_metrics(["blue"])
    if not METRICS.get("bertscore").is_available():
        with pytest.raises(ConfigError, match="extra `bertscore`"):
            choose_metrics(["bertscore"])


def test_a_metric_of_the_wrong_length_is_named(shouting: Metric, world: Any, tmp_path: Path) -> None:
    """Whoever wrote it learns what is wrong, and two of one name are refused."""
    with pytest.raises(PluginError, match="named 'shouting' already"):
        register(Metric("shouting", "Another"))
    METRICS._parts["shouting"] = Metric("shouting", "Shouting", lambda batch: np.zeros(3), ("long",))
    with pytest.raises(ShapeError, match=r"metric 'shouting' gave values \[3\] for 30 answers"):
        evaluated(world, tmp_path)


def test_columns_find_their_metric() -> None:
    """Per-example errors are summed up under other names; a name of nobody's is only described."""
    assert metric_of("squared_error") is metric_of("rmse")
    assert metric_of("rmse").is_rooted
    assert metric_of("something").is_compared is False
    assert metric_of("mae").best([0.4, 0.2]) == 0.2
    assert metric_of("words").best([1.0, 2.0]) is None


def test_bleu_and_chrf_by_hand() -> None:
    """`a b c d e` against `a b c d f`: precisions 4/5, 3/4, 2/3, 1/2; chrF of `ab` against `ac`: single characters one of two, pairs none."""
    assert bleu(["a b c d e"], ["a b c d f"])[0] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    expected = sentence_bleu([["a", "b"]], ["a", "c"], weights=(0.5, 0.5), smoothing_function=SmoothingFunction().method3)
    assert bleu(["a c"], ["a b"])[0] == pytest.approx(expected)
    assert chrf(["ab"], ["ac"])[0] == pytest.approx((0.5 + 0) / 2)
    assert chrf(["a  b"], ["ab"])[0] == 1.0


def test_distinct_sums_to_the_number_of_different_pairs() -> None:
    """Over all texts the shares, weighed by their pairs, count each different pair once."""
    texts = ["the staff was friendly", "the staff was kind", "noise", "the the the"]
    values = distinct(texts)
    sizes = [max(len(text.split()) - 1, 0) for text in texts]
    total = sum(value * size for value, size in zip(values, sizes, strict=True) if size)
    assert total == pytest.approx(len({gram for text in texts for gram in ngrams(text.split(), 2)}))
    assert np.isnan(values[2])


def test_bertscore_runs_where_its_extra_is_installed(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tiny model of our own in the place of the package's large one: equal texts score 1, a missing model is told in one line."""
    pytest.importorskip("bert_score")
    from transformers import BertConfig, BertModel, BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=64).save_pretrained(tmp_path)
    BertModel(BertConfig(vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)).save_pretrained(tmp_path)
    references = ["a b c", "d e f"]
    targets = Targets("long", world.examples[:2], references, np.full(2, np.nan))
    batch = Batch(targets, [], ["a b c", "x y"], np.full(2, np.nan))
    monkeypatch.setattr(standard, "BERTSCORE", {"model_type": str(tmp_path), "num_layers": 2})
    same, other = standard.bertscore(batch)
    assert same == pytest.approx(1.0, abs=1e-4)
    assert other < 0.99
    monkeypatch.setattr(standard, "BERTSCORE", {"model_type": str(tmp_path / "absent"), "num_layers": 2})
    with pytest.raises(ModelNotFoundError, match="BERTScore"):
        standard.bertscore(batch)


def test_the_documented_metric_runs() -> None:
    """The example of docs/evaluate.md registers and counts."""
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "docs/evaluate.md", "exec"), {})  # our own page
    try:
        metric = METRICS.get("exclamations")
        targets = Targets("long", [], ["", ""], np.full(2, np.nan))
        assert metric.function is not None
        assert list(metric.function(Batch(targets, [], ["Hi!!", "no"], np.full(2, np.nan)))) == [2, 0]
    finally:
        METRICS._parts.pop("exclamations", None)
