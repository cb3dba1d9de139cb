"""What is behind one prediction, in sentences that the page and the screen share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neucept.report.reading import BORDERLINE, Subject
from neucept.report.words import letter, percent, plain, shorten, signed

Row = Mapping[Any, Any]
"""One row of an explanation's table."""

SMALLEST = 0.001
"""Typicality under which no figure is given."""

USUAL = 0.25
"""Typicality from which a sample is called a usual case: a quarter lies farther out."""


def sample_name(position: int, name: str) -> str:
    """What a sample is called; by its position where it has no id of its own."""
    return f"sample {position}" if name == str(position) else shorten(plain(name), 60)


def class_words(subject: Subject, index: int) -> str:
    """A class in quotes; a number where classes have no names."""
    name = subject.class_name(index)
    return name if name == f"class {index}" else f"“{shorten(name, 60)}”"


def flags(subject: Subject, row: Row) -> Iterator[str]:
    """What to beware of in one sample."""
    if not row["of_class"]:
        yield f"not predicted “{shorten(subject.target, 24)}”"
    elif row["atypical"]:
        yield "atypical"
    if is_borderline(row):
        yield "borderline"
    if 0 <= row["label"] != row["prediction"]:
        yield f"labelled {class_words(subject, int(row['label']))}"


def is_borderline(row: Row) -> bool:
    """Whether another mechanism is nearly as likely."""
    return bool(row["of_class"] and row["next"] >= 0 and row["membership"] < BORDERLINE)


def reason(subject: Subject, row: Row) -> str:
    """Which mechanism is behind the prediction, and how sure that is, in a sentence or two."""
    own, predicted = letter(int(row["mechanism"])), class_words(subject, int(row["prediction"]))
    if not row["of_class"]:
        return (
            f"It is predicted {predicted}, and this study is of “{subject.target}”: mechanism "
            f"{own} is only the one that it lies nearest to."
        )
    if row["next"] < 0:
        return f"It is predicted {predicted} by the only mechanism that was found."
    rival = letter(int(row["next"]))
    text = (
        f"It is predicted {predicted} by mechanism {own} rather than {rival} "
        f"(membership {percent(float(row['membership']))})"
    )
    return f"{text}: {rival} is nearly as likely." if is_borderline(row) else f"{text}."


def typicality_words(row: Row, level: float) -> str:
    """How usual a sample is for its mechanism, in plain words; and what follows."""
    own, typicality = letter(int(row["mechanism"])), float(row["typicality"])
    told = f"{percent(typicality)} of {own}'s samples are at least as unusual"
    if not row["of_class"]:
        return f"Typicality says how it would stand there: {told}."
    if row["atypical"]:
        few = f"Only {told}" if typicality >= SMALLEST else f"Hardly any of {own}'s samples is"
        return (
            f"{few}{' as unusual' * (typicality < SMALLEST)}. Up to {percent(level)} is called "
            "atypical: do not rely on this prediction."
        )
    if is_usual(row):
        return f"It is a usual case: {told}."
    return f"It is on the unusual side, yet not atypical: {told}."


def is_usual(row: Row) -> bool:
    """Whether a sample lies well within its mechanism."""
    return float(row["typicality"]) >= USUAL


def typicality_shown(value: float) -> str:
    """A typicality with three decimals; none is exactly 0."""
    return f"{value:.3f}" if value >= SMALLEST else f"under {SMALLEST}"


def sums_words(row: Row, shown: float) -> str:
    """What the neurons shown add up to, and what is left over; "" with one mechanism."""
    if row["next"] < 0:
        return ""
    whole, start = float(row["log_ratio"]), float(row["start"])
    return (
        f"{signed(whole)} nats in all: {signed(shown)} by these neurons, "
        f"{signed(whole - start - shown)} by the others, {signed(start)} before any."
    )
