"""Which neurons are high or low in a mechanism: its quantiles against those of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd

from neucept.report.charts.figure import (
    INK,
    OTHERS,
    Figure,
    dataset,
    mechanism_colour,
    specification,
)
from neucept.report.reading import Subject, records
from neucept.report.words import letter, number, plain, shorten, signed

MOST_NEURONS = 8
"""Neurons shown per mechanism: those that differ most from the other mechanisms."""

ROW = 34
"""Pixels per neuron."""


def signature(subject: Subject) -> Iterator[Figure]:
    """One chart per mechanism, a pair of bars per neuron; none where there is one mechanism."""
    table = subject.study.signature
    if table.empty or len(subject.study.mechanisms) < 2:
        return
    for mechanism in sorted(int(k) for k in table["mechanism"].unique()):
        strongest = strongest_neurons(table, mechanism)
        name = letter(mechanism)
        caption = (
            f"Colour: samples of {name}; grey: the other mechanisms. Bars run from the 10 % to the "
            "90 % quantile, the tick is the median. Each row has its own scale."
        )
        description = f"Activations of {len(strongest)} neurons in mechanism {name}, " + ", ".join(
            f"{neuron_name(subject, str(row.layer), int(row.neuron))} "
            f"{'higher' if row.difference > 0 else 'lower'}"
            for row in records(strongest)
        )
        spec = specification(
            _chart(subject, mechanism, len(strongest)), rows=_rows(subject, strongest)
        )
        title = f"Neurons that set {name} apart"
        yield Figure("mechanisms", name, title, caption, description, spec)


def strongest_neurons(table: pd.DataFrame, mechanism: int) -> pd.DataFrame:
    """The rows of a mechanism's signature with the largest differences."""
    rows = table[(table["mechanism"] == mechanism) & table["difference"].notna()]
    order = rows["difference"].abs().sort_values(ascending=False, kind="stable").index
    return rows.loc[order].head(MOST_NEURONS)


def neuron_name(subject: Subject, layer: str, neuron: int) -> str:
    """A neuron by its number; with its layer's name where mechanisms use several layers."""
    return f"{shorten(plain(layer), 16)} · {neuron}" if _several_layers(subject) else str(neuron)


def _several_layers(subject: Subject) -> bool:
    return len(subject.info["mechanisms"].get("layers") or []) > 1


def _rows(subject: Subject, table: pd.DataFrame) -> list[dict[str, Any]]:
    made = []
    for row in records(table):
        own = (row.low, row.median, row.high)
        others = (row.others_low, row.others_median, row.others_high)
        least, most = min(*own, *others), max(*own, *others)
        span = (most - least) or 1.0
        shared = {
            "neuron": neuron_name(subject, str(row.layer), int(row.neuron)),
            "layer": plain(str(row.layer)),
            "number": int(row.neuron),
            "difference": f"{signed(row.difference, 1)} sd",
        }
        for who, three in (("own", own), ("others", others)):
            low, median, high = ((float(value) - least) / span for value in three)
            shown = {f"{name}_shown": number(v) for name, v in zip("lmh", three, strict=True)}
            made.append({**shared, "who": who, "low": low, "median": median, "high": high, **shown})
    return made


def _chart(subject: Subject, mechanism: int, neurons: int) -> alt.TopLevelMixin:
    title = "" if _several_layers(subject) else "neuron"
    base = alt.Chart(dataset()).encode(
        y=alt.Y("neuron:N")
        .sort(None)
        .title(title)
        .axis(ticks=False, domain=False, grid=True, labelLimit=140),
        yOffset=alt.YOffset("who:N")
        .sort(["own", "others"])
        .scale(paddingInner=0.3, paddingOuter=0.5),
        color=alt.Color("who:N")
        .scale(domain=["own", "others"], range=[mechanism_colour(mechanism), OTHERS])
        .legend(None),
        tooltip=[
            alt.Tooltip("layer:N", title="layer"),
            alt.Tooltip("number:N", title="neuron"),
            alt.Tooltip("who:N", title="samples"),
            alt.Tooltip("l_shown:N", title="10 %"),
            alt.Tooltip("m_shown:N", title="median"),
            alt.Tooltip("h_shown:N", title="90 %"),
            alt.Tooltip("difference:N", title="difference"),
        ],
    )
    across = (
        alt.X("low:Q")
        .scale(domain=[0, 1], nice=False)
        .axis(values=[0, 1], labels=False, ticks=False, domain=False, title="lower → higher")
    )
    bars = base.mark_bar(cornerRadius=3, opacity=0.8, aria=False).encode(
        x=across, x2=alt.X2("high:Q")
    )
    ticks = base.mark_tick(thickness=3, opacity=1, aria=False).encode(
        x=alt.X("median:Q"), color=alt.value(INK)
    )
    return alt.layer(bars, ticks).properties(width="container", height=ROW * neurons)
