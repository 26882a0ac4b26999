"""A fit that would not fit into memory says so before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from grasper.config import PredictConfig
from grasper.errors import MemoryLimitError
from grasper.predict import fit, memory
from tests.predict.shop import make_tables


def test_too_little_memory_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers, what would help, and nothing written."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(MemoryLimitError, match=r"needs about .* GiB of memory, but 0\.0 GiB are available.*text_dim"):
        fit(PredictConfig(), make_tables(), tmp_path / "predict", seed=0)
    assert not (tmp_path / "predict").exists()


def test_the_estimate_grows_with_what_takes_memory() -> None:
    """Words with reviews, matrices with the square of a dense catalogue, and none for popularity; 200,000 reviews need less than 1.5 GiB."""
    config = PredictConfig()
    assert memory.estimated_bytes(config, 200_000, 7_657) < 1.5 * memory.GIB
    assert memory.estimated_bytes(config, 400_000, 1_000) > memory.estimated_bytes(config, 200_000, 1_000)
    dense = memory.estimated_bytes(config, 1_000, 5_000) - memory.estimated_bytes(config, 1_000, 2_500)
    assert dense > 12 * 4 * (5_000**2 - 2_500**2) * 0.9
    assert memory.estimated_bytes(PredictConfig(encoder="popularity"), 1_000, 5_000) < memory.estimated_bytes(config, 1_000, 5_000) / 5
    assert memory.estimated_bytes(config, 100_000, 300) < 1.2 * memory.GIB  # signals are thinned
    assert memory.estimated_bytes(PredictConfig(text_encoder="some/model"), 100_000, 300) > memory.estimated_bytes(config, 100_000, 300)
