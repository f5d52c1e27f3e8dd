"""Put what was heard in order: each packet of the trace with every place where it was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.journey.identity import Key, is_error
from netlab.kernel.headers import Decoded, Question, decode_frame, decode_headers
from netlab.kernel.read_rules import TRACE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.journey.identity import Family
    from netlab.kernel.headers import Header
    from netlab.kernel.packet_socket import Taken
    from netlab.kernel.ruletrace import RuleEvent
    from netlab.kernel.wiretap import Heard

#: Nanoseconds without a sight of a packet after which the same again is a retransmission: TCP waits 200 ms at least.
GAP = 120_000_000
#: Order of rule reports beside the capture that they belong to: after the packet came in, before it goes out.
_AFTER, _BEFORE = 0.5, -0.5


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

    @property
    def interface(self) -> str:
        """Return the interface at which it was captured, or nothing."""
        return self.taken.interface if self.taken else ""

    @property
    def direction(self) -> str:
        """Return "in" or "out" for a captured packet, "rule" for a report."""
        return self.taken.direction if self.taken else "rule"


@dataclass(slots=True)
class Track:
    """One packet of one probe: its name, which attempt to send it this is, and where it was seen, in order."""

    probe: int
    key: Key
    attempt: int
    sightings: list[Sighting] = field(default_factory=list)

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


@dataclass(slots=True)
class _Group:
    """The reports about one packet on its way through one host."""

    host: str
    decoded: Decoded
    events: list[tuple[RuleEvent, Decoded | None]] = field(default_factory=list)

    @property
    def iif(self) -> int:
        return next((event.iif for event, _ in self.events if event.iif), 0)

    @property
    def oif(self) -> int:
        return next((event.oif for event, _ in reversed(self.events) if event.oif), 0)


class Sorter:
    """Sorts what a wiretap heard; ``vxlan`` are the UDP ports of the lab's tunnels, ``names`` those of interfaces."""

    def __init__(self, family: Family, names: dict[str, dict[int, str]], vxlan: frozenset[int]) -> None:
        """Prepare to sort for the probes of one trace."""
        self._family, self._names, self._vxlan = family, names, vxlan
        self.questions: list[Asked] = []
        self._found: dict[tuple[int, Key], list[Sighting]] = {}

    def sort(self, heard: Iterable[Heard], events: Iterable[RuleEvent]) -> list[Track]:
        """Return the packets of the trace in the order in which they began."""
        self._sort_packets(sorted(heard, key=lambda each: (each.taken.time_ns, each.host, each.order)))
        captured = {key: list(found) for key, found in self._found.items()}
        for group in _group(events):
            self._sort_group(group, captured)
        tracks = [track for (probe, key), found in self._found.items() for track in _attempts(probe, key, found)]
        return sorted(tracks, key=lambda track: track.sightings[0].at)

    def _sort_packets(self, heard: list[Heard]) -> None:
        for each in heard:
            taken = each.taken
            packet = decode_frame(taken.data, taken.link, self._vxlan)
            if isinstance(packet, Question):
                asked = Asked(taken.time_ns, each.host, taken.interface, taken.direction, packet, taken)
                self.questions.append(asked)
            elif packet is not None and (found := self._family.find(packet)) is not None:
                sighting = Sighting((taken.time_ns, each.order, 0), each.host, packet, taken)
                self._found.setdefault(found, []).append(sighting)

    def _sort_group(self, group: _Group, captured: dict[tuple[int, Key], list[Sighting]]) -> None:
        key = self._family.find(group.decoded)
        outer = None
        if key is None and is_error(group.decoded):
            key = _same_error(group, captured)
        if key is None and group.decoded.header.protocol == "udp":
            key = _same_outer(group, captured)
            outer = group.decoded.header
        if key is None:
            return
        anchor = self._anchor(group, captured.get(key, []), tunnelled=outer is not None)
        for number, (event, decoded) in enumerate(group.events):
            at = (*anchor, number) if anchor else (event.time_ns, 0.0, number)
            sighting = Sighting(at, group.host, None if outer else decoded, event=event, outer=outer)
            self._found.setdefault(key, []).append(sighting)

    def _anchor(self, group: _Group, captured: list[Sighting], *, tunnelled: bool) -> tuple[int, float] | None:
        """Return where among the captures of this host the reports belong: after it came in, or before it goes out."""
        names = self._names.get(group.host, {})
        began = group.events[0][0].time_ns
        index, direction, side = (group.iif, "in", _AFTER) if group.iif else (group.oif, "out", _BEFORE)
        mine = [
            sighting
            for sighting in captured
            if sighting.host == group.host
            and sighting.direction == direction
            and sighting.interface == names.get(index, "")
            and sighting.decoded is not None
            and (sighting.decoded.outer is not None) == tunnelled
        ]
        # Of a retransmitted packet, the attempt whose report came soonest after; ttl tells the rounds of a loop apart.
        same = [each for each in mine if each.decoded and each.decoded.header.ttl == group.decoded.header.ttl] or mine
        earlier = [each for each in same if each.at[0] <= began] or same
        if not earlier:
            return None
        nearest = min(earlier, key=lambda each: abs(began - each.at[0]))
        return nearest.at[0], nearest.at[1] + side


def _group(events: Iterable[RuleEvent]) -> list[_Group]:
    """Part the reports of each host by packet.

    A trace id is used again for a later packet; but each packet meets our own table first.
    """
    groups: list[_Group] = []
    current: dict[tuple[str, int], _Group] = {}
    for event in events:
        decoded = decode_headers(event.network, event.transport) if event.network else None
        ours = event.table.startswith(TRACE_PREFIX)
        if ours and decoded is not None:
            group = current[event.host, event.trace] = _Group(event.host, decoded)
            groups.append(group)
        if (found := current.get((event.host, event.trace))) is not None:
            found.events.append((event, decoded))
    return groups


def _same_error(group: _Group, captured: dict[tuple[int, Key], list[Sighting]]) -> tuple[int, Key] | None:
    """Return the captured ICMP error with the same type and addresses: a report does not show what it is about."""
    for key, found in captured.items():
        for sighting in found:
            packet = sighting.decoded
            if (
                packet is not None
                and packet.icmp == group.decoded.icmp
                and packet.header.flow == group.decoded.header.flow
            ):
                return key
    return None


def _same_outer(group: _Group, captured: dict[tuple[int, Key], list[Sighting]]) -> tuple[int, Key] | None:
    """Return the packet that is inside of this one: by the outer header that was captured in this host."""
    own = group.decoded
    for key, found in captured.items():
        for sighting in found:
            outer = sighting.decoded.outer if sighting.decoded else None
            if outer is None or sighting.host != group.host:
                continue
            # All packets of a connection have the same outer addresses and ports: length and id tell them apart.
            if (outer.header.flow, outer.header.length, outer.ip_id) == (own.header.flow, own.header.length, own.ip_id):
                return key
    return None


def _attempts(probe: int, key: Key, found: list[Sighting]) -> list[Track]:
    """Part the sightings of one packet by the attempts to send it."""
    tracks: list[Track] = []
    last = 0
    for sighting in sorted(found, key=lambda each: each.at):
        if not tracks or sighting.at[0] - last > GAP:
            tracks.append(Track(probe, key, len(tracks) + 1))
        tracks[-1].sightings.append(sighting)
        last = sighting.at[0]
    return tracks
