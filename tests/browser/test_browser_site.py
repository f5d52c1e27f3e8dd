"""The published course in a browser: offline, on a phone, by keyboard, on paper, light and dark."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lab_server import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.timeout(240)]

#: It has pictures, journeys, rules, wide code, tables and solutions.
CHAPTER = "03-netfilter.html"
PAGES = ["index.html", CHAPTER]
#: CSS pixels: a narrow phone; the width of A4 between its margins.
PHONE, PAPER = 360, 718
FAULTS = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ["violations"]});
    return violations.filter((each) => ["serious", "critical"].includes(each.impact))
        .map((each) => `${each.id}: ${each.help}: ` + each.nodes.map((node) => node.html).slice(0, 3).join(" "));
}"""
TOO_WIDE = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a published site of one chapter."""
    folder = tmp_path_factory.mktemp("published") / "site"
    command = [sys.executable, "-m", "netlab", "course", "publish", str(folder), "03"]
    environment = os.environ | {"NETLAB_LABS": str(ROOT / "labs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def read(chromium: Browser, site: Path) -> Iterator[Page]:
    """Return a page of a browser without a network; what it asks of another host fails the test."""
    context = chromium.new_context(offline=True, viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"file://{site}/{CHAPTER}")
    yield opened
    context.close()
    assert not [url for url in asked if not url.startswith(("file://", "data:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_it_has_no_serious_fault_of_accessibility(read: Page, site: Path, axe: str, name: str, scheme: str) -> None:
    """axe-core finds nothing serious or critical, folded parts included."""
    read.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    read.goto(f"file://{site}/{name}")
    read.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    read.evaluate(axe)
    assert read.evaluate(FAULTS) == []


@pytest.mark.parametrize("name", PAGES)
def test_it_can_be_read_on_a_phone(read: Page, site: Path, name: str, shots: Path) -> None:
    """The page itself is never wider than the screen; wide parts scroll by themselves."""
    read.set_viewport_size({"width": PHONE, "height": 740})
    read.goto(f"file://{site}/{name}")
    assert read.evaluate(TOO_WIDE) <= 0
    read.screenshot(path=shots / f"site-phone-{name}.png")


def test_it_can_be_read_by_keyboard(read: Page) -> None:
    """The first stop leads past the links at the top; a solution is unfolded by Enter."""
    read.keyboard.press("Tab")
    assert read.evaluate("document.activeElement.textContent") == "To the text"
    read.keyboard.press("Enter")
    assert read.evaluate("document.activeElement.id") == "main"
    solution = read.locator("details").filter(has_text="A solution").first
    assert not solution.locator("pre").is_visible()
    solution.locator("summary").press("Enter")
    assert solution.locator("pre").is_visible()


def test_it_can_be_printed(read: Page, shots: Path) -> None:
    """On paper nothing is cut off at the right, and nothing stays folded that nobody can unfold there."""
    read.set_viewport_size({"width": PAPER, "height": 1000})
    read.emulate_media(media="print")
    assert read.evaluate(TOO_WIDE) <= 0
    cut = (
        "[...document.querySelectorAll('pre, .code, .scroll, .html')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    )
    assert read.evaluate(f"{cut}.map((each) => each.textContent.slice(0, 60))") == []
    assert not read.locator("header").is_visible()
    height = "document.querySelector('.netlab-solution pre').getBoundingClientRect().height"
    assert read.evaluate(height) > 0
    assert len(read.pdf(path=shots / "site.pdf", format="A4")) > 10_000
