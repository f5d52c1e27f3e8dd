"""The server that `containers/up` starts: where it listens, whom it lets in, how it ends, and the chapter's check."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERS = Path(__file__).parents[2] / "containers"
SECONDS = 30

pytestmark = pytest.mark.notebook


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a learner who has nothing of their own yet."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "IPYTHON", "PYTHON"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(home), **more}


def chapter(directory: Path, name: str, *cells: str) -> None:
    """Write a notebook of code cells."""
    code: dict[str, object] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    written = [{**code, "id": f"c{number}", "source": source} for number, source in enumerate(cells)]
    (directory / name).write_text(
        json.dumps({"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8"
    )


class Served:
    """A server that is up, with what its link says."""

    def __init__(self, process: subprocess.Popen[bytes], link: str) -> None:
        self.process, self.link = process, link
        self.base, self.token = re.findall(r"^(http://[^/]+)/.*token=([0-9a-f]+)$", link)[0]

    def get(self, path: str, token: str | None = None) -> requests.Response:
        """Ask the server, with a token or as a stranger."""
        headers = {"Authorization": f"token {token}"} if token else {}
        return requests.get(f"{self.base}{path}", headers=headers, timeout=SECONDS, allow_redirects=False)

    def processes(self) -> list[psutil.Process]:
        """Return the server and all that it started."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]


def read_link(output: IO[bytes]) -> str:
    """Wait for the line with the link."""
    end, said = time.monotonic() + SECONDS, ""
    while select.select([output], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(output.fileno(), 4096).decode()
        said += piece
        if found := re.search(r"(http://\S+)\n", said):
            return found[1]
        if not piece:
            break
    pytest.fail(f"the server printed no link:\n{said}")


@contextmanager
def serve(home: Path, labs: Path) -> Iterator[Served]:
    """Start the server as `up` does, in a session of its own; end it with the test."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = subprocess.Popen(
        [CONTAINERS / "serve", labs, "127.0.0.1", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=environment(home),
        start_new_session=True,
    )
    assert process.stdout is not None
    with process:
        try:
            yield Served(process, read_link(process.stdout))
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out a course, one chapter of which fails."""
    directory = tmp_path_factory.mktemp("labs")
    chapter(directory, "00-welcome.ipynb", "1")
    chapter(
        directory, "01-one-packet.ipynb", "import os\nassert os.path.exists('00-welcome.ipynb')", "", "print('two')"
    )
    chapter(directory, "02-broken.ipynb", "x = 1", "undefined_name", "x")
    return directory


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, labs: Path) -> Iterator[Served]:
    """Serve that course to the tests that leave the server as it was."""
    with serve(tmp_path_factory.mktemp("home"), labs) as server:
        yield server


def test_link_opens_chapter_00(served: Served) -> None:
    """The printed link is all that a learner needs."""
    assert "/lab/tree/00-welcome.ipynb?token=" in served.link
    assert requests.get(served.link, timeout=SECONDS).status_code == 200


def test_stranger_is_not_let_in(served: Served) -> None:
    """Without the token nothing can be read, and nothing run."""
    assert served.get("/api/contents").status_code == 403
    assert served.get("/api/contents", "wrong").status_code == 403
    assert served.get("/api/terminals").status_code == 403
    assert served.get("/api/contents", served.token).status_code == 200


def test_server_listens_on_loopback_only(served: Served) -> None:
    """Nobody else on the network sees the lab."""
    listening = {
        connection.laddr.ip
        for process in served.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_server_has_terminals(served: Served) -> None:
    """A learner types `ip link` in a terminal of the same server."""
    headers = {"Authorization": f"token {served.token}"}
    made = requests.post(f"{served.base}/api/terminals", headers=headers, timeout=SECONDS)
    assert made.status_code == 200
    assert made.json()["name"] in {each["name"] for each in served.get("/api/terminals", served.token).json()}


def test_server_asks_no_other_machine_for_news(served: Served) -> None:
    """The page is told to leave out the extension that asks for announcements."""
    page = served.get("/lab", served.token).text
    assert "@jupyterlab/apputils-extension:announcements" in page
    assert '"news": {"disabled": true}' in page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_one_signal_ends_all(tmp_path: Path, labs: Path, number: signal.Signals) -> None:
    """Ctrl-C asks no question, and takes kernels and terminals along."""
    with serve(tmp_path, labs) as served:
        headers = {"Authorization": f"token {served.token}"}
        for what in ("kernels", "terminals"):
            assert requests.post(f"{served.base}/api/{what}", headers=headers, timeout=SECONDS).ok
        started = served.processes()
        assert len(started) >= 3
        served.process.send_signal(number)
        served.process.wait(SECONDS)
        _, alive = psutil.wait_procs(started, timeout=SECONDS)
        assert not alive


def check(served: Served, home: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run the check of one chapter."""
    return subprocess.run(
        [sys.executable, CONTAINERS / "check.py", served.base, name],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
        env=environment(home, JUPYTER_TOKEN=served.token),
    )


def test_check_runs_every_cell(served: Served, tmp_path: Path) -> None:
    """Each cell is named as it runs; empty ones do not count; the kernel is gone afterwards."""
    result = check(served, tmp_path, "01-one-packet.ipynb")
    assert result.returncode == 0, result.stderr
    assert "1 of 2  import os" in result.stdout
    assert "all 2 cells ran" in result.stdout
    assert served.get("/api/kernels", served.token).json() == []


def test_check_shows_the_cell_that_failed(served: Served, tmp_path: Path) -> None:
    """The reader of the check gets the cell, its number and Python's own words; later cells do not run."""
    result = check(served, tmp_path, "02-broken.ipynb")
    assert result.returncode == 1
    assert "FAILED    2 of 3  undefined_name" in result.stdout
    assert "3 of 3" not in result.stdout
    assert "NameError" in result.stderr
    assert served.get("/api/kernels", served.token).json() == []


def test_check_says_that_there_is_no_such_chapter(served: Served, tmp_path: Path) -> None:
    """A missing chapter is no success."""
    result = check(served, tmp_path, "99-none.ipynb")
    assert result.returncode == 1
    assert "404" in result.stderr
