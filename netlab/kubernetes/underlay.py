"""The network below a cluster: a switch that the nodes are plugged into, a router, and a client outside.

::

    node-1 ── switch ── router ── outside
    node-2 ──┘
"""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.host import Host
    from netlab.kernel.values import IPAddress, IPNetwork
    from netlab.lab import Lab

    Networks = Mapping[int, IPNetwork]

#: Where nodes are, and where the outside is (TEST-NET-3 of RFC 5737, and the range of RFC 3849).
NODES = {4: ip_network("192.168.1.0/24"), 6: ip_network("fd00:192:168:1::/64")}
OUTSIDE = {4: ip_network("203.0.113.0/24"), 6: ip_network("2001:db8:113::/64")}
_FIRST_NODE, _CLIENT = 10, 10
BRIDGE = "br0"


class Underlay:
    """The switch, the router and the outside client of one cluster."""

    def __init__(self, lab: Lab, versions: tuple[int, ...]) -> None:
        """Build them; ``versions`` are the families of the cluster, 4 and 6."""
        self.lab, self.versions = lab, versions
        self.switch = lab.add_host("switch")
        self.router = lab.add_host("router")
        self.outside = lab.add_host("outside")
        self.switch.add_bridge(BRIDGE)
        lab.connect(self.router, self.switch, self._addresses(NODES, 1), names=("eth0", "router"))
        self.switch.add_port(BRIDGE, "router")
        pair = (self._addresses(OUTSIDE, 1), self._addresses(OUTSIDE, _CLIENT))
        lab.connect(self.router, self.outside, *pair, names=("eth1", "eth0"))
        make_router(self.router)
        # A load balancer spreads connections, not clients: ports count for the choice of a way.
        self.router.sysctl["net.ipv4.fib_multipath_hash_policy"] = 1
        for version in versions:
            self.outside.add_route("default", via=str(OUTSIDE[version][1]))
        for host in (self.switch, self.router, self.outside):
            host.set_link("lo", up=True)

    def _addresses(self, networks: Networks, number: int) -> list[str]:
        return [self._address(version, number, networks) for version in self.versions]

    @staticmethod
    def _address(version: int, number: int, networks: Networks = NODES) -> str:
        network = networks[version]
        return f"{network[number]}/{network.prefixlen}"

    def node_addresses(self, number: int) -> dict[int, IPAddress]:
        """Return the addresses of the node with this number, by family."""
        return {version: ip_interface(self._address(version, _FIRST_NODE + number)).ip for version in self.versions}

    @staticmethod
    def gateway(version: int) -> IPAddress:
        """Return the router's address on the nodes' side."""
        return NODES[version][1]

    def plug_in(self, node: Host, number: int) -> None:
        """Connect a node to the switch by its eth0, with the router as its way out."""
        port = port_name(node.name)
        addresses = [self._address(version, _FIRST_NODE + number) for version in self.versions]
        self.lab.connect(node, self.switch, addresses, names=("eth0", port))
        self.switch.add_port(BRIDGE, port)
        for version in self.versions:
            node.add_route("default", via=str(self.gateway(version)))

    def set_cable(self, node: str, *, up: bool) -> None:
        """Let a node's cable go dead, or work again, at the switch: the node keeps its addresses and routes."""
        self.switch.set_link(port_name(node), up=up)


def port_name(node: str) -> str:
    """Return the name of a node's port on the switch: the node's, as far as an interface's name goes."""
    return node[-15:].lstrip(".-")


def make_router(host: Host) -> None:
    """Let a host forward, and let it say so: REJECT answers must not be held back."""
    for key, value in {
        "net.ipv4.ip_forward": 1,
        "net.ipv6.conf.all.forwarding": 1,
        "net.ipv4.icmp_ratelimit": 0,
        "net.ipv6.icmp.ratelimit": 0,
        # The router of the underlay is the first hop for all; its advice to go elsewhere would only confuse.
        "net.ipv4.conf.all.send_redirects": 0,
        "net.ipv4.conf.default.send_redirects": 0,
    }.items():
        host.sysctl[key] = value
