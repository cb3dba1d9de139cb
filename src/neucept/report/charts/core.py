"""How much of what a layer tells its first neurons keep: the curve that the core is cut from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import altair as alt

from neucept.report.charts.figure import CRITICAL, OTHERS, Figure, dataset, specification
from neucept.report.reading import Subject, records
from neucept.report.words import counted, percent, plain

HEIGHT = 130


def core(subject: Subject) -> Iterator[Figure]:
    """One chart per layer that has a core: share kept against number of neurons."""
    for entry in subject.layers:
        layer = str(entry["name"])
        size = len(subject.core(layer))
        rows = _rows(subject, layer, size)
        if not size or len(rows) < 2:
            continue
        keep = float(entry["core"]["keep"])
        caption = (
            "Share of what the layer tells that is kept by the neurons of the core as it grows, on "
            f"samples held out. Dashed: the {percent(keep)} asked for; the ring marks the core."
        )
        description = (
            f"{plain(layer)}: {counted(size, 'neuron')} of "
            f"{counted(len(subject.distinct(layer)), 'critical neuron')} keep "
            f"{percent(float(entry['core']['kept']))} of what the layer tells."
        )
        spec = specification(_chart(), rows=rows, asked=[{"keep": keep}])
        yield Figure("layers", layer, "How few neurons suffice", caption, description, spec)


def _rows(subject: Subject, layer: str, size: int) -> list[dict[str, Any]]:
    table = subject.study.kept
    table = table[(table["layer"] == layer) & table["measured"].astype(bool)]
    return [
        {
            "size": int(row.size),
            "kept": float(row.kept),
            "shown": percent(float(row.kept)),
            "core": int(row.size) == size,
        }
        for row in records(table.sort_values("size"))
    ]


@cache
def _chart() -> alt.TopLevelMixin:
    base = alt.Chart(dataset()).encode(
        x=alt.X("size:Q")
        .title("neurons kept")
        .scale(nice=False)
        .axis(grid=False, tickMinStep=1, tickCount=6),
        y=alt.Y("kept:Q")
        .title("share kept")
        .scale(domain=[0, 1])
        .axis(
            labelExpr="format(100 * datum.value, '.0f') + ' %'",
            tickCount=4,
            domain=False,
            ticks=False,
        ),
        tooltip=[
            alt.Tooltip("size:Q", title="neurons"),
            alt.Tooltip("shown:N", title="share kept"),
        ],
    )
    asked = (
        alt.Chart(dataset("asked"))
        .mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=OTHERS, aria=False)
        .encode(y=alt.Y("keep:Q").scale(domain=[0, 1]))
    )
    line = base.mark_line(strokeWidth=2.5, color=CRITICAL, aria=False)
    dots = base.mark_point(filled=True, size=40, opacity=1, color=CRITICAL, aria=False)
    ring = base.transform_filter(alt.datum["core"]).mark_point(
        size=260, strokeWidth=2.5, color=CRITICAL, aria=False
    )
    return alt.layer(asked, line, dots, ring).properties(width="container", height=HEIGHT)
