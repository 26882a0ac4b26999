"""The neighbourhood: its graph and its picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from grasper.errors import UnknownIdError
from grasper.predict.draw import draw, neighbourhood
from grasper.records import EXAMPLE_COLUMNS, ITEM_COLUMNS, REVIEW_COLUMNS, Tables

EVIL = "<script>alert('$x^2$')</script>"


@pytest.fixture
def tables() -> Tables:
    rows = [("1", "ann", "inn"), ("2", "bob", "inn"), ("3", "bob", "cafe"), ("4", EVIL, "cafe"), ("5", "eve", "boat")]
    reviews = pd.DataFrame([(rid, user, item, 5.0, None, "Fine.", None, "train") for rid, user, item in rows], columns=REVIEW_COLUMNS)
    items = pd.DataFrame([("inn", "The Inn & Bar", None, None), ("cafe", None, None, None)], columns=ITEM_COLUMNS)
    return Tables(reviews, items, pd.DataFrame(columns=EXAMPLE_COLUMNS))


CANDIDATES = pd.DataFrame({"item_id": ["cafe", "cafe", "inn"], "rank": [1, 2, 3], "score": [0.4, 0.2, 0.1]})


def test_graph_holds_history_predictions_and_neighbours(tables: Tables) -> None:
    """Ann met the inn, the café is predicted, Bob and the other user of the café are neighbours; the boat is out of reach."""
    graph = neighbourhood(tables, "ann", CANDIDATES)
    kinds = {node: graph.nodes[node]["kind"] for node in graph}
    assert kinds == {
        ("user", "ann"): "requester",
        ("item", "inn"): "item",
        ("item", "cafe"): "predicted",
        ("user", "bob"): "neighbour",
        ("user", EVIL): "neighbour",
    }
    assert graph.edges[("user", "ann"), ("item", "cafe")] == {"kind": "predicted", "score": 0.4, "rank": 1}
    assert graph.edges[("user", "bob"), ("item", "cafe")]["kind"] == "review"


def test_picture_is_one_self_contained_escaped_svg(tables: Tables) -> None:
    """The SVG parses, shows the names as text, and holds neither scripts nor outside references."""
    svg = draw(neighbourhood(tables, "ann", CANDIDATES))
    root = ET.fromstring(svg)
    tags = {element.tag.rsplit("}")[-1] for element in root.iter()}
    assert root.tag.endswith("svg")
    assert "script" not in tags
    assert "The Inn & Bar" in "".join(root.itertext())
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert all(value.startswith("#") for value in links)


def test_picture_is_the_same_every_time(tables: Tables) -> None:
    """Nothing in the file depends on the clock or on random ids."""
    graph = neighbourhood(tables, "ann", CANDIDATES)
    assert draw(graph) == draw(graph)


def test_unknown_user_is_an_error(tables: Tables) -> None:
    """The message names the user."""
    with pytest.raises(UnknownIdError, match="nobody"):
        neighbourhood(tables, "nobody", CANDIDATES)
