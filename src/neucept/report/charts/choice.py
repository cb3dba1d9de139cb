"""How stable each number of mechanisms is, against what one mechanism would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from neucept.report.charts.figure import CRITICAL, OTHERS, Figure, dataset, specification
from neucept.report.reading import Subject, optional, records
from neucept.report.words import score

HEIGHT = 240

FOUND = "these samples"
ONE = "if there were one mechanism"


def choice(subject: Subject) -> Iterator[Figure]:
    """Two lines over the number of mechanisms; none when a single number was considered."""
    table = subject.study.choice
    if len(table) < 2:
        return
    shown: list[dict[str, Any]] = []
    for row in records(table):
        for who, value in ((FOUND, row.stability), (ONE, row.stability_one)):
            held = optional(value)
            if held is not None:
                chosen = bool(row.chosen) and who == FOUND
                shown.append(
                    {
                        "n": int(row.n),
                        "who": who,
                        "stability": held,
                        "shown": score(held),
                        "chosen": chosen,
                    }
                )
    if not shown:
        return
    picked = table.loc[table["chosen"].astype(bool), "n"].tolist()
    caption = (
        "How well the weakest mechanism comes back when halves of the samples are grouped anew, "
        "for each number of mechanisms; dashed, what samples with only one mechanism would give. "
        "The ring marks the number chosen."
    )
    description = f"Stability for {len(table)} numbers of mechanisms; chosen: {picked}"
    spec = specification(_chart(), rows=shown)
    yield Figure("choice", "", "", caption, description, spec)


def _chart() -> alt.TopLevelMixin:
    legend = alt.Legend(
        title=None, orient="top", symbolType="stroke", symbolStrokeWidth=2.5, labelLimit=240
    )
    base = alt.Chart(dataset()).encode(
        x=alt.X("n:O").title("number of mechanisms").axis(labelAngle=0, ticks=False, grid=False),
        y=alt.Y("stability:Q")
        .title("stability")
        .scale(domain=[0, 1], clamp=True)
        .axis(tickCount=5, domain=False, ticks=False),
        color=alt.Color("who:N")
        .scale(domain=[FOUND, ONE], range=[CRITICAL, OTHERS])
        .legend(legend),
        tooltip=[
            alt.Tooltip("n:N", title="mechanisms"),
            alt.Tooltip("who:N", title="stability of"),
            alt.Tooltip("shown:N", title="stability"),
        ],
    )
    lines = base.mark_line(strokeWidth=2.5, aria=False).encode(
        strokeDash=alt.StrokeDash("who:N")
        .scale(domain=[FOUND, ONE], range=[[1, 0], [5, 4]])
        .legend(legend)
    )
    dots = base.mark_point(filled=True, size=55, opacity=1, aria=False)
    ring = (
        base.transform_filter(alt.datum["chosen"])
        .mark_point(size=320, strokeWidth=2.5, aria=False)
        .encode(color=alt.value(CRITICAL))
    )
    return alt.layer(lines, dots, ring).properties(width="container", height=HEIGHT)
