"""The registry, and what the declarations promise."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from pages import blocks
from worlds import SeededModel, candidates_of, system_of, tables_of

from grasper.config import SynthesizeConfig
from grasper.errors import ConfigError, PluginError, ShapeError, UnknownMethodError
from grasper.generate.write import Writer
from grasper.generate.writers import WRITERS, uses_model
from grasper.methods import METHODS, Method, Trajectory, get_method
from grasper.records import Example, Output, Review, Tables
from grasper.retrieve.store import uses_predictor


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


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("pat-style-only", {"trajectories"}),
        ("pat-topic-only", {"trajectories"}),
        ("pat-one-step", {"steps"}),
        ("pat-no-rl", {"training"}),
        ("pat-random-users", {"trajectories"}),
    ],
)
def test_an_ablation_of_pat_changes_one_thing(name: str, changed: set[str]) -> None:
    whole, ablation = asdict(get_method("pat")), asdict(get_method(name))
    assert {field for field in whole if whole[field] != ablation[field]} - {"name", "description", "adapter_of"} == changed


def test_every_part_that_a_method_names_is_registered() -> None:
    from grasper.align.stage import TRAINERS
    from grasper.retrieve.store import RETRIEVERS

    for method in METHODS.values():
        assert method.writer in WRITERS
        assert method.training == "none" or method.training in TRAINERS
        assert set(method.retrievers) <= set(RETRIEVERS)
        assert bool(method.trajectories) == (method.writer == "dual")


def test_an_adapter_is_shared_only_where_what_is_shown_differs() -> None:
    """The items or sets of neighbours; with trajectories whose reviews the roles see and how often they take turns. The roles are the same."""
    for method in METHODS.values():
        owner = get_method(method.aligned_as)
        assert owner.adapter_of == ""
        assert [trajectory.role for trajectory in method.trajectories] == [trajectory.role for trajectory in owner.trajectories]
        shown = {name: getattr(owner, name) for name in ("name", "description", "predicted", "trajectories", "steps", "pools_neighbours")}
        assert replace(method, adapter_of="", **shown) == owner


@pytest.mark.parametrize("has_history", [False, True])
def test_what_shares_an_adapter_draws_with_the_same_seeds(has_history: bool) -> None:
    """Without history the oracle knows nothing, and all that it writes is what its owner writes; with one the items, and so the texts, differ."""
    reviews = [Review(f"r{n}", f"u{n}", f"i{n}", f"The bed was warm number {n}.", "Fine", 4.0) for n in range(4)]
    reviews += [Review("own", "u0", "i3", "A kind place by the sea.", "Sea", 5.0)] * has_history
    example = Example("e", reviews[0], "align")
    found = []
    for name in ("grasper-no-own", "grasper-oracle-items"):
        tables = tables_of(reviews, [example])
        system = system_of(name, tables, SeededModel(), candidates=candidates_of([example]), synthesis=SynthesizeConfig(num_items=1))
        synthetic = {"e": system.synthesize([example])}
        found.append((synthetic, [replace(output, method="") for output in system.write("long", [example], synthetic)]))
    assert found[0][0]["e"]
    assert (found[0] == found[1]) == (not has_history)


def test_only_copy_writes_without_a_model() -> None:
    assert [name for name, method in METHODS.items() if not uses_model(method)] == ["copy"]


def test_a_writer_of_ones_own_may_need_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is registered; but synthetic reviews are written by one, and training is of one."""
    monkeypatch.setattr(WRITERS, "_parts", {**WRITERS._parts})
    monkeypatch.setattr(WRITERS, "_without_model", {*WRITERS._without_model})
    WRITERS.register("echo", WRITERS.get("copy"), uses_model=False)
    assert not uses_model(Method("ours", "ours", others="neighbours", writer="echo"))
    assert uses_model(Method("ours", "ours", predicted="popular", writer="echo"))
    assert uses_model(Method("ours", "ours", training="gold", writer="echo"))


def test_the_predictor_is_asked_where_items_or_tastes_come_from_it() -> None:
    assert {name for name, method in METHODS.items() if uses_predictor(method)} == {
        *("grasper", "grasper-one-set", "grasper-no-reasoning", "grasper-no-own", "grasper-oracle-items"),
        *("pat", "pat-topic-only", "pat-one-step", "pat-no-rl"),
    }


def test_the_predictor_is_asked_for_whoever_shows_reviews_that_it_finds() -> None:
    """Whichever field names the retriever, and wherever it comes from: it says itself that it needs the predictor."""
    assert uses_predictor(Method("ours", "reviews of people with similar taste", others="topic"))
    assert not uses_predictor(Method("ours", "reviews of the item", others="neighbours"))


def test_the_oracle_never_shows_own_texts() -> None:
    """It gives away which items the user really reviewed, so their texts must stay hidden."""
    assert all(not method.own for method in METHODS.values() if method.predicted == "oracle")


def test_the_documented_method_is_one_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of docs/methods.md registers a declaration that differs from grasper in the one thing that it names."""
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    (code,) = blocks("methods.md", "python")
    exec(compile(code, "docs/methods.md", "exec"), {})  # our own page
    ours, grasper = asdict(get_method("grasper-no-neighbours")), asdict(get_method("grasper"))
    assert {name for name in ours if ours[name] != grasper[name]} == {"name", "description", "others"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "a/b"}, "named 'a/b', expected letters"),
        ({"predicted": "grpah"}, "predicted is 'grpah', expected one of none, graph"),
        ({"writer": "dual"}, "'dual' needs trajectories"),
        ({"trajectories": (Trajectory("style", "own"),)}, "'model' asks no trajectory"),
        ({"writer": "dual", "trajectories": (Trajectory("style", "style"), Trajectory("style", "topic"))}, "two trajectories have one role"),
        ({"adapter_of": "grasper"}, "adapter of 'grasper'; declare the same training"),
    ],
)
def test_a_declaration_that_would_do_something_else_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Method(**{"name": "ours", "description": "ours"} | fields)


def test_a_trajectory_has_one_of_the_roles() -> None:
    with pytest.raises(ConfigError, match="role is 'tone', expected one of style, topic"):
        Trajectory("tone", "own")  # type: ignore[arg-type]


def test_a_method_goes_by_the_name_that_it_is_registered_under(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgotten in `replace`, the name of the original would send its texts into the folder of the original."""
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    with pytest.raises(PluginError, match="registered as 'ours' is named 'grasper'"):
        METHODS.register("ours", replace(get_method("grasper"), others=""))


def test_the_same_declaration_may_be_registered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of a notebook runs more than once; another part of the name is still refused."""
    monkeypatch.setattr(METHODS, "_parts", dict(METHODS._parts))
    for _ in range(2):
        METHODS.register("ours", Method("ours", "ours", own=True))
    with pytest.raises(PluginError, match="named 'ours' already"):
        METHODS.register("ours", Method("ours", "ours"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda outputs: outputs[:-1], r"gave 1 outputs to 2 examples; expected one for each"),
        (lambda outputs: outputs[::-1], r"the first that differs is \('tiny-dev-000004', 'long', 'ours'\), expected \('tiny-dev-000003'"),
        (lambda outputs: [replace(output, method="lamp") for output in outputs], r"\('tiny-dev-000003', 'long', 'lamp'\), expected"),
        (lambda outputs: None, r"gave None, expected a list of outputs"),
        (lambda outputs: [output.text for output in outputs], r"gave '.*, expected a list of outputs"),
        (lambda outputs: [replace(output, evidence=("ours",)) for output in outputs], r"names 'ours' as evidence, expected ids of real reviews"),
    ],
)
def test_a_writer_that_does_not_answer_what_was_asked_is_named(change: Any, told: str, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a text would count for another target, or a target would count as done without one."""
    monkeypatch.setattr(WRITERS, "_parts", dict(WRITERS._parts))

    class Careless(Writer):
        def write(self, *arguments: Any) -> list[Output]:
            return change(super().write(*arguments))  # type: ignore[no-any-return]

    WRITERS.register("careless", Careless)
    system = system_of(Method("ours", "ours", own=True, writer="careless"), tables, SeededModel())
    with pytest.raises(ShapeError, match=f"the writer 'careless' .*{told}"):
        system.write("long", tables.select("dev-a"), {})
