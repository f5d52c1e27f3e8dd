"""Readiness probes: asked from the pod's node, as the kubelet does."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.kubernetes.container import Container
    from netlab.kubernetes.pod import Pod

_OK = range(200, 400)


@dataclass(slots=True)
class _Record:
    """When a container's probe is due, and how often in a row it passed or failed."""

    due: float
    passed: int = 0
    failed: int = 0


class Prober:
    """Runs the probes that are due."""

    def __init__(self) -> None:
        """Begin without records."""
        self._records: dict[tuple[int, str], _Record] = {}

    def probe(self, pod: Pod) -> None:
        """Run the probes of a pod that are due, and tell its containers whether they pass."""
        for container in pod.containers:
            spec = container.spec.get("readinessProbe")
            if not spec:
                continue
            if not container.running:
                container.passing = False
                continue
            key = (id(container), container.started_at)
            now = time.monotonic()
            record = self._records.setdefault(key, _Record(now + (spec.get("initialDelaySeconds") or 0)))
            if now < record.due:
                continue
            record.due = now + (spec.get("periodSeconds") or 10)
            self._note(container, record, spec, passes=passes(pod, container, spec))

    @staticmethod
    def _note(container: Container, record: _Record, spec: Mapping[str, Any], *, passes: bool) -> None:
        record.passed, record.failed = (record.passed + 1, 0) if passes else (0, record.failed + 1)
        if passes and record.passed >= (spec.get("successThreshold") or 1):
            container.passing = True
        elif not passes and record.failed >= (spec.get("failureThreshold") or 3):
            container.passing = False


def passes(pod: Pod, container: Container, spec: Mapping[str, Any]) -> bool:
    """Run one probe, and return whether it passes."""
    timeout = float(spec.get("timeoutSeconds") or 1)
    try:
        if command := (spec.get("exec") or {}).get("command"):
            return pod.run(*command, timeout=timeout, env=pod.environments.get(container.name)).ok
        if http := spec.get("httpGet"):
            return _http(pod, _port(container, http["port"]), http.get("path") or "/", timeout)
        _connect(pod, _port(container, spec["tcpSocket"]["port"]), timeout).close()
    except (LabError, OSError):
        return False
    return True


def _port(container: Container, port: int | str) -> int:
    if isinstance(port, int):
        return port
    named = {each.get("name"): each["containerPort"] for each in container.spec.get("ports") or ()}
    return int(named.get(port, 0))


def _connect(pod: Pod, port: int, timeout: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in pod.ip else socket.AF_INET
    (sock,) = pod.host.lab.sandbox.sockets([pod.node.name], (family, socket.SOCK_STREAM, 0))
    sock.settimeout(timeout)
    try:
        sock.connect((pod.ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _http(pod: Pod, port: int, path: str, timeout: float) -> bool:
    with _connect(pod, port, timeout) as sock:
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(64).split(b" ", 2)
    return len(answer) > 1 and answer[1].isdigit() and int(answer[1]) in _OK
