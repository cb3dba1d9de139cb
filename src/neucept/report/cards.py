"""One card per mechanism: its examples, its numbers, its neurons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neucept.report.charts.figure import mechanism_colour
from neucept.report.charts.signature import neuron_name, strongest_neurons
from neucept.report.cuts import cut_words
from neucept.report.pictures import picture
from neucept.report.reading import BORDERLINE, Subject, optional, records
from neucept.report.words import (
    count,
    letter,
    percent,
    score,
    shorten,
    stability_word,
)

MOST_EXAMPLES = 12


@dataclass(frozen=True)
class Example:
    """A typical sample of a mechanism.

    Attributes:
        name: Its id, short enough to be read.
        picture: A data address, or "" where there is no picture.
        label: What it is labelled, when that is not the class studied; else "".
    """

    name: str
    picture: str
    label: str


@dataclass(frozen=True)
class Card:
    """What the page says of one mechanism."""

    name: str
    colour: str
    share: str
    facts: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]
    high: tuple[str, ...]
    low: tuple[str, ...]
    examples: tuple[Example, ...]
    pictured: bool
    cut: str


def cards(subject: Subject) -> Iterator[Card]:
    """A card for each mechanism, in the order of the table."""
    several = len(subject.study.mechanisms) > 1
    for row in records(subject.study.mechanisms):
        mechanism = int(row.mechanism)
        members = subject.explained[subject.explained["mechanism"] == mechanism]
        unclear = int((members["membership"] < BORDERLINE).sum())
        examples = tuple(_examples(subject, mechanism))
        stability = optional(row.stability)
        high, low = _outstanding(subject, mechanism) if several else ((), ())
        flags = []
        if several and stability is not None and stability < 0.6:
            flags.append("unstable")
        if several and int(row.size) and unclear / int(row.size) > 0.25:
            flags.append("many borderline samples")
        yield Card(
            name=letter(mechanism),
            colour=mechanism_colour(mechanism),
            share=percent(float(row.share)),
            facts=tuple(_facts(row, unclear, several)),
            flags=tuple(flags),
            high=high,
            low=low,
            examples=examples,
            pictured=any(example.picture for example in examples),
            cut=cut_words(subject, mechanism),
        )


def _facts(row: Any, unclear: int, several: bool) -> Iterator[tuple[str, str]]:
    yield "samples", count(int(row.size))
    if several:
        stability = optional(row.stability)
        yield "stability", f"{stability_word(stability)}, {score(stability)}"
    accuracy = optional(row.accuracy)
    yield "accuracy", "no labels" if accuracy is None else percent(accuracy)
    yield "confidence", percent(optional(row.confidence))
    if several:
        yield "borderline", f"{count(unclear)} of {count(int(row.size))}"


def _examples(subject: Subject, mechanism: int) -> Iterator[Example]:
    labels = subject.explained.set_index("position")["label"]
    target = int(subject.info["target"]["index"])
    for position in subject.prototypes(mechanism)[:MOST_EXAMPLES]:
        label = int(labels.get(position, -1))
        encoded = picture(subject, position)
        yield Example(
            name=shorten(subject.ids.get(position, str(position)), 60),
            picture=f"data:image/webp;base64,{encoded}" if encoded else "",
            label="" if label in (-1, target) else shorten(subject.class_name(label), 24),
        )


def _outstanding(subject: Subject, mechanism: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = strongest_neurons(subject.study.signature, mechanism)
    high: list[str] = []
    low: list[str] = []
    for row in records(rows):
        side = high if row.difference > 0 else low
        side.append(neuron_name(subject, str(row.layer), int(row.neuron)))
    return tuple(high), tuple(low)
