"""Let a node answer over HTTP what its proxy knows: a process in the host, told what to say."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from netlab.kernel.process import PIPE
from netlab.kubernetes.proxy.model import Family
from netlab.workloads import health

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.host import Host
    from netlab.kernel.process import Process
    from netlab.kubernetes.proxy.facts import HealthCheck
    from netlab.kubernetes.proxy.model import Settings

    # What to answer at one place (address and port): status, headers and body by path.
    Pages = Mapping[str, tuple[int, Mapping[str, str], str]]

ANY = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}  # noqa: S104 - inside a host of a lab
LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
METRICS_PORT, HEALTHZ_PORT = 10249, 10256
_TEXT, _JSON = {"Content-Type": "text/plain; charset=utf-8"}, {"Content-Type": "application/json"}


class Answers:
    """What listens in a host for its proxy; nothing runs as long as there is nothing to answer."""

    def __init__(self, host: Host) -> None:
        """Answer in one host."""
        self._host = host
        self._process: Process | None = None
        self._told: Mapping[str, Pages] = {}
        self._warnings: list[str] = []

    def update(self, places: Mapping[str, Pages]) -> list[str]:
        """Listen at these places, and nowhere else; return sentences on those where the host does not allow it."""
        running = self._process is not None and self._process.poll() is None
        if places == self._told and (running or not places):
            return self._warnings
        if not places:
            self.close()
            return []
        if not running:
            self.close()
            self._process = self._host.popen(sys.executable, "-I", "-S", str(health.__file__), stdin=PIPE)
        process = self._process
        assert process is not None  # noqa: S101 - for the type checker
        assert process.stdin is not None  # noqa: S101 - it was started with pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write((json.dumps(places) + "\n").encode())
        refused = json.loads(process.stdout.readline() or "{}")
        self._told = places
        self._warnings = [
            f"{self._host.name} cannot answer health checks at {place}: {why}" for place, why in refused.items()
        ]
        return self._warnings

    def close(self) -> None:
        """Listen no more."""
        if self._process is not None:
            self._process.close()
        self._process, self._told, self._warnings = None, {}, []


def health_pages(checks: Iterable[HealthCheck], settings: Settings) -> dict[str, Pages]:
    """Return what to answer at health-check node ports: they listen where node ports do."""
    addresses = settings.node_port_addresses or (ANY[settings.family],)
    return {
        f"{address}:{check.port}": {"*": (check.status, check.headers, check.body)}
        for check in checks
        for address in addresses
    }


def own_pages(family: Family, mode: str, metrics: str) -> dict[str, Pages]:
    """Return what the proxy answers about itself, at kube-proxy's own ports and paths."""
    fine = (200, _JSON, json.dumps({"nodeEligible": True}))
    return {
        f"{LOOPBACK[family]}:{METRICS_PORT}": {
            "/metrics": (200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}, metrics),
            "/proxyMode": (200, _TEXT, mode),
            "/healthz": (200, _TEXT, "ok"),
        },
        f"{ANY[family]}:{HEALTHZ_PORT}": {"/healthz": fine, "/livez": fine},
    }
