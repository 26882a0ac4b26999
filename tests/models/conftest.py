from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import save_model

from grasper.models.local import LocalModel


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny(model_dir: Path) -> LocalModel:
    """The tiny model in float32, on the processor."""
    return LocalModel(str(model_dir), device="cpu", dtype=torch.float32)
