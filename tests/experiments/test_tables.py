from __future__ import annotations

from pathlib import Path

import pytest

from experiments.tables import rewrite

ROOT = Path(__file__).parents[2]


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if "<!-- table " in page.read_text(encoding="utf-8")]


def test_pages_with_tables_are_found() -> None:
    """The pages of results are among those that are checked."""
    assert {"README.md", "results.md", "models.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_say_what_the_results_files_hold(page: Path) -> None:
    """No number in a table was typed by hand or left behind: writing the tables anew changes nothing."""
    text = page.read_text(encoding="utf-8")
    assert rewrite(text) == text


def test_a_wrong_number_is_put_right() -> None:
    """A block is filled from its file, whatever stood there before."""
    block = "<!-- table methods hotel long -->\n| a wrong number | .999 |\n<!-- end -->"
    assert ".999" not in rewrite(block)
    assert "`grasper`" in rewrite(block)
