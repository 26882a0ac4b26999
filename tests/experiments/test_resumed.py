from __future__ import annotations

from pathlib import Path

import pytest

from experiments.resumed import require_same


def test_work_goes_on_with_the_settings_that_it_was_begun_with(tmp_path: Path) -> None:
    """Any other is refused by name, and so is a folder that tells nothing of its settings."""
    require_same(tmp_path / "work", {"model": "nano", "seed": 0})
    require_same(tmp_path / "work", {"model": "nano", "seed": 0})
    with pytest.raises(SystemExit, match=r"begun with other settings \(model\).*--work"):
        require_same(tmp_path / "work", {"model": "smollm2", "seed": 0})
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "counts.json").write_text("{}")
    with pytest.raises(SystemExit, match="nothing tells"):
        require_same(tmp_path / "old", {"seed": 0})
