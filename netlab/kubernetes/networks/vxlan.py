"""The VXLAN overlay: pods' packets travel between nodes inside UDP, so that the underlay need not know of pods.

Each node has an interface ``vxlan.1`` with the first address of its pods' range and a MAC address that follows from the
node's own address. For each other node it keeps three entries, as flannel does: a route to the pods there, the
neighbour entry of that node's end, and the line of the forwarding table that says where that MAC address is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kernel import read
from netlab.kubernetes.networks.base import Network, Way, repair_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.kernel.values import IPAddress
    from netlab.kubernetes.networks.base import Member

DEVICE = "vxlan.1"
_VNI = 1
#: VXLAN, UDP, IP and the inner Ethernet header, in bytes by the outer family (RFC 7348).
_OVERHEAD = {4: 50, 6: 70}


def mac_of(member: Member) -> str:
    """Return the MAC address of a node's end: locally administered, with the number of the node."""
    return f"02:00:00:00:{member.number >> 8:02x}:{member.number & 255:02x}"


def end_of(member: Member, version: int) -> IPAddress:
    """Return the address of a node's end: the first of its pods' range, which no pod gets."""
    return next(range_.network_address for range_ in member.pod_ranges if range_.version == version)


class Vxlan(Network):
    """One VXLAN interface for each node; entries for each other node."""

    name = "vxlan"

    @property
    def overhead(self) -> int:
        """Return what the outer headers take: they are of the nodes' first family."""
        return _OVERHEAD[self.pod_networks[0].version]

    def prepare(self, node: Member) -> None:
        """Make the interface, with an MTU that leaves room for the outer headers."""
        host = node.host
        if DEVICE in host.namespace.names().values():
            return  # the node has failed and is back
        underlay = next(iter(node.addresses.values()))
        host.add_vxlan(DEVICE, _VNI, local=str(underlay), device="eth0", learning=False, mtu=1500 - self.overhead)
        host.set_link(DEVICE, mac=mac_of(node))
        for range_ in node.pod_ranges:
            host.add_address(DEVICE, f"{range_.network_address}/{range_.max_prefixlen}")

    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:
        """Keep route, neighbour entry and forwarding line for each other node."""
        others = list(others)
        ways = [
            Way(range_, end_of(other, range_.version), DEVICE, onlink=True)
            for other in others
            for range_ in other.pod_ranges
        ]
        # Who is there has to be known before anything is sent there.
        done = self._repair_neighbours(node, others)
        done += self._repair_forwarding(node, others)
        return done + repair_routes(node, ways, self.pod_networks)

    @staticmethod
    def _repair_neighbours(node: Member, others: list[Member]) -> list[str]:
        host = node.host
        wanted = {end_of(other, range_.version): mac_of(other) for other in others for range_ in other.pod_ranges}
        found = {
            entry.address: entry.mac
            for entry in read.read_neighbours(host.namespace.route, host.namespace.names())
            if entry.interface == DEVICE and entry.state == "PERMANENT"
        }
        done = []
        for address in found.keys() - wanted.keys():
            host.remove_neighbour(DEVICE, str(address))
            done.append(f"ip -n {host.name} neigh del {address} dev {DEVICE}")
        for address, mac in wanted.items():
            if found.get(address) != mac:
                host.add_neighbour(DEVICE, str(address), mac)
                done.append(f"ip -n {host.name} neigh replace {address} lladdr {mac} dev {DEVICE} nud permanent")
        return done

    @staticmethod
    def _repair_forwarding(node: Member, others: list[Member]) -> list[str]:
        host = node.host
        wanted = {(mac_of(other), next(iter(other.addresses.values()))) for other in others}
        found = {
            (entry.mac, entry.destination)
            for entry in read.read_fdb(host.namespace.route, host.namespace.names())
            if entry.interface == DEVICE and entry.destination is not None
        }
        done = []
        for mac, destination in found - wanted:
            host.remove_fdb(DEVICE, mac, str(destination))
            done.append(f"bridge -n {host.name} fdb del {mac} dev {DEVICE} dst {destination} self")
        for mac, address in sorted(wanted - found):
            host.add_fdb(DEVICE, mac, str(address))
            done.append(f"bridge -n {host.name} fdb append {mac} dev {DEVICE} dst {address} self permanent")
        return done
