"""What a network between nodes is: for each node the state that it should have, and the repair of what differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from netlab.kernel import read
from netlab.kubernetes.underlay import rack_interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netlab.host import Host
    from netlab.kernel.values import IPAddress, IPNetwork, Route


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One node as its network sees it: where it is on the underlay, and the pods' ranges that are its own.

    Nodes of one ``rack`` are neighbours; others are reached by the router, whose addresses there are ``gateways``. The
    router itself is in rack 0.
    """

    name: str
    number: int
    host: Host
    addresses: Mapping[int, IPAddress]
    pod_ranges: tuple[IPNetwork, ...]
    rack: int = 1
    gateways: Mapping[int, IPAddress] = field(default_factory=dict)

    def next_hop(self, other: Member, version: int) -> IPAddress:
        """Return where to send what is for another node: to it, or to the router that joins the racks."""
        return (other.addresses if self.rack in {0, other.rack} else self.gateways)[version]

    def interface_to(self, other: Member) -> str:
        """Return the interface by which another node is reached."""
        return rack_interface(other.rack) if self.rack == 0 else "eth0"


@dataclass(frozen=True, slots=True)
class Way:
    """A route that a node should have: to pods elsewhere, by another node."""

    destination: IPNetwork
    via: IPAddress
    interface: str
    onlink: bool = False

    def __str__(self) -> str:
        """Return it as ``ip route`` prints it."""
        return f"{self.destination} via {self.via} dev {self.interface}" + (" onlink" if self.onlink else "")


class Network(ABC):
    """One kind of network between nodes.

    Only what is the network's own is looked at and changed: see `owns` of each kind. The controller calls `prepare`
    once for each node, and `reconcile` whenever nodes or the kernel's state changed.
    """

    name: ClassVar[str]

    @property
    def overhead(self) -> int:
        """Return what a packet between nodes is longer by, in bytes."""
        return 0

    def __init__(self, pod_networks: Sequence[IPNetwork]) -> None:
        """Serve the pods of a cluster, whose ranges these are."""
        self.pod_networks = tuple(pod_networks)

    def prepare(self, node: Member) -> None:  # noqa: B027 - most networks need nothing
        """Make what a node needs to take part, before it does."""

    @abstractmethod
    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:
        """Make a node's state what it should be; return what was changed, as commands that a person would type."""

    def join(self, router: Member, nodes: Iterable[Member]) -> list[str]:  # noqa: ARG002 - most have nothing to do there
        """Keep what the router that joins racks has to know of pods; return what was changed, as `reconcile` does."""
        return []

    def connected(self, node: Member, others: Iterable[Member]) -> bool:  # noqa: ARG002 - at once, where it is not a daemon's
        """Tell whether a node has its ways to the others; `reconcile` need not have made them itself."""
        return True

    def leave(self, node: Member) -> None:  # noqa: B027 - most networks need nothing
        """End what runs for a node that is removed or has failed."""


def repair_routes(
    node: Member, wanted: Iterable[Way], pods: Sequence[IPNetwork], *, others: str | None = None
) -> list[str]:
    """Add the routes that are missing and remove the stale ones; return what was changed.

    Routes of the protocol ``others`` (as ``ip route`` names it) are left to the daemon that keeps them.

    A node's routes to pods by a gateway belong to its network. All others are left alone: the one to the node's own
    pods has no gateway, and what a learner adds for other places is theirs.
    """
    host = node.host
    missing = {way.destination: way for way in wanted}
    stale: list[Route] = []
    for route in read.read_routes(host.namespace.route, host.namespace.names()):
        if route.table != "main" or route.via is None or route.protocol == others:
            continue
        if not _inside(route.destination, pods):
            continue
        way = missing.get(route.destination)
        if way is not None and (route.via, route.interface) == (way.via, way.interface) and len(route.hops) == 1:
            del missing[route.destination]
        else:
            stale.append(route)
    done = []
    for route in stale:
        host.remove_route(route.destination, via=str(route.via) if len(route.hops) == 1 else None)
        done.append(f"ip -n {host.name} route del {route}")
    for way in missing.values():
        host.add_route(way.destination, via=str(way.via), interface=way.interface, onlink=way.onlink)
        done.append(f"ip -n {host.name} route add {way}")
    return done


def _inside(destination: IPNetwork, networks: Sequence[IPNetwork]) -> bool:
    return any(
        destination.version == network.version
        and int(network.network_address) <= int(destination.network_address) <= int(network.broadcast_address)
        for network in networks
    )
