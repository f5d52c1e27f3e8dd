#!/usr/bin/env python3
"""Run a chapter on a Jupyter server that is up, over HTTP and a websocket as a browser does: check.py URL CHAPTER.

The server starts the kernel, and the kernel makes the lab. Exits 0 if every cell ran, 1 with the failing cell and its
own words if one did not, 2 if the server never answered. The token is read from JUPYTER_TOKEN.
The messages are those of the Jupyter client protocol 5.3.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
import websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_TO_START = 60
SECONDS_PER_CELL = 120
WIDTH = 60
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class CheckFailed(Exception):  # noqa: N818 - it is the verdict, not an accident
    """The chapter did not run to its end; the text says where and why."""


class Server:
    """The REST half: contents and sessions."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"token {token}"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one request; return the JSON of its answer, None where it has none."""
        answer = requests.request(method, f"{self.url}/api/{path}", json=body, headers=self.headers, timeout=60)
        if not answer.ok:
            message = f"{method} /api/{path}: the server answered {answer.status_code} {answer.reason}"
            raise CheckFailed(message)
        return answer.json() if answer.content else None

    def wait(self) -> str | None:
        """Return the server's version when it answers, None when it does not in time."""
        end = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < end:
            try:
                return str(requests.get(f"{self.url}/api", timeout=5).json()["version"])
            except (requests.RequestException, ValueError, KeyError):
                time.sleep(0.2)
        return None

    @contextmanager
    def kernel(self, chapter: str) -> Iterator[Kernel]:
        """Start a kernel for the chapter, as opening it does; shut it down afterwards."""
        wanted = {"path": chapter, "name": chapter, "type": "notebook", "kernel": {"name": "python3"}}
        session = self.ask("POST", "sessions", wanted)
        kernel, websockets = session["kernel"]["id"], self.url.replace("http", "ws", 1)
        channels = f"{websockets}/api/kernels/{kernel}/channels?session_id={session['id']}"
        socket = websocket.create_connection(channels, timeout=SECONDS_PER_CELL, header=self.headers)
        try:
            yield Kernel(socket)
        finally:
            socket.close()
            self.ask("DELETE", f"sessions/{session['id']}")


class Kernel:
    """The websocket half: one kernel, one cell at a time."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self.socket = socket
        self.session = uuid.uuid4().hex

    def execute(self, code: str) -> str | None:
        """Run one cell to its end; return None, or the error's own words."""
        request = uuid.uuid4().hex
        header = {"msg_id": request, "msg_type": "execute_request", "session": self.session, "username": "", "date": ""}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "user_expressions": {}}
        message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": "shell", "buffers": []}))
        error: str | None = None
        ended: set[str] = set()
        end = time.monotonic() + SECONDS_PER_CELL
        # The reply and the outputs come on channels of their own: the cell has ended when both say so.
        while ended != {"reply", "idle"}:
            if time.monotonic() > end:
                raise websocket.WebSocketTimeoutException
            frame = self.socket.recv()
            if isinstance(frame, bytes):  # a widget's buffers
                continue
            answer = json.loads(frame)
            if answer["parent_header"].get("msg_id") != request:
                continue
            kind, said = answer["msg_type"], answer["content"]
            if kind == "execute_reply":
                ended.add("reply")
                if said["status"] != "ok" and error is None:
                    error = said["status"]
            elif kind == "status" and said["execution_state"] == "idle":
                ended.add("idle")
            elif kind == "error":
                error = "\n".join(said["traceback"]) or f"{said['ename']}: {said['evalue']}"
        return error


def headline(source: str) -> str:
    """Return a cell's first line, and its first command where that is a magic, cut to fit one line of a terminal."""
    lines = source.strip().splitlines()
    first = " · ".join(lines[:2]) if lines[0].startswith("%%") else lines[0]
    return first if len(first) <= WIDTH else first[: WIDTH - 1] + "…"


def run(server: Server, chapter: str) -> None:
    """Run every cell of the chapter and say so; raise CheckFailed at the first that fails."""
    notebook = server.ask("GET", f"contents/{quote(chapter)}?content=1")["content"]
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]
    begin = time.monotonic()
    with server.kernel(chapter) as kernel:
        for number, source in enumerate(sources, start=1):
            where = f"{number:3} of {len(sources)}  {headline(source)}"
            try:
                error = kernel.execute(source)
            except websocket.WebSocketTimeoutException:
                error = f"The cell did not end within {SECONDS_PER_CELL} s."
            except websocket.WebSocketException as lost:
                error = f"The connection to the kernel was lost: {lost}"
            print(f"  {'FAILED' if error else 'ok':6}  {where}", flush=True)
            if error:
                plain = error if sys.stderr.isatty() else ANSI.sub("", error)
                message = f"{chapter} failed in cell {number} of {len(sources)}:\n\n{source}\n\n{plain}"
                raise CheckFailed(message)
    print(f"{chapter}: all {len(sources)} cells ran in {time.monotonic() - begin:.1f} s")


def main() -> int:
    """Run the chapter named on the command line; return the exit status."""
    url, chapter = sys.argv[1:]
    server = Server(url, os.environ["JUPYTER_TOKEN"])
    version = server.wait()
    if version is None:
        print(f"No server answered at {url} within {SECONDS_TO_START} s.", file=sys.stderr)
        return 2
    print(f"Jupyter Server {version} answers at {url}", flush=True)
    try:
        run(server, chapter)
    except CheckFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
