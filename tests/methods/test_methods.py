"""The registry, and what the declarations promise."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from grasper.errors import UnknownMethodError
from grasper.methods import METHODS, get_method


def test_every_method_is_found_by_its_name() -> None:
    assert all(get_method(name).name == name for name in METHODS)
    assert {"none", "random", "copy", "lamp", "pgraphrag", "rest_pg", "grasper"} <= set(METHODS)


def test_an_unknown_method_names_the_known() -> None:
    with pytest.raises(UnknownMethodError, match=r"'grapser'; known: grasper, .*rest_pg"):
        get_method("grapser")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("grasper-no-graph", {"others", "predicted"}),
        ("grasper-no-reasoning", {"reasoning"}),
        ("grasper-no-synthetic", {"predicted"}),
        ("grasper-random-items", {"predicted"}),
        ("grasper-popular-items", {"predicted"}),
        ("grasper-no-own", {"own"}),
        ("grasper-oracle-items", {"own", "predicted"}),
    ],
)
def test_an_ablation_changes_what_its_name_says_and_nothing_else(name: str, changed: set[str]) -> None:
    whole, ablation = asdict(get_method("grasper")), asdict(get_method(name))
    assert {field for field in whole if whole[field] != ablation[field]} - {"name", "description", "adapter_of"} == changed


def test_an_adapter_is_shared_only_where_the_items_alone_differ() -> None:
    for method in METHODS.values():
        owner = get_method(method.aligned_as)
        assert owner.adapter_of == ""
        assert replace(method, name=owner.name, description=owner.description, predicted=owner.predicted, adapter_of="") == owner


def test_only_copy_writes_without_a_model() -> None:
    assert [name for name, method in METHODS.items() if not method.uses_model] == ["copy"]


def test_the_predictor_is_asked_where_items_come_from_it() -> None:
    assert {name for name, method in METHODS.items() if method.uses_predictor} == {
        *("grasper", "grasper-no-reasoning", "grasper-no-own", "grasper-oracle-items")
    }


def test_the_oracle_never_shows_own_texts() -> None:
    """It gives away which items the user really reviewed, so their texts must stay hidden."""
    assert all(not method.own for method in METHODS.values() if method.predicted == "oracle")
