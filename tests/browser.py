"""A browser for the tests of the report's page: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def opened() -> Iterator[Browser]:
    """Yield a browser without a window; the test that asks is skipped, with the reason, where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with driver.sync_playwright() as started:
        # A sandbox needs what containers seldom give; the pages are the tests' own.
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Watched:
    """A page in a context of its own, and all that went wrong on it or was asked of others."""

    def __init__(self, browser: Browser, index: Path | str, **context: Any) -> None:
        self.base = index if isinstance(index, str) else index.resolve().as_uri()
        self.context = browser.new_context(viewport=context.pop("viewport", {"width": 1280, "height": 800}), **context)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.set_default_timeout(90_000)  # machines may be busy
        self.page.on("console", lambda told: self.faults.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, place: str = "#/") -> Page:
        """Open a place of the report, and return the page when its title is there."""
        if self.page.url.split("#")[0] == self.base:
            self.page.evaluate("place => { location.hash = place }", place)
        else:
            self.page.goto(self.base + place)
        self.page.locator("h1, .fault").first.wait_for()
        return self.page

    def close(self) -> None:
        """Close it, and say what went wrong."""
        self.context.close()
        assert not self.faults, self.faults
        folder = self.base.rsplit("/", 1)[0]
        others = [url for url in self.asked if not url.startswith((folder, "data:,"))]
        assert not others, others
