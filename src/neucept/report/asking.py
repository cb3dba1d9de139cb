"""How to ask about one sample: the command, and the samples that are most worth it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from neucept.report.charts.figure import mechanism_colour
from neucept.report.pictures import address, picture
from neucept.report.reading import BORDERLINE, Subject, records
from neucept.report.words import count, counted, letter, percent, shorten

MOST_ASKED = 8
"""Borderline samples named."""


@dataclass(frozen=True)
class Asked:
    """A sample that lies between mechanisms, and what asks about it."""

    name: str
    picture: str
    mechanism: str
    colour: str
    membership: str
    command: str


@dataclass(frozen=True)
class Asking:
    """What the page says of `neucept explain`.

    Attributes:
        command: For a typical sample, with STUDY in place of the folder.
        samples: The most borderline ones, the least sure first.
        note: How many there are; "" where there are none.
    """

    command: str
    samples: tuple[Asked, ...]
    note: str


def asking(subject: Subject) -> Asking | None:
    """The command that explains one sample; None where there are no mechanisms."""
    if not subject.typical:
        return None
    several = len(subject.study.mechanisms) > 1
    table = subject.explained
    unclear = table[table["membership"] < BORDERLINE] if several else table.iloc[:0]
    shown = unclear.sort_values(["membership", "position"], kind="stable").head(MOST_ASKED)
    return Asking(
        command=command(subject, subject.typical[0]),
        samples=tuple(_asked(subject, row) for row in records(shown)),
        note=_note(len(shown), len(unclear)),
    )


def command(subject: Subject, position: int) -> str:
    """The command that explains a sample: by its id, or by its position where that is safer."""
    name = subject.ids.get(position, str(position))
    if "\N{REPLACEMENT CHARACTER}" in name or name.startswith("-"):
        name = str(position)
    return f"neucept explain STUDY {shlex.quote(name)} --page sample.html"


def _asked(subject: Subject, row: Any) -> Asked:
    position, mechanism = int(row.position), int(row.mechanism)
    return Asked(
        name=shorten(subject.ids.get(position, str(position)), 60),
        picture=address(picture(subject, position)),
        mechanism=letter(mechanism),
        colour=mechanism_colour(mechanism),
        membership=percent(float(row.membership)),
        command=command(subject, position),
    )


def _note(shown: int, of_all: int) -> str:
    if not of_all:
        return ""
    are = "is" if of_all == 1 else "are"
    start = f"{counted(of_all, 'sample')} {are} borderline"
    return f"{start}; the {count(shown)} least sure:" if shown < of_all else f"{start}:"
