"""A server that says who answered and who called; run as a script inside a host.

HTTP over TCP answers every request with JSON; UDP answers every datagram with JSON. Standard library only, so that it
starts fast under any interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import struct
import sys
import time
from typing import Any

IP_PKTINFO = 8  # linux/in.h; Python has no name for it before 3.12
#: struct in_pktinfo: interface, local address, destination in the header. struct in6_pktinfo: address, interface.
IN_PKTINFO, IN6_PKTINFO = struct.Struct("=i4s4s"), struct.Struct("=16si")
LARGEST_DATAGRAM = 65535
LINK_LOCAL = 0x80  # the second byte of fe80::/10, as far as it counts (RFC 4291)
#: What a request may have at most, and what its first line has: method, path, version.
LONGEST_LINE, MOST_HEADERS, REQUEST_WORDS = 65536, 100, 3


def plain(address: str) -> str:
    """Return an address without the IPv6 form of an IPv4 one (RFC 4291, section 2.5.5.2)."""
    return address.removeprefix("::ffff:")


class Caller(socketserver.StreamRequestHandler):
    """Answers any HTTP request with who answered and who called (RFC 9112).

    Written out, since importing http.server takes longer than all else that this program does to start, and a cluster
    starts dozens of them.
    """

    wbufsize = -1  # one write for the whole answer: one packet on the wire
    server: Server

    def handle(self) -> None:
        """Answer one request after the other, as long as the caller keeps the connection."""
        while self.answer():
            pass

    def answer(self) -> bool:
        """Read one request and send the answer as JSON; return whether another may follow."""
        line = self.rfile.readline(LONGEST_LINE)
        if not line:
            return False
        words = line.decode("latin-1").split()
        headers = self.read_headers()
        if len(words) != REQUEST_WORDS or not words[2].startswith("HTTP/") or headers is None:
            self.send("400 Bad Request", b"", close=True)
            return False
        method, path, version = words
        given = {name.lower(): value for name, value in headers.items()}
        if given.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        length = given.get("content-length", "0")
        received = self.rfile.read(int(length)) if length.isdecimal() else b""
        local = self.connection.getsockname()
        body = {
            "server": self.server.label,
            "server_address": plain(local[0]),
            "server_port": local[1],
            "client_address": plain(self.client_address[0]),
            "client_port": self.client_address[1],
            "protocol": "tcp",
            "method": method,
            "host": given.get("host", ""),
            "path": path,
            "headers": headers,
            "body": received.decode(errors="replace"),
        }
        wish = given.get("connection", "").lower()
        close = wish == "close" or (version == "HTTP/1.0" and wish != "keep-alive")
        self.send("200 OK", (json.dumps(body) + "\n").encode(), close=close, head=method == "HEAD")
        return not close

    def read_headers(self) -> dict[str, str] | None:
        """Return the headers as they were sent; None for what cannot be right."""
        headers: dict[str, str] = {}
        while line := self.rfile.readline(LONGEST_LINE).decode("latin-1").rstrip("\r\n"):
            name, colon, value = line.partition(":")
            if not colon or len(headers) >= MOST_HEADERS:
                return None
            headers[name] = value.strip()
        return headers

    def send(self, status: str, data: bytes, *, close: bool, head: bool = False) -> None:
        """Send an answer; ``head`` leaves out its body."""
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        lines = [f"HTTP/1.1 {status}", "Server: netlab", f"Date: {date}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(data)}", *(["Connection: close"] if close else [])]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + (b"" if head else data))
        self.wfile.flush()


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
            sys.excepthook(*sys.exc_info())


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
            index = index if address[:1] == b"\xfe" and address[1] & 0xC0 == LINK_LOCAL else 0
            return socket.inet_ntop(socket.AF_INET6, address), [(level, kind, IN6_PKTINFO.pack(address, index))]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, local, _ = IN_PKTINFO.unpack(value[: IN_PKTINFO.size])
            return socket.inet_ntop(socket.AF_INET, local), [(level, kind, IN_PKTINFO.pack(0, local, bytes(4)))]
    return "", []


def main() -> None:
    """Serve until ended; print one line when the port is open."""
    label, protocol, address, port = sys.argv[1:]
    kind = Server if protocol == "tcp" else UDPServer
    try:
        server = kind(label, address, int(port))
    except OSError as error:
        sys.exit(f"{protocol} port {port} on {address}: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
