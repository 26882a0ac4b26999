"""Who may import whom (docs/architecture.md), when a module is imported, a function called, or types are checked."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import networkx as nx

PACKAGE = Path(__file__).parents[1] / "grasper"
STAGES = {"prepare", "predict", "tune", "align", "synthesize", "generate", "evaluate"}
ABOVE = {"system", "workshop", "work", "pipeline", "measure", "api", "commands"}
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
FLOOR = set(re.findall(r"below them the floor \(`([^`]+)`\)", PAGE)[0].split())
SHARED = {("grasper.evaluate.planted", "grasper.prepare.harbour")}
"""The bundled data set's latent truth, which the report compares with."""


def imported(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Modules of grasper that these statements import as they are carried out, or as their types are checked."""
    for statement in statements:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("grasper."):
            yield str(statement.module)
        elif isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names if alias.name.startswith("grasper."))
        elif isinstance(statement, ast.If):
            yield from imported([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.ClassDef | ast.With | ast.Try):
            yield from imported(statement.body)


def imported_later(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Modules of grasper that functions in these statements import when they are called."""
    for node in ast.walk(ast.Module([*statements], [])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported([inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)])


def imports(of: Callable[[Sequence[ast.stmt]], Iterator[str]] = imported) -> list[tuple[str, str]]:
    pairs = []
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        pairs += [(module, other) for other in of(ast.parse(path.read_text(encoding="utf-8")).body)]
    return pairs


def part(module: str) -> str:
    """The package or module directly below grasper."""
    return module.split(".")[1] if "." in module else module


def test_stages_do_not_import_one_another() -> None:
    crossed = {(one, other) for one, other in imports() if part(one) in STAGES and part(other) in STAGES - {part(one)}}
    assert crossed <= SHARED


def test_the_floor_knows_nothing_above_it() -> None:
    assert {"records", "desk"} <= FLOOR
    assert not [(one, other) for one, other in imports() if part(one) in FLOOR and part(other) in STAGES | ABOVE]


def test_nor_do_they_when_a_function_is_called() -> None:
    """No import waits inside of a function for want of a better place: neither between two stages, nor from the floor into one or above."""
    later = imports(imported_later)
    assert ("grasper.work", "grasper.predict") in later
    crossed = {(one, other) for one, other in later if part(one) in STAGES and part(other) in STAGES - {part(one)}}
    raised = {(one, other) for one, other in later if part(one) in FLOOR and part(other) in STAGES | ABOVE}
    assert not crossed | raised


def test_stages_know_nothing_above_them() -> None:
    """Stages are handed a system or a desk; none opens a run's plan."""
    opened = {part(other) for one, other in imports() if part(one) in STAGES and part(other) in ABOVE - {"system"}}
    assert not opened


def test_no_circles() -> None:
    """Of the packages and modules directly below grasper none imports itself by a detour."""
    graph = nx.DiGraph((part(one), part(other)) for one, other in imports() if part(one) != part(other))
    assert {"pipeline", "retrieve", "evaluate"} <= set(graph)
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []
