"""A real Chromium for the page. Without one the tests skip; where CI is set they fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from planted_study import planted_study
from playwright.sync_api import Browser, Page, sync_playwright

from neucept.report import write_report
from neucept.report.reading import Finished

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Opened:
    """A page in the browser, with all it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> list[str]:
        """Addresses that are neither the file itself nor inside it."""
        return [url for url in self.asked if not url.startswith(("file:", "data:"))]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and CI needs it: apt-get install chromium")
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the page of a study once per name."""
    folder = tmp_path_factory.mktemp("pages")

    def write(name: str, make: Callable[[], Finished], *, images: bool = True) -> Path:
        path = folder / f"{name}.html"
        return path if path.exists() else write_report(make(), path, images=images)

    return write


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def open_page(browser: Browser) -> Open:
    """Opens a file and waits until its charts are drawn."""

    def open_it(path: Path, *, width: int = 1280, scripts: bool = True) -> Opened:
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        seen = Opened(page)
        page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.goto(path.as_uri())
        if scripts:
            page.wait_for_selector("html[data-drawn=yes]", timeout=60_000)
        return seen

    return open_it


@pytest.fixture(scope="session")
def _usual(open_page: Open, written: Callable[..., Path]) -> Opened:
    return open_page(written("usual", planted_study))


@pytest.fixture
def usual(_usual: Opened) -> Page:
    """The page of the usual study, opened once; each test finds it as it was."""
    page = _usual.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light", media="screen")
    page.mouse.move(2, 2)
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    return page
