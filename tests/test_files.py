from __future__ import annotations

import threading
from pathlib import Path

import pytest

from grasper.files import atomic_path, cache_dir
from grasper.models.endpoint.cache import AnswerCache
from grasper.prepare.collections import data_folder


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Path("/home/mira/.cache/grasper")),
        ({"GRASPER_CACHE": "", "XDG_CACHE_HOME": ""}, Path("/home/mira/.cache/grasper")),
        ({"XDG_CACHE_HOME": "/tmp/xdg"}, Path("/tmp/xdg/grasper")),
        ({"XDG_CACHE_HOME": "/tmp/xdg", "GRASPER_CACHE": "/big"}, Path("/big")),
        ({"GRASPER_CACHE": "~/big"}, Path("/home/mira/big")),
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


def test_threads_that_write_one_file_do_not_write_into_each_other(tmp_path: Path) -> None:
    """Whoever ends last is what stays, whole."""
    both_write = threading.Barrier(2)

    def write(text: str) -> None:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text(text)
            both_write.wait(10)
            assert temporary.read_text() == text
            written.append(text)

    written: list[str] = []
    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "another")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == ["another", "one"]
    assert (tmp_path / "file").read_text() in written
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
