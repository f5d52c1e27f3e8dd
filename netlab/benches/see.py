"""Follow one packet over three nodes that have the rules of a hundred Services."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from netlab.benches.measure import Figure, at_most
from netlab.errors import LabError
from netlab.kubernetes.proxy import Family, Inventory, LocalDetector, Settings, as_document, iptables
from netlab.kubernetes.proxy.batches import split_iptables
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.host import Host

NODES, PODS = 3, 4
CLUSTER_IP = "10.96.0.10"
_PORT = 8472


def build(services: int) -> Lab:
    """Return a lab of three nodes joined by VXLAN, each with pods, and on each the rules of some Services.

    Service 0 has the address 10.96.0.10 and leads to the pods of the third node; the client is ``pod-1-1``.
    """
    lab = Lab("see")
    lab.add_host("wire").add_bridge("br0")
    nodes = [_node(lab, number) for number in range(1, NODES + 1)]
    for number, node in enumerate(nodes, 1):
        for other in set(range(1, NODES + 1)) - {number}:
            node.add_route(f"10.244.{other}.0/24", via=f"10.244.{other}.0", interface="flannel.1", onlink=True)
            node.add_neighbour("flannel.1", f"10.244.{other}.0", _mac(other))
            node.add_fdb("flannel.1", _mac(other), f"172.18.0.{other}")
        node.restore_iptables(_rules(services, number), flush=False)
    return lab


def _mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def _node(lab: Lab, number: int) -> Host:
    node = lab.add_host(f"node-{number}")
    lab.connect("wire", node, None, f"172.18.0.{number}/24", names=(f"n{number}", "eth0"))
    lab.host("wire").add_port("br0", f"n{number}")
    node.sysctl["net.ipv4.ip_forward"] = 1
    node.add_bridge("cni0")
    node.add_address("cni0", f"10.244.{number}.1/24")
    node.add_vxlan("flannel.1", 1, local=f"172.18.0.{number}", device="eth0", port=_PORT, learning=False, mtu=1450)
    node.set_link("flannel.1", mac=_mac(number))
    node.add_address("flannel.1", f"10.244.{number}.0/32")
    for place in range(1, PODS + 1):
        pod = lab.add_host(f"pod-{number}-{place}")
        address = f"10.244.{number}.{place + 1}/24"
        lab.connect(node, pod, None, address, names=(f"veth{place}", "eth0"), mtu=1450)
        node.add_port("cni0", f"veth{place}")
        pod.add_route("default", via=f"10.244.{number}.1")
        if number == NODES:
            pod.serve(8080)
    return node


def _rules(services: int, node: int) -> str:
    """Return what kube-proxy writes on a node for these Services, as the input of iptables-restore."""
    settings = Settings(
        Family.IPV4, f"node-{node}", f"172.18.0.{node}", detector=LocalDetector("source", "10.244.0.0/16")
    )
    documents: list[dict[str, Any]] = []
    for number in range(services):
        name = f"web-{number}"
        spec: dict[str, Any] = {
            "clusterIP": f"10.96.{number // 200}.{number % 200 + 10}",
            "ports": [{"port": 80, "targetPort": 8080}],
        }
        metadata: dict[str, Any] = {"name": name, "namespace": "default"}
        documents.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        endpoints: list[dict[str, Any]] = [
            {"addresses": [f"10.244.{NODES}.{place + 2}"], "conditions": {"ready": True}} for place in range(PODS)
        ]
        documents.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"port": 8080, "protocol": "TCP"}],
                "endpoints": endpoints,
            }
        )
    inventory = Inventory.empty(settings).update([as_document(document) for document in documents])
    return split_iptables(iptables.first(iptables.build(inventory.state)))


def measure(services: int, rounds: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """Yield the figures, each when it is there."""
    progress("building three nodes")
    with build(services) as lab:
        progress("journeys")
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            journey = lab.trace("pod-1-1", CLUSTER_IP, 80)
            times.append(time.perf_counter() - began)
            if not journey.ok:
                raise LabError(f"The packet of the bench did not arrive:\n{journey}")
        what = f"a journey over {NODES} nodes with {services} Services, from call to result"
        yield at_most(what, "s", times, 1.0)
        yield Figure("steps of that journey", "steps", (float(len(journey.steps)),))
