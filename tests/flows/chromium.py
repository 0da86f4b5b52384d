"""A browser, for the tests of pages.  With PAGE_SHOTS=folder a picture of what they look at is left there."""

import os
import shutil
from pathlib import Path

import pytest

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    expect = sync_playwright = None

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(not (CHROMIUM and sync_playwright), reason="there is no Chromium here, or Playwright is not installed")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def look(page, name):
    """Nothing is wider than the screen; a picture, when they are wanted."""
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"], f"{name} is {width} pixels wide"
    if os.environ.get("PAGE_SHOTS"):
        Path(os.environ["PAGE_SHOTS"]).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{os.environ['PAGE_SHOTS']}/{name}.png", full_page=True)
