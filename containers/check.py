#!/usr/bin/env python3
"""Run a chapter on a Jupyter server that is up, over HTTP and websockets as a browser does: check.py URL CHAPTER.

The server starts the kernel, and the kernel makes the lab. Exits 0 if every cell ran, 1 with the failing cell's own
words if one did not, 2 if the server never answered. The token is read from JUPYTER_TOKEN.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any
from urllib.parse import quote

import nbformat
import requests
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

SECONDS_TO_START = 60
SECONDS_PER_CELL = 120


def wait_for(url: str) -> None:
    """Return when the server answers; exit 2 when it does not in time."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        try:
            version = requests.get(f"{url}/api", timeout=5).json()["version"]
        except (requests.RequestException, ValueError, KeyError):
            time.sleep(0.2)
        else:
            print(f"JupyterLab answers (Jupyter Server {version})", flush=True)
            return
    print(f"The server did not answer at {url} within {SECONDS_TO_START} s.", file=sys.stderr)
    sys.exit(2)


def fetch(url: str, token: str, chapter: str) -> Any:
    """Read the chapter as the server has it."""
    answer = requests.get(
        f"{url}/api/contents/{quote(chapter)}",
        params={"content": "1"},
        headers={"Authorization": f"token {token}"},
        timeout=30,
    )
    if not answer.ok:
        print(f"The server has no {chapter}: {answer.status_code} {answer.reason}", file=sys.stderr)
        sys.exit(1)
    return nbformat.from_dict(answer.json()["content"])  # type: ignore[no-untyped-call]


def headline(source: str) -> str:
    """Return a cell's first line, cut to fit one line of a terminal."""
    first = source.strip().splitlines()[0] if source.strip() else "(empty)"
    return first if len(first) <= 60 else first[:59] + "…"  # noqa: PLR2004 - a terminal's width, less the rest


def run(url: str, token: str, chapter: str) -> int:
    """Run every cell in a kernel of the server; return the exit status."""
    notebook = fetch(url, token, chapter)
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    GatewayClient.instance(url=url, auth_scheme="token", auth_token=token)
    done = 0

    def report(cell: Any, cell_index: int, execute_reply: Any) -> None:
        nonlocal done
        del cell_index
        done += 1
        status = execute_reply["content"]["status"]
        print(f"  {done:3} of {total}  {'ok' if status == 'ok' else 'FAILED':6}  {headline(cell.source)}", flush=True)

    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_manager_class=GatewayKernelManager,
        kernel_name=notebook.metadata.get("kernelspec", {}).get("name", "python3"),
        on_cell_executed=report,
    )
    begin = time.monotonic()
    try:
        client.execute()
    except (CellControlSignal, DeadKernelError, TimeoutError) as error:
        print(f"\nChapter {chapter} stopped at cell {done} of {total}:\n{error}", file=sys.stderr)
        return 1
    print(f"Chapter {chapter}: all {total} cells ran in {time.monotonic() - begin:.1f} s")
    return 0


if __name__ == "__main__":
    server, name = sys.argv[1:]
    wait_for(server)
    sys.exit(run(server, os.environ["JUPYTER_TOKEN"], name))
