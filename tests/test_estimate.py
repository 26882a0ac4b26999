from __future__ import annotations

from dataclasses import replace

import pytest

from grasper.config import load_config
from grasper.estimate import StepEstimate, WorkSizes, estimate, measure
from grasper.methods import get_method
from grasper.records import Tables

SIZES = WorkSizes(targets={"long": 10, "title": 10, "rating": 10}, examples=10, pairs=6, own_reviews=1.0, neighbours=2.0, review_tokens=40.0)
ENDPOINT = ("model.kind=endpoint", "model.base_url=http://host/v1")


def steps(*overrides: str, methods: str = "grasper") -> dict[str, StepEstimate]:
    chosen = [get_method(name) for name in methods.split(",")]
    return {step.name: step for step in estimate(load_config(None, [*ENDPOINT, *overrides]), SIZES, chosen).steps}


@pytest.mark.parametrize(
    ("methods", "overrides", "requests"),
    [
        ("copy", [], {}),
        ("pgraphrag", [], {"generate/pgraphrag": 30}),
        ("pgraphrag", ["generate.consensus_samples=4"], {"generate/pgraphrag": 30}),  # all samples in one request
        # Two sources of paths for each pair, but every fourth, a whole review, is left out without synthesis; a rating behind each path; a fifth of
        # the synthetic reviews is written twice.
        ("grasper-no-graph", [], {"align/grasper-no-graph": 10, "generate/grasper-no-graph": 40}),
        ("grasper", ["synthesize.num_items=2"], {"align/grasper": 12 + 14, "synthesize/grasper": 24, "generate/grasper": 40}),
        (
            "grasper-random-items,grasper",
            ["synthesize.num_items=0"],
            {"align/grasper": 12, "generate/grasper-random-items": 40, "generate/grasper": 40},
        ),
        (
            "grasper-no-graph",
            ["generate.consensus_samples=3", "generate.path_temperature=0.7"],
            {"align/grasper-no-graph": 10, "generate/grasper-no-graph": 2 * (10 + 30) + 10 + 30},
        ),
        (
            "grasper-no-graph",
            ["generate.counted_path=true"],
            {"align/grasper-no-graph": 10, "generate/grasper-no-graph": 3 * (10 + 10)},
        ),
        ("grasper-no-graph", ["model.trained=nano"], {"generate/grasper-no-graph": 40}),
        # Two reasoners and a writer, three times.
        ("pat", [], {"generate/pat": 30 * 3 * 3}),
    ],
)
def test_requests_follow_from_the_configuration(methods: str, overrides: list[str], requests: dict[str, int]) -> None:
    assert {name: step.requests for name, step in steps(*overrides, methods=methods).items()} == requests


def test_servers_without_n_and_log_probabilities_need_more() -> None:
    """Each of four samples on its own, and a rating is five samples after one try."""
    step = steps("generate.consensus_samples=4", methods="pgraphrag")["generate/pgraphrag"]
    assert step.most_requests == 20 * 4 + 10 * (1 + 5)


def test_what_is_done_costs_nothing() -> None:
    config = load_config(None, ENDPOINT)
    whole = estimate(config, SIZES, [get_method("pgraphrag")])
    half = estimate(config, SIZES, [get_method("pgraphrag")], left={"generate/pgraphrag": 0.5})
    assert half.total("requests") * 2 == whole.total("requests")
    assert estimate(config, SIZES, [get_method("pgraphrag")], left={"generate/pgraphrag": 0.0}).steps == ()


def test_price_and_time() -> None:
    """Prices are per million tokens; twice as many requests at once take half the time."""
    config = load_config(None, [*ENDPOINT, "model.price_in=2", "model.price_out=8", "model.concurrency=4"])
    found = estimate(config, SIZES, [get_method("pgraphrag")])
    assert found.price == pytest.approx((2 * found.total("tokens_in") + 8 * found.total("tokens_out")) / 1e6)
    faster = estimate(config.model_copy(update={"model": config.model.model_copy(update={"concurrency": 8})}), SIZES, [get_method("pgraphrag")])
    assert faster.seconds == pytest.approx(found.seconds / 2)
    assert estimate(load_config(None, ENDPOINT), SIZES, [get_method("pgraphrag")]).price is None


def test_prompts_never_exceed_their_budget() -> None:
    config = load_config(None, ENDPOINT)
    sizes = replace(SIZES, own_reviews=99.0, neighbours=99.0, review_tokens=999.0)
    [step] = estimate(config, sizes, [get_method("pgraphrag")]).steps
    assert step.tokens_in <= step.requests * config.prompts.context_tokens


def test_measures_the_data(tables: Tables) -> None:
    """dora's other review and the reviews of the inn, the café and the boat by others, at most one of each here."""
    config = load_config(None, [*ENDPOINT, "prompts.own_entries=1", "prompts.neighbour_entries=1"], split="dev")
    sizes = measure(tables, config)
    assert (sizes.targets, sizes.examples) == ({"long": 3, "title": 3, "rating": 3}, 3)
    assert sizes.pairs == (tables.examples["split"] == "align").sum()
    assert sizes.own_reviews == pytest.approx(2 / 3)  # user2 has none
    assert sizes.neighbours == 1
    assert 5 < sizes.review_tokens < 20
