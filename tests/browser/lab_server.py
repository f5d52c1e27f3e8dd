"""JupyterLab as a person uses it: a server of the test's own, and a page in Chromium."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
#: For Playwright, in milliseconds.
LONG, SHORT = 60_000, 10_000
#: What stands beside a cell that has ended.
ENDED = re.compile(r"\[\d+\]:")


@dataclass(frozen=True)
class Server:
    """A running JupyterLab, and the folder that it serves."""

    url: str
    token: str
    folder: Path
    process: subprocess.Popen[bytes]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def serve(folder: Path, home: Path) -> Iterator[Server]:
    """Serve a folder as `containers/up` does, with settings of its own; ends the server and its kernels."""
    port, token = _free_port(), secrets.token_hex(16)
    kept = {key: value for key, value in os.environ.items() if key in {"LANG", "TMPDIR", "PYTHONPATH"}}
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    environment = kept | {"HOME": str(home), "JUPYTER_TOKEN": token, "PATH": path, "SHELL": "/bin/bash"}
    (home / ".bashrc").write_text("PS1='~$ '\n", encoding="utf-8")  # the same picture on every machine
    # A line that is meant for a host must never be carried out on the machine, not even where `netlab shell` refuses
    # and root's own shell reads on. A lab has capabilities of its own, in its user namespace.
    harmless = ["setpriv", *(f"--{which}=-net_admin,-sys_admin" for which in ("bounding-set", "inh-caps")), "--"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(harmless if os.geteuid() == 0 else []),
                *(ROOT / "containers" / "serve", folder, "127.0.0.1", str(port), "no"),
            ],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=home,
        )
    server = Server(f"http://127.0.0.1:{port}", token, folder, process)
    try:
        _await(server, home / "server.log")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _await(server: Server, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/api", timeout=5):  # noqa: S310 - the server of this test
                return
        except (urllib.error.URLError, OSError):
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text(errors="replace")) from None
            time.sleep(0.1)


@dataclass
class Notebook:
    """A chapter open in JupyterLab, and what a person does with it."""

    page: Page
    server: Server
    name: str
    panel: Locator = field(init=False)

    def __post_init__(self) -> None:
        """Find the notebook's part of the page."""
        self.panel = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @classmethod
    def open(cls, page: Page, server: Server, name: str) -> Notebook:
        """Open a chapter by its link, and wait until its kernel is there."""
        page.goto(f"{server.url}/lab/tree/{name}?token={server.token}&reset")
        opened = cls(page, server, name)
        expect(opened.panel.locator(".jp-Cell").first).to_be_visible(timeout=LONG)
        opened.await_idle()
        return opened

    def menu(self, *names: str) -> None:
        """Choose an item of the menu bar."""
        self.page.locator(".lm-MenuBar-item", has_text=names[0]).first.click()
        for name in names[1:]:
            self.page.locator(".lm-Menu .lm-Menu-item:visible", has_text=name).first.click()

    def run_all(self) -> None:
        """Run every cell, and wait until the last one has ended."""
        self.menu("Run", "Run All Cells")
        self._await_last()

    def run_below(self) -> None:
        """Run the selected cell and those below it, and wait until the last one has ended."""
        self.menu("Run", "Run Selected Cell and All Below")
        self._await_last()

    def _await_last(self) -> None:
        """Wait for the last cell; far cells are not in the page, so none is counted."""
        last = self.panel.locator(".jp-CodeCell").last.locator(".jp-InputArea-prompt")
        expect(last).not_to_have_text("[ ]:", timeout=LONG)  # it waits, or has ended
        expect(last).not_to_have_text("[*]:", timeout=LONG)
        words = last.text_content() or ""
        # JupyterLab takes the star away from the cells that an error kept from running.
        assert ENDED.fullmatch(words), self.errors()
        self.await_idle()

    def errors(self) -> list[str]:
        """Return the errors that cells show; a far cell is brought into the page first."""
        self.page.wait_for_timeout(500)
        found = self.panel.locator('[data-mime-type="application/vnd.jupyter.error"], [data-mime-type$=stderr]')
        return found.all_text_contents()

    def run_cell(self, text: str) -> Locator:
        """Run the cell that has a text in its source, and return it when it has ended."""
        cell = self.show(text)
        prompt = cell.locator(".jp-InputArea-prompt")
        before = prompt.text_content() or ""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        expect(prompt).not_to_have_text(before, timeout=LONG)
        expect(prompt).to_have_text(ENDED, timeout=LONG)
        return cell

    def run_above(self, text: str) -> None:
        """Run the cells above the one that has a text in its source, and go there."""
        cell = self.show(text)
        cell.locator(".cm-content").click()
        self.menu("Run", "Run All Above Selected Cell")
        above = cell.locator("xpath=preceding-sibling::*[contains(@class, 'jp-CodeCell')][1]")
        expect(above.locator(".jp-InputArea-prompt")).to_have_text(ENDED, timeout=LONG)
        self.await_idle()

    def await_idle(self) -> None:
        """Wait until there is a kernel, and it has nothing to do."""
        expect(self.page.locator("#jp-main-statusbar", has_text="| Idle")).to_be_visible(timeout=LONG)
        indicator = self.panel.locator(".jp-Notebook-ExecutionIndicator").first
        expect(indicator).to_have_attribute("data-status", "idle", timeout=LONG)

    def cell(self, text: str) -> Locator:
        """Return the code cell that has a text in its source."""
        return self.panel.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea", has_text=text)).first

    def picture(self) -> Locator:
        """Return the live picture."""
        return self.panel.locator(".jp-OutputArea svg.nl").first

    def save(self) -> None:
        """Save, and wait until it is done."""
        self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=self.name).click()
        self.menu("File", "Save Notebook")
        expect(self.page.locator(".jp-mod-dirty")).to_have_count(0, timeout=SHORT)

    def restart(self) -> None:
        """Restart the kernel and clear what was shown, as the menu does."""
        self.menu("Kernel", "Restart Kernel and Clear Outputs of All Cells")
        self.page.locator(".jp-Dialog").get_by_role("button", name="Confirm").click()
        self.page.wait_for_timeout(500)
        self.await_idle()

    def shut_down(self) -> None:
        """End the kernel, as the menu does."""
        self.menu("Kernel", "Shut Down Kernel")
        expect(self.page.locator("#jp-main-statusbar", has_text="No Kernel")).to_be_visible(timeout=SHORT)

    def to_top(self) -> None:
        """Scroll to the first cell."""
        self.panel.locator(".jp-WindowedPanel-outer").first.evaluate("element => element.scrollTo(0, 0)")
        expect(self.panel.locator(".jp-Cell").first).to_be_in_viewport(timeout=SHORT)

    def scroll(self, pixels: int) -> None:
        """Scroll the notebook down."""
        self.panel.locator(".jp-WindowedPanel-outer").first.evaluate("(element, by) => element.scrollBy(0, by)", pixels)

    def show(self, text: str) -> Locator:
        """Scroll down until the code cell with a text is in the page; return it."""
        cell = self.cell(text)
        self.to_top()
        for _ in range(60):
            if cell.is_visible():
                cell.scroll_into_view_if_needed()
                return cell
            self.scroll(400)
            self.page.wait_for_timeout(150)
        raise AssertionError(text)

    def type_into_terminal(self, line: str) -> None:
        """Type a line into the terminal, and give the shell a moment."""
        self.page.locator(".jp-Terminal .xterm-helper-textarea").last.focus()
        self.page.keyboard.type(line + "\n")
        self.page.wait_for_timeout(1_000)

    def open_terminal(self) -> Locator:
        """Open a terminal by the menu, and return its tab."""
        self.menu("File", "New", "Terminal")
        expect(self.page.locator(".jp-Terminal .xterm-screen").last).to_be_visible(timeout=SHORT)
        self.page.wait_for_timeout(1_000)  # the shell starts
        return self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="Terminal").last

    def drag(self, tab: Locator, onto: Locator, where: tuple[float, float]) -> None:
        """Drag a tab to a place in something, in parts of its width and height."""
        start, end = tab.bounding_box(), onto.bounding_box()
        assert start
        assert end
        mouse = self.page.mouse
        mouse.move(start["x"] + 30, start["y"] + start["height"] / 2)
        mouse.down()
        x, y = end["x"] + where[0] * end["width"], end["y"] + where[1] * end["height"]
        mouse.move(x, y - 60, steps=15)
        mouse.move(x, y, steps=5)
        self.page.wait_for_timeout(300)
        mouse.up()
        self.page.wait_for_timeout(500)

    def terminal_at_the_side(self) -> None:
        """Open a terminal in the right half, beside the notebook."""
        self.drag(self.open_terminal(), self.page.locator("#jp-main-dock-panel"), (0.99, 0.5))

    def picture_at_the_side(self) -> None:
        """Show the picture in the right half too, as chapter 00 says how."""
        self.picture().click(button="right", position={"x": 5, "y": 5})
        self.page.locator(".lm-Menu-item:visible", has_text="Create New View for Cell Output").click()
        tab = self.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="Output View")
        self.drag(tab.last, self.page.locator("#jp-main-dock-panel"), (0.99, 0.5))

    def terminal_below_the_picture(self) -> None:
        """Open a terminal in the lower part of the right half."""
        tab = self.open_terminal()
        self.drag(tab, self.page.locator(".jp-Terminal").last, (0.5, 0.95))
