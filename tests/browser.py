"""The system's Chromium for tests of pages. Screenshots go to the folder EDGEQ_SCREENSHOTS, where somebody looks."""

import os
import shutil
from pathlib import Path

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--use-gl=angle", "--use-angle=swiftshader")
WAIT_MS = 180_000
SHOTS = os.environ.get("EDGEQ_SCREENSHOTS")  # now: the tests begin without EDGEQ_* variables


@pytest.fixture(scope="module")
def chromium():
    """The browser; skips where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS), timeout=WAIT_MS)
        yield browser
        browser.close()


def shoot(page, name):
    """A screenshot, where a folder for them is named."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", animations="disabled", timeout=WAIT_MS)


def overflow(page):
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
