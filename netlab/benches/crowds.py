"""Labs with many hosts, to measure how long it takes to see them."""

from __future__ import annotations

from typing import NamedTuple

from netlab.benches.build import build
from netlab.lab import Lab


class Crowd(NamedTuple):
    """A size of lab: how many hosts people count in it, and one of them whose link can be taken down.

    ``shown`` is the element of the picture in which this is seen, and ``down`` the class that it then has.
    """

    hosts: int
    victim: str
    shown: str
    down: str


SMALL = Crowd(30, "h4", "if:h4/eth0", "down")
#: Ten nodes with thirty pods each: so many that the picture folds them.
LARGE = Crowd(310, "pod-4-7", "host:pod-4-7", "fault")
_NODES, _PODS = 10, 30


def raise_crowd(size: Crowd) -> Lab:
    """Return a lab of a size, wired: hosts around one bridge, or the nodes and pods of a large cluster."""
    return build(size.hosts - 1) if size is SMALL else _cluster()


def _cluster() -> Lab:
    lab = Lab("crowd")
    wire = lab.add_host("wire")
    wire.add_bridge("br0")
    for number in range(1, _NODES + 1):
        node = lab.add_host(f"node-{number}")
        lab.connect(wire, node, None, f"172.18.0.{number}/24", names=(f"n{number}", "eth0"))
        wire.add_port("br0", f"n{number}")
        node.sysctl["net.ipv4.ip_forward"] = 1
        node.add_bridge("cni0")
        node.add_address("cni0", f"10.244.{number}.1/24")
        for place in range(1, _PODS + 1):
            pod = lab.add_host(f"pod-{number}-{place}")
            lab.connect(node, pod, None, f"10.244.{number}.{place + 1}/24", names=(f"veth{place}", "eth0"))
            node.add_port("cni0", f"veth{place}")
            pod.add_route("default", via=f"10.244.{number}.1")
    return lab
