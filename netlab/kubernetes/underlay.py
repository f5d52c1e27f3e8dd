"""The network below a cluster: a switch that the nodes are plugged into, a router, and a client outside.

With several racks there is a switch for each, with a network of its own, and the router joins them::

    node-1 ── switch-1 ──┐
    node-3 ──┘           router ── outside
    node-2 ── switch-2 ──┘
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.host import Host
    from netlab.kernel.values import IPAddress, IPNetwork
    from netlab.lab import Lab

#: Where the nodes of each rack are, and where the outside is (TEST-NET-3 of RFC 5737, and the range of RFC 3849).
_RACKS = {4: "192.168.{rack}.0/24", 6: "fd00:192:168:{rack}::/64"}
OUTSIDE = {4: ip_network("203.0.113.0/24"), 6: ip_network("2001:db8:113::/64")}
MOST_RACKS = 8
_FIRST_NODE, _CLIENT = 10, 10
BRIDGE = "br0"


def rack_network(version: int, rack: int) -> IPNetwork:
    """Return the network of a rack's nodes; racks count from 1."""
    return ip_network(_RACKS[version].format(rack=rack))


class Underlay:
    """The switches, the router and the outside client of one cluster."""

    def __init__(self, lab: Lab, versions: tuple[int, ...], racks: int = 1) -> None:
        """Build them; ``versions`` are the families of the cluster, 4 and 6."""
        self.lab, self.versions, self.racks = lab, versions, racks
        names = ["switch"] if racks == 1 else [f"switch-{rack + 1}" for rack in range(racks)]
        self.switches = [lab.add_host(name) for name in names]
        self.router = lab.add_host("router")
        self.outside = lab.add_host("outside")
        for rack, switch in enumerate(self.switches, start=1):
            switch.add_bridge(BRIDGE)
            addresses = [_address(rack_network(version, rack), 1) for version in versions]
            lab.connect(self.router, switch, addresses, names=(rack_interface(rack), "router"))
            switch.add_port(BRIDGE, "router")
        pair = ([_address(OUTSIDE[version], number) for version in versions] for number in (1, _CLIENT))
        lab.connect(self.router, self.outside, *pair, names=("eth1", "eth0"))
        make_router(self.router)
        # A load balancer spreads connections, not clients: ports count for the choice of a way.
        self.router.sysctl["net.ipv4.fib_multipath_hash_policy"] = 1
        for version in versions:
            self.outside.add_route("default", via=str(OUTSIDE[version][1]))
        for host in (*self.switches, self.router, self.outside):
            host.set_link("lo", up=True)

    def node_addresses(self, number: int, rack: int) -> dict[int, IPAddress]:
        """Return the addresses of the node with this number, by family."""
        return {version: rack_network(version, rack)[_FIRST_NODE + number] for version in self.versions}

    def gateways(self, rack: int) -> dict[int, IPAddress]:
        """Return the router's addresses in a rack, by family."""
        return {version: rack_network(version, rack)[1] for version in self.versions}

    def plug_in(self, node: Host, number: int, rack: int) -> None:
        """Connect a node to its rack's switch by its eth0, with the router as its way out."""
        port, switch = port_name(node.name), self.switches[rack - 1]
        addresses = [_address(rack_network(version, rack), _FIRST_NODE + number) for version in self.versions]
        self.lab.connect(node, switch, addresses, names=("eth0", port))
        switch.add_port(BRIDGE, port)
        for gateway in self.gateways(rack).values():
            node.add_route("default", via=str(gateway))

    def set_cable(self, node: str, rack: int, *, up: bool) -> None:
        """Let a node's cable go dead, or work again, at the switch: the node keeps its addresses and routes."""
        self.switches[rack - 1].set_link(port_name(node), up=up)


def _address(network: IPNetwork, number: int) -> str:
    return f"{network[number]}/{network.prefixlen}"


def rack_interface(rack: int) -> str:
    """Return the name of the router's interface in a rack: eth0, eth2 and so on, since eth1 leads outside."""
    return "eth0" if rack == 1 else f"eth{rack}"


def port_name(node: str) -> str:
    """Return the name of a node's port on its switch: the node's, as far as an interface's name goes."""
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
