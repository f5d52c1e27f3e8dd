"""The nouns of a picture: hosts with chips, bridges and programs, and the cables between them.

They have no place and no size. Ids are the kernel's identities (``if:red/eth0``), never numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from netlab.view import words

if TYPE_CHECKING:
    from collections.abc import Iterator

State = Literal["up", "carrier", "down"]
UnitState = Literal["up", "listens", "fault"]
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
class Tube:
    """A tunnel where it passes through a network: the lanes that lead into it, by their names at this host."""

    host: str
    number: str
    about: str
    lanes: tuple[str, ...]
    sentence: str

    @property
    def id(self) -> str:
        """Return the identity: the host it passes through, and its number."""
        return f"tube:{self.host}/{self.number}"


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
class Unit:
    """One host as a mark in the card of the folded hub to which it is cabled."""

    name: str
    state: UnitState
    sentence: str


@dataclass(frozen=True, slots=True)
class Nest:
    """What a node holds: its pods with their cables, how they are shown, and what Services make of them.

    ``columns`` and ``rows`` are the places for cards; all nodes of a picture have as many.
    """

    pods: tuple[SceneHost, ...]
    cables: tuple[Cable, ...]
    level: Literal["cards", "boxes", "marks"]
    columns: int
    rows: int
    endpoints: frozenset[str] = frozenset()
    node_ports: tuple[str, ...] = ()  # of every node
    claims: int = 0  # how many Services lead to the same pod, at most


@dataclass(frozen=True, slots=True)
class SceneHost:
    """One network namespace with all that is drawn of it; ``gone`` marks a slot that is kept empty."""

    name: str
    chips: tuple[Chip, ...] = ()
    loopback: Chip | None = None
    bridges: tuple[Bridge, ...] = ()
    tubes: tuple[Tube, ...] = ()
    programs: tuple[Program, ...] = ()
    routes: tuple[Line, ...] = ()
    neighbours: tuple[Line, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    forwarding: str = ""  # the value of ip_forward where it matters, else empty
    forwarding6: str = ""
    sentence: str = ""
    gone: bool = False
    units: tuple[Unit, ...] = ()
    forwards: bool = False  # ip_forward is 1, whether it matters here or not
    nest: Nest | None = None
    units_are: str = "host"
    summary: tuple[tuple[str, str], ...] = ()  # of a switch: what hangs on it, each as (words, colour)
    opened: tuple[SceneHost, ...] = ()  # of a folded hub: the hosts of its units, where the reader looks at them

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
        """Return the identity in the kernel: both ends, sorted; of a lane into a tube, the end that is an interface."""
        if self.lane:
            return f"tun:{'/'.join(self.a)}"
        first, second = ("/".join(end) for end in (self.a, self.b))
        return f"{'tun' if self.kind == 'tunnel' else self.kind}:{first}~{second}"

    def other(self, host: str) -> End:
        """Return the end that is not on this host; for a cable within one host, its second end."""
        return self.b if self.a[0] == host else self.a

    @property
    def lane(self) -> bool:
        """Tell whether it leads into a tube, which is no interface."""
        return "/" in self.b[1]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a Service sends packets: an address, the host that holds it (empty if none does), and the share."""

    address: str
    host: str
    share: float


@dataclass(frozen=True, slots=True)
class Service:
    """An address that no interface holds: rules send its packets elsewhere."""

    name: str  # namespace/name, or the address where the rules tell no name
    addresses: tuple[str, ...]
    ports: tuple[str, ...]  # of every node
    endpoints: tuple[Endpoint, ...]
    hosts: tuple[str, ...]  # on which the rules are

    @property
    def id(self) -> str:
        """Return the identity: its name."""
        return f"svc:{self.name}"


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is drawn of a lab."""

    lab: str
    hosts: tuple[SceneHost, ...] = ()
    cables: tuple[Cable, ...] = ()
    services: tuple[Service, ...] = ()
    _index: dict[str, SceneHost] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make hosts quick to find."""
        self._index.update({host.name: host for host in self.everybody()})

    def __getitem__(self, name: str) -> SceneHost:
        """Return a host by its name, also one inside another; raises KeyError."""
        return self._index[name]

    def everybody(self) -> Iterator[SceneHost]:
        """Yield all hosts, each node before its pods."""
        for host in self.hosts:
            yield host
            yield from host.nest.pods if host.nest is not None else ()

    def every_cable(self) -> Iterator[Cable]:
        """Yield all cables, also those within nodes."""
        yield from self.cables
        for host in self.hosts:
            yield from host.nest.cables if host.nest is not None else ()

    def between(self) -> tuple[Cable, ...]:
        """Return the cables that lead from one host to another."""
        return tuple(cable for cable in self.cables if cable.a[0] != cable.b[0])

    @property
    def sentence(self) -> str:
        """Say in one sentence what the picture shows."""
        hosts = [host for host in self.everybody() if not host.gone]
        if not hosts:
            return f"Lab {self.lab} has no hosts yet."
        names = words.join([host.name for host in hosts][:8]) + (" and others" if len(hosts) > 8 else "")
        cables = words.count(len(list(self.every_cable())), "cable")
        return f"Lab {self.lab}: {words.count(len(hosts), 'host')} ({names}), {cables}."
