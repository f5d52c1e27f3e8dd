"""A server that says who answered and who called; run as a script inside a host.

HTTP over TCP answers every request with JSON; UDP answers every datagram with JSON. Standard library only, so that it
starts fast under any interpreter.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import signal
import socket
import socketserver
import struct
import sys
import traceback
from http.server import BaseHTTPRequestHandler
from typing import Any

IP_PKTINFO = 8  # linux/in.h; Python has no name for it before 3.12
#: struct in_pktinfo: interface, local address, destination in the header. struct in6_pktinfo: address, interface.
IN_PKTINFO, IN6_PKTINFO = struct.Struct("=i4s4s"), struct.Struct("=16si")
LARGEST_DATAGRAM = 65535


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


class BothFamilies(socketserver.BaseServer):
    """Takes IPv4 callers on an IPv6 socket too, where the address is "::"."""

    address_family: int
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
        """Stay quiet about a caller who hung up, and about an answer that has no way back."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class Server(BothFamilies, socketserver.ThreadingTCPServer):
    """HTTP on one port."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512
    handler = Caller


class UDPServer(BothFamilies, socketserver.UDPServer):
    """Datagrams on one port; each answer comes from the address that was asked, as NAT and learners expect."""

    handler = socketserver.BaseRequestHandler

    def server_bind(self) -> None:
        """Bind, and ask to be told which address a datagram was sent to (ip(7), ipv6(7))."""
        super().server_bind()
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)

    def get_request(self) -> tuple[Any, Any]:
        """Receive one datagram, and the address it was sent to."""
        data, ancillary, _, caller = self.socket.recvmsg(LARGEST_DATAGRAM, 256)
        return (data, ancillary), caller

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer one datagram."""
        data, ancillary = request
        asked, control = _answer_from(ancillary)
        body = {
            "server": self.label,
            "server_address": plain(asked),
            "server_port": self.server_address[1],
            "client_address": plain(client_address[0]),
            "client_port": client_address[1],
            "protocol": "udp",
            "body": data.decode(errors="replace"),
        }
        self.socket.sendmsg([(json.dumps(body) + "\n").encode()], control, 0, client_address)


def _answer_from(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, list[tuple[int, int, bytes]]]:
    """Return the address a datagram was sent to, and what makes the kernel answer from there by any way it likes."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address, index = IN6_PKTINFO.unpack(value[: IN6_PKTINFO.size])
            # A link-local address says nothing without its interface; for others the route decides.
            index = index if ipaddress.IPv6Address(address).is_link_local else 0
            return socket.inet_ntop(socket.AF_INET6, address), [(level, kind, IN6_PKTINFO.pack(address, index))]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, local, _ = IN_PKTINFO.unpack(value[: IN_PKTINFO.size])
            return socket.inet_ntop(socket.AF_INET, local), [(level, kind, IN_PKTINFO.pack(0, local, bytes(4)))]
    return "", []


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
