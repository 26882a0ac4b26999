from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tiny_model import save_adapter, save_model
from worlds import candidates_of

from grasper.config import Config, ModelConfig, PredictConfig, SynthesizeConfig
from grasper.methods import get_method
from grasper.models import open_model
from grasper.models.local import LocalModel
from grasper.prompts.render import PROMPT_VERSION
from grasper.records import CANDIDATE_COLUMNS, Tables
from grasper.runs import Run
from grasper.workshop import Workshop

VERSIONS = pytest.mark.parametrize(("version", "num_warnings"), [(PROMPT_VERSION + 1, 1), (PROMPT_VERSION, 0), (None, 0)])


@VERSIONS
def test_other_prompt_version_is_told(version: int | None, num_warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model tuned on prompts of another version warns; the current version and models that name none do not."""
    folder = save_model(tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(settings | ({} if version is None else {"prompt_version": version})), encoding="utf-8")
    workshop = Workshop(Config(model=ModelConfig(name=str(folder), device="cpu")), Run(tmp_path / "run"))
    with caplog.at_level(logging.WARNING, logger="grasper"):
        workshop._open_model(get_method("lamp"), True)
    assert len(caplog.records) == num_warnings


def test_a_forecast_gives_the_stored_items_of_the_examples_that_are_asked_for(tables: Tables, tmp_path: Path) -> None:
    examples = tables.select("dev")
    workshop = Workshop(Config(), Run(tmp_path / "run"))
    vars(workshop)["candidates"] = stored = candidates_of(examples)
    for asked in ([], examples[:1], examples[::-1]):
        found = workshop.forecast(asked)
        assert list(found.columns) == list(CANDIDATE_COLUMNS)
        expected = stored[stored["example_id"].isin([example.example_id for example in asked])]
        pd.testing.assert_frame_equal(found.sort_index(), expected)
    assert len(workshop.forecast([replace(examples[0], example_id="of another run")])) == 0
    vars(workshop).pop("_spans")
    vars(workshop)["candidates"] = stored[:0]
    assert len(workshop.forecast(examples)) == 0


def test_as_many_items_are_stored_as_get_a_text() -> None:
    """A target of the run is not answered with fewer items than a request."""
    kept = [Config(predict=PredictConfig(top_k=2), synthesize=SynthesizeConfig(num_items=number)).num_candidates for number in (1, 2, 5)]
    assert kept == [2, 2, 5]


@VERSIONS
def test_other_prompt_version_of_an_adapter_is_told(version: int | None, num_warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As `grasper tune` leaves it beside the weights; an adapter put on for a method tells its own."""
    base = save_model(tmp_path / "model")
    adapter = save_adapter(base, tmp_path / "adapter", str(base))
    (adapter / "training.json").write_text(json.dumps({"tokens": 7} | ({} if version is None else {"prompt_version": version})), encoding="utf-8")
    workshop = Workshop(Config(model=ModelConfig(name=str(adapter), device="cpu")), Run(tmp_path / "run"))
    with caplog.at_level(logging.WARNING, logger="grasper"):
        workshop._open_model(get_method("lamp"), True)
    assert len(caplog.records) == num_warnings
    model = open_model(ModelConfig(name=str(base), device="cpu"), adapter)
    assert isinstance(model, LocalModel)
    assert model.prompt_version == version
