"""The neurons that decided for one sample: its value beside what is usual for two mechanisms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from neucept.report.charts.figure import (
    INK,
    MUTED,
    Figure,
    dataset,
    mechanism_colour,
    specification,
)
from neucept.report.charts.signature import neuron_name
from neucept.report.reading import Subject, optional
from neucept.report.words import known, letter, number, plain, signed

ROW = 36
"""Pixels per neuron."""

ROOM = 1.2
"""Where the scale ends; values lie in [0, 1], and what a neuron adds is written beyond."""

EDGE = 0.03
"""Room at the other end, so that no line covers a name."""

Quantiles = tuple[float, float, float]


def deciding(
    subject: Subject,
    item: str,
    sample: Mapping[Any, Any],
    neurons: Sequence[Mapping[Any, Any]],
) -> Figure:
    """The chart of one sample.

    Args:
        subject: The study.
        item: What the figure belongs to on the page.
        sample: Its row in the explanation's table.
        neurons: Its rows in the explanation's neurons, at least one.
    """
    mechanism, rival = int(sample["mechanism"]), int(sample["next"])
    own, other = letter(mechanism), letter(rival) if rival >= 0 else ""
    rows = [row for one in neurons for row in _rows(subject, mechanism, rival, one)]
    bars = f"Colour: what is usual in {own}"
    if other:
        bars += f", and below it in {other}"
        told = f"On the right, what the neuron adds for {own} over {other}, in nats"
    else:
        told = "On the right, what the neuron adds to the squared distance from the centre"
    caption = (
        f"Black: this sample. {bars} (from the 10 % to the 90 % quantile; the line is the median). "
        f"{told}. Each row has its own scale."
    )
    description = "Neurons, most telling first: " + ", ".join(
        f"{row['neuron']} {row['here_shown']} where {row['median_shown']} is usual in {own}"
        for row in rows
        if row["who"] == own
    )
    title = "The neurons that decided" if other else "The neurons farthest from usual"
    spec = specification(
        _chart(subject, mechanism, rival, len(neurons)),
        rows=rows,
        samples=[row for row in rows if row["who"] == own],
    )
    return Figure("samples", item, title, caption, description, spec)


def told(one: Mapping[Any, Any], rival: int) -> str:
    """What a neuron adds: nats for its mechanism, or its part of the distance where it is alone."""
    if rival < 0:
        return number(optional(one["distance"]))
    return signed(float(one["nats"]))


def _rows(
    subject: Subject, mechanism: int, rival: int, one: Mapping[Any, Any]
) -> list[dict[str, Any]]:
    layer, neuron, here = str(one["layer"]), int(one["neuron"]), float(one["value"])
    groups = [(mechanism, "usual")] + [(rival, "usual_next")] * (rival >= 0)
    usual = {group: _quantiles(subject, group, layer, neuron, one[name]) for group, name in groups}
    every = [here, *(value for three in usual.values() if three for value in three)]
    least, span = min(every), (max(every) - min(every)) or 1.0
    shared = {
        "neuron": neuron_name(subject, layer, neuron),
        "layer": plain(layer),
        "number": neuron,
        "here": (here - least) / span,
        "here_shown": number(here),
        "told": told(one, rival),
    }
    rows = []
    for group, _ in groups:
        three = usual[group]
        placed = [(value - least) / span for value in three] if three else [None] * 3
        row = {**shared, "who": letter(group)}
        row |= dict(zip(("low", "median", "high"), placed, strict=True))
        row["median_shown"] = number(three[1]) if three else number(None)
        row["usual"] = f"{number(three[0])} to {number(three[2])}" if three else number(None)
        rows.append(row)
    return rows


def _quantiles(
    subject: Subject, mechanism: int, layer: str, neuron: int, median: object
) -> Quantiles | None:
    """What is usual for a neuron in a mechanism; None where the study does not say."""
    found = subject.usual.get((mechanism, layer, neuron))
    if found is not None and known(sum(found)):
        return found
    held = optional(median)
    return None if held is None else (held, held, held)


def _chart(subject: Subject, mechanism: int, rival: int, neurons: int) -> alt.TopLevelMixin:
    several = len(subject.info["mechanisms"].get("layers") or []) > 1
    names = [letter(mechanism)] + [letter(rival)] * (rival >= 0)
    colours = [mechanism_colour(mechanism)] + [mechanism_colour(rival)] * (rival >= 0)
    added = "distance" if rival < 0 else "nats"
    down = (
        alt.Y("neuron:N")
        .sort(None)
        .title("" if several else "neuron")
        .axis(ticks=False, domain=False, grid=True, labelLimit=140)
    )
    across = (
        alt.X("low:Q")
        .scale(domain=[-EDGE, ROOM], nice=False)
        .axis(values=[0, 1], labels=False, ticks=False, domain=False, title="lower → higher")
    )
    tips = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("number:N", title="neuron"),
        alt.Tooltip("here_shown:N", title="here"),
        alt.Tooltip("who:N", title="mechanism"),
        alt.Tooltip("median_shown:N", title="median there"),
        alt.Tooltip("usual:N", title="10 % to 90 %"),
        alt.Tooltip("told:N", title=added),
    ]
    bands = alt.Chart(dataset()).encode(
        y=down,
        yOffset=alt.YOffset("who:N").sort(names).scale(paddingInner=0.25, paddingOuter=0.5),
        color=alt.Color("who:N").scale(domain=names, range=colours).legend(None),
        tooltip=tips,
    )
    bars = bands.mark_bar(cornerRadius=3, opacity=0.75, aria=False).encode(
        x=across, x2=alt.X2("high:Q")
    )
    medians = bands.mark_tick(thickness=2, opacity=1, aria=False).encode(x=alt.X("median:Q"))
    sample = alt.Chart(dataset("samples")).encode(y=down, tooltip=[*tips[:3], tips[-1]])
    here = sample.mark_tick(thickness=4, size=ROW * 0.72, opacity=1, color=INK, aria=False).encode(
        x=alt.X("here:Q")
    )
    text = sample.mark_text(align="right", fontSize=12, color=MUTED, aria=False).encode(
        x=alt.value(alt.expr("width")), text="told:N"
    )
    return alt.layer(bars, medians, here, text).properties(width="container", height=ROW * neurons)
