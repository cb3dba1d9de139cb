"""The causal check in words: what cutting a mechanism's neurons takes from it and the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from neucept.report.reading import Subject, records
from neucept.report.words import letter, listed, percent, plain, shorten

MOST_NEURONS = 12
"""Neurons of a cut that are named."""


@dataclass(frozen=True)
class CutTable:
    """The selectivity matrix: one row per cut, one column per mechanism, as text."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    message: str


def cut_table(subject: Subject) -> CutTable | None:
    """The matrix; None where cuts were not asked for or there is one mechanism only."""
    entry = _entry(subject)
    if not entry:
        return None
    mechanisms = [int(k) for k in subject.study.mechanisms["mechanism"]]
    table = subject.study.selectivity
    rows = []
    for cut in sorted({int(k) for k in table["cut"]}):
        own = {int(row.mechanism): row for row in records(table[table["cut"] == cut])}
        cells = tuple(_span(own[k]) if k in own else "not measured" for k in mechanisms)
        rows.append((letter(cut), cells))
    names = tuple(letter(k) for k in mechanisms)
    return CutTable(names, tuple(rows), plain(str(entry.get("message") or "")))


def cut_words(subject: Subject, mechanism: int) -> str:
    """What the cut of one mechanism takes; "" where none was looked for."""
    entry = _entry(subject)
    cuts = entry.get("cuts") or []
    if not 0 <= mechanism < len(cuts):
        return ""
    cut, name = cuts[mechanism], letter(mechanism)
    if not cut["neurons"]:
        return f"No cut of its own: {plain(str(cut['message']))}"
    table = subject.study.selectivity
    rows = table[table["cut"] == mechanism]
    own, others = rows[rows["mechanism"] == mechanism], rows[rows["mechanism"] != mechanism]
    if own.empty or others.empty:
        return ""
    layer = shorten(plain(str(entry["layer"])), 40)
    return (
        f"A cut of {_neurons(cut['neurons'])} of {layer} takes {_span(next(records(own)))} of "
        f"{name}'s predictions, and {_worst(others)}. {name} loses "
        f"{percent(max(0.0, float(own['moved'].iloc[0])))} of its log-odds."
    )


def _entry(subject: Subject) -> Mapping[str, Any]:
    return subject.info.get("selectivity") or {}


def _neurons(neurons: list[int]) -> str:
    named = [str(int(neuron)) for neuron in neurons[:MOST_NEURONS]]
    more = len(neurons) - len(named)
    text = listed(named) if not more else f"{', '.join(named)} and {more} more"
    return f"neuron{'s' * (len(neurons) > 1)} {text}"


def _worst(others: pd.DataFrame) -> str:
    row = next(records(others.sort_values("changed", ascending=False, kind="stable")))
    name, span = letter(int(row.mechanism)), _span(row)
    return f"{span} of {name}'s" if len(others) == 1 else f"at most {span} of another's ({name})"


def _span(row: Any) -> str:
    low, high = percent(float(row.changed_low)), percent(float(row.changed_high))
    return f"{percent(float(row.changed))} ({low} to {high})"
