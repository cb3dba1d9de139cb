"""One card per explained sample: what it is, which mechanism is behind it, and what decided."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from neucept.report.cards import Example
from neucept.report.charts.deciding import deciding, told
from neucept.report.charts.figure import Figure, mechanism_colour
from neucept.report.charts.signature import neuron_name
from neucept.report.pictures import PICTURE_LIMIT, address, picture
from neucept.report.reading import Subject, optional
from neucept.report.sentences import (
    Row,
    class_words,
    flags,
    reason,
    sample_name,
    sums_words,
    typicality_shown,
    typicality_words,
)
from neucept.report.words import count, letter, number, percent, shorten
from neucept.study.explaining import Explanation


@dataclass(frozen=True)
class SampleCard:
    """What the page says of one sample.

    Attributes:
        name: Its id, or its position.
        anchor: Its place on the page.
        picture: A data address, or "".
        predicted: The class it is predicted as.
        flags: What to beware of.
        sentences: Why it is predicted so, how usual it is, and what the neurons add up to.
        facts: Names and values.
        nearest: The nearest prototypes of its mechanism, with their pictures.
        headings: Of the table of neurons.
        neurons: The rows of that table.
        rest: What the neurons shown leave over; "" with one mechanism.
    """

    name: str
    anchor: str
    colour: str
    mechanism: str
    picture: str
    predicted: str
    flags: tuple[str, ...]
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    nearest: tuple[Example, ...]
    headings: tuple[str, ...]
    neurons: tuple[tuple[str, ...], ...]
    rest: str


def sample_cards(
    subject: Subject,
    explained: Explanation,
    rows: pd.DataFrame,
    pictures: Mapping[int, bytes],
) -> Iterator[tuple[SampleCard, Figure]]:
    """A card and a chart for each of some rows of an explanation's table.

    Args:
        subject: The study.
        explained: What was found.
        rows: The rows of its table, in the order in which they are shown.
        pictures: Pictures of new samples by position; unused for the study's own data.
    """
    neurons = dict(tuple(explained.neurons.groupby("position")))
    near = dict(tuple(explained.prototypes.groupby("position")))
    for row in rows.to_dict("records"):
        position = int(row["position"])
        found = neurons[position].to_dict("records")
        close = near[position].to_dict("records") if position in near else []
        shown = _address(subject, explained, position, pictures)
        card = _card(subject, explained, row, found, close, shown)
        yield card, deciding(subject, card.anchor, row, found)


def _card(
    subject: Subject,
    explained: Explanation,
    row: Row,
    neurons: list[dict[Any, Any]],
    close: list[dict[Any, Any]],
    shown: str,
) -> SampleCard:
    mechanism, rival = int(row["mechanism"]), int(row["next"])
    usual = [f"usual in {letter(k)}" for k in (mechanism, rival) if k >= 0]
    outside: tuple[str, ...] = ()
    if explained.recorded and row["of_class"] and not row["own"]:
        outside = ("It is not one of the samples that the mechanisms were found in.",)
    sums = sums_words(row, sum(float(one["nats"]) for one in neurons))
    return SampleCard(
        name=sample_name(int(row["position"]), str(row["id"])),
        anchor=f"sample-{int(row['position'])}",
        colour=mechanism_colour(mechanism),
        mechanism=letter(mechanism),
        picture=shown,
        predicted=class_words(subject, int(row["prediction"])),
        flags=tuple(flags(subject, row)),
        sentences=(reason(subject, row), typicality_words(row, explained.level), *outside),
        facts=tuple(_facts(subject, row)),
        nearest=tuple(_nearest(subject, close)),
        headings=("neuron", "here", *usual, "nats" if rival >= 0 else "distance"),
        neurons=tuple(_neuron_row(subject, rival, one) for one in neurons),
        rest=sums,
    )


def _address(
    subject: Subject, explained: Explanation, position: int, pictures: Mapping[int, bytes]
) -> str:
    """The picture of a sample: the study's own of what it recorded, else one that was given."""
    encoded = ""
    if explained.recorded:
        encoded = picture(subject, position)
    elif subject.images and 0 < len(pictures.get(position, b"")) <= PICTURE_LIMIT:
        encoded = base64.b64encode(pictures[position]).decode("ascii")
    return address(encoded)


def _facts(subject: Subject, row: Row) -> Iterator[tuple[str, str]]:
    if str(row["id"]) != str(row["position"]):
        yield "position", count(int(row["position"]))
    yield "predicted", class_words(subject, int(row["prediction"]))
    if row["label"] >= 0:
        yield "labelled", class_words(subject, int(row["label"]))
    yield "confidence", percent(optional(row["confidence"]))
    yield "mechanism", letter(int(row["mechanism"]))
    if row["next"] >= 0:
        yield "membership", percent(optional(row["membership"]))
        yield "next best", letter(int(row["next"]))
    yield "typicality", typicality_shown(float(row["typicality"]))


def _nearest(subject: Subject, close: list[dict[Any, Any]]) -> Iterator[Example]:
    labels = subject.labels
    target = int(subject.info["target"]["index"])
    for one in close:
        position = int(one["prototype"])
        label = labels.get(position, -1)
        yield Example(
            name=sample_name(position, str(one["prototype_id"])),
            picture=address(picture(subject, position)),
            label="" if label in (-1, target) else shorten(subject.class_name(label), 24),
        )


def _neuron_row(subject: Subject, rival: int, one: Row) -> tuple[str, ...]:
    values = [one["value"], one["usual"]] + [one["usual_next"]] * (rival >= 0)
    name = neuron_name(subject, str(one["layer"]), int(one["neuron"]))
    return (name, *(number(optional(value)) for value in values), told(one, rival))
