from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from tiny_model import save_model

from grasper.config import Config, ModelConfig
from grasper.methods import get_method
from grasper.prompts.render import PROMPT_VERSION
from grasper.runs import Run
from grasper.workshop import Workshop


@pytest.mark.parametrize(("version", "num_warnings"), [(PROMPT_VERSION + 1, 1), (PROMPT_VERSION, 0), (None, 0)])
def test_other_prompt_version_is_told(version: int | None, num_warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model tuned on prompts of another version warns; the current version and models that name none do not."""
    folder = save_model(tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(settings | ({} if version is None else {"prompt_version": version})), encoding="utf-8")
    workshop = Workshop(Config(model=ModelConfig(name=str(folder), device="cpu")), Run(tmp_path / "run"))
    with caplog.at_level(logging.WARNING, logger="grasper"):
        workshop._open_model(get_method("lamp"), True)
    assert len(caplog.records) == num_warnings
