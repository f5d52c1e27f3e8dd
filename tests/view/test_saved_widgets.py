from __future__ import annotations

import base64
import re
from typing import Any
from xml.etree import ElementTree as ET

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

pytestmark = [pytest.mark.kernel, pytest.mark.notebook]

CELLS = (
    """from netlab import Lab
lab = Lab("saved")
red, blue = lab.add_host("red"), lab.add_host("blue")
lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
server = blue.serve(80)
blue.iptables("-A", "INPUT", "-p", "tcp", "-j", "ACCEPT")""",
    "blue.rules()",
    "table = lab.watch_packets('eth0 of blue', filter='tcp port 80')\ntable",
    "lab.history()",
    "lab.trace(red, '10.0.0.2', 80)",
    """from threading import Event
seen = Event()
rules = lambda snapshot: [rule.text for rule in snapshot["blue"].rules]
watch = lab.watcher.subscribe(lambda snapshot: "-p udp -j DROP" in rules(snapshot) and seen.set())
blue.iptables("-A", "INPUT", "-p", "udp", "-j", "DROP")
table.stop()
assert seen.wait(10)""",
    "lab.close()",
)
RULES, PACKETS, HISTORY, JOURNEY = range(1, 5)


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """Return a notebook that was run from its first cell to its last, as it would be saved."""
    make: Any = nbformat.v4
    found: nbformat.NotebookNode = make.new_notebook(cells=[make.new_code_cell(source) for source in CELLS])
    NotebookClient(found, timeout=60, kernel_name="python3").execute()
    return found


@pytest.fixture(scope="module")
def page(notebook: nbformat.NotebookNode) -> str:
    """Return the page that nbconvert makes of it."""
    exporter: Any = HTMLExporter
    return str(exporter().from_notebook_node(notebook)[0])


def saved(notebook: nbformat.NotebookNode, cell: int) -> str:
    """Return what stands below the live view of a cell."""
    live, kept = notebook.cells[cell].outputs
    assert "application/vnd.jupyter.widget-view+json" in live.data
    return str(kept.data.get("text/html") or kept.data["image/svg+xml"])


def test_what_is_saved_is_what_was_shown_last(notebook: nbformat.NotebookNode) -> None:
    """Later cells changed the rules and let packets pass: the outputs above them tell it."""
    assert "-p udp -j DROP" in saved(notebook, RULES)
    assert "10.0.0.1" in saved(notebook, PACKETS)
    assert "udp" in saved(notebook, HISTORY)
    assert "red" in saved(notebook, JOURNEY)


def test_a_history_is_saved_with_its_picture(notebook: nbformat.NotebookNode) -> None:
    """The picture is an image of its own, so that its style sheet stays in it."""
    picture = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', saved(notebook, HISTORY))
    assert picture
    root = ET.fromstring(base64.b64decode(picture[1]))  # noqa: S314 - our own text
    assert {"if:red/eth0", "if:blue/eth0"} <= {each.get("data-nl-id") for each in root.iter()}


def test_nbconvert_shows_all_of_them(notebook: nbformat.NotebookNode, page: str) -> None:
    """A page without Python has the rules, the packets, the moments and the journey."""
    assert "-p udp -j DROP" in page
    assert saved(notebook, PACKETS) in page
    assert "rule 2 of iptables filter INPUT appeared: -p udp -j DROP</pre>" in page
    assert len(re.findall(r'<img[^>]+src="data:image/svg\+xml', page)) == 2
