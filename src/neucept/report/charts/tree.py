"""Which mechanisms merge first: the tree over the line on which the samples lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from neucept.report.charts.figure import INK, Figure, dataset, mechanism_scale, specification
from neucept.report.reading import Subject, records
from neucept.report.words import count, letter, listed, number

HEIGHT = 170

SPAN = [-0.01, 1.01]
"""What the line shows: all of it, with room for the points at its ends."""

AXIS = alt.Axis(tickCount=3, domain=False, ticks=False, minExtent=34, maxExtent=34)
"""As wide for the tree as for the samples, so that it stands over their places."""

SEVERAL = -1
"""What the table says of a merge of several mechanisms."""

BETWEEN = "between mechanisms"


def tree(subject: Subject) -> Iterator[Figure]:
    """A dendrogram; none where there is nothing to merge, or no position for the samples."""
    table, samples = subject.study.tree, subject.ordered
    if table.empty or samples.empty or "leaf" not in samples:
        return
    sizes = samples["leaf"].value_counts().reindex(range(len(table) + 1), fill_value=0)
    if (sizes == 0).any() or sizes.sum() != len(samples):
        return
    # Leaves are numbered along the line; one beside the other, branches never cross.
    places = ((sizes.cumsum() - sizes / 2) / len(samples)).tolist()
    lines, labels = _drawn(subject, dict(enumerate(places)))
    several = len(subject.study.mechanisms) > 1
    caption = (
        "Groups that join low down are alike. Height: what one group for all below it would cost, "
        "in nats per sample. Groups stand side by side along the line, each over its share of it. "
    )
    if several:
        caption += "Coloured branches lie within a mechanism, dark ones join mechanisms."
    else:
        caption += "All branches lie within the one mechanism."
    description = f"Tree of {count(len(places))} groups. " + _first(subject, table)
    groups = sorted(int(k) for k in samples["mechanism"].unique())
    spec = specification(_chart(groups, several), lines=lines, labels=labels)
    yield Figure("order", "tree", "Which merge first", caption, description, spec)


def _drawn(
    subject: Subject, places: dict[int, float]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Three lines per merge, and a letter where each mechanism begins to join others."""
    at = {leaf: (x, 0.0) for leaf, x in places.items()}
    home = records(subject.ordered.drop_duplicates("leaf"))
    inside = {int(row.leaf): int(row.mechanism) for row in home}
    lines: list[dict[str, Any]] = []
    for row in records(subject.study.tree):
        height = float(row.height)
        sides = [at[int(row.first)], at[int(row.second)]]
        name = BETWEEN if int(row.mechanism) == SEVERAL else letter(int(row.mechanism))
        shared = {"group": name, "samples": count(int(row.size)), "height": number(height)}
        for node, (x, below) in zip((row.first, row.second), sides, strict=True):
            own = name if int(node) not in inside else letter(inside[int(node)])
            lines.append({**shared, "group": own, "x": x, "x2": x, "y": below, "y2": height})
        (low, _), (high, _) = sides
        lines.append({**shared, "x": low, "x2": high, "y": height, "y2": height})
        at[int(row.node)] = ((low + high) / 2, height)
        if int(row.mechanism) != SEVERAL:
            inside[int(row.node)] = int(row.mechanism)
    tops = {mechanism: node for node, mechanism in inside.items()}
    labels = [
        {"x": at[node][0], "y": at[node][1], "group": letter(mechanism)}
        for mechanism, node in sorted(tops.items())
    ]
    return lines, labels


def _first(subject: Subject, table: Any) -> str:
    """Which mechanisms join first, in words."""
    joined = table[table["mechanism"] == SEVERAL]
    if joined.empty:
        return "They are all of one mechanism."
    row = next(records(joined.head(1)))
    sides = (listed(merged(subject, int(node))) for node in (row.first, row.second))
    return f"First {' and '.join(sides)} join."


def merged(subject: Subject, node: int) -> list[str]:
    """The letters of the mechanisms below a node of the tree."""
    inside = {node}
    for row in records(subject.study.tree.iloc[::-1]):
        if int(row.node) in inside:
            inside |= {int(row.first), int(row.second)}
    samples = subject.ordered
    found = samples.loc[samples["leaf"].isin(inside), "mechanism"].unique()
    return [letter(int(k)) for k in sorted(found)]


def _chart(groups: list[int], several: bool) -> alt.TopLevelMixin:
    colours = mechanism_scale(groups, **{BETWEEN: INK})
    across = alt.X("x:Q").scale(domain=SPAN, nice=False).axis(None)
    down = alt.Y("y:Q").title("nats per sample").axis(AXIS)
    tooltip = [
        alt.Tooltip("group:N", title="branch"),
        alt.Tooltip("samples:N", title="samples joined"),
        alt.Tooltip("height:N", title="at height"),
    ]
    branches = (
        alt.Chart(dataset("lines"))
        .mark_rule(strokeWidth=2.5, strokeCap="round", aria=False)
        .encode(
            x=across,
            x2=alt.X2("x2:Q"),
            y=down,
            y2=alt.Y2("y2:Q"),
            color=alt.Color("group:N").scale(colours).legend(None),
            tooltip=tooltip,
        )
    )
    if not several:
        return alt.layer(branches).properties(width="container", height=HEIGHT)
    text = (
        alt.Chart(dataset("labels"))
        .mark_text(dx=9, dy=-9, fontSize=14, fontWeight="bold", color=INK, aria=False)
        .encode(x=across, y=alt.Y("y:Q"), text=alt.Text("group:N"))
    )
    return alt.layer(branches, text).properties(width="container", height=HEIGHT)
