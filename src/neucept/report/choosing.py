"""The numbers of mechanisms that were considered, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from neucept.report.reading import Subject, optional, records
from neucept.report.words import number, score


@dataclass(frozen=True)
class Considered:
    """One number of mechanisms, and what spoke for it."""

    count: int
    stability: str
    one: str
    gap: str
    fit: str
    chosen: bool


def considered(subject: Subject) -> Iterator[Considered]:
    """Every number of mechanisms that was compared, from one upwards."""
    for row in records(subject.study.choice):
        yield Considered(
            count=int(row.n),
            stability=score(optional(row.stability)),
            one=score(optional(row.stability_one)),
            gap=number(optional(getattr(row, "gap", None))),
            fit=number(optional(row.criterion)),
            chosen=bool(row.chosen),
        )
