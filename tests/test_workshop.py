from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from tiny_model import save_adapter, save_model

from grasper.config import Config, ModelConfig
from grasper.methods import get_method
from grasper.models import open_model
from grasper.models.local import LocalModel
from grasper.prompts.render import PROMPT_VERSION
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
