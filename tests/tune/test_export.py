from __future__ import annotations

from pathlib import Path

import pytest

from grasper.errors import MissingFileError
from grasper.tune.export import export_adapter


def test_nothing_is_exported_before_the_first_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no checkpoint yet"):
        export_adapter(tmp_path, tmp_path / "adapter", base="nano")
    assert not (tmp_path / "adapter").exists()
