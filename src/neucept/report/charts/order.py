"""The samples along their order, coloured by mechanism, with the sample's picture on hover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np

from neucept.report.charts.figure import Figure, dataset, mechanism_scale, specification
from neucept.report.charts.samples_map import drawn
from neucept.report.charts.tree import AXIS, SPAN
from neucept.report.reading import Subject, records
from neucept.report.words import count, letter, score, shorten

MOST_POINTS = 1500
"""Points drawn at most, spread evenly over those of the map."""

HEIGHT = 150


def order(subject: Subject) -> Iterator[Figure]:
    """One point per sample: its place along the line, and how typical it is."""
    table = subject.ordered
    if table.empty:
        return
    shown = drawn(subject)
    shown = shown[shown["position"].isin(table["position"])]
    if len(shown) > MOST_POINTS:
        shown = shown.iloc[np.linspace(0, len(shown) - 1, MOST_POINTS).round().astype(int)]
    groups = sorted(int(k) for k in table["mechanism"].unique())
    own = {k: table.loc[table["mechanism"] == k, "order"] for k in groups}
    spans = ", ".join(
        f"{letter(k)} {score(float(part.min()))} to {score(float(part.max()))}"
        for k, part in own.items()
    )
    caption = (
        "Each point is a sample at its place along the line; the higher, the more usual for its "
        "mechanism. Point at one to see it, or move with the arrow keys."
    )
    if len(shown) < len(table):
        caption += f" {count(len(shown))} of {count(len(table))} samples are drawn."
    description = f"{count(len(shown))} samples along their order: {spans}"
    spec = specification(_chart(groups), points=_rows(subject, shown))
    yield Figure("order", "samples", "The samples in order", caption, description, spec)


def _rows(subject: Subject, table: Any) -> list[dict[str, Any]]:
    return [
        {
            "order": float(row.order),
            "typicality": float(row.typicality),
            "place": score(float(row.order)),
            "typical": score(float(row.typicality)),
            "mechanism": letter(int(row.mechanism)),
            "label": shorten(subject.class_name(int(row.label)), 40) or "not given",
            "id": shorten(subject.ids[int(row.position)], 80),
            "position": int(row.position),
        }
        for row in records(table.sort_values("order", kind="stable"))
    ]


def _chart(groups: list[int]) -> alt.TopLevelMixin:
    colours = mechanism_scale(groups)
    chart: alt.Chart = (
        alt.Chart(dataset("points"))
        .mark_point(filled=True, size=34, opacity=0.8, aria=False)
        .encode(
            x=alt.X("order:Q")
            .title("place along the line")
            .scale(domain=SPAN, nice=False)
            .axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1], grid=False),
            y=alt.Y("typicality:Q").title("typicality").scale(domain=[0, 1]).axis(AXIS),
            color=alt.Color("mechanism:N").scale(colours).legend(None),
            tooltip=[
                alt.Tooltip("id:N", title="id"),
                alt.Tooltip("mechanism:N", title="mechanism"),
                alt.Tooltip("label:N", title="label"),
                alt.Tooltip("place:N", title="place"),
                alt.Tooltip("typical:N", title="typicality"),
                alt.Tooltip("position:N", title="picture"),
            ],
        )
        .properties(width="container", height=HEIGHT)
    )
    return chart
