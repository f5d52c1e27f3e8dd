"""From a change in the kernel to the page of a browser: JupyterLab, a notebook with a diagram, headless Chromium."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.benches.crowds import LARGE, SMALL, raise_crowd
from netlab.benches.measure import Figure, at_most
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.benches.crowds import Crowd

#: Seconds for a server or a page to be there; milliseconds of the same for Playwright.
_PATIENCE, _LONG = 60.0, 60_000
#: A learner's terminal: takes a link down and up, and writes down when each order was given.
_TYPED = """for _ in $(seq {rounds}); do
  sleep 1; echo "down $(date +%s%N)"; ip link set eth0 down
  sleep 1; echo "up $(date +%s%N)"; ip link set eth0 up
done"""
#: Runs in the page: notes when the next frame with another state of one element was due.
_WATCH = """([id, down]) => {
  window.seen = [];
  let last = null;
  const look = () => {
    const element = document.querySelector(`.nl-root [data-nl-id="${CSS.escape(id)}"]`);
    const now = element === null ? null : element.classList.contains(down) ? "down" : "up";
    if (now === null || now === last) return;
    last = now;
    requestAnimationFrame(() => window.seen.push([now, Date.now()]));
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
  look();
}"""
#: What keeps Chromium from talking to anybody but our server.
_ALONE = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_CELL = """from netlab.benches.browser import begin
typed = begin({large}, {rounds})
typed.lab.diagram()"""


class Typed:
    """A crowded lab in a notebook, and the terminal that changes it."""

    def __init__(self, size: Crowd, rounds: int) -> None:
        """Raise the lab; `type` begins."""
        self.lab = raise_crowd(size)
        self._host, self._script = self.lab.host(size.victim), _TYPED.format(rounds=rounds)

    def type(self, path: str) -> None:
        """Begin to change the link in a process of its own; the times are written to a file."""
        with Path(path).open("wb") as file:
            self._process = self._host.popen("sh", "-c", self._script, stdout=file)


def begin(large: bool, rounds: int) -> Typed:  # noqa: FBT001 - written in a cell
    """Return a lab for the notebook of this bench."""
    return Typed(LARGE if large else SMALL, rounds)


def measure(rounds: int) -> Iterator[Figure]:
    """Yield how long a change takes to be in the page, for a lab of each size; why not, where it cannot be told."""
    sizes = ((SMALL, 250.0), (LARGE, 1000.0))
    try:
        with _folder() as folder, _server(folder) as url, _page() as page:
            for size, limit in sizes:
                yield at_most(_what(size), "ms", _delays(page, url, folder, (size, rounds)), limit)
    except (ImportError, LabError) as error:
        for size, limit in sizes:
            yield Figure(_what(size), "ms", aim=f"≤ {limit:g} ms", note=f"not measured: {error}")


def _what(size: Crowd) -> str:
    return f"`ip link set` in a terminal to the page of JupyterLab, {size.hosts} hosts"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="netlab-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Serve a folder by JupyterLab, with settings of its own; yield the link to it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    (folder / "served").mkdir()
    kept = {key: value for key, value in os.environ.items() if key in {"LANG", "TMPDIR", "PATH", "PYTHONPATH"}}
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder / 'served'}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=kept | {"HOME": str(folder), "JUPYTER_TOKEN": token}, stdout=log, stderr=log, cwd=folder
        )
    try:
        _await_server(port, process, folder / "server.log")
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE)


def _await_server(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines() or ["it did not start"]
                raise LabError(f"JupyterLab: {lines[-1]}") from None
            time.sleep(0.1)


@contextmanager
def _page() -> Iterator[Any]:
    """Open a page of a headless Chromium, the system's or else Playwright's."""
    try:
        from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - a contributor has it, a learner not
    except ImportError:
        raise LabError("Playwright is not installed (pip install playwright)") from None
    names = ("chromium", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(_ALONE))
        except Error as error:
            raise LabError(f"no Chromium: {str(error).splitlines()[0]}") from None
        yield browser.new_page(viewport={"width": 1600, "height": 1000})
        browser.close()


def _delays(page: Any, url: str, folder: Path, plan: tuple[Crowd, int]) -> list[float]:
    """Return the milliseconds from each order to the first frame that shows it."""
    size, rounds = plan
    name, times = f"{size.hosts}.ipynb", folder / f"{size.hosts}.times"
    cells = (_CELL.format(large=size is LARGE, rounds=rounds), f"typed.type({str(times)!r})", "typed.lab.close()")
    _write_notebook(folder / "served" / name, cells)
    page.goto(url.format(name))
    page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=_LONG)
    prompts = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputArea-prompt")
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.locator(f'.nl-root [data-nl-id="{size.shown}"]').first.wait_for(timeout=_LONG)
    page.evaluate(_WATCH, [size.shown, size.down])
    page.keyboard.press("Shift+Enter")
    orders = _orders(times, 2 * rounds)
    page.wait_for_timeout(2000)
    seen = page.evaluate("window.seen")
    page.keyboard.press("Shift+Enter")
    prompts.last.filter(has_text="]:").wait_for(timeout=_LONG)
    return [_first_after(seen, word, at) - at for word, at in orders]


def _write_notebook(path: Path, cells: tuple[str, ...]) -> None:
    found: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text, "id": f"c{n}"}
        for n, text in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {"cells": found, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document), encoding="utf-8")


def _orders(path: Path, number: int) -> list[tuple[str, float]]:
    """Wait for all orders; return the word and the time of each in milliseconds."""
    deadline = time.monotonic() + _PATIENCE + 2 * number
    lines: list[str] = []
    while len(lines) < number:
        if time.monotonic() > deadline:
            raise LabError("the cell that changes the link has not run")
        time.sleep(0.2)
        lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1]) / 1e6) for line in lines]


def _first_after(seen: list[tuple[str, float]], word: str, moment: float) -> float:
    """Return when the page first showed a state after it was ordered; the browser counts whole milliseconds."""
    for state, at in seen:
        if state == word and at >= moment - 1:
            return at
    raise LabError(f"the page never showed that the link is {word}")
