"""One packet of a trace with every place where it was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netlab.journey.identity import Key
    from netlab.kernel.headers import Decoded, Header, Question
    from netlab.kernel.packet_socket import Taken
    from netlab.kernel.ruletrace import RuleEvent
    from netlab.kernel.values import IPAddress

#: What all fragments of one datagram have in common.
Train = tuple["IPAddress", "IPAddress", str, int]
#: Bytes before the payload: IPv4's header, and IPv6's with a fragment header.
_IPV4_HEAD, _IPV6_HEAD = 20, 48


class Piece(NamedTuple):
    """A later fragment of a datagram at one place; ``order`` counts the packets of its host."""

    order: int
    taken: Taken
    decoded: Decoded


@dataclass(slots=True)
class Sighting:
    """A packet at one place: captured at an interface, or reported by a rule.

    ``at`` sorts them: nanoseconds, the place in the host's own order, the place in a group of reports.
    """

    at: tuple[int, float, int]
    host: str
    decoded: Decoded | None
    taken: Taken | None = None
    event: RuleEvent | None = None
    #: The header of the tunnel's packet, where a rule has met that one and not the packet inside.
    outer: Header | None = None
    #: The later fragments of the same datagram at this place: the first one tells whose they are.
    pieces: list[Piece] = field(default_factory=list)

    @property
    def interface(self) -> str:
        """Return the interface at which it was captured, or nothing."""
        return self.taken.interface if self.taken else ""

    @property
    def direction(self) -> str:
        """Return "in" or "out" for a captured packet, "rule" for a report."""
        return self.taken.direction if self.taken else "rule"

    @property
    def whole(self) -> bool:
        """Tell whether a datagram was here in one piece, or in fragments without a gap."""
        head = self.decoded
        if head is None or not head.more_fragments:
            return True
        reached = head.header.length - (_IPV4_HEAD if head.header.source.version == 4 else _IPV6_HEAD)
        last = head
        for _, _, last in sorted(self.pieces, key=lambda piece: piece.decoded.fragment):
            if last.fragment > reached:
                return False
            reached = last.fragment + last.size
        return not last.more_fragments


@dataclass(slots=True)
class Track:
    """One packet of one probe: its name, which attempt to send it this is, and where it was seen, in order."""

    probe: int
    key: Key
    attempt: int
    sightings: list[Sighting] = field(default_factory=list)
    #: Whether some of its fragments got lost.
    torn: bool = False

    @property
    def began(self) -> int:
        """Return the time of the first sighting in nanoseconds since the epoch."""
        return self.sightings[0].at[0]

    @property
    def captured(self) -> list[Sighting]:
        """Return the sightings at interfaces."""
        return [sighting for sighting in self.sightings if sighting.taken is not None]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts in which it was seen, in order, each once for each visit."""
        found: list[str] = []
        for sighting in self.sightings:
            if not found or found[-1] != sighting.host:
                found.append(sighting.host)
        return tuple(found)


@dataclass(slots=True)
class Asked:
    """An ARP or neighbour discovery message at one place."""

    at: int
    host: str
    interface: str
    direction: str
    question: Question
    taken: Taken
