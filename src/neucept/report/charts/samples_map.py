"""The map of the samples, coloured by mechanism, with the sample's picture on hover."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from neucept.report.charts.figure import (
    INK,
    PAPER,
    Figure,
    dataset,
    mechanism_scale,
    specification,
)
from neucept.report.reading import BORDERLINE, Subject, records
from neucept.report.words import count, letter, percent, score, shorten

MOST_POINTS = 5000
"""Points drawn at most; more would make the page heavy and the map no clearer."""

MANY_POINTS = 1500
"""Points from which they are drawn smaller."""

HEIGHT = 460


def samples_map(subject: Subject) -> Iterator[Figure]:
    """One point per sample, at its place on the map."""
    table = subject.explained
    if table.empty:
        return
    shown = drawn(subject)
    groups = sorted(int(k) for k in table["mechanism"].unique())
    caption = (
        f"Each point is a sample predicted “{subject.target}”; near points have similar patterns "
        "over the critical neurons. The axes have no unit. Large points are the most typical "
        "samples. "
    )
    if len(groups) > 1:
        caption += "Hollow points are borderline: another mechanism is nearly as likely. "
    caption += "Point at one to see it, or move with the arrow keys."
    if len(shown) < len(table):
        caption += f" {count(len(shown))} of {count(len(table))} samples are drawn."
    description = f"Map of {count(len(shown))} samples in {len(groups)} groups: " + ", ".join(
        f"{letter(k)} {count(int((table['mechanism'] == k).sum()))}" for k in groups
    )
    spec = specification(
        _chart(groups, len(shown)), points=_rows(subject, shown), centres=_centres(table)
    )
    yield Figure("map", "", "", caption, description, spec)


def drawn(subject: Subject) -> pd.DataFrame:
    """The samples that are drawn: prototypes first, then evenly spread over the others."""
    table = subject.explained
    if len(table) <= MOST_POINTS:
        return table
    typical = table["position"].isin(subject.typical).to_numpy()
    rest = np.flatnonzero(~typical)
    room = MOST_POINTS - int(typical.sum())
    spread = rest[np.linspace(0, len(rest) - 1, room).round().astype(int)]
    return table.iloc[np.sort(np.concatenate([np.flatnonzero(typical), spread]))]


def _rows(subject: Subject, table: pd.DataFrame) -> list[dict[str, Any]]:
    typical = set(subject.typical)
    borderline = BORDERLINE if len(subject.study.mechanisms) > 1 else 0.0
    # Large points first, so that they never hide a small one.
    order = table["position"].isin(typical).sort_values(ascending=False, kind="stable").index
    return [
        {
            "position": int(row.position),
            "x": float(row.map_x),
            "y": float(row.map_y),
            "mechanism": letter(int(row.mechanism)),
            "id": shorten(subject.ids[int(row.position)], 80),
            "prediction": shorten(subject.class_name(int(row.prediction)), 40),
            "label": shorten(subject.class_name(int(row.label)), 40) or "not given",
            "membership": percent(float(row.membership)),
            "typicality": score(float(row.typicality)),
            "kind": _kind(row.position in typical, float(row.membership) < borderline),
        }
        for row in records(table.loc[order])
    ]


def _kind(typical: bool, borderline: bool) -> str:
    if borderline:
        return "borderline"
    return "typical" if typical else "plain"


def _centres(table: pd.DataFrame) -> list[dict[str, Any]]:
    middle = table.groupby("mechanism")[["map_x", "map_y"]].median().reset_index()
    return [
        {"x": float(row.map_x), "y": float(row.map_y), "mechanism": letter(int(row.mechanism))}
        for row in records(middle)
    ]


def _chart(groups: list[int], samples: int) -> alt.TopLevelMixin:
    small, large = (44, 120) if samples <= MANY_POINTS else (22, 80)
    one = alt.selection_point(name="legend_pick", fields=["mechanism"], bind="legend")
    colours = mechanism_scale(groups)
    across = alt.X("x:Q").axis(None).scale(zero=False, nice=False, padding=16)
    down = alt.Y("y:Q").axis(None).scale(zero=False, nice=False, padding=16)
    title = "Mechanism (click to pick one)"
    legend = alt.Legend(title=title, orient="top", symbolType="circle")
    fields = ("id", "mechanism", "prediction", "label", "membership", "typicality", "position")
    titles = (*fields[:-1], "picture")
    points = (
        alt.Chart(dataset("points"))
        .mark_point(aria=False, strokeWidth=1.5)
        .encode(
            x=across,
            y=down,
            stroke=alt.Stroke("mechanism:N").scale(colours).legend(legend),
            fill=alt.Fill("mechanism:N").scale(colours).legend(legend),
            fillOpacity=_by_kind(borderline=0.0, typical=1.0, plain=0.75),
            size=_by_kind(borderline=small, typical=large, plain=small),
            opacity=alt.condition(one, alt.value(1), alt.value(0.08)),
            tooltip=[alt.Tooltip(f"{f}:N", title=t) for f, t in zip(fields, titles, strict=True)],
        )
        .add_params(one)
    )
    text = alt.Chart(dataset("centres")).encode(x=across, y=down, text=alt.Text("mechanism:N"))
    if len(groups) < 2:
        return alt.layer(points).properties(width="container", height=HEIGHT)
    halo = text.mark_text(
        fontSize=22, fontWeight="bold", stroke=PAPER, strokeWidth=6, strokeJoin="round", aria=False
    )
    name = text.mark_text(fontSize=22, fontWeight="bold", color=INK, aria=False)
    return alt.layer(points, halo, name).properties(width="container", height=HEIGHT)


def _by_kind(*, borderline: float, typical: float, plain: float) -> Any:
    return (
        alt.when(alt.datum["kind"] == "borderline")
        .then(alt.value(borderline))
        .when(alt.datum["kind"] == "typical")
        .then(alt.value(typical))
        .otherwise(alt.value(plain))
    )
