"""What a chart is on the page, and the look that all charts share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from neucept.report.reading import Subject
from neucept.report.words import letter

FONT = (
    '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", '
    "Arial, sans-serif"
)

INK = "var(--ink)"
MUTED = "var(--muted)"
RULE = "var(--rule)"
PAPER = "var(--surface)"
CRITICAL = "var(--critical)"
OTHERS = "var(--others)"
"""Colours are the style sheet's, so that charts follow light, dark and print without a script."""

MECHANISM_COLOURS = 12

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "padding": {"left": 2, "right": 6, "top": 4, "bottom": 2},
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 5,
        "labelLimit": 190,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": MUTED,
        "labelFontSize": 13,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "symbolStrokeWidth": 0,
        "symbolSize": 120,
    },
}
"""Given to every chart when it is drawn; a spec holds only what is its own."""


@dataclass(frozen=True)
class Figure:
    """One chart with its words, and where it goes.

    Attributes:
        section: Part of the page: mechanisms, associations, map, order, doubt, layers, chain,
            ablation or choice; samples or flow on those of explained samples and of two studies.
        item: What in that part it belongs to: a mechanism's letter, a layer's name, or "".
        title: What it shows; "" where the section's heading says it.
        caption: How to read it, in one or two sentences.
        description: The same for those who cannot see it; what it says, in words.
        spec: The Vega-Lite specification, without the shared look.
    """

    section: str
    item: str
    title: str
    caption: str
    description: str
    spec: Mapping[str, Any]


Drawer = Callable[[Subject], Iterator[Figure]]
"""A chart: from a study to none, one or several figures."""


def dataset(name: str = "rows") -> alt.NamedData:
    """Where a chart finds its rows; `specification` is given them under the same name."""
    return alt.NamedData(name=name)


def specification(
    chart: alt.TopLevelMixin, **tables: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The plain specification of an Altair chart, without its default look and schema address.

    Args:
        chart: A chart whose data are `dataset`.
        tables: The rows, by the name under which the chart looks for them.

    Returns:
        The specification, its numbers short and without NaN.
    """
    spec: dict[str, Any] = chart.to_dict(validate=False)
    spec.pop("config", None)
    spec.pop("$schema", None)
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["datasets"] = {
        name: [{key: _short(value) for key, value in row.items()} for row in table]
        for name, table in tables.items()
    }
    return spec


def mechanism_colour(mechanism: int) -> str:
    """The colour of a mechanism, the same all over the page."""
    return f"var(--m{mechanism % MECHANISM_COLOURS + 1})"


def mechanism_scale(groups: Sequence[int], **others: str) -> alt.Scale:
    """From the letters of mechanisms, and other names, to their colours."""
    named = {letter(k): mechanism_colour(k) for k in groups} | others
    return alt.Scale(domain=list(named), range=list(named.values()))


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None
