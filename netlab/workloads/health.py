"""What a node's proxy answers over HTTP: health checks of Services, its own health, its metrics. Run in a host.

Each line of standard input is a JSON object that says all there is to answer:
``{"address:port": {"path": [status, headers, body]}}``, where the path ``*`` stands for any other. One line comes back:
the places at which nothing could listen, each with the reason. Standard library only, so that it starts fast.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Pages = dict[str, list[Any]]


class Handler(BaseHTTPRequestHandler):
    """Answers with what was said to answer here."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        """Send the page of this path."""
        path = self.path.partition("?")[0]
        missing: list[Any] = [404, {"Content-Type": "text/plain"}, "404 page not found\n"]
        status, headers, body = self.server.pages.get(path) or self.server.pages.get("*") or missing
        data = body.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


class Server(ThreadingHTTPServer):
    """One place to listen at; its pages may change."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, place: str) -> None:
        """Listen at ``address:port``."""
        address, _, port = place.rpartition(":")
        self.pages: Pages = {}
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, int(port)), Handler)

    def server_bind(self) -> None:
        """Bind to one family: the proxy of the other has its own."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


def follow(servers: dict[str, Server], wanted: dict[str, Pages]) -> dict[str, str]:
    """Listen where it is wanted and nowhere else; return where that failed, and why."""
    for place in servers.keys() - wanted.keys():
        server = servers.pop(place)
        server.shutdown()
        server.server_close()
    failed = {}
    for place, pages in wanted.items():
        if place not in servers:
            try:
                servers[place] = Server(place)
            except OSError as error:
                failed[place] = str(error.strerror)
                continue
            threading.Thread(target=servers[place].serve_forever, args=(0.05,), daemon=True).start()
        servers[place].pages = pages
    return failed


def main() -> None:
    """Answer until standard input ends."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    servers: dict[str, Server] = {}
    for line in sys.stdin:
        print(json.dumps(follow(servers, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
