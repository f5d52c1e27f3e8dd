"""The browser side of the kit: keyboard, what a screen reader is told, light and dark, and drawing again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from netlab.course.panel import Panel
from netlab.course.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

_PAGE = """<!doctype html><meta charset="utf-8"><style>%(css)s</style>
<body data-jp-theme-light="%(light)s" style="background:%(paper)s;--jp-layout-color0:%(paper)s"><div id="el"></div>
<script type="module">
%(esm)s
const data = %(data)s;
const heard = {};
window.sent = [];
window.model = {
  get: (name) => data[name],
  on: (event, call) => (heard[event] ??= new Set()).add(call),
  off: (event, call) => heard[event]?.delete(call),
  set: (values) => {
    Object.assign(data, values);
    for (const name in values) for (const call of heard["change:" + name] ?? []) call();
  },
  send: (content) => window.sent.push(content),
  heard: () => Object.values(heard).reduce((sum, calls) => sum + calls.size, 0),
};
window.stop = renderWidget({model, el: document.getElementById("el")});
</script>"""
QUESTION = {
    "question": "Which?",
    "kind": "options",
    "choices": ["one", "two"],
    "unit": "",
    "answer": None,
    "truth": None,
}
TASK = {
    "heading": "Narrow",
    "goal": "First `ip link`.\n\nThen <b>more</b>.",
    "hosts": [["client", "netlab shell x/ada"]],
    "verdict": {},
    "hints": [],
    "solved": "",
    "closed": False,
}


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Return an empty page; its errors fail the test."""
    opened = chromium.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert not errors


def show(page: Page, widget: type[Panel | Prediction], data: dict[str, Any], *, dark: bool = False) -> None:
    """Draw a widget in a page, with a model that keeps what is sent to Python."""
    esm = widget._esm.replace("export default { render };", "const renderWidget = render;")
    paper = "#111418" if dark else "#ffffff"
    values = {"css": widget._css, "esm": esm, "data": json.dumps(data), "light": str(not dark).lower(), "paper": paper}
    page.set_content(_PAGE % values)
    page.wait_for_function("!!window.stop")


def change(page: Page, **values: Any) -> None:
    """Change traits, as Python does."""
    page.evaluate("values => model.set(values)", values)


def sent(page: Page) -> list[dict[str, Any]]:
    """Return what Python was told."""
    return list(page.evaluate("window.sent"))


def test_an_option_is_chosen_and_committed_by_keyboard(page: Page) -> None:
    """Tab, arrow keys and Enter are enough; nothing is sent before."""
    show(page, Prediction, QUESTION)
    assert page.get_by_role("group", name="Which?").count() == 1
    assert page.get_by_role("button", name="Commit").is_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="two").is_checked()
    assert sent(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert sent(page) == [{"commit": "two"}]
    change(page, answer="two")
    assert page.get_by_role("status").inner_text() == "Kept: two. Now go on, and see."
    change(page, answer="A sentence.")
    assert page.get_by_role("status").inner_text() == "Kept: A sentence. Now go on, and see."


def test_the_outcome_locks_the_answer(page: Page) -> None:
    """Both stand in the status, and the question takes no answer any more."""
    show(page, Prediction, QUESTION | {"answer": "one"})
    assert page.get_by_role("radio", name="one").is_checked()
    change(page, truth="two")
    assert page.get_by_role("status").inner_text() == "You said: one. What happened: two."
    assert page.get_by_role("radio", name="one").is_disabled()
    assert page.get_by_role("button").is_disabled()


def test_a_number_is_typed(page: Page) -> None:
    """It is sent as a number, with its unit beside the field."""
    show(page, Prediction, QUESTION | {"kind": "number", "choices": [], "unit": "packets"})
    page.get_by_role("spinbutton", name="packets").fill("5")
    page.get_by_role("button", name="Commit").click()
    assert sent(page) == [{"commit": 5}]


def test_an_order_is_made_by_keyboard(page: Page) -> None:
    """A button moves an item, the focus moves with it, and the new place is said."""
    show(page, Prediction, QUESTION | {"kind": "order", "choices": ["a", "b", "c"]})
    page.get_by_role("button", name="a: down").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text() == "a: place 2 of 3"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("a: ")
    assert page.get_by_role("button", name="b: up").is_disabled()
    page.get_by_role("button", name="Commit").click()
    assert sent(page) == [{"commit": ["b", "a", "c"]}]


def test_the_panel_shows_goal_and_asks_for_a_check(page: Page) -> None:
    """Code is code, markup is not; the verdict is announced and keeps the focus on the button."""
    show(page, Panel, TASK)
    assert page.get_by_role("region", name="Narrow").count() == 1
    assert page.locator("code", has_text="ip link").count() == 1
    assert page.locator("b").count() == 0
    page.get_by_role("button", name="Check").focus()
    page.keyboard.press("Enter")
    assert sent(page) == [{"do": "check"}]
    assert page.get_by_role("status").inner_text() == "Looking …"
    change(
        page,
        verdict={"passed": False, "saw": "it is wide", "expected": "narrow", "look": "`ip link`", "journey": "1 a"},
    )
    told = page.get_by_role("status").inner_text()
    assert told.startswith("○ Not yet")
    assert ["it is wide" in told, "Expected" in told, "Look next" in told] == [True] * 3
    assert page.locator("summary", has_text="What the packet met").count() == 1
    assert page.evaluate("document.activeElement.textContent") == "Check"
    change(page, verdict={"passed": True, "saw": "it is narrow", "word": "Done", "story": "Why.\n\nSo."})
    assert page.get_by_role("status").inner_text().startswith("✓ Done")


def test_the_solution_is_folded_and_fetched_once(page: Page) -> None:
    """It is asked for when somebody opens it, not before, and folds again when the exercise starts over."""
    show(page, Panel, TASK)
    page.get_by_text("Solution", exact=True).click()
    page.wait_for_function("window.sent.length === 1")
    assert sent(page) == [{"do": "solution"}]
    change(page, solved="# in ada\nip link")
    assert page.locator("pre", has_text="# in ada").is_visible()
    change(page, solved="", hints=["Hint 1: look"], closed=True)
    assert not page.locator("pre", has_text="# in ada").is_visible()
    assert page.get_by_role("listitem", name="").filter(has_text="Hint 1: look").count() == 1
    assert page.get_by_role("button", name="Check").is_disabled()
    assert page.get_by_role("button", name="Start over").is_enabled()


@pytest.mark.parametrize(("widget", "data"), [(Panel, TASK), (Prediction, QUESTION)])
def test_it_is_drawn_again_and_cleans_up(page: Page, widget: type[Panel | Prediction], data: dict[str, Any]) -> None:
    """A second view of the same model is the same; a view that was closed listens to nothing."""
    show(page, widget, data)
    first = page.evaluate("model.heard()")
    page.evaluate("window.stop()")
    assert page.evaluate("model.heard()") == 0
    assert page.locator("#el > *").count() == 0
    assert first > 0


_CONTRAST = """(selector) => {
  const part = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const opaque = (el) => {
    const colour = getComputedStyle(el).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" && el.parentElement ? opaque(el.parentElement) : colour;
  };
  return [...document.querySelectorAll(selector)].map((el) => {
    const [a, b] = [light(part(getComputedStyle(el).color)), light(part(opaque(el)))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_can_be_read_in_both_themes(page: Page, *, dark: bool) -> None:
    """Each text has the contrast that WCAG 2.2 asks for (4.5 to 1)."""
    verdict = {"passed": False, "saw": "it is wide", "expected": "narrow", "look": "`ip link`"}
    show(page, Panel, TASK | {"verdict": verdict, "hints": ["Hint 1"], "solved": "ip link"}, dark=dark)
    found = page.evaluate(_CONTRAST, ".nl-course :is(h4, p, code, pre, dt, dd, button:enabled, summary, li)")
    assert len(found) > 10
    assert min(found) >= 4.5
