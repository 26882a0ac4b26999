"""The synthesize stage on the tiny data set: what is written, the gate, the second try, resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import RecordingModel, SeededModel, candidates_of, shown, system_of, tables_of

from grasper.config import SynthesizeConfig
from grasper.methods import METHODS
from grasper.models.scripted import ScriptedModel
from grasper.records import CANDIDATE_COLUMNS, Example, Review, SyntheticReview, Tables
from grasper.synthesize import stage as stage_module
from grasper.synthesize import synthesize
from grasper.written import load_synthetic

PATH = "Style: short\nInterests: boats\nPlan: praise\n"
WITH_ITEMS = sorted(name for name, method in METHODS.items() if method.predicts_items)


def candidates(tables: Tables):  # type: ignore[no-untyped-def]
    """Of every example the two items other than its own."""
    import pandas as pd

    rows = [
        (example.example_id, example.user_id, item_id, rank, 1 / rank)
        for example in [*tables.select("dev"), *tables.select("align")]
        for rank, item_id in enumerate((name for name in ("boat", "cafe", "inn") if name != example.item_id), start=1)
    ]
    return pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS))


def written(tables: Tables, out_dir: Path, model, method: str = "grasper", **settings) -> list[SyntheticReview]:  # type: ignore[no-untyped-def]
    system = system_of(method, tables, model, candidates=candidates(tables), synthesis=SynthesizeConfig(**settings), seed=3)
    synthesize(system.synthesize, tables.select("dev"), out_dir, name=method)
    return load_synthetic(out_dir / "synthetic.jsonl")


def test_one_review_per_example_and_item_with_all_its_parts(tables: Tables, tmp_path: Path) -> None:
    reviews = written(tables, tmp_path, RecordingModel())
    assert sorted((review.user_id, review.item.item_id, review.rank) for review in reviews) == [
        *(("dora", "boat", 1), ("dora", "cafe", 2)),
        *(("user2", "boat", 1), ("user2", "inn", 2)),
        *(("user3", "cafe", 1), ("user3", "inn", 2)),
    ]
    first = reviews[0]
    assert (first.rating, first.title, first.rejected) == (4.0, "Fine place", None)
    assert first.text.startswith("It was a fine place number")
    assert first.path == "Style: calm\nInterests: rooms\nPlan: praise the bed"
    assert first.tokens_in > 0 < first.tokens_out


def test_the_prompt_shows_the_item_its_reviews_and_own_reviews(tables: Tables, tmp_path: Path) -> None:
    """Dora's synthetic review of the boat tour rests on others' reviews of the boat tour and on her own of the café; nothing of the inn."""
    model = RecordingModel()
    (dora,) = tables.select("dev-b")
    system_of("grasper", tables, model, candidates=candidates(tables), synthesis=SynthesizeConfig(num_items=1)).synthesize([dora])
    (prompt,) = model.prompts
    for expected in ("Seal Tours", "great trip, saw two seals", "Windy but fun!", "The captain told stories", "Best cake in town"):
        assert expected in shown(prompt)
    for hidden in ("Clean and calm", "helped with our bags", "Lovely quiet room"):
        assert hidden not in shown(prompt)


def test_rejected_reviews_are_kept_with_their_reason_and_counted(tables: Tables, tmp_path: Path) -> None:
    model, config = ScriptedModel([PATH + "Text: Good"]), SynthesizeConfig(num_items=1)
    system = system_of("grasper", tables, model, candidates=candidates(tables), synthesis=config)
    counts = synthesize(system.synthesize, tables.select("dev"), tmp_path, name="grasper")
    assert (counts["examples"], counts["written"], counts["kept"], counts["rejected"]) == (3, 3, 0, {"too short": 3})
    assert {review.rejected for review in load_synthetic(tmp_path / "synthetic.jsonl")} == {"too short"}


def test_a_rejected_review_gets_one_more_try_and_both_are_paid(tables: Tables, tmp_path: Path) -> None:
    """Three examples fail first (answers 0–2); the second try of the first succeeds, the others fail again."""
    answers = ["nothing"] * 3 + [PATH + "Text: A calm trip along the coast."] + ["nothing"] * 20
    reviews = written(tables, tmp_path, ScriptedModel(answers), num_items=1)
    assert [review.rejected for review in reviews] == [None, "unparsable", "unparsable"]
    assert reviews[0].text == "A calm trip along the coast."
    assert reviews[1].tokens_out == 2


def test_the_form_of_the_wanted_items_reviews_decides_about_lists(tables: Tables, tmp_path: Path) -> None:
    """All others' reviews of the boat tour are lists. Reviews of other items may be some where the boat tour is asked for; where another item is,
    reviews of the boat tour may not."""
    tables.reviews.loc[tables.reviews["item_id"] == "boat", "text"] = [f"Good: seal {n}. Bad: wind {n}." for n in range(4)]
    fresh = Tables(tables.reviews, tables.items, tables.examples)
    reviews = written(fresh, tmp_path, ScriptedModel([PATH + f"Text: Good: view {n}. Bad: price {n}." for n in range(12)]), num_items=1)
    wanted = {example.example_id: example.item_id for example in fresh.select("dev")}
    assert {wanted[review.example_id]: review.rejected for review in reviews} == {"boat": None, "inn": "list", "cafe": "list"}


@pytest.mark.parametrize("hidden", ["A calm bed by the sea.", "Good: bed. Bad: sea."])
def test_the_form_of_the_hidden_review_decides_nothing_about_lists(hidden: str) -> None:
    """The user's one other review is none, so none is taken, whatever the target looks like."""
    reviews = [Review("t", "u", "i0", hidden, split="dev"), Review("own", "u", "i1", "A slow day on the water.", split="dev")]
    examples = [Example("e", reviews[0], "dev-a")]
    model = ScriptedModel([PATH + f"Text: Good: view {n}. Bad: price {n}." for n in range(2)])
    config = SynthesizeConfig(num_items=1)
    system = system_of("grasper", tables_of(reviews, examples), model, candidates=candidates_of(examples), synthesis=config)
    assert [review.rejected for review in system.synthesize(examples)] == ["list"]


def test_two_items_do_not_get_the_same_text(tables: Tables, tmp_path: Path) -> None:
    """The second one is rejected, and so is its second try."""
    reviews = written(tables, tmp_path, ScriptedModel([PATH + "Text: A fine day out for everybody."]))
    assert [review.rejected for review in reviews] == [None, "repeated"] * 3


def test_a_method_that_does_not_reason_expects_no_path(tables: Tables, tmp_path: Path) -> None:
    reviews = written(tables, tmp_path, ScriptedModel(["Text: A fine day out for everybody."]), "grasper-no-reasoning", num_items=1)
    assert {(review.rejected, review.path) for review in reviews} == {(None, None)}


def test_no_items_no_reviews(tables: Tables, tmp_path: Path) -> None:
    assert written(tables, tmp_path, RecordingModel(), num_items=0) == []


@pytest.mark.parametrize("method", WITH_ITEMS)
@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_killed_run_ends_as_an_undisturbed_one(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fails_at: int) -> None:
    """Killed in some batch and started again: the same bytes."""
    monkeypatch.setattr(stage_module, "BATCH_SIZE", 1)
    written(tables, tmp_path / "whole", SeededModel(), method)
    with pytest.raises(KeyboardInterrupt):
        written(tables, tmp_path / "cut", SeededModel(fails_at), method)
    written(tables, tmp_path / "cut", SeededModel(), method)
    whole, cut = (tmp_path / name / "synthetic.jsonl" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


def test_training_pairs_get_synthetic_reviews_too(tables: Tables, tmp_path: Path) -> None:
    """The alignment shows its pairs what the targets will see."""
    pairs = tables.select("align")
    system = system_of("grasper", tables, RecordingModel(), candidates=candidates_of(pairs))
    counts = synthesize(system.synthesize, pairs, tmp_path, name="grasper")
    assert counts["kept"] == 3 * len(pairs)
