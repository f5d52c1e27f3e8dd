from __future__ import annotations

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
lab.diagram()""",
    """import time
from threading import Event
down = Event()
watch = lab.watcher.subscribe(lambda snapshot: snapshot["red"].interface("eth0").up or down.set())
red.run("ip", "link", "set", "eth0", "down")
assert down.wait(10)""",
    "lab.diagram()",
    "lab.close()",
)


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """Return a notebook that was run from its first cell to its last, as it would be saved."""
    make: Any = nbformat.v4
    found: nbformat.NotebookNode = make.new_notebook(cells=[make.new_code_cell(source) for source in CELLS])
    NotebookClient(found, timeout=60, kernel_name="python3").execute()
    return found


def stills(notebook: nbformat.NotebookNode, cell: int) -> list[str]:
    """Return the static pictures in a cell."""
    outputs = notebook.cells[cell].outputs
    return [str(output.data["image/svg+xml"]) for output in outputs if "image/svg+xml" in output.get("data", {})]


def test_a_cell_holds_the_widget_and_one_static_picture(notebook: nbformat.NotebookNode) -> None:
    """The live view comes first; a reader without Python sees the picture below it."""
    live, still = notebook.cells[0].outputs
    assert "application/vnd.jupyter.widget-view+json" in live.data
    assert live.data["text/plain"] == "Lab saved: 2 hosts (red and blue), 1 cable."
    assert set(still.data) == {"image/svg+xml", "text/plain"}


def test_the_saved_picture_is_the_last_one(notebook: nbformat.NotebookNode) -> None:
    """What later cells changed is seen in the picture above them; that the lab is closed is said."""
    for cell in (0, 2):
        (still,) = stills(notebook, cell)
        root = ET.fromstring(still)  # noqa: S314 - our own text
        chips = {e.get("data-nl-id"): e.get("class", "") for e in root.iter() if e.get("data-nl-id")}
        assert chips["if:red/eth0"] == "iface veth down"
        assert "This lab is closed." in (root[1].text or "")


def test_two_pictures_can_stand_in_one_page(notebook: nbformat.NotebookNode) -> None:
    """No id of one picture is an id of the other."""
    ids = [{e.get("id") for e in ET.fromstring(stills(notebook, cell)[0]).iter() if e.get("id")} for cell in (0, 2)]  # noqa: S314 - our own text
    assert ids[0]
    assert not ids[0] & ids[1]


def test_nbconvert_shows_the_picture(notebook: nbformat.NotebookNode) -> None:
    """An HTML page made of the notebook has the pictures in it."""
    exporter: Any = HTMLExporter
    page, _ = exporter().from_notebook_node(notebook)
    assert len(re.findall(r'<img[^>]+src="data:image/svg\+xml', page)) == 2
