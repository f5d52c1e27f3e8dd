"""The widgets beside the diagram, in a real JupyterLab: by mouse, by keyboard, for a screen reader, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from lab_server import SHORT, Notebook, Server
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

NAME = "widgets.ipynb"
CELLS = (
    """# the lab
from netlab import Lab
lab = Lab("widgets")
client, router, node, web = (lab.add_host(name) for name in ("client", "router", "node", "web"))
lab.connect(client, router, "10.0.1.2/24", "10.0.1.1/24")
lab.connect(router, node, "10.0.2.1/24", "10.0.2.2/24")
node.add_bridge("br0")
node.add_address("br0", "10.244.1.1/24")
lab.connect(node, web, None, "10.244.1.2/24", names=("veth1", "eth0"))
node.add_port("br0", "veth1")
for host in (router, node):
    host.sysctl["net.ipv4.ip_forward"] = 1
client.add_route("default", via="10.0.1.1")
router.add_route("10.244.0.0/16", via="10.0.2.2")
web.add_route("default", via="10.244.1.1")
router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
router.iptables("-t", "nat", "-N", "KUBE-SERVICES")
router.iptables("-t", "nat", "-A", "KUBE-SERVICES", "-d", "10.96.0.10", "-p", "tcp", "-j", "DNAT",
                "--to-destination", "10.244.1.2:80")
router.iptables("-t", "nat", "-A", "PREROUTING", "-j", "KUBE-SERVICES")
server = web.serve(80)
lab.diagram()""",
    "# packets\ntable = lab.watch_packets('eth0 of web', filter='tcp port 80')\ntable",
    "# the way\njourney = lab.trace(client, '10.96.0.10', 80)\njourney",
    "# its rules\nrouter.rules(journey=journey)",
    "# a drop\nnode.iptables('-A', 'FORWARD', '-p', 'tcp', '-j', 'DROP')\nlab.trace(client, '10.96.0.10', 80)",
    "# moments\nlab.history()",
)
WIDGETS = {
    "the lab": ".nl-root:has(.nl-stage)",
    "packets": ".nl-packets",
    "the way": ".nl-journey-view",
    "its rules": ".nl-rules",
    "moments": ".nl-history",
}


@pytest.fixture(scope="module")
def notebook(chromium: Browser, server: Server) -> Iterator[Notebook]:
    """Return a notebook with all widgets, run once; an error in its page fails the tests."""
    make: Any = nbformat.v4
    cells = [make.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(make.new_notebook(cells=cells, metadata=kernel), server.folder / NAME)  # type: ignore[no-untyped-call]
    context = chromium.new_context(viewport={"width": 1400, "height": 1000}, device_scale_factor=1)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    opened = Notebook.open(page, server, NAME)
    page.keyboard.press("Control+b")
    opened.run_all()
    yield opened
    context.close()
    assert not errors


def widget(notebook: Notebook, cell: str) -> Locator:
    """Return the widget of the cell with a title."""
    return notebook.show(f"# {cell}").locator(f".jp-OutputArea {WIDGETS.get(cell, '.nl-root')}").first


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_pictures_of_all_widgets(notebook: Notebook, shots: Path, theme: str) -> None:
    """Each is there, and nothing of a table is cut off at its right."""
    notebook.menu("Settings", "Theme", f"JupyterLab {theme}")
    notebook.page.wait_for_timeout(1_000)  # the theme fades in
    for cell in (*WIDGETS, "a drop"):
        found = widget(notebook, cell)
        expect(found).to_be_visible(timeout=SHORT)
        found.scroll_into_view_if_needed()
        for place in found.locator(".nl-scroll, .nl-rules").all():
            assert place.evaluate("element => element.scrollWidth - element.clientWidth") <= 1, cell
        found.screenshot(path=shots / f"{cell.replace(' ', '-')}-{theme.lower()}.png")
    assert not notebook.errors()


def press(notebook: Notebook, *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        notebook.page.keyboard.press(key)


def test_a_journey_is_stepped_by_keyboard(notebook: Notebook) -> None:
    """The row and the place in the picture light together, both in view; Escape shows all of it again."""
    found = widget(notebook, "the way")
    rows = found.locator("tbody tr:has(button)")
    last = rows.count() - 1
    found.locator("button.nl-open").first.focus()
    press(notebook, "Home", "ArrowDown", "ArrowDown")
    expect(rows.nth(2)).to_have_class("nl-now")
    expect(rows.nth(2).locator("button")).to_be_focused()
    expect(found.locator(".nl-hop.nl-now")).to_have_attribute("data-step", "3")
    expect(found.locator(".nl-said")).to_contain_text("router, eth0 in: received")
    press(notebook, "End")
    expect(rows.nth(last)).to_have_class("nl-now")
    for shown in (rows.nth(last).locator("button"), found.locator(".nl-hop.nl-now")):
        expect(shown).to_be_in_viewport()
    press(notebook, "Escape")
    expect(found.locator(".nl-later")).to_have_count(0)
    expect(found.locator("tr.nl-now")).to_have_count(0)


def test_a_journey_plays_and_pauses_by_keyboard(notebook: Notebook) -> None:
    """The button starts at the first step, goes on by itself, and stops where it is told to."""
    found = widget(notebook, "the way")
    play = found.get_by_role("button", name="play")
    play.focus()
    press(notebook, "Enter")
    pause = found.get_by_role("button", name="pause")
    expect(found.locator("tbody tr:has(button)").nth(1)).to_have_class("nl-now", timeout=SHORT)
    pause.focus()
    press(notebook, "Enter")
    expect(play).to_be_visible()
    press(notebook, "Escape")


def test_a_sign_in_the_picture_chooses_its_row(notebook: Notebook) -> None:
    """The other way round: a click on a hop in the picture or in the ribbon lights its row."""
    found = widget(notebook, "the way")
    found.locator(".nl-hop.diamond").first.click()
    expect(found.locator("tr.nl-now")).to_contain_text("DNAT")
    expect(found.locator("tr.nl-now button")).to_be_in_viewport()
    found.locator(".nl-col.diamond").nth(1).click()
    expect(found.locator("tr.nl-now")).to_contain_text("MASQUERADE")
    found.get_by_role("button", name="all").click()


def test_rules_are_followed_by_keyboard(notebook: Notebook) -> None:
    """The chains that the packet met are open and say so; a jump closes and opens, a chain folds."""
    found = widget(notebook, "its rules")
    expect(found.locator(".nl-marked")).to_contain_text("3 rules are marked: Journey from client")
    expect(found.locator("tr.nl-hit")).to_have_count(3)
    expect(found.locator("tr.nl-hit").nth(1)).to_contain_text("The packet met this rule.")
    jump = found.locator("button.nl-jump")
    jump.focus()
    press(notebook, "Enter")
    expect(jump).to_have_attribute("aria-expanded", "false")
    expect(found.locator("tr.nl-hit")).to_have_count(2)
    press(notebook, "Space")
    expect(jump).to_have_attribute("aria-expanded", "true")
    chain = found.locator("details").first
    chain.locator("summary").first.focus()
    press(notebook, "Enter")
    expect(chain).not_to_have_attribute("open", "")
    press(notebook, "Enter")
    expect(chain).to_have_attribute("open", "")


def test_a_packet_opens_by_keyboard_and_is_saved(notebook: Notebook, tmp_path: Path) -> None:
    """Its fields tell the bits that matter in words; the file that is saved holds all packets; stop stops."""
    found = widget(notebook, "packets")
    first = found.locator("button.nl-open").first
    first.focus()
    press(notebook, "Enter")
    expect(first).to_have_attribute("aria-expanded", "true")
    fields = found.locator(".nl-fields").first
    expect(fields).to_contain_text("SYN")
    expect(fields.locator(".nl-matters").first).to_be_visible()
    with notebook.page.expect_download() as waiting:
        found.get_by_role("button", name="Save as pcapng").press("Enter")
    saved = tmp_path / "capture.pcapng"
    waiting.value.save_as(saved)
    assert saved.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    stop = found.get_by_role("button", name="Stop")
    stop.press("Enter")
    expect(stop).to_be_hidden(timeout=SHORT)


def test_one_goes_back_in_time_by_keyboard(notebook: Notebook) -> None:
    """The first moment has what was there then: neither the drop nor, in the picture, the rule for it."""
    found = widget(notebook, "moments")
    slider = found.locator("input[type=range]")
    slider.focus()
    press(notebook, "Home")
    expect(found.locator(".nl-where")).to_contain_text("· 1 of")
    expect(found.locator(".nl-words")).to_contain_text("hosts: client, router, node, web")
    node = found.locator('[data-nl-id="host:node"]')
    expect(node).not_to_contain_text("filter 1", timeout=SHORT)
    press(notebook, "End")
    expect(node).to_contain_text("filter 1", timeout=SHORT)
    found.get_by_role("button", name="earlier").press("Enter")
    expect(found.get_by_role("button", name="now")).to_be_enabled()
    found.get_by_role("button", name="now").press("Enter")
    expect(found.get_by_role("button", name="now")).to_be_disabled()


def test_what_is_saved_is_hidden_while_the_live_view_is_there(notebook: Notebook) -> None:
    """A reader sees each widget once; the text for readers without Python is in the page, and hidden."""
    for cell in WIDGETS:
        outputs = notebook.show(f"# {cell}").locator(".jp-OutputArea-child")
        expect(outputs).to_have_count(2)
        expect(outputs.nth(0)).to_be_visible()
        expect(outputs.nth(1)).to_be_hidden()


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_no_widget_has_a_serious_fault_of_accessibility(notebook: Notebook, axe: str, theme: str) -> None:
    """axe-core finds nothing serious or critical: names, roles, keyboard, contrast."""
    notebook.menu("Settings", "Theme", f"JupyterLab {theme}")
    notebook.page.wait_for_timeout(1_000)  # the theme fades in
    notebook.page.evaluate(axe)
    for cell in (*WIDGETS, "a drop"):
        found = widget(notebook, cell)
        expect(found).to_be_visible(timeout=SHORT)
        faults = found.evaluate(
            """async (element) => {
                const {violations} = await axe.run(element, {resultTypes: ["violations"]});
                return violations.filter((each) => ["serious", "critical"].includes(each.impact))
                    .map((each) => `${each.id}: ${each.help}: ` + each.nodes.map((node) => node.html).join(" "));
            }"""
        )
        assert not faults, f"{cell}: {faults}"
