"""Follow a packet over three nodes, draw large labs, and follow the kernel; against what a person would use instead."""

from __future__ import annotations

import time
from operator import add
from typing import TYPE_CHECKING, Any

from netlab.benches import browser, by_hand, watching
from netlab.benches.crowds import LARGE, SMALL, raise_crowd
from netlab.benches.measure import Figure, at_most, clock, ratio
from netlab.errors import LabError
from netlab.kubernetes.proxy import Family, Inventory, LocalDetector, Settings, as_document, iptables
from netlab.kubernetes.proxy.batches import split_iptables
from netlab.lab import Lab
from netlab.view.drawing import draw
from netlab.view.folding import fold
from netlab.view.layout import lay_out
from netlab.view.scene import to_scene
from netlab.view.svg import static

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.benches.crowds import Crowd
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
    """Yield the figures, each when it is there; ``progress`` is told what is being measured."""
    progress("a journey over three nodes")
    yield from _journey(services, rounds)
    for size, limit in ((SMALL, 100.0), (LARGE, 1000.0)):
        progress(f"the picture of {size.hosts} hosts")
        yield from _picture(size, limit, rounds)
    progress("a change in the kernel to the page of a browser")
    yield from browser.measure(rounds)
    for size in (SMALL, LARGE):
        progress(f"{watching.FLAPS} flaps beside {size.hosts} hosts")
        yield from watching.storm(size)
    for size in (SMALL, LARGE):
        progress(f"a still lab of {size.hosts} hosts, for a minute or two")
        yield watching.idle(size)


def _journey(services: int, rounds: int) -> Iterator[Figure]:
    times: list[float] = []
    with build(services) as lab:
        for _ in range(rounds):
            began = time.perf_counter()
            journey = lab.trace("pod-1-1", CLUSTER_IP, 80)
            times.append(time.perf_counter() - began)
            if not journey.ok:
                raise LabError(f"The packet of the bench did not arrive:\n{journey}")
        what = f"a journey over {NODES} nodes with {services} Services, from call to result"
        ours = at_most(what, "s", times, 1.0)
        yield ours
        yield Figure("steps of that journey", "steps", (float(len(journey.steps)),))
        what = "dumpcap in every host, nft monitor trace in every node, curl, tshark: the lines, unsorted"
        theirs = Figure(what, "s", note=f"not measured: {by_hand.missing()} is missing")
        if not by_hand.missing():
            nodes = [lab.host(f"node-{number}") for number in range(1, NODES + 1)]
            client = lab.host("pod-1-1")
            taken = [by_hand.journey(client, CLUSTER_IP, nodes) for _ in range(min(rounds, 3))]
            theirs = Figure(what, "s", tuple(taken))
        yield theirs
        yield ratio("captures by hand : netlab", theirs, ours, ("≥", 1.0))


def _picture(size: Crowd, limit: float, rounds: int) -> Iterator[Figure]:
    """Yield how long a Snapshot takes to become an SVG, layout included, and the same by hand."""
    with raise_crowd(size) as lab:
        reads = [clock(lab.snapshot) * 1000 for _ in range(rounds)]
        snapshot = lab.snapshot()
        draws = []
        for _ in range(rounds):
            lay_out.cache_clear()  # as if hosts had come: graphviz runs
            drawn = clock(lambda: static(draw(fold(to_scene(snapshot))), "bench", closed=False))
            draws.append(drawn * 1000)
        by_script = [by_hand.picture(lab) * 1000 for _ in range(rounds)]
    ours = at_most(f"Snapshot to SVG, {size.hosts} hosts", "ms", draws, limit)
    yield ours
    whole = Figure(f"the lab to SVG, {size.hosts} hosts: read and drawn", "ms", tuple(map(add, reads, draws)))
    yield whole
    theirs = Figure(f"`ip -j` for each namespace, and dot, {size.hosts} hosts", "ms", tuple(by_script))
    yield theirs
    yield ratio(f"ip -j and dot : netlab, {size.hosts} hosts", theirs, whole, ("≥", 1.0))
