"""A chapter in JupyterLab, by mouse and keyboard, as a learner does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab_server import ROOT, SHORT, Notebook, Server
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CHAPTER = "01-one-packet.ipynb"
FIRST_REQUEST = "as seen:"
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
#: Milliseconds for a change in the kernel to show in the page, with room for a busy machine.
SOON = 5_000


def owners(server: Server) -> list[int]:
    """Return the processes of this server that own a lab of chapter 01; others may have labs of that name too."""
    listed = Path("/proc/net/unix").read_text(encoding="utf-8")
    found = {int(pid) for pid in re.findall(r"@netlab/(\d+)/one-packet/", listed)}
    return [pid for pid in found if _belongs_to(pid, server.process.pid)]


def _belongs_to(pid: int, ancestor: int) -> bool:
    """Tell whether a process descends from another."""
    while pid > 1 and pid != ancestor:
        try:
            status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        pid = int(status.rsplit(")", 1)[1].split()[1])
    return pid == ancestor


@pytest.fixture
def fresh(page: Page, server: Server) -> Notebook:
    """Return chapter 01 as it comes, with a new kernel."""
    (server.folder / CHAPTER).write_bytes((ROOT / "labs" / CHAPTER).read_bytes())
    opened = Notebook.open(page, server, CHAPTER)
    opened.restart()
    return opened


@pytest.fixture
def notebook(fresh: Notebook) -> Notebook:
    """Return chapter 01, run until its network stands and `blue` serves."""
    fresh.run_above(FIRST_REQUEST)
    fresh.to_top()
    return fresh


def test_run_all_shows_a_live_picture(fresh: Notebook) -> None:
    """After "Run All" the chapter has no error and its picture shows hosts, interfaces and the cable, once."""
    fresh.run_all()
    fresh.to_top()
    picture = fresh.picture()
    expect(picture).to_be_visible(timeout=SHORT)
    for name in ("host:red", "host:blue", "if:red/eth0", "if:blue/eth0"):
        expect(picture.locator(f'[data-nl-id="{name}"]')).to_be_visible()
    expect(picture).to_contain_text("10.0.0.1/24")
    # The static picture for saved notebooks is in the same cell, and hidden while the live one is there.
    images = fresh.panel.locator(".jp-OutputArea-child img[src^='data:image/svg']")
    expect(images.first).to_be_hidden(timeout=SHORT)
    assert not fresh.errors()


def test_a_terminal_cannot_change_the_machine(server: Server) -> None:
    """No capability over the machine's network reaches a terminal, whoever runs these tests."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    sets = {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s+(\w+)$", status, flags=re.MULTILINE)}
    held = sets["Eff"] | sets["Prm"] | sets["Inh"] | (sets["Bnd"] if os.geteuid() == 0 else 0)
    assert not held & (1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN)


def test_the_picture_follows_a_terminal(notebook: Notebook, shots: Path) -> None:
    """What is typed into `netlab shell` in a JupyterLab terminal shows in the page, without a cell being run."""
    eth0 = notebook.picture().locator('[data-nl-id="if:red/eth0"]')
    far = notebook.picture().locator('[data-nl-id="if:blue/eth0"]')
    (owner,) = owners(notebook.server)
    notebook.terminal_at_the_side()
    notebook.type_into_terminal(f"netlab shell {owner}/red")
    expect(eth0).not_to_contain_text("DOWN")
    notebook.type_into_terminal("ip link set eth0 down")
    expect(eth0).to_contain_text("DOWN", timeout=SOON)
    expect(far).to_contain_text("NO CARRIER", timeout=SOON)
    notebook.page.screenshot(path=shots / "terminal-light.png")
    notebook.menu("Settings", "Theme", "JupyterLab Dark")
    expect(notebook.page.locator('body[data-jp-theme-light="false"]')).to_be_attached(timeout=SHORT)
    notebook.page.wait_for_timeout(1_000)  # the theme fades in
    notebook.page.screenshot(path=shots / "terminal-dark.png")
    notebook.menu("Settings", "Theme", "JupyterLab Light")
    notebook.type_into_terminal("ip link set eth0 up")
    expect(eth0).not_to_contain_text("DOWN", timeout=SOON)
    expect(far).not_to_contain_text("CARRIER", timeout=SOON)


def test_an_interface_opens_by_mouse_and_by_keyboard(notebook: Notebook, shots: Path) -> None:
    """An interface tells its addresses, counters and neighbours when it is clicked, or entered by keyboard."""
    panel = notebook.panel.locator(".nl-panel").first
    notebook.picture().locator('[data-nl-id="if:red/eth0"]').click()
    expect(panel).to_be_visible()
    for words in ("10.0.0.1/24", "packets"):
        expect(panel).to_contain_text(words)
    notebook.page.screenshot(path=shots / "details.png")
    notebook.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    notebook.picture().locator('[data-nl-id="if:blue/eth0"]').focus()
    notebook.page.keyboard.press("Enter")
    expect(panel).to_contain_text("10.0.0.2/24")


def test_a_cell_can_be_run_again(notebook: Notebook) -> None:
    """The cell of the picture run twice makes a second lab, with one live picture."""
    cell = notebook.run_cell('Lab("one-packet")')
    picture = notebook.picture()
    expect(picture.locator('[data-nl-id="host:red"]')).to_be_visible(timeout=SHORT)
    expect(picture.locator('[data-nl-id="if:red/eth0"]')).to_have_count(0, timeout=SHORT)
    expect(cell.locator(".nl-root")).to_have_count(1)


def test_the_saved_notebook_keeps_the_last_picture(notebook: Notebook, tmp_path: Path) -> None:
    """The file has the picture as SVG, as the lab was last, and nbconvert shows it in a page without Python."""
    (owner,) = owners(notebook.server)
    notebook.terminal_at_the_side()
    notebook.type_into_terminal(f"netlab shell {owner}/red ip link set eth0 down")
    expect(notebook.picture().locator('[data-nl-id="if:red/eth0"]')).to_contain_text("DOWN", timeout=SOON)
    notebook.page.wait_for_timeout(2_500)  # the still picture is renewed every two seconds at most
    notebook.save()
    saved = nbformat.read(notebook.server.folder / CHAPTER, as_version=4)  # type: ignore[no-untyped-call]
    (cell,) = (cell for cell in saved.cells if cell.id == "lab")
    pictures = [output["data"]["image/svg+xml"] for output in cell.outputs if "image/svg+xml" in output.get("data", {})]
    assert len(pictures) == 1
    assert "10.0.0.1/24" in pictures[0]
    assert "DOWN" in pictures[0]
    page = tmp_path / "chapter.html"
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output", str(page)]
    subprocess.run([*command, str(notebook.server.folder / CHAPTER)], check=True, capture_output=True)
    assert "10.0.0.1/24" in page.read_text(encoding="utf-8")
    notebook.page.goto(page.as_uri())
    drawn = notebook.page.locator("svg, img[src^='data:image/svg']").first
    expect(drawn).to_be_visible()


def test_restart_leaves_nothing_behind(notebook: Notebook) -> None:
    """Restarting the kernel ends the lab and all that runs in it."""
    assert owners(notebook.server)
    notebook.restart()
    assert not owners(notebook.server)


def test_screenshot_for_the_readme(fresh: Notebook, tmp_path: Path) -> None:
    """The picture in the README is a page that a learner has: set NETLAB_README_SHOT=1 to write it anew."""
    fresh.page.set_viewport_size({"width": 1500, "height": 820})
    fresh.page.keyboard.press("Control+b")
    fresh.run_above(FIRST_REQUEST)
    fresh.to_top()
    fresh.picture_at_the_side()
    fresh.terminal_below_the_picture()
    fresh.run_cell(FIRST_REQUEST)
    fresh.scroll(260)
    fresh.type_into_terminal("netlab shell one-packet/red")
    fresh.type_into_terminal("ip link set eth0 down")
    fresh.page.wait_for_timeout(2_500)  # the marks of the change have gone
    target = (
        ROOT / "labs" / "images" / "screenshot.png" if os.environ.get("NETLAB_README_SHOT") else tmp_path / "shot.png"
    )
    fresh.page.screenshot(path=target)
    assert target.stat().st_size < 300_000
