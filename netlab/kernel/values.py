"""What netlab reads from the kernel, as frozen values: interfaces, addresses, routes, …, a Snapshot of a whole lab.

Everything here was read, nothing was asked for. Names follow iproute2, nftables and conntrack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING

from netlab.errors import NotFoundError

if TYPE_CHECKING:
    from netlab.kernel.difference import Difference

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Counters:
    """Packets and bytes that an interface has moved since it was made (rtnl_link_stats64)."""

    rx_packets: int = 0
    rx_bytes: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a veth pair, or the parent of a macvlan; ``host`` is None outside of the lab."""

    host: str | None
    interface: str
    index: int


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface (``ip -d link``).

    ``kind`` is ``veth``, ``bridge``, ``vxlan``, ``macvlan``, ``loopback``, …; ``up`` is what an administrator set,
    ``carrier`` whether the other side is there, ``state`` both in the kernel's word. ``details`` holds what only
    this kind has, such as ``("id", "42")`` of a VXLAN or ``("state", "forwarding")`` of a bridge port.
    """

    index: int
    name: str
    kind: str
    up: bool
    carrier: bool
    state: str
    mtu: int
    mac: str = ""
    master: str | None = None
    peer: Peer | None = None
    alias: str = ""
    qdisc: str = ""
    details: tuple[tuple[str, str], ...] = ()
    counters: Counters = field(default_factory=Counters)

    def detail(self, key: str) -> str | None:
        """Return one of the details, or None."""
        return dict(self.details).get(key)

    @property
    def state_words(self) -> str:
        """Return the state as the pictures write it: UP, NO CARRIER or DOWN."""
        if not self.up:
            return "DOWN"
        return "UP" if self.carrier else "NO CARRIER"


@dataclass(frozen=True, slots=True)
class Address:
    """An address with its prefix on an interface (``ip addr``)."""

    interface: str
    address: IPInterface
    scope: str = "global"
    flags: tuple[str, ...] = ()

    @property
    def is_link_local(self) -> bool:
        """Tell whether the kernel made it by itself (fe80::/10)."""
        return self.address.is_link_local


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way of a route: a gateway, an interface, or both."""

    via: IPAddress | None = None
    interface: str | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Route:
    """A route (``ip route``); ``table`` is a name such as ``main``, ``type`` is unicast, blackhole and so on."""

    destination: IPNetwork
    hops: tuple[NextHop, ...] = ()
    type: str = "unicast"
    table: str = "main"
    protocol: str = "static"
    scope: str = "global"
    source: IPAddress | None = None
    metric: int = 0
    mtu: int | None = None

    @property
    def via(self) -> IPAddress | None:
        """Return the gateway of the first next hop."""
        return self.hops[0].via if self.hops else None

    @property
    def interface(self) -> str | None:
        """Return the interface of the first next hop."""
        return self.hops[0].interface if self.hops else None

    @property
    def is_default(self) -> bool:
        """Tell whether it matches every destination."""
        return self.destination.prefixlen == 0

    def __str__(self) -> str:
        """Return it as ``ip route`` prints it."""
        what = "default" if self.is_default else str(self.destination)
        words = [what] if self.type == "unicast" else [self.type, what]
        for hop in self.hops:
            words += ["nexthop"] if len(self.hops) > 1 else []
            words += ["via", str(hop.via)] if hop.via else []
            words += ["dev", hop.interface] if hop.interface else []
        words += ["table", self.table] if self.table != "main" else []
        words += ["src", str(self.source)] if self.source else []
        words += ["metric", str(self.metric)] if self.metric else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A rule that chooses a routing table (``ip rule``)."""

    priority: int
    family: int
    table: str
    text: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the neighbour table, ARP or NDP (``ip neigh``)."""

    interface: str
    address: IPAddress
    mac: str = ""
    state: str = "NONE"
    proxy: bool = False


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """A line of a bridge's or VXLAN's forwarding table (``bridge fdb``)."""

    interface: str
    mac: str
    destination: IPAddress | None = None
    master: str | None = None
    permanent: bool = False
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Socket:
    """A TCP or UDP socket (``ss -tunap``) with the process that holds it, where that can be seen."""

    protocol: str
    state: str
    local: IPAddress
    local_port: int
    remote: IPAddress | None = None
    remote_port: int = 0
    process: str = ""
    pid: int | None = None

    @property
    def listening(self) -> bool:
        """Tell whether it waits for anyone: a listening TCP socket or an unconnected UDP one."""
        return self.state in {"LISTEN", "UNCONN"}


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """A rule of iptables or nftables, in the words of ``iptables-save`` or ``nft list ruleset``.

    ``tool`` is ``iptables``, ``ip6tables`` or ``nft``; ``family`` the nftables family (ip, ip6, inet, …); a rule with
    an empty ``text`` is the chain's policy. ``packets`` is None where the rule has no counter. A policy also says at
    which ``hook`` the kernel begins the chain, and with which ``priority``: lower ones come first.
    """

    tool: str
    family: str
    table: str
    chain: str
    number: int
    text: str
    packets: int | None = None
    bytes: int | None = None
    policy: str | None = None
    handle: int | None = None
    hook: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class MapElement:
    """An element of a named set or map of nftables, as ``nft list ruleset`` writes it.

    ``key`` may have several parts, such as ``10.96.0.10 . tcp . 80``; ``value`` is what a map leads to, such as
    ``goto service-A``, and empty for a set. Elements that have a timeout are left out: they come and go by themselves.
    """

    family: str
    table: str
    name: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a tracked connection."""

    source: IPAddress
    destination: IPAddress
    source_port: int | None = None
    destination_port: int | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A conntrack entry (``conntrack -L``): where the first packet went, and where replies come from."""

    protocol: str
    original: Flow
    reply: Flow
    state: str = ""
    mark: int = 0
    timeout: int = 0

    @property
    def is_translated(self) -> bool:
        """Tell whether NAT changed an address or a port."""
        forward, back = self.original, self.reply
        return (forward.source, forward.source_port, forward.destination, forward.destination_port) != (
            back.destination,
            back.destination_port,
            back.source,
            back.source_port,
        )


@dataclass(frozen=True, slots=True)
class HostState:
    """One host as the kernel had it: everything in its network namespace."""

    name: str
    inode: int
    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    policy: tuple[PolicyRule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    sockets: tuple[Socket, ...] = ()
    rules: tuple[FirewallRule, ...] = ()
    connections: tuple[Connection, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    elements: tuple[MapElement, ...] = ()

    def interface(self, name: str) -> Interface:
        """Return the interface with this name; raises NotFoundError."""
        for interface in self.interfaces:
            if interface.name == name:
                return interface
        known = ", ".join(interface.name for interface in self.interfaces) or "none"
        raise NotFoundError(f"Host {self.name!r} has no interface {name!r}. It has: {known}.")

    def addresses_of(self, interface: str) -> tuple[Address, ...]:
        """Return the addresses on one interface."""
        return tuple(address for address in self.addresses if address.interface == interface)

    def sysctl(self, key: str) -> str | None:
        """Return one of the kernel settings that were read, or None."""
        return dict(self.sysctls).get(key)

    def routes_of(self, table: str = "main") -> tuple[Route, ...]:
        """Return the routes of one table."""
        return tuple(route for route in self.routes if route.table == table)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole lab as the kernel had it at one instant; ``new - old`` says what differs.

    ``time`` is in seconds since the epoch; ``hosts`` come in the order in which they were added.
    """

    lab: str
    time: float
    hosts: tuple[HostState, ...] = ()

    def __getitem__(self, name: str) -> HostState:
        """Return a host by its name; raises NotFoundError."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts) or "none"
        raise NotFoundError(f"There is no host {name!r} in this snapshot. It has: {known}.")

    def __contains__(self, name: object) -> bool:
        """Tell whether a host of this name was there."""
        return any(host.name == name for host in self.hosts)

    def __sub__(self, old: Snapshot) -> Difference:
        """Compare with an earlier snapshot."""
        from netlab.kernel.difference import difference  # noqa: PLC0415 - difference builds on these values

        return difference(old, self)

    def __str__(self) -> str:
        """Return it as text, host by host, much as ``ip`` prints it."""
        from netlab.kernel.difference import describe  # noqa: PLC0415 - as above

        return describe(self)

    def to_json(self) -> str:
        """Return it as JSON; `from_json` reads it back to an equal value."""
        from netlab.kernel.serial import to_json  # noqa: PLC0415 - cattrs is needed only here

        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Read what `to_json` wrote; raises InvalidInputError with the place that is wrong."""
        from netlab.kernel.serial import from_json  # noqa: PLC0415 - as above

        return from_json(text, cls)
