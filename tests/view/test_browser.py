from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import view_samples as samples

from netlab.kernel.values import Counters
from netlab.view import changes
from netlab.view.details import details
from netlab.view.diagram import CSS, ESM
from netlab.view.drawing import draw
from netlab.view.folding import fold
from netlab.view.scene import to_scene
from netlab.view.slots import Slots
from netlab.view.svg import Picture, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from netlab.kernel.values import Snapshot

pytestmark = pytest.mark.browser

_PAGE = """<!doctype html><meta charset="utf-8"><style>%(css)s</style>
<body data-jp-theme-light="%(light)s" style="margin:8px;background:%(paper)s;--jp-layout-color0:%(paper)s">
<div class="area"><div class="jp-OutputArea-child" id="el"></div></div>
<script type="module">
%(esm)s
const data = {
  lab: "sample", key: "k1", svg: "", patch: {}, details: {}, fresher: {}, unfolded: "",
  marks: {}, news: {}, closed: false,
};
const heard = {};
window.model = {
  get: (name) => data[name],
  on: (event, call) => (heard[event] ??= new Set()).add(call),
  off: (event, call) => heard[event]?.delete(call),
  set: (values, value) => {
    if (typeof values === "string") values = {[values]: value};
    Object.assign(data, values);
    for (const name in values) for (const call of heard["change:" + name] ?? []) call();
  },
  heard: () => Object.values(heard).reduce((sum, calls) => sum + calls.size, 0),
};
</script>"""


class Front:
    """A page with the widget in it, and the Python side that feeds it, without Jupyter."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.slots = Slots()
        self.base: Picture | None = None
        self.last: Snapshot | None = None
        self.seq = 0

    def open(self, *, dark: bool = False) -> None:
        """Load the page and show the widget."""
        esm = ESM.replace("export default { render };", "window.renderWidget = render;")
        paper = "#111418" if dark else "#ffffff"
        self.page.set_content(_PAGE % {"css": CSS, "esm": esm, "light": str(not dark).lower(), "paper": paper})
        self.page.wait_for_function("!!window.renderWidget")
        self.page.evaluate("() => { window.stop = renderWidget({model, el: document.getElementById('el')}); }")

    def show(self, snapshot: Snapshot) -> None:
        """Send a snapshot as the widget does."""
        new = picture(draw(fold(self.slots.keep(to_scene(snapshot))), self.slots.rooms))
        patch = new.patch(self.base)
        values: dict[str, Any] = {"details": details(snapshot)}
        if patch is None:
            self.base, values["svg"], values["patch"] = new, new.markup, {}
        else:
            values["patch"] = {"fragments": patch, "labels": new.labels}
        if self.last is not None:
            self.seq += 1
            found = changes.marks(snapshot - self.last, self.last, snapshot)
            values["marks"] = {"seq": self.seq, "items": [mark.to_json() for mark in found]}
            values["news"] = {"seq": self.seq, "lines": list(changes.news(snapshot - self.last))}
        self.last = snapshot
        self.page.evaluate("values => model.set(values)", json.loads(json.dumps(values)))

    def focused(self) -> str | None:
        """Return the identity of what has the focus."""
        found = self.page.evaluate("document.activeElement.dataset?.nlId ?? null")
        return str(found) if found is not None else None


@pytest.fixture
def front(chromium: Browser) -> Iterator[Front]:
    """Return a page with the widget, which must not have had an error at the end."""
    page = chromium.new_page(viewport={"width": 1100, "height": 700})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    front = Front(page)
    yield front
    page.close()
    assert errors == []


def test_the_picture_is_shown_and_patched_in_place(front: Front) -> None:
    """A link that goes down changes three things; everything else is the same element as before."""
    front.open()
    front.show(samples.two_hosts())
    front.page.evaluate("() => { document.querySelector('[data-nl-id=\"host:red\"]').kept = true; }")
    front.show(samples.two_hosts(up=(True, False)))
    front.page.wait_for_selector('[data-nl-id="if:blue/eth0"].down')
    assert front.page.evaluate("document.querySelector('[data-nl-id=\"host:red\"]').kept")
    assert "NO CARRIER" in (front.page.locator('[data-nl-id="if:red/eth0"]').text_content() or "")
    front.show(samples.two_hosts())
    front.page.wait_for_selector('[data-nl-id="if:blue/eth0"]:not(.down)')


def test_changes_are_marked_for_two_seconds_and_told(front: Front) -> None:
    """The sign has a class, a badge and words; the log says the same; then it goes."""
    front.open()
    front.show(samples.two_hosts())
    front.show(samples.two_hosts(up=(True, False)))
    front.page.wait_for_selector('[data-nl-id="if:blue/eth0"].chg')
    assert "was up, now down" in (front.page.locator(".nl-overlay").text_content() or "")
    assert front.page.locator(".nl-news").get_attribute("aria-live") == "polite"
    assert "went down" in (front.page.locator(".nl-news").text_content() or "")
    front.page.wait_for_selector(".nl-overlay", state="detached", timeout=4000)
    assert front.page.locator("svg .chg").count() == 0


def test_what_vanished_stays_as_a_ghost_for_a_while(front: Front) -> None:
    """A host that is removed is struck through in its old place, then it is gone."""
    front.open()
    front.show(samples.isolated(3))
    front.show(samples.isolated(2))
    front.page.wait_for_selector(".nl-ghost.del")
    assert "h3" in (front.page.locator(".nl-ghost").first.text_content() or "")
    front.page.wait_for_selector(".nl-ghost", state="detached", timeout=4000)
    assert front.page.locator('[data-nl-id="host:h3"]').count() == 0


def test_details_open_by_mouse_and_follow_the_kernel(front: Front) -> None:
    """A click shows what is known of an interface; its state changes there too; Escape closes it."""
    front.open()
    front.show(samples.two_hosts())
    front.page.click('[data-nl-id="if:red/eth0"]')
    panel = front.page.locator(".nl-panel")
    assert "10.0.0.1/24 scope global" in panel.inner_text()
    assert "UP" in panel.locator("dd").first.inner_text()
    front.show(samples.two_hosts(up=(True, False)))
    front.page.wait_for_selector(".nl-panel dd.nl-bad")
    assert "NO CARRIER" in panel.locator("dd").first.inner_text()
    front.page.keyboard.press("Escape")
    assert not panel.is_visible()
    assert front.focused() == "if:red/eth0"


def test_the_keyboard_walks_the_picture(front: Front) -> None:
    """One tab stop; arrows go from host to host, into a host, and along a cable; Enter opens."""
    front.open()
    front.show(samples.router())
    assert front.page.locator('svg [tabindex="0"]').count() == 1
    for _ in range(9):
        front.page.keyboard.press("Tab")
        if front.focused():
            break
    assert front.focused() == "host:red"
    for key, expected in (
        ("ArrowRight", "host:router"),
        ("ArrowRight", "host:blue"),
        ("End", "host:blue"),
        ("Home", "host:red"),
    ):
        front.page.keyboard.press(key)
        assert front.focused() == expected
    front.page.focus('[data-nl-id="if:red/eth0"]')
    front.page.keyboard.press("ArrowDown")
    assert front.focused() == "if:router/eth0"
    front.page.keyboard.press("Enter")
    assert "veth of router" in front.page.locator(".nl-panel").inner_text()
    front.page.keyboard.press("Escape")
    front.page.keyboard.press("ArrowUp")
    assert front.focused() == "host:router"
    assert front.page.locator('svg [tabindex="0"]').count() == 1


def test_the_focus_survives_a_new_picture(front: Front) -> None:
    """Whoever reads with the keyboard is not thrown out when the topology changes."""
    front.open()
    front.show(samples.star(3))
    front.page.focus('[data-nl-id="host:h2"]')
    front.show(samples.star(4))
    front.page.wait_for_selector('[data-nl-id="host:h4"]')
    assert front.focused() == "host:h2"


def test_searching_dims_the_rest_and_enter_goes_there(front: Front) -> None:
    """What is typed is looked for in names, addresses and processes; the focus goes to the first that fits."""
    front.open()
    front.show(samples.router())
    front.page.fill(".nl-search", "10.0.2.2")
    assert front.page.locator(".host.nl-kept").evaluate_all("all => all.map((el) => el.dataset.nlId)") == ["host:blue"]
    assert (
        float(front.page.evaluate("getComputedStyle(document.querySelector('[data-nl-id=\"host:red\"]')).opacity"))
        < 0.5
    )
    front.page.press(".nl-search", "Enter")
    assert front.focused() == "host:blue"
    front.page.press(".nl-search", "Escape")
    assert front.page.locator(".nl-dimmed").count() == 0


def test_one_host_can_be_looked_at(front: Front) -> None:
    """The button of a host's details dims all but the host and its neighbours."""
    front.open()
    front.show(samples.router())
    front.page.focus('[data-nl-id="host:red"]')
    front.page.keyboard.press("Enter")
    front.page.click(".nl-panel .nl-tool:has-text('focus')")
    kept = front.page.locator(".nl-kept").evaluate_all("all => all.map((el) => el.dataset.nlId)")
    assert kept == ["host:red", "host:router", "veth:red/eth0~router/eth0"]
    front.page.click(".nl-panel .nl-tool:has-text('focus')")
    assert front.page.locator(".nl-dimmed").count() == 0


def test_rates_stand_at_the_cables(front: Front) -> None:
    """Counters that grow are told as packets and bytes a second at their cable."""
    front.open()
    calm, busy = samples.two_hosts(), samples.two_hosts()
    links = tuple(replace(i, counters=Counters(rx_packets=500, rx_bytes=50_000)) for i in busy.hosts[1].interfaces)
    busy = replace(busy, hosts=(busy.hosts[0], replace(busy.hosts[1], interfaces=links)))
    front.show(calm)
    front.page.wait_for_timeout(400)
    front.show(busy)
    front.page.wait_for_selector(".cable.busy")
    assert "pkt/s" in (front.page.locator(".nl-rates").text_content() or "")
    front.page.wait_for_timeout(400)
    front.show(replace(busy, time=2.0))
    front.page.wait_for_selector(".cable:not(.busy)")


def test_rates_inside_of_a_node_stand_at_their_cable(front: Front) -> None:
    """A node has coordinates of its own; what is written beside a cable in it is beside it."""
    front.open()
    calm = samples.cluster()
    links = {"web-2": Counters(rx_packets=500, rx_bytes=50_000)}
    busy = tuple(
        replace(h, interfaces=tuple(replace(i, counters=links[h.name]) for i in h.interfaces)) if h.name in links else h
        for h in calm.hosts
    )
    front.show(calm)
    front.page.wait_for_timeout(400)
    ports = tuple(
        replace(
            h,
            interfaces=tuple(
                replace(i, counters=links["web-2"]) if i.name == "veth0202c3f1" else i for i in h.interfaces
            ),
        )
        for h in busy
    )
    front.show(replace(calm, hosts=ports))
    cable = front.page.locator(".cable.busy").bounding_box()
    label = front.page.locator(".nl-rates text").first.bounding_box()
    assert cable is not None
    assert label is not None
    assert 0 < label["x"] - cable["x"] < 25
    assert cable["y"] - 6 < label["y"] < cable["y"] + cable["height"]


def test_a_folded_host_unfolds(front: Front) -> None:
    """Enter asks Python for the pods of that node, and once more folds them; a mark in the chart tells of its host."""
    front.open()
    front.page.evaluate("() => { model.save_changes = () => {}; }")
    front.show(samples.crowd())
    front.page.click('[data-nl-id="host:pod-8-4"]')
    assert "pod-8-4" in front.page.locator(".nl-panel h4").inner_text()
    front.page.focus('[data-nl-id="host:node-3"]')
    front.page.keyboard.press("Enter")
    assert front.page.evaluate("model.get('unfolded')") == "node-3"
    front.page.keyboard.press("Enter")
    assert front.page.evaluate("model.get('unfolded')") == ""


def test_pods_are_walked_to_from_their_node(front: Front) -> None:
    """Arrows lead from a node to its pods and on to the next node; down from a pod goes into it."""
    front.open()
    front.show(samples.cluster())
    front.page.focus('[data-nl-id="host:node-1"]')
    focused = "document.activeElement.dataset.nlId"
    seen = []
    for _ in range(3):
        front.page.keyboard.press("ArrowRight")
        seen.append(front.page.evaluate(focused))
    assert seen == ["host:client", "host:web-1", "host:node-2"]
    front.page.keyboard.press("ArrowLeft")
    front.page.keyboard.press("ArrowDown")
    assert front.page.evaluate(focused) == "if:web-1/eth0"
    front.page.keyboard.press("ArrowDown")
    assert str(front.page.evaluate(focused)).startswith("if:node-1/veth")


def test_a_closed_lab_says_so(front: Front) -> None:
    """The picture stays, with words."""
    front.open()
    front.show(samples.two_hosts())
    front.page.evaluate("model.set({closed: true})")
    front.page.wait_for_selector(".nl-closed")
    assert "this lab is closed" in front.page.locator(".nl-status").inner_text()
    assert front.page.locator('[data-nl-id="if:red/eth0"]').is_visible()


def test_the_view_cleans_up(front: Front) -> None:
    """What render returns takes the view away and hears nothing more."""
    front.open()
    front.show(samples.two_hosts())
    assert front.page.evaluate("model.heard()") > 0
    front.page.evaluate("stop()")
    assert front.page.evaluate("model.heard()") == 0
    assert front.page.locator("#el").inner_html() == ""


def test_the_static_picture_hides_while_the_live_one_is_there(front: Front) -> None:
    """The still that belongs to the widget is hidden, also when it is replaced; another one is not; both come back."""
    front.open()
    front.page.evaluate(
        """() => {
          for (const key of ['k1', 'other']) {
            const output = document.createElement('div');
            output.className = 'jp-OutputArea-child still-' + key;
            const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" data-nl-key="${key}"></svg>`;
            output.innerHTML = `<img src="data:image/svg+xml,${encodeURIComponent(svg)}">`;
            document.querySelector('.area').append(output);
          }
        }"""
    )
    front.page.wait_for_selector(".still-k1", state="hidden")
    assert front.page.locator(".still-other").is_visible()
    front.page.evaluate("stop()")
    assert front.page.locator(".still-k1").is_visible()


def test_no_text_is_wider_than_measured(front: Front) -> None:
    """The browser draws each text as wide as Python thought, or squeezes it."""
    front.open()
    front.show(samples.strange())
    wide = front.page.evaluate(
        """[...document.querySelectorAll('svg text[data-w]')]
           .filter((text) => text.getComputedTextLength() > Number(text.dataset.w) + 1.5)
           .map((text) => text.textContent)"""
    )
    assert wide == []


def test_large_pictures_scroll_and_small_ones_are_not_blown_up(front: Front) -> None:
    """A picture is at most as large as it was drawn; one that is too wide is made smaller, but stays readable."""
    front.open()
    front.show(samples.two_hosts())
    scale = "(svg => svg.getBoundingClientRect().width / Number(svg.dataset.width))(document.querySelector('svg'))"
    assert front.page.evaluate(scale) == pytest.approx(1, abs=0.01)
    front.show(samples.star(99))
    front.page.wait_for_selector('[data-nl-id="host:h99"]')
    assert 0.5 <= front.page.evaluate(scale) < 1
    front.page.click('[aria-label="Zoom in"]')
    assert front.page.evaluate(scale) > 0.6


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_theme_reaches_every_colour(front: Front, *, dark: bool) -> None:
    """Each fill and stroke is a colour of the theme: none stays light on a dark page."""
    front.open(dark=dark)
    front.show(samples.cluster())
    ink = front.page.evaluate("getComputedStyle(document.querySelector('svg .host > text')).fill")
    assert ink == ("rgb(233, 238, 243)" if dark else "rgb(27, 39, 51)")
    host = front.page.evaluate("getComputedStyle(document.querySelector('svg .host > rect')).fill")
    assert host == ("rgb(27, 33, 40)" if dark else "rgb(242, 244, 247)")
