"""From a study to one HTML file that needs nothing else: no network, no server, no library."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from neucept.report.associations import Beside, beside
from neucept.report.cards import Card, cards
from neucept.report.charts import CHARTS, CONFIG, Figure
from neucept.report.choosing import Considered, considered
from neucept.report.cuts import CutTable, cut_table
from neucept.report.doubt import doubt
from neucept.report.glossary import GLOSSARY
from neucept.report.layers import LayerView, layer_views
from neucept.report.pictures import hover_pictures, picture_note
from neucept.report.promise import Promise, agreement, promise
from neucept.report.provenance import Rows, provenance
from neucept.report.reading import Finished, Subject
from neucept.report.summary import Summary, summary
from neucept.report.words import plain
from neucept.runtime import write_bytes

LARGEST_PAGE = 5_800_000
"""Bytes of a page at most; hover pictures give way to it."""

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The version of Vega-Lite that Altair writes for, as in "6.1"."""

EXPORT = "window.vegaEmbed = vegaEmbed;"
"""The one name that the page's own script needs from the bundle."""


@dataclass(frozen=True)
class Page:
    """Everything the template shows; plain words and numbers only."""

    subject: Subject
    summary: Summary
    cards: tuple[Card, ...]
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

    def figures_of(self, section: str, item: str | None = None) -> list[tuple[int, Figure]]:
        """The numbered figures of a section, or of one thing in it."""
        return [
            (number, figure)
            for number, figure in enumerate(self.figures, start=1)
            if figure.section == section and item in (None, figure.item)
        ]


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
    bundle, script, style = javascript(), _asset("page.js"), _asset("page.css")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            bundle=Markup(bundle),
            script=Markup(script),
            style=Markup(style),
            hashes=" ".join(_script_hash(text) for text in (bundle, script)),
            chart_config=CONFIG,
            sections=_sections(page),
        )
    )


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


@lru_cache(maxsize=1)
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the wheel that is installed."""
    bundle: str = vl_convert.javascript_bundle(EXPORT, VEGA_LITE)
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r", "")


@lru_cache(maxsize=8)
def _asset(name: str) -> str:
    return files("neucept.report").joinpath("static", name).read_text(encoding="utf-8")


def _script_hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("neucept.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters["script_json"] = script_json
    return environment


def _harmless(value: Any) -> Any:
    return plain(value) if type(value) is str else value


def script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element, whatever names it holds.

    Args:
        value: Plain values. Text in it is cleaned of control characters.

    Returns:
        ASCII only, and without a character that could end the element or open a comment.
    """
    text = json.dumps(_cleaned(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(str(key)): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    return value
