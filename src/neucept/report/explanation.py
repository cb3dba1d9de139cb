"""The page of explained samples: one HTML file, like that of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from neucept.report.charts.figure import Figure, mechanism_colour
from neucept.report.charts.typicality import typicality
from neucept.report.glossary import glossary
from neucept.report.reading import Finished, Subject, optional
from neucept.report.samples import SampleCard, sample_cards
from neucept.report.sentences import class_words, is_borderline, is_usual, sample_name
from neucept.report.shell import Drawn, page_of
from neucept.report.summary import Tile
from neucept.report.words import count, counted, letter, percent, plain, score, shorten, small
from neucept.runtime import write_bytes
from neucept.study.explaining import Explanation
from neucept.study.pictures import small_pictures
from neucept.study.reliability import Reliability, reliability

MOST_SHOWN = 24
"""Samples shown one by one."""

WORDS = (
    "Accuracy",
    "Confidence",
    "Critical neuron",
    "Mechanism",
    "Membership",
    "Neuron",
    "Stability",
    "Typicality",
)
"""Words of the study's page that this one uses too."""

OWN_WORDS = (
    (
        "AUROC",
        "The chance that one of those looked for is less typical than one of the others: 0.5 is "
        "guessing, 1 is never wrong.",
    ),
    (
        "Nats",
        "What a neuron adds to the logarithm of how many times more likely the sample's mechanism "
        "is than the next best one. Positive speaks for its mechanism.",
    ),
    ("Prototype", "One of the most typical samples of a mechanism."),
)


@dataclass(frozen=True)
class MechanismRow:
    """What is said of the samples of one mechanism together."""

    name: str
    colour: str
    samples: str
    membership: str
    atypical: str
    accuracy: str


@dataclass(frozen=True)
class Finding:
    """How well low typicality finds one kind of sample."""

    what: str
    wanted: str
    others: str
    auroc: str
    flagged: str
    flagged_others: str


@dataclass(frozen=True)
class ExplanationPage(Drawn):
    """Everything the template shows; plain words and numbers only."""

    subject: Subject
    every: bool
    byline: str
    question: str
    verdict: str
    lead: tuple[str, ...]
    tiles: tuple[Tile, ...]
    mechanisms: tuple[MechanismRow, ...]
    findings: tuple[Finding, ...]
    measured: str
    cards: tuple[SampleCard, ...]
    shown: str
    figures: tuple[Figure, ...]
    about: tuple[tuple[str, str], ...]
    glossary: tuple[tuple[str, str], ...]
    pictures: Mapping[str, str]


def write_explanation(
    study: Finished,
    explained: Explanation,
    path: Path | str,
    *,
    every: bool = False,
    foreign: Explanation | None = None,
    data: Any = None,
    images: bool = True,
) -> Path:
    """Write the page of explained samples: one HTML file that asks no network for anything.

    Args:
        study: The study they were explained by.
        explained: What `explain` found.
        path: The file to write; one that is there is replaced once the new one is whole.
        every: Whether to show them as a whole too (typicality by mechanism, and how well it finds
            what should not be relied on), and one by one only the most atypical.
        foreign: Inputs that belong to no class, explained by the same study; used with `every`.
        data: The new samples once more, as `explain` took them, for their pictures; those of the
            study's own samples lie in its folder.
        images: Whether pictures of the inputs may be shown. False leaves every picture out; ids
            stay.

    Returns:
        The path written.

    Raises:
        StorageError: the file cannot be written.
        DataError: the foreign inputs were explained for another class or at another level, or the
            data cannot be read.
    """
    place = Path(path)
    pictures: dict[int, bytes] = {}
    if images and data is not None and not explained.recorded:
        pictures = small_pictures(data, shown_samples(explained, every=every)["position"])
    page = _page(Subject(study, images), explained, every, foreign, pictures)
    text = page_of("explanation.html.j2", page, "verbs.css", sections=_sections(page))
    write_bytes(place, text.encode("utf-8"))
    return place


def shown_samples(explained: Explanation, *, every: bool = False) -> pd.DataFrame:
    """The rows of an explanation's table that are shown one by one, in their order on the page.

    Args:
        explained: What `explain` found.
        every: As for `write_explanation`; the most atypical come first then.
    """
    table = explained.table
    if not every:
        return table.head(MOST_SHOWN)
    own = table[table["of_class"]]
    return own.sort_values(["typicality", "position"], kind="stable").head(MOST_SHOWN)


def _page(
    subject: Subject,
    explained: Explanation,
    every: bool,
    foreign: Explanation | None,
    pictures: Mapping[int, bytes],
) -> ExplanationPage:
    rows = shown_samples(explained, every=every)
    made = tuple(sample_cards(subject, explained, rows, pictures))
    own = explained.table[explained.table["of_class"]]
    measured = _measured(explained, own, foreign) if every else None
    spread = (_spread(own, foreign, explained.level),) if every and len(own) else ()
    return ExplanationPage(
        subject=subject,
        every=every,
        byline=_byline(subject),
        question=_question(subject, explained, every),
        verdict=_verdict(subject, explained, own, every),
        lead=tuple(_lead(subject, explained, own, made, every)),
        tiles=tuple(_tiles(subject, explained, own, measured)) if every else (),
        mechanisms=tuple(_by_mechanism(own)) if every else (),
        findings=tuple(_findings(measured)),
        measured="" if measured is None else measured.summary().replace("+-", "±"),
        cards=tuple(card for card, _ in made),
        shown=_shown(subject, len(made), len(own) if every else len(explained.table), every),
        figures=(*spread, *(figure for _, figure in made)),
        about=tuple(_about(subject, explained)),
        glossary=glossary(WORDS, *OWN_WORDS),
        pictures={},
    )


def _sections(page: ExplanationPage) -> list[tuple[str, str]]:
    sections = [("answer", "Answer")]
    if page.every:
        sections += [("mechanisms", "Mechanisms"), ("reliability", "Reliability")]
    return [*sections, ("samples", "Samples"), ("about", "About"), ("glossary", "Words")]


def _byline(subject: Subject) -> str:
    info = subject.info
    name, made = plain(str(info.get("name") or "")), str(info.get("created") or "")[:10]
    parts = (shorten(name, 60), f"class {subject.predicted(60)}", made and f"studied {plain(made)}")
    return " · ".join(part for part in parts if part)


def _question(subject: Subject, explained: Explanation, every: bool) -> str:
    if every:
        return f"Can the predictions of “{subject.target}” be relied on?"
    if len(explained.table) > 1:
        return f"What is behind these {small(len(explained.table))} predictions?"
    row = explained.table.iloc[0]
    predicted = class_words(subject, int(row["prediction"]))
    return f"Why is {sample_name(int(row['position']), str(row['id']))} predicted {predicted}?"


def _verdict(subject: Subject, explained: Explanation, own: pd.DataFrame, every: bool) -> str:
    if not every and len(explained.table) == 1:
        return _verdict_of_one(subject, explained.table.iloc[0])
    if not len(own):
        return f"None of them is predicted “{shorten(subject.target, 40)}”."
    atypical = int(own["atypical"].sum())
    if every:
        share = percent(atypical / len(own))
        return f"{count(atypical)} of {count(len(own))} are atypical ({share})."
    if not atypical:
        others = len(own) < len(explained.table)
        which = f"those predicted “{shorten(subject.target, 40)}”" if others else "them"
        return f"None of {which} is atypical."
    if atypical == 1:
        return "One of them is atypical: do not rely on it."
    return f"{small(atypical).capitalize()} of them are atypical: do not rely on these."


def _verdict_of_one(subject: Subject, row: Any) -> str:
    own = letter(int(row["mechanism"]))
    if not row["of_class"]:
        return f"Not a case for this study, which is of “{shorten(subject.target, 40)}”."
    if row["next"] < 0 and row["atypical"]:
        return "It is unlike the others that are predicted so: do not rely on it."
    if row["next"] < 0:
        side = ": it is a usual case" if is_usual(row) else ", though on their unusual side"
        return f"For the same reason as the others{side}."
    if row["atypical"]:
        return f"By mechanism {own}, but it is unlike its samples: do not rely on it."
    if is_borderline(row):
        return f"By mechanism {own}, but {letter(int(row['next']))} is nearly as likely."
    side = "as a usual case" if is_usual(row) else "on the unusual side"
    return f"By mechanism {own}, {side} of it."


def _lead(
    subject: Subject,
    explained: Explanation,
    own: pd.DataFrame,
    made: tuple[tuple[SampleCard, Figure], ...],
    every: bool,
) -> Iterator[str]:
    if not every and len(made) == 1:
        yield from made[0][0].sentences
    elif len(own):
        yield (
            f"Atypical means a typicality of {percent(explained.level)} or less: unlike the "
            f"samples of its mechanism. {percent(explained.level)} of usual samples are called so "
            "by chance."
        )
    if every and len(own) < len(explained.table):
        yield (
            f"{count(len(explained.table) - len(own))} of the {count(len(explained.table))} "
            f"samples are not predicted “{subject.target}”; of those the mechanisms say nothing."
        )
    around = subject.around
    if around is not None:
        yield (
            f"The study is about the {counted(int(around['samples']), 'sample')} nearest to "
            f"“{shorten(plain(str(around['id'])), 40)}” alone; samples from elsewhere may well be "
            "atypical here."
        )


def _tiles(
    subject: Subject, explained: Explanation, own: pd.DataFrame, measured: Reliability | None
) -> Iterator[Tile]:
    called = f"predicted “{shorten(subject.target, 24)}”"
    yield Tile(count(len(own)), "samples", f"{called}, of {count(len(explained.table))}")
    yield Tile(count(int(own["atypical"].sum())), "atypical", f"at {percent(explained.level)}")
    unclear = sum(is_borderline(row) for row in own.to_dict("records"))
    if (own["next"] >= 0).any():
        yield Tile(count(unclear), "borderline", "another mechanism is nearly as likely")
    if measured is None:
        return
    for row in measured.table.to_dict("records"):
        found = optional(row["auroc"])
        told = f"AUROC for {row['what']}"
        yield Tile("unknown" if found is None else score(found), told, "0.5 is guessing, 1 is best")


def _by_mechanism(own: pd.DataFrame) -> Iterator[MechanismRow]:
    for mechanism, rows in own.groupby("mechanism"):
        known = rows[rows["label"] >= 0]
        right = float((known["label"] == known["prediction"]).mean()) if len(known) else None
        yield MechanismRow(
            name=letter(int(str(mechanism))),
            colour=mechanism_colour(int(str(mechanism))),
            samples=count(len(rows)),
            membership=percent(float(rows["membership"].mean())),
            atypical=percent(float(rows["atypical"].mean())),
            accuracy="no labels" if right is None else percent(right),
        )


def _measured(
    explained: Explanation, own: pd.DataFrame, foreign: Explanation | None
) -> Reliability | None:
    if not len(own) or (foreign is None and not (own["label"] >= 0).any()):
        return None
    return reliability(explained, foreign)


def _findings(measured: Reliability | None) -> Iterator[Finding]:
    if measured is None:
        return
    for row in measured.table.to_dict("records"):
        found, error = optional(row["auroc"]), optional(row["error"])
        spread = "" if error is None else f" ± {score(error)}"
        yield Finding(
            what=str(row["what"]),
            wanted=count(int(row["wanted"])),
            others=count(int(row["others"])),
            auroc=f"{score(found)}{spread if found is not None else ''}",
            flagged=percent(optional(row["flagged"])),
            flagged_others=percent(optional(row["flagged_others"])),
        )


def _spread(own: pd.DataFrame, foreign: Explanation | None, level: float) -> Figure:
    groups = {
        int(str(mechanism)): rows["typicality"].to_numpy(dtype=float)
        for mechanism, rows in own.groupby("mechanism")
    }
    wrong = own[(own["label"] >= 0) & (own["label"] != own["prediction"])]
    others = {"wrong predictions": wrong["typicality"].to_numpy(dtype=float)}
    if foreign is not None:
        strange = foreign.table[foreign.table["of_class"]]
        others["foreign inputs"] = strange["typicality"].to_numpy(dtype=float)
    return typicality(groups, others, level)


def _shown(subject: Subject, shown: int, of_all: int, every: bool) -> str:
    if not shown:
        return ""
    if not every:
        left = of_all - shown
        return f"The first {count(shown)} are shown; {count(left)} more are not." if left else ""
    named = f"predicted “{subject.target}”"
    if shown == of_all:
        return f"All {count(shown)} samples {named}, the most atypical first."
    return (
        f"The {count(shown)} most atypical of the {count(of_all)} samples {named}, the most "
        "atypical first; the others are not shown one by one."
    )


def _about(subject: Subject, explained: Explanation) -> Iterator[tuple[str, str]]:
    info = subject.info
    yield "study", plain(str(info.get("name") or ""))
    yield "class", subject.predicted()
    yield "mechanisms", count(len(subject.study.mechanisms))
    yield "layers they were found in", ", ".join(plain(layer) for layer in explained.layers)
    yield "samples explained", count(len(explained.table))
    kind = "recorded by the study" if explained.recorded else "new, run through its network"
    yield "where from", kind
    yield "atypical at or under", f"{explained.level:g}"
    yield "study made", plain(str(info.get("created") or ""))
    yield "neucept", plain(str(info.get("neucept") or ""))
