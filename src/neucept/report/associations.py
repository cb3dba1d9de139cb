"""What goes with the mechanisms: which metadata, how strongly, and where each stands out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from neucept.report.reading import Subject, optional, records
from neucept.report.words import count, letter, listed, number, percent, plain, score, shorten

SURE = 0.05
"""Corrected p-value below which a column goes with the mechanisms."""

ALL = -1
"""What the table says of a row about all mechanisms at once."""

MOST_PLACES = 3
"""Mechanisms or categories named per column."""

MOST_NAMED = 3
"""Columns named on the first screen."""


@dataclass(frozen=True)
class Association:
    """One column of the metadata.

    Attributes:
        column: Its name.
        kind: "category" or "number".
        samples: How many samples have a value.
        effect: How strongly it goes with the mechanisms, 0 to 1; "" where it was not tested.
        p_value: Corrected; "" where it was not tested.
        sure: Whether that is below `SURE`.
        places: Where it stands out, the strongest first.
        note: Why it was not tested, or what to think of; "" else.
    """

    column: str
    kind: str
    samples: str
    effect: str
    p_value: str
    sure: bool
    places: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Beside:
    """The section on metadata: what to say first, and one row per column, the strongest first."""

    words: str
    rows: tuple[Association, ...]


def beside(subject: Subject) -> Beside | None:
    """What goes with the mechanisms; None of a study without metadata."""
    if not _given(subject):
        return None
    rows = tuple(_row(subject, row) for row in records(ranked(subject)))
    return Beside(_words(subject, rows), rows)


def ranked(subject: Subject) -> pd.DataFrame:
    """One row per column: what was tested first, what is sure before it, and by strength."""
    table = subject.study.associations
    overall = table[table["mechanism"] == ALL]
    keys = pd.DataFrame(
        {
            "sure": ~(overall["q_value"] < SURE),
            "untested": overall["q_value"].isna(),
            "effect": -overall["effect"],
        }
    )
    order = keys.sort_values(list(keys.columns), kind="stable").index
    return overall.loc[order]


def outstanding(subject: Subject, column: str) -> pd.DataFrame:
    """The rows of a column by single mechanisms that are sure, the strongest first."""
    table = subject.study.associations
    rows = table[(table["column"] == column) & (table["mechanism"] != ALL)]
    rows = rows[rows["q_value"] < SURE]
    return rows.loc[rows["effect"].abs().sort_values(ascending=False, kind="stable").index]


def strongest(subject: Subject) -> Iterator[str]:
    """What goes with the mechanisms most of all, for the first screen."""
    if not _given(subject) or len(subject.study.mechanisms) < 2:
        return
    sure = [row for row in records(ranked(subject)) if row.q_value < SURE]
    if not sure:
        yield f"Of the metadata, {_none(subject)}."
    for row in sure[:MOST_NAMED]:
        found = _row(subject, row)
        where = f" {'; '.join(found.places)}." if found.places else ""
        yield (
            f"{found.column} goes with the mechanisms (effect {found.effect} of 1, corrected "
            f"{found.p_value}).{where}"
        )
    if len(sure) > MOST_NAMED:
        more = len(sure) - MOST_NAMED
        yield f"So do {count(more)} more columns." if more > 1 else "So does one more column."


def _given(subject: Subject) -> Mapping[str, Any]:
    entry = subject.info.get("metadata") or {}
    return entry if entry.get("columns") is not None else {}


def _row(subject: Subject, row: Any) -> Association:
    places = outstanding(subject, row.column).head(MOST_PLACES)
    tested = optional(row.q_value) is not None
    return Association(
        column=shorten(plain(str(row.column)), 40),
        kind=str(row.kind),
        samples=count(int(row.samples)),
        effect=score(float(row.effect)) if tested else "",
        p_value=chance(float(row.q_value)) if tested else "",
        sure=bool(row.q_value < SURE),
        places=tuple(_place(place) for place in records(places)),
        note=plain(str(row.note)),
    )


def _place(row: Any) -> str:
    name = letter(int(row.mechanism))
    if row.kind == "category":
        category = shorten(plain(str(row.category)), 40)
        return f"{name}: “{category}” {percent(row.inside)} (others {percent(row.outside)})"
    return f"{name}: median {number(row.inside)} (others {number(row.outside)})"


def chance(p_value: float) -> str:
    """A p-value in words: "p < 0.001", "p = 0.012"."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _words(subject: Subject, rows: tuple[Association, ...]) -> str:
    number_of = len(subject.study.mechanisms)
    if number_of < 2:
        what = "one mechanism only" if number_of else "no mechanism"
        return f"There is {what}, so there is nothing that metadata could go with."
    if not rows:
        return "The metadata has no column beside those that name samples and groups."
    sure = [row.column for row in rows if row.sure]
    text = f"{listed(sure[:MOST_NAMED])} {'go' if len(sure) > 1 else 'goes'} with the mechanisms"
    if len(sure) > MOST_NAMED:
        text = f"{len(sure)} of {len(rows)} columns go with the mechanisms"
    start = f"{text}." if sure else f"Of the metadata, {_none(subject)}."
    return f"{start} Mechanisms were found without them, so p-values are in order.{_kept(subject)}"


def _none(subject: Subject) -> str:
    columns = len(_given(subject)["columns"])
    what = (
        "the one column does not go" if columns == 1 else f"none of {count(columns)} columns goes"
    )
    return f"{what} with the mechanisms (corrected p-values, {SURE})"


def _kept(subject: Subject) -> str:
    entry = _given(subject)
    if not entry.get("groups"):
        return ""
    by = shorten(plain(str(entry.get("grouped_by") or "")), 40)
    one = f"one “{by}”" if by else "one group"
    return f" Samples of {one} belong together and count as one ({count(entry['groups'])} in all)."
