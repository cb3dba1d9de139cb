"""Mechanisms of two studies that belong together: what became of each, with its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neucept.report.cards import Example
from neucept.report.charts.figure import MUTED, mechanism_colour
from neucept.report.fates import FOUND, fate, partners_of
from neucept.report.pictures import address, picture
from neucept.report.reading import Subject, optional
from neucept.report.sentences import sample_name
from neucept.report.words import count, letter, listed, percent, score
from neucept.study.comparing import FIRST, SECOND

MOST_EXAMPLES = 8
"""Pictures of each mechanism."""


@dataclass(frozen=True)
class Member:
    """One mechanism of either study."""

    name: str
    colour: str
    sentence: str
    facts: tuple[tuple[str, str], ...]
    examples: tuple[Example, ...]
    pictured: bool


@dataclass(frozen=True)
class Family:
    """Mechanisms of both studies that belong together, or one that stands alone."""

    title: str
    colour: str
    status: str
    members: tuple[Member, ...]


def colours_of(rows: list[dict[Any, Any]]) -> dict[tuple[str, int], str]:
    """The first study's own; a mechanism of the second has its partner's, where it has one only."""
    colours = {}
    for row in rows:
        key = (str(row["study"]), int(row["mechanism"]))
        partners = partners_of(row) if row["status"] in FOUND else []
        if key[0] == FIRST:
            colours[key] = mechanism_colour(key[1])
        else:
            colours[key] = mechanism_colour(partners[0]) if len(partners) == 1 else MUTED
    return colours


def families(
    rows: list[dict[Any, Any]],
    sides: Mapping[str, Subject],
    colours: Mapping[tuple[str, int], str],
) -> Iterator[Family]:
    """Every mechanism of both studies once, beside those of the other study that it became.

    Args:
        rows: The rows of `Comparison.mechanisms`.
        sides: The two studies.
        colours: Of each mechanism; see `colours_of`.
    """
    by_key = {(str(row["study"]), int(row["mechanism"])): row for row in rows}
    left = list(by_key)
    while left:
        family = _together(left[0], by_key)
        left = [key for key in left if key not in family]
        held = [by_key[key] for key in family]
        yield Family(
            title=_title(held),
            colour=colours[family[0]],
            status=_status(held),
            members=tuple(
                _member(row, sides[str(row["study"])], colours[key])
                for key, row in zip(family, held, strict=True)
            ),
        )


def _together(
    start: tuple[str, int], by_key: Mapping[tuple[str, int], dict[Any, Any]]
) -> list[tuple[str, int]]:
    """All that hang together with a mechanism through partners, the first study's before."""
    family, waiting = set(), [start]
    while waiting:
        key = waiting.pop()
        family.add(key)
        row = by_key[key]
        other = SECOND if key[0] == FIRST else FIRST
        partners = partners_of(row) if row["status"] in FOUND else []
        waiting += [(other, one) for one in partners if (other, one) not in family]
    return [key for key in by_key if key in family]


def _title(held: list[dict[Any, Any]]) -> str:
    names = {
        side: listed([letter(int(row["mechanism"])) for row in held if row["study"] == side])
        for side in (FIRST, SECOND)
    }
    if names[FIRST] and names[SECOND]:
        return f"First {names[FIRST]} → second {names[SECOND]}"
    side = FIRST if names[FIRST] else SECOND
    return f"{side.capitalize()} {names[side]}"


def _status(held: list[dict[Any, Any]]) -> str:
    return listed(
        list(dict.fromkeys(str(row["status"]) for row in held if row["study"] == FIRST))
    ) or str(held[0]["status"])


def _member(row: dict[Any, Any], subject: Subject, colour: str) -> Member:
    mechanism = int(row["mechanism"])
    examples = tuple(_examples(subject, mechanism))
    return Member(
        name=f"{str(row['study']).capitalize()} {letter(mechanism)}",
        colour=colour,
        sentence=fate(row),
        facts=(
            ("samples", count(int(row["size"]))),
            ("stability", score(optional(row["stability"]))),
            ("with a mechanism in the other", percent(optional(row["stays"]))),
        ),
        examples=examples,
        pictured=any(example.picture for example in examples),
    )


def _examples(subject: Subject, mechanism: int) -> Iterator[Example]:
    for position in subject.prototypes(mechanism)[:MOST_EXAMPLES]:
        name = sample_name(position, subject.ids.get(position, str(position)))
        yield Example(name, address(picture(subject, position)), "")
