"""A user's neighbourhood as a networkx graph, and as a small self-contained SVG with the predicted edges dashed."""

from __future__ import annotations

import io
import re

import networkx as nx
import pandas as pd

from grasper.errors import UnknownIdError
from grasper.records import Tables, none_if_missing

MAX_NEIGHBOURS = 12
MAX_LABEL = 22
LOOKS = {"requester": ("#c2410c", "o"), "neighbour": ("#64748b", "o"), "item": ("#0f766e", "s"), "predicted": ("#a16207", "s")}
"""Colour and shape of each kind of node."""
HEADINGS = ("", "items met; dashed: predicted, with score", "who met most of these items")
"""What stands in the columns."""


def neighbourhood(tables: Tables, user_id: str, candidates: pd.DataFrame, *, max_neighbours: int = MAX_NEIGHBOURS) -> nx.Graph:
    """The user, the items met, predicted items, and the neighbours who met most of these items.

    Nodes are `("user", id)` and `("item", id)` with `kind` (`requester`, `neighbour`, `item`, `predicted`) and `label`; edges have `kind` `review` or
    `predicted`, the latter with `score` and `rank`. Of several examples of the user, an item's best score counts.

    Args:
        candidates: Rows with item_id, rank and score, as in candidates.parquet.

    Raises:
        UnknownIdError: The user has no review.
    """
    reviews = tables.reviews
    met = list(dict.fromkeys(reviews.loc[reviews["user_id"] == user_id, "item_id"]))
    if not met:
        raise UnknownIdError(f"user {user_id!r} has no review in the data; see prepare/reviews.parquet of the run")
    graph = nx.Graph(user_id=user_id)
    graph.add_node(("user", user_id), kind="requester", label=user_id)
    best = candidates.sort_values("score", ascending=False, kind="stable").drop_duplicates("item_id")
    for item_id in met:
        graph.add_node(("item", item_id), kind="item", label=_item_label(tables, item_id))
        graph.add_edge(("user", user_id), ("item", item_id), kind="review")
    for row in best.itertuples(index=False):
        if row.item_id not in met:
            graph.add_node(("item", row.item_id), kind="predicted", label=_item_label(tables, str(row.item_id)))
            graph.add_edge(("user", user_id), ("item", row.item_id), kind="predicted", score=float(row.score), rank=int(row.rank))  # type: ignore[arg-type]
    shown = {node[1] for node in graph if node[0] == "item"}
    others = reviews[reviews["item_id"].isin(shown) & (reviews["user_id"] != user_id)].drop_duplicates(["user_id", "item_id"])
    shared = others["user_id"].value_counts(sort=False)
    nearest = sorted(shared.index, key=lambda other: (-int(shared[other]), str(other)))[:max_neighbours]
    for row in others[others["user_id"].isin(nearest)].itertuples(index=False):
        graph.add_node(("user", row.user_id), kind="neighbour", label=row.user_id)
        graph.add_edge(("user", row.user_id), ("item", row.item_id), kind="review")
    return graph


def draw(graph: nx.Graph) -> str:
    """The neighbourhood as SVG text: one element, no script, no outside reference, names escaped."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    users = [node for node in graph if node[0] == "user" and graph.nodes[node]["kind"] == "neighbour"]
    items = sorted((node for node in graph if node[0] == "item"), key=lambda node: (graph.nodes[node]["kind"], -_score(graph, node), node[1]))
    requester = ("user", graph.graph["user_id"])
    position = {requester: (0.0, 0.5)} | _column(items, 1.0) | _column(users, 2.0)
    height = max(2.4, 0.32 * max(len(items), len(users)) + 0.6)
    with matplotlib.rc_context({"svg.hashsalt": "grasper", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8.0, height))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
        axes.set_axis_off()
        axes.set_xlim(-0.5, 2.7)
        axes.set_ylim(0.0, 1.0 + 0.3 / height)
        reviews = [edge for edge in graph.edges if graph.edges[edge]["kind"] == "review"]
        predicted = [edge for edge in graph.edges if graph.edges[edge]["kind"] == "predicted"]
        nx.draw_networkx_edges(graph, position, edgelist=reviews, ax=axes, edge_color="#cbd5e1")
        nx.draw_networkx_edges(graph, position, edgelist=predicted, ax=axes, edge_color=LOOKS["predicted"][0], style="dashed")
        for kind, (colour, shape) in LOOKS.items():
            nodes = [node for node in graph if graph.nodes[node]["kind"] == kind]
            nx.draw_networkx_nodes(graph, position, nodelist=nodes, ax=axes, node_color=colour, node_size=40, node_shape=shape)
        for node, (x, y) in position.items():
            score = _score(graph, node)
            label = _plain(str(graph.nodes[node]["label"])) + (f" · {score:.2f}" if score > 0 else "")
            side = "right" if node == requester else "left"
            axes.text(x + (-0.05 if side == "right" else 0.05), y, label, ha=side, va="center", fontsize=8, parse_math=False, bbox=_PAPER)
        for x, heading in enumerate(HEADINGS):
            axes.text(x - 0.03, 1.03, heading, va="bottom", fontsize=7, color=LOOKS["neighbour"][0])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
"""Behind a label, so that edges do not run through it."""


def _column(nodes: list[tuple[str, str]], x: float) -> dict[tuple[str, str], tuple[float, float]]:
    return {node: (x, 1.0 - (index + 0.5) / len(nodes)) for index, node in enumerate(nodes)}


def _score(graph: nx.Graph, node: tuple[str, str]) -> float:
    edge = graph.get_edge_data(("user", graph.graph["user_id"]), node) or {}
    return float(edge.get("score", 0.0))


def _item_label(tables: Tables, item_id: str) -> str:
    name = none_if_missing(tables.item(item_id).name)
    return str(name or item_id)


def _plain(label: str) -> str:
    """One short line without control characters (which SVG cannot hold)."""
    label = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+", " ", label).strip()
    return label if len(label) <= MAX_LABEL else label[: MAX_LABEL - 1] + "…"
