"""The page of two studies: which mechanisms of one network another has too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neucept.report.charts.figure import OTHERS, Figure
from neucept.report.charts.flow import NONE, flow
from neucept.report.families import Family, colours_of, families
from neucept.report.fates import agreement
from neucept.report.glossary import glossary
from neucept.report.pictures import address, picture
from neucept.report.reading import Finished, Subject
from neucept.report.sentences import sample_name
from neucept.report.shell import Drawn, page_of
from neucept.report.summary import Tile
from neucept.report.words import (
    UNKNOWN,
    count,
    counted,
    known,
    letter,
    listed,
    percent,
    plain,
    score,
    shorten,
    small,
)
from neucept.runtime import write_bytes
from neucept.study.comparing import FIRST, SECOND, Comparison

MOST_OTHERS = 16
"""Samples shown of those that are predicted otherwise, and of those that went elsewhere."""

WORDS = ("Mechanism", "Stability")
"""Words of the study's page that this one uses too."""

OWN_WORDS = (
    (
        "AMI",
        "Adjusted mutual information of the two groupings of the same samples: 0 is chance, 1 is "
        "the same grouping.",
    ),
    (
        "Needed",
        "The overlap that a mechanism found again is expected to have: the product of the two "
        "stabilities, and over one half. It is gone only where the interval stays below that.",
    ),
    (
        "Overlap",
        "Samples in both mechanisms over samples in either (Jaccard index). Its interval is over "
        "samples, with both groupings as they are.",
    ),
)


@dataclass(frozen=True)
class Changed:
    """A sample that is predicted otherwise, or went elsewhere: its two answers."""

    name: str
    picture: str
    first: str
    second: str


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its count, and its part of the row as per cent."""

    samples: str
    part: float


@dataclass(frozen=True)
class ComparisonPage(Drawn):
    """Everything the template shows; plain words and numbers only."""

    subject: Subject
    byline: str
    question: str
    verdict: str
    lead: tuple[str, ...]
    tiles: tuple[Tile, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    families: tuple[Family, ...]
    changed: tuple[Changed, ...]
    changed_note: str
    moved: tuple[Changed, ...]
    moved_note: str
    figures: tuple[Figure, ...]
    about: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    glossary: tuple[tuple[str, str], ...]
    pictures: Mapping[str, str]


def write_comparison(
    first: Finished,
    second: Finished,
    compared: Comparison,
    path: Path | str,
    *,
    names: tuple[str, str] | None = None,
    images: bool = True,
) -> Path:
    """Write the page of a comparison: one HTML file that asks no network for anything.

    Args:
        first: The first study.
        second: The second study.
        compared: What `compare` found between them, in this order.
        path: The file to write; one that is there is replaced once the new one is whole.
        names: What the two are called beside "first" and "second", such as their folders.
        images: Whether pictures of the inputs may be shown. False leaves every picture out; ids
            stay.

    Returns:
        The path written.

    Raises:
        StorageError: the file cannot be written.
    """
    place = Path(path)
    page = _page(Subject(first, images), Subject(second, images), compared, names or ("", ""))
    text = page_of("comparison.html.j2", page, "verbs.css", sections=_sections(page))
    write_bytes(place, text.encode("utf-8"))
    return place


def _page(
    first: Subject, second: Subject, compared: Comparison, names: tuple[str, str]
) -> ComparisonPage:
    rows: list[dict[Any, Any]] = compared.mechanisms.to_dict("records")
    colours = colours_of(rows)
    counts = compared.contingency.to_numpy()
    samples = compared.samples
    changed, moved = samples[samples["changed"]], samples[samples["moved"]]
    sides = {FIRST: first, SECOND: second}
    return ComparisonPage(
        subject=first,
        byline=_byline(first, second, names),
        question=_question(first, second),
        verdict=_verdict(rows),
        lead=(_lead(first, compared), agreement(compared)),
        tiles=tuple(_tiles(compared)),
        columns=tuple(_name(j, len(counts.T)) for j in range(len(counts.T))),
        rows=tuple(_rows(counts)),
        families=tuple(families(rows, sides, colours)),
        changed=tuple(_otherwise(changed.head(MOST_OTHERS).to_dict("records"), first, second)),
        changed_note=_first_of(len(changed)),
        moved=tuple(_elsewhere(moved.head(MOST_OTHERS).to_dict("records"), first, second)),
        moved_note=_first_of(len(moved)),
        figures=(flow(counts, *(_along(colours, side, rows) for side in sides)),),
        about=tuple(
            (_called(side.capitalize(), name), tuple(_about(sides[side])))
            for side, name in zip(sides, names, strict=True)
        ),
        glossary=glossary(WORDS, *OWN_WORDS),
        pictures={},
    )


def _sections(page: ComparisonPage) -> list[tuple[str, str]]:
    sections = [("answer", "Answer"), ("flow", "Flow"), ("mechanisms", "Mechanisms")]
    sections += [("changed", "Predicted otherwise")] * bool(page.changed)
    sections += [("moved", "Moved")] * bool(page.moved)
    return [*sections, ("about", "About"), ("glossary", "Words")]


def _byline(first: Subject, second: Subject, names: tuple[str, str]) -> str:
    studies = [shorten(plain(str(one.info.get("name") or UNKNOWN)), 50) for one in (first, second)]
    one, two = (_called(study, name) for study, name in zip(studies, names, strict=True))
    return f"first: {one} · second: {two} · class “{shorten(first.target, 50)}”"


def _called(what: str, name: str) -> str:
    return f"{what} ({shorten(plain(name), 30)})" if name else what


def _question(first: Subject, second: Subject) -> str:
    own, other = (side.info.get("identity", {}).get("network") for side in (first, second))
    where = "in both studies" if own is not None and own == other else "by both networks"
    return f"Is “{first.target}” predicted for the same reasons {where}?"


def _verdict(rows: list[dict[Any, Any]]) -> str:
    own = [row["status"] for row in rows if row["study"] == FIRST]
    others = [row["status"] for row in rows if row["study"] == SECOND]
    kept = own.count("persists")
    if kept == len(own) == len(others):
        same = f"the same {small(kept)} mechanisms are" if kept > 1 else "the one mechanism is"
        return f"Yes: {same} found in both."
    if kept == len(own) > 1:
        start = f"all {small(kept)} mechanisms of the first are found again"
    else:
        some = small(kept) if kept else "none"
        start = f"{some} of {small(len(own))} mechanisms persist{'s' * (kept < 2)}"
    fates = [_many(own, status, status) for status in ("splits", "merges", "vanishes")]
    fates += [_many(own, "unstable", "is unstable"), _many(own, "not seen", "cannot be looked for")]
    text = listed([start, *(words for words in fates if words)])
    new = [_many(others, "appears", "appears"), _many(others, "unstable", "is unstable")]
    more = listed([words for words in new if words])
    text = f"{text}; in the second {more}." if more else f"{text}."
    return text[0].upper() + text[1:]


def _many(statuses: list[str], status: str, verb: str) -> str:
    found = statuses.count(status)
    if not found:
        return ""
    many = {"is unstable": "are unstable", "cannot be looked for": "cannot be looked for"}
    return f"{small(found)} {verb if found == 1 else many.get(verb, verb.removesuffix('s'))}"


def _lead(first: Subject, compared: Comparison) -> str:
    changed = int(compared.samples["changed"].sum())
    only = f"{count(changed) if changed else 'none'} {'is' if changed < 2 else 'are'}"
    return (
        f"{counted(compared.n_common, 'sample')} are in both studies; {count(compared.n_both)} "
        f"have a mechanism in both, and mechanisms are compared on these. Of all, "
        f"{percent(compared.same_prediction)} are predicted alike; {only} predicted "
        f"“{first.target}” in one study only."
    )


def _tiles(compared: Comparison) -> Iterator[Tile]:
    yield Tile(percent(compared.same_prediction), "predicted alike", "of the samples in both")
    yield Tile(
        count(compared.n_both), "samples", f"with a mechanism in both, of {compared.n_common:,}"
    )
    if known(compared.ami):
        yield Tile(score(compared.ami), "AMI", "0 is chance, 1 the same grouping")
        chance = f"{compared.ami_chance:.3f}"
        yield Tile(chance, "probability", "of as much between unrelated mechanisms")


def _name(at: int, length: int) -> str:
    return letter(at) if at < length - 1 else NONE


def _rows(counts: np.ndarray) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    for at, row in enumerate(counts.tolist()):
        total = max(sum(row), 1)
        cells = tuple(Cell(count(n), round(100 * n / total, 1)) for n in row)
        yield f"first {_name(at, len(counts))}", cells


def _along(
    colours: Mapping[tuple[str, int], str], side: str, rows: list[dict[Any, Any]]
) -> list[str]:
    return [
        *(colours[side, int(row["mechanism"])] for row in rows if row["study"] == side),
        OTHERS,
    ]


def _otherwise(rows: list[dict[Any, Any]], first: Subject, second: Subject) -> Iterator[Changed]:
    for row in rows:
        said = (_said(row["prediction_first"], first), _said(row["prediction_second"], second))
        yield _changed(row, first, second, *said)


def _elsewhere(rows: list[dict[Any, Any]], first: Subject, second: Subject) -> Iterator[Changed]:
    for row in rows:
        groups = (letter(int(row["mechanism_first"])), letter(int(row["mechanism_second"])))
        yield _changed(row, first, second, *groups)


def _changed(row: dict[Any, Any], first: Subject, second: Subject, one: str, two: str) -> Changed:
    positions = int(row["position_first"]), int(row["position_second"])
    encoded = picture(first, positions[0]) or picture(second, positions[1])
    name = sample_name(positions[0], str(row["id"]))
    return Changed(name, address(encoded), one, two)


def _said(prediction: object, subject: Subject) -> str:
    """A prediction, which a comparison tells by name where both studies have names."""
    if isinstance(prediction, str):
        return f"“{shorten(plain(prediction), 40)}”"
    return f"“{shorten(subject.class_name(int(str(prediction))), 40)}”"


def _first_of(items: int) -> str:
    if items <= MOST_OTHERS:
        return ""
    return f"The first {count(MOST_OTHERS)} of {count(items)} are shown."


def _about(subject: Subject) -> Iterator[tuple[str, str]]:
    info = subject.info
    yield "study", plain(str(info.get("name") or ""))
    yield "class", subject.predicted()
    yield "samples", count(int(info["n_samples"]))
    yield "predicted so", count(int(info["n_predicted"]))
    yield "mechanisms", count(len(subject.study.mechanisms))
    if subject.around is not None:
        yield "around", plain(str(subject.around["id"]))
    yield "study made", plain(str(info.get("created") or ""))
    yield "neucept", plain(str(info.get("neucept") or ""))
