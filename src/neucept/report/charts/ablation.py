"""What happens to the prediction when neurons are cut, or when only some are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from neucept.report.charts.figure import CRITICAL, OTHERS, Figure, dataset, specification
from neucept.report.reading import Subject, records
from neucept.report.words import percent, plain

HEIGHT = 220

WAYS = {
    "resample": "replaced by plausible values, given the other neurons",
    "zero": "set to zero",
    "mean": "set to their mean",
    "noise": "drowned in noise, as in the paper",
}


@dataclass(frozen=True)
class Curves:
    """One cut of one layer, in critical order and in random orders.

    Attributes:
        layer: The layer.
        mode: How neurons were cut.
        keep: Whether all *but* the k first were cut.
        steps: One row per k: critical, random, low and high, shares in [0, 1] of the samples that
            are still predicted as the class.
    """

    layer: str
    mode: str
    keep: bool
    steps: pd.DataFrame


def curves_of(subject: Subject) -> Iterator[Curves]:
    """The measured cuts, from the layer nearest the prediction down."""
    table = subject.study.ablation
    for entry in subject.layers:
        rows = table[table["layer"] == entry["name"]]
        for mode in dict.fromkeys(rows["mode"]):
            for keep in (False, True):
                part = rows[(rows["mode"] == mode) & (rows["keep"].astype(bool) == keep)]
                if len(part):
                    yield Curves(str(entry["name"]), str(mode), keep, _steps(part))


def chance(step: Any) -> str:
    """What random orders give at one step, mean and band, in words."""
    low, high = percent(step.low), percent(step.high)
    return percent(step.random) + (f" ({low} to {high})" if low != high else "")


def ablation(subject: Subject) -> Iterator[Figure]:
    """A chart for each layer, mode and way round."""
    several = subject.study.ablation["mode"].nunique() > 1
    for curves in curves_of(subject):
        doing = "Keeping only" if curves.keep else "Cutting"
        title = f"{doing} the first neurons" + (f" ({curves.mode})" if several else "")
        who = "All other neurons" if curves.keep else "Neurons"
        caption = f"{who} are {WAYS.get(curves.mode, curves.mode)}."
        last = curves.steps.iloc[-1]
        description = (
            f"{plain(curves.layer)}: share still predicted {subject.predicted()}. At {int(last.k)} "
            f"neurons {percent(last.critical)}, at random {percent(last.random)}"
        )
        spec = specification(_chart(curves.keep), rows=_rows(curves))
        yield Figure("ablation", curves.layer, title, caption, description, spec)


def _steps(part: pd.DataFrame) -> pd.DataFrame:
    def over(order: str) -> Any:
        return part[part["order"] == order].groupby("k")["unchanged"]

    chance = over("random")
    steps = pd.DataFrame(
        {
            "critical": over("critical").mean(),
            "random": chance.mean(),
            "low": chance.quantile(0.05),
            "high": chance.quantile(0.95),
        }
    )
    return steps.rename_axis("k").reset_index()


def _rows(curves: Curves) -> list[dict[str, Any]]:
    return [
        {
            "k": int(row.k),
            "critical": float(row.critical),
            "random": float(row.random),
            "low": float(row.low),
            "high": float(row.high),
            "shown": percent(row.critical),
            "shown_random": chance(row),
        }
        for row in records(curves.steps)
    ]


@cache
def _chart(keep: bool) -> alt.TopLevelMixin:
    doing = "kept" if keep else "cut"
    base = alt.Chart(dataset()).encode(
        x=alt.X("k:Q")
        .title(f"neurons {doing}")
        .scale(nice=False)
        .axis(grid=False, tickMinStep=1, tickCount=6),
        tooltip=[
            alt.Tooltip("k:Q", title=f"neurons {doing}"),
            alt.Tooltip("shown:N", title="most critical first"),
            alt.Tooltip("shown_random:N", title="random orders"),
        ],
    )
    share = (
        alt.Y("critical:Q")
        .scale(domain=[0, 1])
        .title("still predicted so")
        .axis(
            labelExpr="format(100 * datum.value, '.0f') + ' %'",
            tickCount=4,
            domain=False,
            ticks=False,
        )
    )
    band = base.mark_area(color=OTHERS, opacity=0.3, aria=False).encode(
        y=alt.Y("low:Q").scale(domain=[0, 1]), y2=alt.Y2("high:Q")
    )
    middle = base.mark_line(strokeWidth=2, strokeDash=[5, 4], color=OTHERS, aria=False).encode(
        y=alt.Y("random:Q")
    )
    line = base.mark_line(strokeWidth=2.5, color=CRITICAL, aria=False).encode(y=share)
    dots = base.mark_point(filled=True, size=45, opacity=1, color=CRITICAL, aria=False).encode(
        y=alt.Y("critical:Q")
    )
    return alt.layer(band, middle, line, dots).properties(width="container", height=HEIGHT)
