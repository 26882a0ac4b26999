from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import save_model
from tune_reviews import make_reviews

from grasper.models.local import LocalModel
from grasper.records import Item
from grasper.tune.examples import ReviewSet


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("tune-model"), context_tokens=2048)


@pytest.fixture
def tiny(model_dir: Path) -> LocalModel:
    return LocalModel(str(model_dir), device="cpu", dtype=torch.float32)


@pytest.fixture
def review_set() -> ReviewSet:
    return ReviewSet("world", 1.0, make_reviews(40), {f"i{number}": Item(f"i{number}", f"Inn {number}") for number in range(4)})
