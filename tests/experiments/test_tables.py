from __future__ import annotations

from pathlib import Path

import pytest

from experiments.tables import rewrite

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", ["README.md", "docs/results.md", "docs/models.md"])
def test_tables_say_what_the_results_files_hold(path: str) -> None:
    """No number in a table was typed by hand or left behind: writing the tables anew changes nothing."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert "<!-- table " in text
    assert rewrite(text) == text


def test_a_wrong_number_is_put_right() -> None:
    """A block is filled from its file, whatever stood there before."""
    block = "<!-- table methods hotel long -->\n| a wrong number | .999 |\n<!-- end -->"
    assert ".999" not in rewrite(block)
    assert "`grasper`" in rewrite(block)
