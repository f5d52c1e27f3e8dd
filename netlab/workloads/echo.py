"""A server that says who answered and who called; run as a script inside a host.

HTTP over TCP answers every request with JSON; UDP answers every datagram with JSON. Standard library only, so that it
starts fast under any interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import socketserver
import sys
import traceback
from http.server import BaseHTTPRequestHandler


def plain(address: str) -> str:
    """Return an address without the IPv6 form of an IPv4 one (RFC 4291, section 2.5.5.2)."""
    return address.removeprefix("::ffff:")


class Caller(BaseHTTPRequestHandler):
    """Answers any request with who answered and who called."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for the whole answer: one packet on the wire
    server: Server

    def answer(self) -> None:
        """Send the answer as JSON."""
        length = int(self.headers.get("Content-Length") or 0)
        received = self.rfile.read(length) if length else b""
        local = self.connection.getsockname()
        body = {
            "server": self.server.label,
            "server_address": plain(local[0]),
            "server_port": local[1],
            "client_address": plain(self.client_address[0]),
            "client_port": self.client_address[1],
            "protocol": "tcp",
            "method": self.command,
            "host": self.headers.get("Host", ""),
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": received.decode(errors="replace"),
        }
        data = (json.dumps(body) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - names that http.server looks for

    def version_string(self) -> str:
        """Name the server in the Server header."""
        return "netlab"

    def log_message(self, *_: object) -> None:
        """Stay quiet: who called stands in the answer."""


class Datagram(socketserver.DatagramRequestHandler):
    """Answers any datagram with who answered and who called."""

    server: UDPServer

    def handle(self) -> None:
        """Send the answer as JSON."""
        body = {
            "server": self.server.label,
            "server_port": self.server.server_address[1],
            "client_address": plain(self.client_address[0]),
            "client_port": self.client_address[1],
            "protocol": "udp",
            "body": self.rfile.read().decode(errors="replace"),
        }
        self.wfile.write((json.dumps(body) + "\n").encode())


class BothFamilies(socketserver.BaseServer):
    """Takes IPv4 callers on an IPv6 socket too, where the address is "::"."""

    socket: socket.socket
    handler: type[socketserver.BaseRequestHandler]

    def __init__(self, label: str, address: str, port: int) -> None:
        """Bind and listen; ``label`` is who answers."""
        self.label = label
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), self.handler)

    def server_bind(self) -> None:
        """Bind, to both families where the address is "::"."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()  # type: ignore[misc]

    def handle_error(self, *_: object) -> None:
        """Stay quiet about a caller who hung up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class Server(BothFamilies, socketserver.ThreadingTCPServer):
    """HTTP on one port."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512
    handler = Caller


class UDPServer(BothFamilies, socketserver.UDPServer):
    """Datagrams on one port."""

    handler = Datagram


def main() -> None:
    """Serve until ended; print one line when the port is open."""
    parser = argparse.ArgumentParser()
    parser.add_argument("label")
    parser.add_argument("protocol", choices=["tcp", "udp"])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    kind = Server if options.protocol == "tcp" else UDPServer
    try:
        server = kind(options.label, options.address, options.port)
    except OSError as error:
        sys.exit(f"{options.protocol} port {options.port} on {options.address}: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
