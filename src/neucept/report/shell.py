"""What every page shares: the frame around its sections, its scripts, and what makes it safe."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from neucept.report.charts.figure import CONFIG, Figure
from neucept.report.words import plain

VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
"""The version of Vega-Lite that Altair writes for, as in "6.1"."""

EXPORT = "window.vegaEmbed = vegaEmbed;"
"""The one name that the page's own script needs from the bundle."""


class Drawn:
    """What a template shows: a record with figures, which it numbers and finds by section."""

    figures: tuple[Figure, ...]

    def figures_of(self, section: str, item: str | None = None) -> list[tuple[int, Figure]]:
        """The numbered figures of a section, or of one thing in it."""
        return [
            (number, figure)
            for number, figure in enumerate(self.figures, start=1)
            if figure.section == section and item in (None, figure.item)
        ]


def page_of(template: str, page: Drawn, *styles: str, **more: Any) -> str:
    """The text of one self-contained page.

    Args:
        template: Its name; it fills the blocks of "shell.html.j2".
        page: What it shows, as ``page``; its pictures are those that points of a chart have.
        styles: Style sheets beside the one that all pages share.
        more: Anything else the template asks for, such as ``sections``.

    Returns:
        HTML that asks no network for anything and runs no script but its own two.
    """
    bundle, script = javascript(), _asset("page.js")
    style = "".join(_asset(name) for name in ("page.css", *styles))
    return (
        _environment()
        .get_template(template)
        .render(
            page=page,
            bundle=Markup(bundle),
            script=Markup(script),
            style=Markup(style),
            hashes=" ".join(_script_hash(text) for text in (bundle, script)),
            chart_config=CONFIG,
            **more,
        )
    )


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
