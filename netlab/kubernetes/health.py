"""Answer the health-check node ports of LoadBalancer Services, as kube-proxy does on each node."""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.dataplane import NodeProxy


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers with what the node's proxy knows at that moment."""

    server: _Server

    def do_GET(self) -> None:
        """Send the count of the Service's endpoints on this node."""
        check = self.server.proxy.health_checks().get(self.server.service)
        self.send_response(503 if check is None else check.status)
        body = "" if check is None else check.body
        headers = {} if check is None else check.headers
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """HTTP on a socket that was opened in a node's namespace and is served from here: no process is needed for it."""

    daemon_threads = True

    def __init__(self, proxy: NodeProxy, service: str, port: int) -> None:
        self.proxy, self.service = proxy, service
        version = proxy.family.version
        self.address_family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
        super().__init__(("", port), _Answer, bind_and_activate=False)
        self.socket.close()
        kind = (self.address_family, socket.SOCK_STREAM, 0)
        (self.socket,) = proxy.host.lab.sandbox.sockets([proxy.host.name], kind)
        if version == 6:  # noqa: PLR2004 - IPv6
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("", port))
            self.socket.listen(16)
        except OSError:
            self.socket.close()
            raise

    def server_bind(self) -> None:
        """Do nothing: it is bound."""


class HealthPorts:
    """The open health-check node ports of all nodes."""

    def __init__(self) -> None:
        """Begin without any."""
        self._servers: dict[tuple[int, str, int], _Server] = {}

    def serve(self, proxies: Iterable[NodeProxy]) -> None:
        """Open the ports that the proxies' Services ask for, and close the others."""
        wanted: dict[tuple[int, str, int], Any] = {}
        for proxy in proxies:
            for name, check in proxy.health_checks().items():
                wanted[id(proxy), name, check.port] = proxy
        for key in self._servers.keys() - wanted.keys():
            self._close(self._servers.pop(key))
        for key, proxy in wanted.items():
            if key not in self._servers:
                self._open(key, proxy)

    def _open(self, key: tuple[int, str, int], proxy: NodeProxy) -> None:
        _, name, port = key
        try:
            server = _Server(proxy, name, port)
        except (OSError, LabError) as error:
            # As in kube-proxy, a port that somebody else has costs the health check and not the Service.
            proxy.note(f"health check of {name}: port {port}: {error}")
            return
        self._servers[key] = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    @staticmethod
    def _close(server: _Server) -> None:
        server.shutdown()
        server.server_close()

    def close(self) -> None:
        """Close all of them."""
        while self._servers:
            self._close(self._servers.popitem()[1])
