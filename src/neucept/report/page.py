"""From a study to one HTML file that needs nothing else: no network, no server, no library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from neucept.report.asking import Asking, asking
from neucept.report.associations import Beside, beside
from neucept.report.cards import Card, cards
from neucept.report.charts import CHARTS, Figure
from neucept.report.choosing import Considered, considered
from neucept.report.cuts import CutTable, cut_table
from neucept.report.doubt import doubt
from neucept.report.glossary import GLOSSARY
from neucept.report.layers import LayerView, layer_views
from neucept.report.pictures import hover_pictures, picture_note
from neucept.report.promise import Promise, agreement, promise
from neucept.report.provenance import Rows, provenance
from neucept.report.reading import Finished, Subject
from neucept.report.shell import Drawn, page_of
from neucept.report.summary import Summary, summary
from neucept.runtime import write_bytes

LARGEST_PAGE = 5_800_000
"""Bytes of a page at most; hover pictures give way to it."""


@dataclass(frozen=True)
class Page(Drawn):
    """Everything the template shows; plain words and numbers only."""

    subject: Subject
    summary: Summary
    cards: tuple[Card, ...]
    asking: Asking | None
    layers: tuple[LayerView, ...]
    figures: tuple[Figure, ...]
    provenance: tuple[tuple[str, Rows], ...]
    glossary: tuple[tuple[str, str], ...]
    promise: Promise
    agreement: str
    considered: tuple[Considered, ...]
    beside: Beside | None
    doubt: str
    cuts: CutTable | None
    pictures: dict[str, str]
    picture_note: str


def write_report(study: Finished, path: Path | str, *, images: bool = True) -> Path:
    """Write the page of a study: one HTML file that works offline and asks no network for anything.

    Args:
        study: A finished study, as `Study.open` gives it.
        path: The file to write; one that is there is replaced once the new one is whole.
        images: Whether pictures of the inputs may be shown. False leaves every picture out, for
            pages that leave the house; the ids of samples stay, so give ids that may be shown.

    Returns:
        The path written.

    Raises:
        StorageError: the file cannot be written.
    """
    place = Path(path)
    write_bytes(place, render(study, images=images).encode("utf-8"))
    return place


def render(study: Finished, *, images: bool = True) -> str:
    """The text of the page; see `write_report`."""
    subject = Subject(study, images)
    bare = Page(
        subject=subject,
        summary=summary(subject),
        cards=tuple(cards(subject)),
        asking=asking(subject),
        layers=tuple(layer_views(subject)),
        figures=tuple(figure for draw in CHARTS for figure in draw(subject)),
        provenance=provenance(subject),
        glossary=GLOSSARY,
        promise=promise(subject),
        agreement=agreement(subject),
        considered=tuple(considered(subject)),
        beside=beside(subject),
        doubt=doubt(subject),
        cuts=cut_table(subject),
        pictures={},
        picture_note="",
    )
    text = _html(bare)
    room = LARGEST_PAGE - len(text.encode("utf-8"))
    pictures = hover_pictures(subject, room)
    if not pictures:
        return text
    return _html(replace(bare, pictures=pictures, picture_note=picture_note(subject, pictures)))


def _html(page: Page) -> str:
    return page_of("page.html.j2", page, sections=_sections(page))


def _sections(page: Page) -> list[tuple[str, str]]:
    sections = [
        ("answer", "Answer"),
        ("mechanisms", "Mechanisms"),
        ("associations", "Metadata"),
        ("map", "Map"),
        ("order", "Order"),
        ("doubt", "Doubt"),
        ("layers", "Layers"),
        ("chain", "Chain"),
        ("ablation", "Cutting"),
        ("choice", "How many"),
        ("promise", "Promise"),
        ("settings", "Settings"),
        ("glossary", "Words"),
    ]
    there = {name: bool(page.figures_of(name)) for name in ("map", "order")}
    there |= {"associations": page.beside is not None, "doubt": bool(page.doubt)}
    return [entry for entry in sections if there.get(entry[0], True)]
