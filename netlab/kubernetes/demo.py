"""``netlab demo cluster``: three nodes, a Service, 300 requests, a node that fails, and requests that go on."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console

from netlab.kubernetes.cluster import Cluster
from netlab.kubernetes.progress import show_progress

if TYPE_CHECKING:
    from netlab.kubernetes.pod import Pod

REQUESTS = 300
ADDRESS = "10.96.0.10"
_LABELS = {"app": "web"}
_PORTS = [{"name": "http", "containerPort": 8080}]
MANIFESTS = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 6,
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {"containers": [{"name": "echo", "image": "echo", "ports": _PORTS}]},
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"clusterIP": ADDRESS, "selector": _LABELS, "ports": [{"port": 80, "targetPort": "http"}]},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "client", "image": "client"}]},
    },
]


def run() -> None:
    """Show it in a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    with show_progress(console) as progress, Cluster(nodes=3, name="demo", progress=progress) as cluster:
        cluster.apply(MANIFESTS)
        console.print(f"Three nodes and {len(cluster.pods)} pods after {time.monotonic() - began:.1f} s.\n")
        console.print(cluster.get("pods", "-o", "wide"), end="\n\n")
        console.print(cluster.get("services"), end="\n\n")
        client = cluster.pod("client")
        _ask(console, client, f"{REQUESTS} requests from the pod client to http://{ADDRESS}:")
        console.print("\nnode-2 loses its power: cluster.fail_node('node-2')")
        began = time.monotonic()
        cluster.fail_node("node-2")
        console.print(f"After {time.monotonic() - began:.1f} s its pods have come up elsewhere.\n")
        console.print(cluster.get("nodes"), end="\n\n")
        _ask(console, client, f"{REQUESTS} more requests:")
        console.print("\nThe rules that did it, on node-1 (iptables-save -t nat):")
        rules = cluster.node("node-1").run("iptables-save", "-t", "nat").stdout.splitlines()
        console.print("\n".join(line for line in rules if ADDRESS in line))


def _ask(console: Console, client: Pod, title: str) -> None:
    arguments = ("-s", "-m", "20", "-H", "Connection: close", f"http://{ADDRESS}/?n=[1-{REQUESTS}]")
    answers = client.run("curl", *arguments).stdout.splitlines()
    counts = Counter(json.loads(answer)["server"] for answer in answers)
    console.print(title)
    for server, count in sorted(counts.items()):
        console.print(f"  {server:8} {count:4}  {'█' * round(count / 4)}")
    console.print(f"  {sum(counts.values())} answered, {REQUESTS - sum(counts.values())} not.")
