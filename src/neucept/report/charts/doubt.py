"""The share of wrong predictions by typicality."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt

from neucept.report.charts.figure import CRITICAL, INK, Figure, dataset, specification
from neucept.report.doubt import tellable
from neucept.report.reading import Subject
from neucept.report.words import count, percent

HEIGHT = 190


def doubted(subject: Subject) -> Iterator[Figure]:
    """A bar per band of typicality; none where labels are missing or too few are wrong."""
    found = subject.info.get("reliability")
    if not found or not tellable(found):
        return
    bars = [
        {
            "band": f"{band['low']:g} to {band['high']:g}",
            "share": float(band["share"]),
            "low": float(band["share_low"]),
            "high": float(band["share_high"]),
            "shown": percent(float(band["share"])),
            "span": f"{percent(float(band['share_low']))} to {percent(float(band['share_high']))}",
            "samples": count(band["samples"]),
            "wrong": count(band["wrong"]),
        }
        for band in found["bands"]
        if band["samples"]
    ]
    caption = (
        "The share of wrong predictions, from the least typical samples to the most typical; lines "
        "are 95 % intervals, each sample counted as one."
    )
    description = "Wrong predictions: " + ", ".join(
        f"{bar['shown']} at typicality {bar['band']}" for bar in bars
    )
    spec = specification(_chart(), rows=bars)
    yield Figure("doubt", "", "Wrong by typicality", caption, description, spec)


def _chart() -> alt.TopLevelMixin:
    base = alt.Chart(dataset()).encode(
        x=alt.X("band:O").sort(None).title("typicality").axis(labelAngle=0, ticks=False),
        tooltip=[
            alt.Tooltip("band:N", title="typicality"),
            alt.Tooltip("samples:N", title="samples"),
            alt.Tooltip("wrong:N", title="wrong"),
            alt.Tooltip("shown:N", title="share"),
            alt.Tooltip("span:N", title="95 %"),
        ],
    )
    up = alt.Axis(format="%", tickCount=4, domain=False, ticks=False)
    bars = base.mark_bar(color=CRITICAL, cornerRadiusEnd=2, size=56, aria=False).encode(
        y=alt.Y("share:Q").title("wrong").axis(up)
    )
    spans = base.mark_rule(color=INK, strokeWidth=1.5, aria=False).encode(
        y=alt.Y("low:Q"), y2=alt.Y2("high:Q")
    )
    return alt.layer(bars, spans).properties(width="container", height=HEIGHT)
