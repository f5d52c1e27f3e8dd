"""The values that the Service proxy computes with. All of them are frozen.

Addresses are kept in their one canonical spelling: a state holds tens of thousands of them, and each becomes text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Family(Enum):
    """One of the two IP families; the proxy runs once for each."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return 4 if self is Family.IPV4 else 6


@dataclass(frozen=True, slots=True)
class LocalDetector:
    """How to tell that a packet came from a pod of this cluster.

    ``kind`` is ``source`` (``value`` is the pods' range) or ``interface`` (a name; it ends in ``+`` for a prefix).
    """

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the node and the proxy's configuration decide, for one family.

    ``node_port_addresses`` is None where node ports listen on every local address.
    """

    family: Family
    node_name: str = ""
    node_ip: str = "127.0.0.1"
    zone: str = ""
    masquerade_bit: int = 14
    masquerade_all: bool = False
    detector: LocalDetector | None = None
    node_port_addresses: tuple[str, ...] | None = None
    localhost_node_ports: bool = True
    tcp_be_liberal: bool = False
    service_cidrs: tuple[str, ...] = ()
    external_ips: bool = True
    random_fully: bool = True

    @property
    def mark(self) -> str:
        """Return the packet mark that asks for masquerading, as kube-proxy spells it."""
        return f"0x{1 << self.masquerade_bit:08x}"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service, as one family sees it.

    ``accessible`` says that something other than the cluster IP leads here; ``affinity`` is in seconds, None for none.
    """

    namespace: str
    service: str
    port_name: str
    protocol: str
    cluster_ip: str
    port: int
    node_port: int = 0
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    source_ranges: tuple[str, ...] = ()
    affinity: int | None = None
    health_check_node_port: int = 0
    accessible: bool = False
    external_local: bool = False
    internal_local: bool = False

    @property
    def name(self) -> str:
        """Return ``namespace/service:port``, without the colon if the port has no name."""
        tail = f":{self.port_name}" if self.port_name else ""
        return f"{self.namespace}/{self.service}{tail}"

    @property
    def uses_cluster(self) -> bool:
        """Say whether any traffic may go to endpoints on other nodes."""
        return not self.internal_local or self.accessible

    @property
    def uses_local(self) -> bool:
        """Say whether any traffic must stay on this node."""
        return self.internal_local or (self.external_local and self.accessible)


class Endpoint(NamedTuple):
    """One address and port behind a Service port; ``text`` is both, and the key that endpoints are sorted by.

    A tuple, because a cluster has tens of thousands of them and a frozen dataclass takes ten times as long to make.
    """

    address: str
    port: int
    text: str
    local: bool = False
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zones: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service port with all its endpoints, in order."""

    port: ServicePort
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ServiceView:
    """Everything that decides the rules of one Service. Compared by identity: an unchanged Service stays the object."""

    name: str
    backends: tuple[Backend, ...]

    @property
    def endpoint_count(self) -> int:
        """Return the number of endpoints over all ports, usable or not."""
        return sum(len(backend.endpoints) for backend in self.backends)


@dataclass(frozen=True, slots=True)
class State:
    """All Services of one family on one node: the whole input of a sync."""

    settings: Settings
    services: Mapping[str, ServiceView]

    @property
    def endpoint_count(self) -> int:
        """Return the number of endpoints over all Services."""
        return sum(len(backend.endpoints) for view in self.services.values() for backend in view.backends)
