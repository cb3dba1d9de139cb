"""The evidence for each neuron of a layer, most first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import altair as alt

from neucept.report.charts.figure import CRITICAL, OTHERS, Figure, dataset, specification
from neucept.report.reading import Subject, records
from neucept.report.words import counted, number, percent, plain

FEWEST_BARS, MOST_BARS = 60, 300
"""Neurons drawn per layer: the critical ones and some more, within these bounds."""

HEIGHT = 170


def evidence(subject: Subject) -> Iterator[Figure]:
    """One chart per layer: a bar per neuron, its height the evidence."""
    for entry in subject.layers:
        layer = str(entry["name"])
        table = subject.ranked(layer)
        if table.empty:
            continue
        shown = min(max(FEWEST_BARS, len(subject.selected(layer)) + 10), MOST_BARS)
        bars: list[dict[str, Any]] = [
            {
                "rank": rank + 1,
                "neuron": int(row.neuron),
                "e_value": max(float(row.e_value), 0.0),
                "evidence": number(float(row.e_value)),
                "score": number(float(row.score)),
                "frequency": percent(float(row.frequency)),
                "state": "critical" if row.selected else "not selected",
            }
            for rank, row in enumerate(records(table.head(shown)))
        ]
        caption = "Each bar is a neuron, most evidence first; the critical ones are coloured."
        if len(table) > len(bars):
            caption += f" The other {counted(len(table) - len(bars), 'neuron')} have less still."
        description = (
            f"Evidence for {counted(len(bars), 'neuron')} of {plain(layer)}; "
            f"{len(subject.selected(layer))} are critical."
        )
        spec = specification(_chart(), rows=bars)
        yield Figure("layers", layer, "Evidence per neuron", caption, description, spec)


@cache
def _chart() -> alt.TopLevelMixin:
    states = {"critical": CRITICAL, "not selected": OTHERS}
    chart: alt.Chart = (
        alt.Chart(dataset())
        .mark_bar(aria=False, cornerRadiusEnd=1)
        .encode(
            x=alt.X("rank:O").title("neurons, most evidence first").axis(labels=False, ticks=False),
            y=alt.Y("e_value:Q").title("e-value").axis(tickCount=4, domain=False, ticks=False),
            color=alt.Color("state:N")
            .scale(domain=list(states), range=list(states.values()))
            .legend(None),
            tooltip=[
                alt.Tooltip("neuron:N", title="neuron"),
                alt.Tooltip("state:N", title="state"),
                alt.Tooltip("evidence:N", title="e-value"),
                alt.Tooltip("frequency:N", title="passes in"),
                alt.Tooltip("score:N", title="score"),
            ],
        )
        .properties(width="container", height=HEIGHT)
    )
    return chart
