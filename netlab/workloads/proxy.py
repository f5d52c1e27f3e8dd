"""A proxy that stands beside an app in its pod: passes HTTP on to a port of localhost. Run as a script inside a host.

Standard library only, so that it starts fast. What it cannot pass on it answers itself: 502 Bad Gateway (RFC 9110).
"""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sys

_CHUNK = 1 << 16
_PATIENCE = 5.0


class Relay(socketserver.BaseRequestHandler):
    """Takes one request to the app and its answer back; each connection carries one."""

    request: socket.socket
    server: Server

    def handle(self) -> None:
        """Pass the request on, or say why not."""
        self.request.settimeout(_PATIENCE)
        request = self.request.recv(_CHUNK)
        if not request:
            return
        try:
            with socket.create_connection(("127.0.0.1", self.server.app), _PATIENCE) as app:
                # The app shall end the connection after its answer: so its end is seen without reading HTTP.
                app.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                while answer := app.recv(_CHUNK):
                    self.request.sendall(answer)
        except OSError as error:
            self.refuse(f"no app on 127.0.0.1:{self.server.app}: {error.strerror or error}\n")

    def refuse(self, words: str) -> None:
        """Answer in place of the app."""
        head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(words)}\r\nConnection: close\r\n\r\n"
        self.request.sendall((head + words).encode())


class Server(socketserver.ThreadingTCPServer):
    """Listens for everyone."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, app: int) -> None:
        """Listen on one port, for an app on another."""
        self.app = app
        super().__init__(("", port), Relay)


def main() -> None:
    """Serve until ended; print one line when the port is open."""
    port, app = (int(word) for word in sys.argv[1:])
    try:
        server = Server(port, app)
    except OSError as error:
        sys.exit(f"tcp port {port}: {error.strerror}")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
