"""A Snapshot as the nouns of a picture: hosts with chips, bridges and processes, and the cables between them.

Pure, and without any place or size. Ids are the kernel's identities (``if:red/eth0``), never numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from netlab.view import words

if TYPE_CHECKING:
    from netlab.kernel.values import HostState, Interface, Snapshot

State = Literal["up", "carrier", "down"]
CableKind = Literal["veth", "macvlan", "tunnel"]
End = tuple[str, str]  # host, interface


@dataclass(frozen=True, slots=True)
class Chip:
    """An interface, as it is drawn: a pill on the border of its host."""

    host: str
    name: str
    kind: str
    state: State
    addresses: tuple[str, ...] = ()
    mac: str = ""
    note: str = ""
    master: str | None = None
    sentence: str = ""
    gone: bool = False

    @property
    def id(self) -> str:
        """Return the identity in the kernel."""
        return f"if:{self.host}/{self.name}"

    @property
    def word(self) -> str:
        """Return the state in words, empty when all is well."""
        return {"up": "", "carrier": "NO CARRIER", "down": "DOWN"}[self.state]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge: a bar with a bus line, onto which its ports drop."""

    host: str
    name: str
    state: State
    addresses: tuple[str, ...]
    learned: int
    ports: tuple[str, ...]
    sentence: str

    @property
    def id(self) -> str:
        """Return the identity in the kernel."""
        return f"br:{self.host}/{self.name}"


@dataclass(frozen=True, slots=True)
class Program:
    """A process with the ports on which it listens."""

    id: str
    name: str
    ports: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a host: its words, and whether it tells of a fault."""

    text: str
    fault: str = ""
    short: str = ""


@dataclass(frozen=True, slots=True)
class SceneHost:
    """One network namespace with all that is drawn of it; ``gone`` marks a slot that is kept empty."""

    name: str
    chips: tuple[Chip, ...] = ()
    loopback: Chip | None = None
    bridges: tuple[Bridge, ...] = ()
    programs: tuple[Program, ...] = ()
    routes: tuple[Line, ...] = ()
    neighbours: tuple[Line, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    forwarding: str = ""  # the value of ip_forward where it matters, else empty
    forwarding6: str = ""
    sentence: str = ""
    gone: bool = False

    @property
    def id(self) -> str:
        """Return the identity in the kernel."""
        return f"host:{self.name}"

    def chip(self, name: str) -> Chip:
        """Return the chip of an interface; raises KeyError."""
        for chip in self.chips:
            if chip.name == name:
                return chip
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Cable:
    """What joins two interfaces: a veth pair, a macvlan and its parent, or the two ends of a VXLAN tunnel."""

    kind: CableKind
    a: End
    b: End
    up: bool
    sentence: str

    @property
    def id(self) -> str:
        """Return the identity in the kernel: both ends, sorted."""
        first, second = ("/".join(end) for end in (self.a, self.b))
        return f"{'tun' if self.kind == 'tunnel' else self.kind}:{first}~{second}"

    def other(self, host: str) -> End:
        """Return the end that is not on this host; for a cable within one host, its second end."""
        return self.b if self.a[0] == host else self.a


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is drawn of a lab."""

    lab: str
    hosts: tuple[SceneHost, ...] = ()
    cables: tuple[Cable, ...] = ()
    _index: dict[str, SceneHost] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make hosts quick to find."""
        self._index.update({host.name: host for host in self.hosts})

    def __getitem__(self, name: str) -> SceneHost:
        """Return a host by its name; raises KeyError."""
        return self._index[name]

    def between(self) -> tuple[Cable, ...]:
        """Return the cables that lead from one host to another."""
        return tuple(cable for cable in self.cables if cable.a[0] != cable.b[0])

    @property
    def sentence(self) -> str:
        """Say in one sentence what the picture shows."""
        hosts = [host for host in self.hosts if not host.gone]
        if not hosts:
            return f"Lab {self.lab} has no hosts yet."
        names = words.join([host.name for host in hosts][:8]) + (" and others" if len(hosts) > 8 else "")
        return f"Lab {self.lab}: {words.count(len(hosts), 'host')} ({names}), {words.count(len(self.cables), 'cable')}."


def to_scene(snapshot: Snapshot) -> Scene:
    """Turn a Snapshot into what is drawn of it."""
    hosts = tuple(_host(state) for state in snapshot.hosts)
    return Scene(snapshot.lab, hosts, _cables(snapshot))


def state_of(interface: Interface) -> State:
    """Return the state that the led of an interface shows."""
    if not interface.up:
        return "down"
    return "up" if interface.carrier else "carrier"


def _host(state: HostState) -> SceneHost:
    chips = tuple(_chip(state, i) for i in state.interfaces if i.kind not in {"bridge", "loopback"})
    loopback = next((_chip(state, i) for i in state.interfaces if i.kind == "loopback"), None)
    routes = tuple(Line(words.route(route), short=words.route_short(route)) for route in words.visible_routes(state))
    bad = {"FAILED", "INCOMPLETE"}
    neighbours = tuple(
        Line(words.neighbour(n), n.state if n.state in bad else "") for n in words.visible_neighbours(state)
    )
    # A gate is drawn only where packets could pass: between two interfaces that have addresses of their own.
    routed = {a.interface for a in state.addresses if not a.is_link_local} - {loopback.name if loopback else ""}
    several = len(routed) > 1
    six = any(a.address.version == 6 and a.interface in routed and not a.is_link_local for a in state.addresses)
    return SceneHost(
        name=state.name,
        chips=chips,
        loopback=loopback,
        bridges=tuple(_bridge(state, i) for i in state.interfaces if i.kind == "bridge"),
        programs=_programs(state),
        routes=routes,
        neighbours=neighbours,
        rules=words.rule_counts(state),
        forwarding=(state.sysctl("net.ipv4.ip_forward") or "") if several else "",
        forwarding6=(state.sysctl("net.ipv6.conf.all.forwarding") or "") if several and six else "",
        sentence=words.host(state),
    )


def _addresses(state: HostState, name: str) -> tuple[str, ...]:
    return tuple(str(a.address) for a in state.addresses_of(name) if not a.is_link_local)


def _chip(state: HostState, interface: Interface) -> Chip:
    return Chip(
        host=state.name,
        name=interface.name,
        kind=interface.kind,
        state=state_of(interface),
        addresses=_addresses(state, interface.name),
        mac=interface.mac if interface.kind != "loopback" else "",
        note=words.kind_note(interface),
        master=interface.master,
        sentence=words.interface(state, interface),
    )


def _bridge(state: HostState, interface: Interface) -> Bridge:
    ports = tuple(i.name for i in state.interfaces if i.master == interface.name)
    learned = {e.mac for e in state.fdb if not e.permanent and e.master == interface.name}
    return Bridge(
        host=state.name,
        name=interface.name,
        state=state_of(interface),
        addresses=_addresses(state, interface.name),
        learned=len(learned),
        ports=ports,
        sentence=words.bridge(state, interface, len(ports)),
    )


def _programs(state: HostState) -> tuple[Program, ...]:
    found: dict[tuple[str, int | None], set[tuple[int, str]]] = {}
    for socket in state.sockets:
        if socket.listening:
            found.setdefault((socket.process, socket.pid), set()).add((socket.local_port, socket.protocol.rstrip("6")))
    programs = []
    for (name, pid), ports in found.items():
        texts = tuple(f":{port}" if protocol == "tcp" else f":{port}/{protocol}" for port, protocol in sorted(ports))
        title = name or "a process"
        sentence = f"{title}{f' (pid {pid})' if pid else ''} on {state.name} listens on {words.join(texts)}."
        programs.append(Program(f"sock:{state.name}/{name}/{pid or ''}", name or "?", texts, sentence))
    return tuple(programs)


def _cables(snapshot: Snapshot) -> tuple[Cable, ...]:
    interfaces = {(host.name, i.name): i for host in snapshot.hosts for i in host.interfaces}
    cables: dict[str, Cable] = {}
    for (host, name), interface in interfaces.items():
        peer = interface.peer
        if peer is None or interface.kind not in {"veth", "macvlan"}:
            continue
        other = interfaces.get((peer.host or "", peer.interface))
        if other is None:
            continue
        kind: CableKind = "veth" if interface.kind == "veth" else "macvlan"
        ends = sorted(((host, name), (peer.host or "", peer.interface)))
        up = state_of(interface) == state_of(other) == "up"
        cable = Cable(kind, ends[0], ends[1], up, words.cable(kind, ends, up=up))
        cables.setdefault(cable.id, cable)
    return tuple(cables.values()) + _tunnels(snapshot)


def _tunnels(snapshot: Snapshot) -> tuple[Cable, ...]:
    """Join the VXLAN interfaces of one number: each host to the one before it, as the beads of a string."""
    members: dict[str, list[tuple[End, bool]]] = {}
    for host in snapshot.hosts:
        for interface in host.interfaces:
            if interface.kind == "vxlan":
                number = interface.detail("id") or "?"
                members.setdefault(number, []).append(((host.name, interface.name), state_of(interface) == "up"))
    cables = []
    for number, ends in members.items():
        for (a, a_up), (b, b_up) in zip(ends, ends[1:], strict=False):
            if a[0] != b[0]:
                first, second = sorted((a, b))
                up = a_up and b_up
                sentence = words.tunnel(number, first, second, up=up)
                cables.append(Cable("tunnel", first, second, up, sentence))
    return tuple(cables)
