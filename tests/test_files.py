from __future__ import annotations

from pathlib import Path

import pytest

from grasper.files import cache_dir
from grasper.models.endpoint.cache import AnswerCache
from grasper.prepare.collections import data_folder


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Path("/home/mira/.cache/grasper")),
        ({"GRASPER_CACHE": "", "XDG_CACHE_HOME": ""}, Path("/home/mira/.cache/grasper")),
        ({"XDG_CACHE_HOME": "/tmp/xdg"}, Path("/tmp/xdg/grasper")),
        ({"XDG_CACHE_HOME": "/tmp/xdg", "GRASPER_CACHE": "/big"}, Path("/big")),
    ],
)
def test_everything_is_kept_in_one_folder(variables: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grasper's own variable goes before the desktop's; only data sets may be put elsewhere."""
    monkeypatch.setenv("HOME", "/home/mira")
    for name in ("GRASPER_CACHE", "XDG_CACHE_HOME", "GRASPER_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == expected
    assert AnswerCache().folder == expected / "endpoint"
    assert data_folder() == expected / "data"
    monkeypatch.setenv("GRASPER_DATA", "~/sets")
    assert data_folder() == Path("/home/mira/sets")
