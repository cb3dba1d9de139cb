"""Where the metadata that goes with the mechanisms most of all stands out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from neucept.report.associations import SURE, chance, outstanding, ranked
from neucept.report.charts.figure import (
    OTHERS,
    RULE,
    Figure,
    dataset,
    mechanism_scale,
    specification,
)
from neucept.report.reading import Subject, records
from neucept.report.words import letter, number, percent, plain, shorten

MOST_ROWS = 8
"""Mechanisms, or mechanisms and categories, that are drawn."""

ROW = 30
"""Pixels per row."""


def associations(subject: Subject) -> Iterator[Figure]:
    """A pair of points per mechanism, for the strongest column; none where nothing is sure."""
    for row in records(ranked(subject).head(1)):
        table = outstanding(subject, row.column).head(MOST_ROWS)
        if not row.q_value < SURE or table.empty:
            return
        shares = row.kind == "category"
        name = shorten(plain(str(row.column)), 40)
        shown = [_row(place) for place in records(table)]
        what = "share of the category" if shares else "median"
        caption = (
            f"Colour: the {what} among samples of the mechanism; grey: among the other mechanisms."
        )
        description = f"{name}: " + "; ".join(
            f"{pair['place']} {pair['inside_shown']} against {pair['outside_shown']}"
            for pair in shown
        )
        groups = sorted({int(k) for k in table["mechanism"]})
        spec = specification(_chart(groups, len(shown), shares), rows=shown)
        yield Figure("associations", "", f"The strongest: {name}", caption, description, spec)


def _row(row: Any) -> dict[str, Any]:
    name = letter(int(row.mechanism))
    shares = row.kind == "category"
    category = shorten(plain(str(row.category)), 30)
    text = percent if shares else number
    return {
        "place": f"{name} · {category}" if shares else name,
        "mechanism": name,
        "category": category,
        "inside": float(row.inside),
        "outside": float(row.outside),
        "inside_shown": text(float(row.inside)),
        "outside_shown": text(float(row.outside)),
        "p_value": chance(float(row.q_value)),
    }


def _chart(groups: list[int], rows: int, shares: bool) -> alt.TopLevelMixin:
    scale = alt.Scale(domain=[0, 1], nice=False) if shares else alt.Scale(zero=False, nice=True)
    axis = alt.Axis(
        format="%" if shares else "", tickCount=5, domain=False, ticks=False, title=None
    )
    tooltip = [
        alt.Tooltip("mechanism:N", title="mechanism"),
        *([alt.Tooltip("category:N", title="category")] if shares else []),
        alt.Tooltip("inside_shown:N", title="inside"),
        alt.Tooltip("outside_shown:N", title="others"),
        alt.Tooltip("p_value:N", title="corrected"),
    ]
    base = alt.Chart(dataset()).encode(
        y=alt.Y("place:N").sort(None).title(None).axis(ticks=False, domain=False, labelLimit=220),
        tooltip=tooltip,
    )
    colours = mechanism_scale(groups)
    inside = alt.X("inside:Q").scale(scale).axis(axis)
    outside = alt.X("outside:Q").scale(scale).axis(axis)
    line = base.mark_rule(strokeWidth=3, stroke=RULE, aria=False).encode(
        x=inside, x2=alt.X2("outside:Q")
    )
    others = base.mark_point(filled=True, size=90, opacity=1, color=OTHERS, aria=False).encode(
        x=outside
    )
    own = base.mark_point(filled=True, size=130, opacity=1, aria=False).encode(
        x=inside, color=alt.Color("mechanism:N").scale(colours).legend(None)
    )
    return alt.layer(line, others, own).properties(width="container", height=ROW * rows + 10)
