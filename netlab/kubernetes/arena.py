"""A node among hosts with any addresses, and real connections between them: who answers, and whom it sees.

::

    client, pod, pod … ── node ── sink

Each address is a host of its own, joined to the node by a cable. What no host has goes to the sink, which has all the
other addresses that are asked: so a packet that the node did not touch can be told from one that it dropped. The
sockets live in the hosts' namespaces, and are held by this program: thousands of connections need no process.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from netlab.kubernetes.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kubernetes.connections import Attempt
    from netlab.lab import Lab

NODE, SINK = "node", "sink"
#: The node's address on each cable: what a masqueraded packet comes from. No other host has it.
GATEWAY = {4: "100.64.0.1", 6: "fd64::1"}
_SINK = {4: "100.64.0.2", 6: "fd64::2"}
EVERYWHERE = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - inside hosts of a lab
_ROUTER = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    # Without these a REJECT may look like a time-out.
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
}


class Arena:
    """The node and the hosts around it. Also a context manager, which closes the sockets; the lab is the caller's."""

    def __init__(
        self, lab: Lab, node_addresses: Iterable[str], addresses: Iterable[str], stray: Iterable[str] = ()
    ) -> None:
        """Build a host for each of ``addresses``; the node has ``node_addresses``, and the sink has ``stray``."""
        self.lab = lab
        self.node = lab.add_host(NODE)
        self.node.set_link("lo", up=True)
        for key, value in _ROUTER.items():
            self.node.sysctl[key] = value
        self.node_addresses = {"127.0.0.1", "::1", *node_addresses}
        for address in node_addresses:
            self.node.add_address("lo", _alone(address))
        self._hosts: dict[str, str] = {}
        self._plug(SINK, list(_SINK.values()))
        sink = lab.host(SINK)
        sink.set_link("lo", up=True)
        for gateway in _SINK.values():
            self.node.add_route("default", via=gateway)
        for address in sorted(set(stray) - set(addresses) - self.node_addresses):
            sink.add_address("lo", _alone(address))
        for number, address in enumerate(sorted(set(addresses) - self.node_addresses)):
            self._plug(f"h{number}", [address])
        self.connections = Connections(lab.sandbox, self._origin)

    def _plug(self, name: str, addresses: list[str]) -> None:
        host = self.lab.add_host(name)
        gateways = [_alone(gateway) for gateway in GATEWAY.values()]
        cable = name if name == SINK else f"to-{name}"
        self.lab.connect(self.node, host, gateways, [_alone(address) for address in addresses], names=(cable, "eth0"))
        for address in addresses:
            self._hosts[address] = name
            self.node.add_route(_alone(address), interface=cable)
            host.add_route("default", via=GATEWAY[ip_address(address).version], interface="eth0", onlink=True)

    def owner(self, address: str) -> str:
        """Return the name of the host that has an address; the sink has every other one."""
        return NODE if address in self.node_addresses else self._hosts.get(address, SINK)

    def _origin(self, attempt: Attempt) -> str:
        # To an address from itself: that is the node's, as a load balancer's address may be.
        return NODE if attempt.source == attempt.destination else self.owner(attempt.source)

    def address_of(self, host: str) -> str:
        """Return the address of a host that has one."""
        return next((address for address, name in self._hosts.items() if name == host), "")

    def reset(self) -> None:
        """Take all rules off the node."""
        self.node.run("nft", "flush", "ruleset", check=True)
        self.node.sysctl["net.ipv4.conf.all.route_localnet"] = 0

    def close(self) -> None:
        """Close all sockets."""
        self.connections.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all sockets."""
        self.close()


def _alone(address: str) -> str:
    return f"{address}/{ip_address(address).max_prefixlen}"
