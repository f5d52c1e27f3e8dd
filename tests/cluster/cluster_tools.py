"""What the tests of clusters share: how to ask an echo server who answered, and manifests to apply."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab import Host
    from netlab.kubernetes.node import Node
    from netlab.kubernetes.pod import Pod


def ask(who: Pod | Node | Host, address: str, *options: str) -> dict[str, Any]:
    """Return what an echo server says about a request; fails where nobody answers within two seconds."""
    result = who.run("curl", "-s", "-S", "-m", "2", *options, f"http://{address}/")
    assert result.ok, f"{who!r} gets no answer from {address}: {result.stderr}"
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def spread(who: Pod | Node | Host, address: str, times: int) -> Counter[str]:
    """Return how often each server answered; each request is a connection of its own, all by one curl."""
    result = who.run(
        "curl", "-s", "-S", "-m", "5", "--no-keepalive", "-H", "Connection: close", f"http://{address}/?n=[1-{times}]"
    )
    assert result.ok, f"{who!r} gets no answer from {address}: {result.stderr}"
    return Counter(json.loads(line)["server"] for line in result.stdout.splitlines())


def eventually(said: Callable[[], object], seconds: float = 3.0) -> None:
    """Wait until something is true; fails with what was said last."""
    deadline = time.monotonic() + seconds
    while not (last := said()):
        assert time.monotonic() < deadline, f"still {last!r} after {seconds} s"
        time.sleep(0.01)


def deployment(name: str, replicas: int, **container: Any) -> dict[str, Any]:
    """Return a Deployment of echo servers."""
    spec = {"name": "echo", "image": "echo", "ports": [{"containerPort": 8080, "name": "http"}], **container}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [spec]}},
        },
    }


def service(name: str, app: str | None = None, **spec: Any) -> dict[str, Any]:
    """Return a Service in front of a Deployment of echo servers."""
    ports = [{"port": 80, "targetPort": 8080}]
    selector = {"selector": {"app": app or name}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {**selector, "ports": ports, **spec},
    }


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """Return a Pod with one echo server, or with what ``spec`` says."""
    containers = [{"name": "echo", "image": "echo"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers, **spec},
    }
