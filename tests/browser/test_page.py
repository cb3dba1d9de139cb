"""The page as its reader meets it, in a real browser and from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_study import PlantedStudy, add_metadata, planted_study
from playwright.sync_api import Page

Open = Callable[..., Any]
Write = Callable[..., Path]

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>&{{7*7}}"
LONG = "features.encoder.block_17_with_an_extremely_long_name.residual_projection.conv_3x3"

UNDRAWN = """
() => Array.from(document.querySelectorAll(".plot"))
  .filter((plot) => plot.dataset.drawn !== "yes"
    || !plot.querySelector("svg .role-mark :is(path, rect, line, text)"))
  .map((plot) => plot.id)
"""

WIDENED = """
() => Array.from(document.querySelectorAll("section > .chart svg, .card svg"))
  .every((svg) => svg.getBoundingClientRect().width > 380)
"""

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def _hostile() -> PlantedStudy:
    name = HOSTILE + "\u2028\u202e\x1b[31m"
    study = planted_study(
        target=name,
        classes=(name, "odd"),
        layers=((name + "1", 24, 7), (name + "2", 84, 12)),
        ids=[f"{name}{k}" for k in range(300)],
    )
    add_metadata(study, name)
    return study


def _large() -> PlantedStudy:
    return planted_study(
        n_samples=3000,
        n_mechanisms=12,
        pictures=0,
        layers=((LONG + ".0", 64, 0), (LONG + ".1", 300, 150), (LONG + ".2", 120, 40)),
        target="a class name that runs on and on as those of a radiology archive sometimes do",
        classes=None,
        ids=["/archive/" + "very-long-folder/" * 9 + f"{k:05d}.dcm" for k in range(3000)],
    )


STUDIES = {
    "usual": planted_study,
    "large": _large,
    "one": lambda: planted_study(n_mechanisms=1, pictures=0, labelled=False),
    "nothing": lambda: planted_study(
        n_mechanisms=0, layers=(("fc", 84, 0),), pictures=0, ablation=False
    ),
    "hostile": _hostile,
}


@pytest.mark.parametrize("name", STUDIES)
def test_page_draws_everything_quietly_and_within_its_width(
    written: Write, open_page: Open, name: str
) -> None:
    seen = open_page(written(name, STUDIES[name]), width=390)
    page = seen.page
    assert page.locator(".plot").count() >= 1
    assert page.evaluate(UNDRAWN) == []
    assert page.evaluate(OVERFLOW) <= 0
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function(WIDENED)
    assert page.evaluate(UNDRAWN) == []
    assert page.evaluate(OVERFLOW) <= 0
    assert seen.said == []
    assert seen.foreign == []
    page.close()


def test_metadata_is_drawn_and_pointing_at_it_tells_the_shares(usual: Page) -> None:
    section = usual.locator("#associations")
    assert section.locator("table tbody tr").count() == 4
    points = section.locator(".mark-symbol.role-mark path")
    assert points.count() == 4  # Two mechanisms in which it is sure, each beside the others.
    points.last.hover()
    card = usual.locator(".hover")
    card.wait_for(state="visible")
    shown = card.locator("dd").all_inner_texts()
    plain = [text.replace("\xa0", " ") for text in shown]
    assert plain[1:] == ["site 1", "82 %", "11 %", "p < 0.001"]
    usual.mouse.move(5, 5)
    card.wait_for(state="hidden")


def test_pointing_at_a_sample_shows_its_picture_and_its_numbers(usual: Page) -> None:
    study = planted_study()
    points = usual.locator("#map .mark-symbol.role-mark path")
    assert points.count() == len(study.samples)
    points.last.hover()  # drawn last, so nothing covers it
    card = usual.locator(".hover")
    card.wait_for(state="visible")
    width = card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == 32
    names, shown = (card.locator(tag).all_inner_texts() for tag in ("dt", "dd"))
    fields = dict(zip(names, shown, strict=True))
    row = study.samples[study.samples["id"] == fields["id"]].iloc[0]
    assert fields["mechanism"] == "ABC"[row["mechanism"]]
    assert fields["label"] == ("even", "odd")[row["label"]]
    usual.mouse.move(5, 5)
    card.wait_for(state="hidden")


def test_pointing_at_a_sample_in_order_shows_its_picture(usual: Page) -> None:
    section = usual.locator("#order")
    points = section.locator(".mark-symbol.role-mark path")
    assert points.count() == len(planted_study().samples)
    points.last.scroll_into_view_if_needed()
    points.last.hover(force=True)
    card = usual.locator(".hover")
    card.wait_for(state="visible")
    assert card.locator("img").is_visible()
    assert card.locator("dd").all_inner_texts()[1] == "C"
    section.locator(".plot[tabindex='0']").focus()
    usual.keyboard.press("ArrowRight")
    assert card.locator("dd").all_inner_texts()[1] == "A"
    usual.keyboard.press("Escape")
    assert card.is_hidden()


def test_the_tree_stands_over_the_places_of_its_samples(usual: Page) -> None:
    lefts = usual.locator("#order svg").evaluate_all(
        "all => all.map((svg) => svg.querySelector('.mark-group.role-frame path.background')"
        ".getBoundingClientRect()).map((box) => [box.left, box.right])"
    )
    assert len(lefts) == 2
    assert lefts[0] == pytest.approx(lefts[1], abs=1.0)


def test_arrow_keys_walk_over_the_map(usual: Page) -> None:
    usual.locator("#map .plot").focus()
    usual.keyboard.press("ArrowRight")
    name = usual.locator(".hover dd").first
    first = name.inner_text()
    usual.keyboard.press("ArrowRight")
    assert name.inner_text() != first
    assert usual.locator(".hover img").is_visible()
    usual.keyboard.press("ArrowLeft")
    assert name.inner_text() == first
    usual.keyboard.press("Escape")
    assert usual.locator(".hover").is_hidden()


def test_pointing_at_a_neuron_lifts_its_own_lines(usual: Page) -> None:
    faint = "document.querySelectorAll('#chain .mark-line path[opacity=\"0.05\"]').length"
    assert usual.evaluate(faint) == 0
    usual.locator("#chain .mark-symbol.role-mark path").nth(3).hover()
    usual.wait_for_function(f"{faint} > 0")
    assert usual.evaluate(faint) < usual.locator("#chain .mark-line path").count()


def test_colours_follow_the_reader_and_print_is_light(usual: Page) -> None:
    colour = "() => getComputedStyle(document.querySelector('#map path[fill=\"var(--m1)\"]')).fill"
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = usual.evaluate(colour), usual.evaluate(paper)
    assert light[0] == "rgb(0, 114, 178)"
    usual.emulate_media(color_scheme="dark")
    dark = usual.evaluate(colour), usual.evaluate(paper)
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    usual.emulate_media(color_scheme="dark", media="print")
    assert usual.evaluate(colour) == light[0]
    assert usual.evaluate(paper) == "rgb(255, 255, 255)"


def test_hostile_names_are_shown_and_never_run(written: Write, open_page: Open) -> None:
    seen = open_page(written("hostile", STUDIES["hostile"]))
    page = seen.page
    page.locator("#map .mark-symbol.role-mark path").last.hover()
    assert HOSTILE[:20] in page.locator(".hover dd").first.inner_text()
    assert HOSTILE in page.locator("h1").inner_text()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0
    assert seen.said == []
    page.close()


def test_the_policy_stops_a_script_that_is_not_ours(
    written: Write, open_page: Open, tmp_path: Path
) -> None:
    text = written("nothing", STUDIES["nothing"]).read_text(encoding="utf-8")
    path = tmp_path / "changed.html"
    path.write_text(text.replace("</main>", "<script>window.hacked=1</script></main>"))
    seen = open_page(path)
    assert seen.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in line for line in seen.said)
    seen.page.close()


def test_images_off_shows_no_picture_anywhere(written: Write, open_page: Open) -> None:
    page = open_page(written("bare", planted_study, images=False)).page
    page.locator("#map .mark-symbol.role-mark path").last.hover()
    assert page.locator(".hover dd").first.inner_text().startswith("scans/")
    assert page.locator("img").count() == 0
    page.close()


def test_without_scripts_words_tables_and_examples_remain(written: Write, open_page: Open) -> None:
    page = open_page(written("usual", planted_study), scripts=False).page
    assert page.locator(".verdict").inner_text().startswith("No: three mechanisms")
    assert page.locator(".examples img").count() == 36
    assert page.locator("#layers table").first.is_visible()
    page.close()
