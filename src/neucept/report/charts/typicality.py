"""How typicality is spread in each mechanism, and among what should be found by it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from neucept.report.charts.figure import (
    INK,
    MUTED,
    OTHERS,
    RULE,
    Figure,
    dataset,
    mechanism_colour,
    specification,
)
from neucept.report.words import count, counted, letter, percent

BINS = 20
"""Bars in each row, each as wide as one in twenty."""

ROW = 58
"""Pixels per row."""

TALLEST = 0.86
"""Height of the tallest bar, in rows."""


def typicality(
    mechanisms: Mapping[int, np.ndarray], others: Mapping[str, np.ndarray], level: float
) -> Figure:
    """One row of bars per mechanism, and one for each kind of sample that should lie at the left.

    Args:
        mechanisms: Typicality of its samples, by mechanism.
        others: The same for other samples, such as "wrong predictions", by their name.
        level: Typicality at or under which a sample is atypical.
    """
    groups = [(letter(k), mechanism_colour(k), values) for k, values in mechanisms.items()]
    groups += [(name, OTHERS, values) for name, values in others.items()]
    groups = [group for group in groups if len(group[2])]
    bars, lines = _rows(groups)
    caption = (
        "How many samples of each row have which typicality. Usual samples fill all bars alike "
        f"(dashed line), so that {percent(level)} of them are called atypical by chance; what lies "
        "at the far left is unlike the samples of its mechanism. Each row has its own scale."
    )
    description = "Typicality by row: " + "; ".join(
        f"{name}: {counted(len(values), 'sample')}, {percent(float((values <= level).mean()))} "
        "atypical"
        for name, _, values in groups
    )
    spec = specification(
        _chart([name for name, _, _ in groups], level), bars=bars, lines=lines, level=[{"x": level}]
    )
    return Figure("mechanisms", "", "Typicality", caption, description, spec)


def _rows(
    groups: Sequence[tuple[str, str, np.ndarray]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(values, edges)[0] for _, _, values in groups]
    bars, lines = [], []
    for row, ((name, colour, values), held) in enumerate(zip(groups, counts, strict=True)):
        floor = len(groups) - 1 - row
        # Its own scale, in which usual samples reach at most half the height.
        most = max(float(held.max()) / len(values), 2 / BINS)
        lines.append({"floor": floor, "usual": floor + TALLEST / BINS / most})
        for at, samples in enumerate(held.tolist()):
            bars.append(
                {
                    "row": name,
                    "colour": colour,
                    "from": float(edges[at]),
                    "to": float(edges[at + 1]),
                    "floor": floor,
                    "top": floor + TALLEST * samples / len(values) / most,
                    "typicality": f"{edges[at]:.2f} to {edges[at + 1]:.2f}",
                    "samples": count(samples),
                    "share": percent(samples / len(values)),
                }
            )
    return bars, lines


def _chart(names: Sequence[str], level: float) -> alt.TopLevelMixin:
    # The rows lie at whole numbers, the first one on top; the axis calls them by their names.
    called = json.dumps(list(reversed(names)))
    across = (
        alt.X("from:Q")
        .scale(domain=[0, 1], nice=False)
        .axis(values=[0, 0.25, 0.5, 0.75, 1], grid=False)
        .title("typicality")
    )
    down = (
        alt.Y("floor:Q")
        .scale(domain=[0, len(names)], nice=False)
        .axis(
            values=list(range(len(names))),
            labelExpr=f"{called}[datum.value]",
            labelBaseline="bottom",
            labelLimit=130,
            ticks=False,
            domain=False,
        )
        .title(None)
    )
    bars = (
        alt.Chart(dataset("bars"))
        .mark_rect(aria=False, opacity=0.85)
        .encode(
            x=across,
            x2=alt.X2("to:Q"),
            y=down,
            y2=alt.Y2("top:Q"),
            color=alt.Color("colour:N").scale(None).legend(None),
            tooltip=[
                alt.Tooltip("row:N", title="row"),
                alt.Tooltip("typicality:N"),
                alt.Tooltip("samples:N"),
                alt.Tooltip("share:N", title="of the row"),
            ],
        )
    )
    usual = (
        alt.Chart(dataset("lines"))
        .mark_rule(strokeDash=[3, 3], color=MUTED, aria=False)
        .encode(y=alt.Y("usual:Q"))
    )
    base = alt.Chart(dataset("lines")).mark_rule(color=RULE, aria=False).encode(y=alt.Y("floor:Q"))
    edge = (
        alt.Chart(dataset("level"))
        .mark_rule(color=INK, strokeWidth=1.5, aria=False)
        .encode(x=alt.X("x:Q"))
    )
    return alt.layer(base, bars, usual, edge).properties(
        width="container", height=max(ROW * len(names), 90)
    )
