"""From the command line to the browser: explained samples, two studies, a local one, a contrast."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page

from neucept import cli

Open = Callable[..., Any]
Run = Callable[..., Path]

PICTURES = Path(__file__).parents[1] / "tiny_study" / "pictures.py"

QUICK = (
    *("--sampler", "gaussian", "--statistic", "lasso", "--dither", "0", "--draws", "2"),
    *("--audit", "0", "--keep", "0", "--n-jobs", "1", "--max-mechanisms", "2"),
    *("--layers", "1.second", "--ablation-modes", "zero", "--ablation-samples", "4"),
)

UNDRAWN = """
() => Array.from(document.querySelectorAll(".plot"))
  .filter((plot) => plot.dataset.drawn !== "yes"
    || !plot.querySelector("svg .role-mark :is(path, rect, line, text)"))
  .map((plot) => plot.id)
"""

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"

BROKEN = """
() => Promise.all(Array.from(document.images).map((image) =>
  image.decode().then(() => image.naturalWidth, () => 0)))
"""


def command(*tokens: object) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([str(token) for token in tokens])
    assert left.value.code == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a study once per name, as its user would."""
    folder = tmp_path_factory.mktemp("verbs")

    def run_it(name: str, *more: str, model: str = "build", target: str = "right") -> Path:
        to = folder / name
        if not to.exists():
            named = ("--model", f"{PICTURES}:{model}", "--data", f"{PICTURES}:load")
            classes = ("--classes", "left", "right", "--target", *target.split())
            command("run", *named, *classes, "--to", to, *QUICK, *more)
        return to

    return run_it


@pytest.fixture
def opened(open_page: Open) -> Iterator[Callable[[Path], Page]]:
    """Opens a page at a phone's width and checks at the end that it was quiet and asked nobody."""
    seen = []

    def open_it(path: Path) -> Page:
        seen.append(open_page(path, width=390))
        page = seen[-1].page
        assert page.evaluate(UNDRAWN) == []
        assert page.evaluate(OVERFLOW) <= 0
        page.set_viewport_size({"width": 1280, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0
        assert 0 not in page.evaluate(BROKEN)
        return page

    yield open_it
    for one in seen:
        assert one.said == []
        assert one.foreign == []
        one.page.close()


def words(page: Page, place: str) -> str:
    return " ".join(page.locator(place).inner_text().replace("\xa0", " ").split())


def test_explained_samples(run: Run, opened: Callable[[Path], Page], tmp_path: Path) -> None:
    study = run("study")
    own = pd.read_parquet(study / "samples.parquet").sort_values("typicality")
    rows = sorted([int(own["position"].iloc[0]), int(own["position"].iloc[-1])])
    path = tmp_path / "page.html"
    command("explain", study, *rows, "--page", path)
    page = opened(path)
    assert words(page, ".verdict") == "One of them is atypical: do not rely on it."
    assert page.locator("#samples .card").count() == 2
    assert page.locator("#samples .card .case img").count() == 2
    assert page.locator("#samples .card .examples img").count() == 6
    odd, usual = (f"#sample-{int(own['position'].iloc[at])}" for at in (0, -1))
    assert "atypical" in words(page, f"{odd} header")
    assert "It is a usual case" in words(page, f"{usual} .case")
    # By keyboard: the table's link leads to the card.
    page.locator(f"a[href='{odd}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"location.hash === '{odd}'")
    summary = page.locator(f"{usual} summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{usual} details table").is_visible()
    page.locator(f"{usual} .mark-rect.role-mark path").first.hover()
    assert "here" in page.locator(".hover dt").all_inner_texts()


def test_all_samples_with_strangers(
    run: Run, opened: Callable[[Path], Page], tmp_path: Path
) -> None:
    study, path = run("study"), tmp_path / "page.html"
    command("explain", study, "--all", "--foreign", f"{PICTURES}:foreign", "--page", path)
    page = opened(path)
    assert re.fullmatch(r"\d+ of 30\d are atypical \(\d+ %\)\.", words(page, ".verdict"))
    told = words(page, "#reliability")
    assert "Wrong predictions among those predicted as the class" in told
    assert "Foreign inputs among those predicted as the class" in told
    assert page.locator("#mechanisms tbody tr").count() == 2
    assert "24 most atypical" in words(page, "#samples")
    assert page.locator("#samples .card").count() == 24
    rows = page.locator("#mechanisms .plot svg").first.text_content()
    assert rows and "foreign inputs" in rows


def test_new_samples_show_their_own_pictures(
    run: Run, opened: Callable[[Path], Page], tmp_path: Path
) -> None:
    study, path = run("study"), tmp_path / "page.html"
    command("explain", study, 4, "--data", f"{PICTURES}:foreign", "--page", path)
    page = opened(path)
    assert page.locator("#sample-4 .case img").count() == 1
    assert "new, run through its network" in words(page, "#about")
    bare = tmp_path / "bare.html"
    new = ("--data", f"{PICTURES}:foreign", "--page", bare, "--no-images")
    command("explain", study, 4, *new)
    assert opened(bare).locator("img").count() == 0


def test_two_studies(run: Run, opened: Callable[[Path], Page], tmp_path: Path) -> None:
    before, after = run("study"), run("shaken", model="shaken")
    path = tmp_path / "page.html"
    command("compare", before, after, "--page", path)
    page = opened(path)
    assert words(page, ".verdict") == "Yes: the same two mechanisms are found in both."
    assert page.locator("#mechanisms .member").count() == 4
    assert page.locator("#mechanisms .examples img").count() == 32
    told = words(page, "#mechanisms")
    for name in ("First A persists", "First B persists", "Second A persists", "Second B persists"):
        assert name in told
    assert "Agreement of the mechanisms (AMI)" in words(page, "#answer")
    page.locator("#flow .mark-area path").first.hover()
    assert page.locator(".hover dt").all_inner_texts() == ["first", "second", "samples", "share"]


def test_a_local_study(run: Run, opened: Callable[[Path], Page], tmp_path: Path) -> None:
    own = pd.read_parquet(run("study") / "samples.parquet")["position"]
    near = run("near", "--samples", "near", "--near", str(own.iloc[0]))
    page = opened(near / "report.html")
    assert words(page, "h1").startswith(f"Around “{own.iloc[0]}”: is “right” always predicted")
    assert f"nearest to “{own.iloc[0]}” alone" in words(page, ".remarks")
    assert "around" in words(page, "#settings")
    path = tmp_path / "page.html"
    command("explain", near, str(own.iloc[0]), "--page", path)
    assert f"nearest to “{own.iloc[0]}” alone" in words(opened(path), "#answer")


def test_a_contrast(run: Run, opened: Callable[[Path], Page], tmp_path: Path) -> None:
    study = run("contrast", target="right left")
    page = opened(study / "report.html")
    assert "“right” always predicted rather than “left”" in words(page, "h1")
    assert "rather than" in words(page, "#settings")
    path = tmp_path / "page.html"
    command("explain", study, "--all", "--page", path)
    assert "class “right” rather than “left”" in words(opened(path), ".byline")
