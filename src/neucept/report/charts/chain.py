"""The chain from the class score down to the first layer: who was selected because of whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from neucept.report.charts.figure import CRITICAL, INK, MUTED, PAPER, Figure, dataset, specification
from neucept.report.reading import Subject, found_words, records
from neucept.report.words import count, counted, number, plain, shorten

MOST_NEURONS = 24
"""Neurons drawn per layer, most evidence first."""

MOST_EDGES, MOST_EDGES_OF_MANY = 40, 20
"""Connections drawn per step between two layers, strongest first; fewer in a deep network."""

ROW, TIGHT_ROW, MANY_LAYERS = 124, 84, 6
"""Pixels between two layers, and when there are many."""

LABEL_ROOM = 28
"""Pixels a neuron needs to carry its number."""

Node = tuple[str, int]
"""A layer and a neuron; the class score is ("", -1)."""

CLASS_SCORE: Node = ("", -1)


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        places: Across, in [0, 1], and row from the top, for each neuron drawn.
        edges: The connections drawn, with their weight in (0, 1] within their step.
        hidden_neurons: Critical neurons left out.
        all_edges: Connections that were selected.
    """

    places: dict[Node, tuple[float, int]]
    edges: list[tuple[Node, Node, float, str]]
    hidden_neurons: int
    all_edges: int


def chain(subject: Subject) -> Iterator[Figure]:
    """A layered graph, the class score on top."""
    layout = arrange(subject)
    if len(layout.places) < 2:
        return
    direct = subject.info.get("settings", {}).get("route") == "direct"
    caption = (
        "Each dot is a critical neuron; a line leads up to what it serves"
        + (", here always the class score" if direct else "")
        + ". Stronger lines have more evidence. Point at a neuron to see its own lines."
    )
    hidden = layout.all_edges - len(layout.edges)
    if hidden > 0:
        caption += (
            f" Drawn: the {counted(len(layout.edges), 'strongest line', 'strongest lines')} of "
            f"{count(layout.all_edges)}; {count(hidden)} are hidden."
        )
    if layout.hidden_neurons:
        caption += f" {counted(layout.hidden_neurons, 'neuron')} with less evidence "
        caption += "is hidden." if layout.hidden_neurons == 1 else "are hidden."
    description = (
        f"Layered graph from the {subject.score} down through "
        f"{counted(len(subject.layers), 'layer')}, {counted(len(layout.edges), 'line')} drawn"
    )
    top = {"x": layout.places[CLASS_SCORE][0], "y": 0}
    spec = specification(
        _chart(len(subject.layers)),
        lines=_lines(subject, layout),
        neurons=_neurons(subject, layout),
        top=[{**top, "text": _top(subject)}],
        labels=_labels(subject),
    )
    yield Figure("chain", "", "", caption, description, spec)


def arrange(subject: Subject) -> Layout:
    """Choose what is drawn and place it so that lines cross little.

    Neurons of a layer stand in the order of the mean place of what they serve above.
    """
    rows: list[list[Node]] = [[CLASS_SCORE]]
    hidden = 0
    for entry in subject.layers:
        found = [(str(entry["name"]), neuron) for neuron in subject.distinct(entry["name"])]
        rows.append(found[:MOST_NEURONS])
        hidden += len(found) - len(rows[-1])
    table = _distinct(subject)
    most = MOST_EDGES if len(subject.layers) < MANY_LAYERS else MOST_EDGES_OF_MANY
    edges = _strongest(table, {node for row in rows for node in row}, most)
    places: dict[Node, tuple[float, int]] = {}
    for depth, row in enumerate(rows):
        ordered = sorted(row, key=lambda node: (_pull(node, edges, places), row.index(node)))
        for index, node in enumerate(ordered):
            places[node] = ((index + 0.5) / len(row), depth)
    return Layout(places, edges, hidden, len(table))


def _distinct(subject: Subject) -> pd.DataFrame:
    """The selected edges, of each group of neurons only those of its first."""
    table = subject.study.edges
    table = table[table["selected"].astype(bool)]
    for entry in subject.layers:
        for group in subject.groups(str(entry["name"])):
            table = table[(table["layer"] != entry["name"]) | ~table["neuron"].isin(group[1:])]
    return table


def _strongest(
    table: pd.DataFrame, nodes: set[Node], most: int
) -> list[tuple[Node, Node, float, str]]:
    edges: list[tuple[Node, Node, float, str]] = []
    for _, step in table.groupby(["layer", "target_layer"], sort=False):
        largest = float(step["score"].max())
        ordered = step.sort_values(["e_value", "score"], ascending=False, kind="stable")
        drawn = 0
        for row in records(ordered):
            below = (str(row.layer), int(row.neuron))
            above = (str(row.target_layer), int(row.target_neuron))
            if below in nodes and above in nodes:
                weight = max(float(row.score) / largest, 0.05) if largest > 0 else 0.5
                edges.append((below, above, weight, number(float(row.e_value))))
                drawn += 1
            if drawn == most:
                break
    return edges


def _pull(
    node: Node,
    edges: Sequence[tuple[Node, Node, float, str]],
    places: dict[Node, tuple[float, int]],
) -> float:
    above = [(places[t][0], w) for s, t, w, _ in edges if s == node and t in places]
    total = sum(w for _, w in above)
    return sum(x * w for x, w in above) / total if total else 0.5


def _name(subject: Subject, node: Node) -> str:
    if node == CLASS_SCORE:
        return subject.score
    more = max((len(g) - 1 for g in subject.groups(node[0]) if g[0] == node[1]), default=0)
    return f"{plain(node[0])} · {node[1]}" + (f" and {more} that move with it" if more else "")


def _top(subject: Subject) -> str:
    against = f" against “{shorten(subject.against, 18)}”" if subject.against else ""
    return f"score of “{shorten(subject.target, 18)}”{against}"


def _neurons(subject: Subject, layout: Layout) -> list[dict[str, Any]]:
    crowd = Counter(depth for _, depth in layout.places.values())
    return [
        {
            "node": _name(subject, node),
            "x": x,
            "y": depth,
            "text": "" if node == CLASS_SCORE else str(node[1]),
            "crowd": crowd[depth],
        }
        for node, (x, depth) in layout.places.items()
    ]


def _lines(subject: Subject, layout: Layout) -> list[dict[str, Any]]:
    """Four points per line, which the chart joins to a curve that leaves and arrives upright."""
    points = []
    for index, (below, above, weight, evidence) in enumerate(layout.edges):
        (x0, y0), (x1, y1) = layout.places[above], layout.places[below]
        middle = (y0 + y1) / 2
        shared = {
            "edge": index,
            "weight": weight,
            "below": _name(subject, below),
            "above": _name(subject, above),
            "evidence": evidence,
        }
        path = ((x0, float(y0)), (x0, middle), (x1, middle), (x1, float(y1)))
        points += [{**shared, "x": x, "y": y, "step": k} for k, (x, y) in enumerate(path)]
    return points


def _labels(subject: Subject) -> list[dict[str, Any]]:
    labels = []
    for depth, entry in enumerate(subject.layers, start=1):
        text = f"{shorten(plain(str(entry['name'])), 30)}: {found_words(subject, entry)}"
        labels.append({"x": 0.0, "y": depth, "text": text})
    return labels


def _chart(depth: int) -> alt.TopLevelMixin:
    across = alt.X("x:Q").scale(domain=[0, 1], nice=False).axis(None)
    down = alt.Y("y:Q").scale(domain=[-0.35, depth + 0.25], reverse=True, nice=False).axis(None)
    base = alt.Chart(dataset("neurons")).encode(x=across, y=down)
    roomy = f"width / datum.crowd >= {LABEL_ROOM}"
    pointed = alt.selection_point(
        name="pointed", on="pointerover", clear="pointerout", fields=["node"], empty=True
    )
    dots = (
        base.mark_point(
            filled=True, opacity=1, color=CRITICAL, stroke=PAPER, strokeWidth=1.5, aria=False
        )
        .encode(
            size=alt.condition(roomy, alt.value(540), alt.value(110)),
            tooltip=[alt.Tooltip("node:N", title="neuron")],
        )
        .add_params(pointed)
    )
    inside = base.mark_text(fontSize=10.5, color=PAPER, fontWeight=600, aria=False).encode(
        text=alt.Text("text:N"), opacity=alt.condition(roomy, alt.value(1), alt.value(0))
    )
    top = _words("top", INK, dx=20, dy=1)
    others = _words("labels", MUTED, dy=-24)
    words = [layer.encode(x=across, y=down, text=alt.Text("text:N")) for layer in (*top, *others)]
    height = (ROW if depth < MANY_LAYERS else TIGHT_ROW) * (depth + 1)
    curves = _curves().encode(x=across, y=down)
    return alt.layer(curves, dots, inside, *words).properties(width="container", height=height)


def _curves() -> alt.Chart:
    own = "pointed.node[0] === datum.below || pointed.node[0] === datum.above"
    lines = alt.Chart(dataset("lines")).mark_line(interpolate="basis", aria=False, color=CRITICAL)
    curves: alt.Chart = lines.encode(
        detail=alt.Detail("edge:N"),
        order=alt.Order("step:Q"),
        strokeWidth=alt.StrokeWidth("weight:Q").scale(domain=[0, 1], range=[0.6, 4]).legend(None),
        opacity=alt.when(f"isValid(pointed.node) && ({own})")
        .then(alt.value(0.95))
        .when("isValid(pointed.node)")
        .then(alt.value(0.05))
        .otherwise(alt.value(0.35)),
        tooltip=[
            alt.Tooltip("below:N", title="neuron"),
            alt.Tooltip("above:N", title="serves"),
            alt.Tooltip("evidence:N", title="e-value"),
        ],
    )
    return curves


def _words(name: str, colour: str, **place: float) -> tuple[alt.Chart, alt.Chart]:
    """Text, and below it a halo that keeps lines from running through it."""
    where = alt.Chart(dataset(name))
    style: dict[str, Any] = {**place, "align": "left", "fontSize": 12, "aria": False}
    halo = where.mark_text(**style, stroke=PAPER, strokeWidth=5, strokeJoin="round")
    return halo, where.mark_text(**style, color=colour)
