"""Put what was heard in order: each packet of the trace with every place where it was seen."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.journey.attempts import attempts
from netlab.journey.identity import Key, is_error
from netlab.journey.order import straighten
from netlab.journey.tracks import Asked, Piece, Sighting, Track, Train
from netlab.kernel.headers import Decoded, Question, decode_frame, decode_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.journey.evidence import Evidence
    from netlab.journey.identity import Family
    from netlab.kernel.ruletrace import RuleEvent
    from netlab.kernel.wiretap import Heard

#: Order of rule reports beside the capture that they belong to: after the packet came in, before it goes out.
_AFTER, _BEFORE = 0.5, -0.5


@dataclass(slots=True)
class _Group:
    """The reports about one packet in one base chain, and in the chains that were jumped to from there.

    The first one has the packet's headers, and the interfaces: by which it came in, by which it will go out.
    """

    host: str
    decoded: Decoded
    events: list[tuple[int, RuleEvent]] = field(default_factory=list)

    @property
    def first(self) -> RuleEvent:
        return self.events[0][1]


class Sorter:
    """Sorts what a wiretap heard, for the probes of one trace."""

    def __init__(self, family: Family, evidence: Evidence) -> None:
        """Prepare to sort; the evidence tells the interfaces' names, and the UDP ports of the lab's tunnels."""
        self._family, self._evidence, self._vxlan = family, evidence, evidence.tunnel_ports
        self.questions: list[Asked] = []
        self._found: dict[tuple[int, Key], list[Sighting]] = {}
        #: Fragments that got lost, by what their datagram is known by and their offset.
        self._lost: dict[tuple[Train, int], tuple[int, Key]] = {}
        self._torn: set[tuple[int, Key]] = set()

    def sort(self, heard: Iterable[Heard], events: Iterable[RuleEvent]) -> list[Track]:
        """Return the packets of the trace in the order in which they began."""
        groups = _group(events)
        decoded = [
            (each, decode_frame(each.taken.data, each.taken.link, self._vxlan))
            for each in sorted(heard, key=lambda each: (each.taken.time_ns, each.host, each.order))
        ]
        self._family.learn(
            itertools.chain(
                (group.decoded for group in groups),
                (packet for _, packet in decoded if isinstance(packet, Decoded)),
            )
        )
        dropped = {
            (group.decoded.train, group.decoded.fragment)
            for group in groups
            if group.decoded.fragment and group.events[-1][1].verdict == "DROP"
        }
        self._sort_packets(decoded)
        for key in list(self._found):
            self._tell_lost(key, self._found[key], dropped)
        for key, found in self._found.items():
            self._found[key] = straighten(found, self._evidence)
        captured = {key: list(found) for key, found in self._found.items()}
        for group in groups:
            self._sort_group(group, captured)
        tracks = [track for (probe, key), found in self._found.items() for track in attempts(probe, key, found)]
        for track in tracks:
            track.torn = (track.probe, track.key) in self._torn
        return sorted(tracks, key=lambda track: track.sightings[0].at)

    def _sort_packets(self, decoded: list[tuple[Heard, Decoded | Question | None]]) -> None:
        heads: dict[tuple[object, ...], Sighting] = {}
        rest: list[tuple[Heard, Decoded]] = []
        for each, packet in decoded:
            taken = each.taken
            if isinstance(packet, Question):
                asked = Asked(taken.time_ns, each.host, taken.interface, taken.direction, packet, taken)
                self.questions.append(asked)
            elif packet is not None and packet.fragment:
                rest.append((each, packet))
            elif packet is not None and (found := self._family.find(packet)) is not None:
                sighting = Sighting((taken.time_ns, each.order, 0), each.host, packet, taken)
                self._found.setdefault(found, []).append(sighting)
                if packet.more_fragments:
                    heads[_train(each, packet)] = heads[_number(each, packet)] = sighting
        for each, packet in rest:
            # Connection tracking joins fragments and rewrites them while the capture still shares their bytes: at the
            # place before it, a later one may be captured with the addresses and the TTL that it gets there.
            head = heads.get(_train(each, packet)) or heads.get(_number(each, packet))
            if head is not None:
                head.pieces.append(Piece(each.order, each.taken, packet))

    def _tell_lost(self, key: tuple[int, Key], found: list[Sighting], dropped: set[tuple[Train, int]]) -> None:
        """Make packets of their own of the fragments that got lost on the way, while the first one went on."""
        there = {piece.decoded.fragment for piece in found[-1].pieces}
        for head in found:
            for number, piece in enumerate(head.pieces, 2):
                place = (piece.decoded.train, piece.decoded.fragment)
                if place not in dropped and (found[-1].whole or place[1] in there):
                    continue
                name = Key(key[1].leg, f"{key[1].packet}, fragment {number}", (place[1],))
                at = (piece.taken.time_ns, float(piece.order), 0)
                self._found.setdefault((key[0], name), []).append(Sighting(at, head.host, piece.decoded, piece.taken))
                self._lost[place] = (key[0], name)
                self._torn.add(key)

    def _sort_group(self, group: _Group, captured: dict[tuple[int, Key], list[Sighting]]) -> None:
        key = self._lost.get((group.decoded.train, group.decoded.fragment)) or self._family.find(group.decoded)
        outer = None
        if key is None and is_error(group.decoded):
            key = _same_error(group, captured)
        if key is None and group.decoded.header.protocol == "udp":
            key = _same_outer(group, captured)
            outer = group.decoded.header
        if key is None:
            return
        anchor = self._anchor(group, captured.get(key, []), tunnelled=outer is not None)
        for number, event in group.events:
            at = (*anchor, number) if anchor else (event.time_ns, 0.0, number)
            decoded = group.decoded if event is group.first and outer is None else None
            self._found.setdefault(key, []).append(Sighting(at, group.host, decoded, event=event, outer=outer))

    def _anchor(self, group: _Group, captured: list[Sighting], *, tunnelled: bool) -> tuple[int, float] | None:
        """Return where among the captures of this host the reports belong: after it came in, or before it goes out."""
        mine = [
            each
            for each in captured
            if each.host == group.host and each.decoded is not None and (each.decoded.outer is not None) == tunnelled
        ]
        first = group.first
        here, side = self._candidates(group, mine)
        # Of a packet that was sent again, the attempt before the report; in a loop, the round with this TTL.
        ttl = group.decoded.header.ttl
        same = [each for each in here if tunnelled or (each.decoded and each.decoded.header.ttl == ttl)] or here
        earlier = [each for each in same if each.at[0] <= first.time_ns] or same
        if not earlier:
            return None
        nearest = min(earlier, key=lambda each: abs(first.time_ns - each.at[0]))
        return nearest.at[0], nearest.at[1] + side

    def _candidates(self, group: _Group, mine: list[Sighting]) -> tuple[list[Sighting], float]:
        """Return the captures at the interface that a report names, and on which side of them it belongs."""
        evidence, host, first = self._evidence, group.host, group.first
        hook = evidence.chain(host, first).hook
        names = evidence.names.get(host, {})
        if hook in {"output", "postrouting", "egress"}:
            leaving = self._leaving(group, mine, names.get(first.oif, ""))
            if leaving:
                return leaving, _BEFORE
            if hook in {"output", "egress"}:
                return [], _BEFORE
        inward = [each for each in mine if each.direction == "in"]
        name = names.get(first.iif, "")
        here = [each for each in inward if each.interface == name]
        if evidence.bridge_calls(host, group.decoded.header.source.version):
            # The bridge has its host's rules read as soon as a frame comes in by a port (br_netfilter).
            ports = [each for each in inward if evidence.master(host, each.interface) == name]
            here = ports if ports and (hook == "prerouting" or not here) else here
        return here, _AFTER

    def _leaving(self, group: _Group, mine: list[Sighting], name: str) -> list[Sighting]:
        """Return the captures on the way out by an interface; of a bridge, where the packet is as the rules left it.

        A frame that stays in a bridge meets the rules after it has passed the bridge's own interface (br_netfilter).
        """
        out = [each for each in mine if each.direction == "out"]
        exact = [each for each in out if each.interface == name]
        ports = [each for each in out if self._evidence.master(group.host, each.interface) == name]
        flow = group.decoded.header.flow

        def changed(found: list[Sighting]) -> list[Sighting]:
            return [each for each in found if each.decoded is not None and each.decoded.header.flow != flow]

        if group.first.oif and ports and not changed(exact) and changed(ports):
            return changed(ports)
        return exact or ports


def _train(heard: Heard, packet: Decoded) -> tuple[object, ...]:
    """Return what the fragments of one datagram have in common at one place."""
    return (heard.host, heard.taken.interface, heard.taken.direction, packet.outer is None, *packet.train)


def _number(heard: Heard, packet: Decoded) -> tuple[object, ...]:
    """Return what is left of that when the addresses were rewritten: the protocol, and the datagram's number."""
    return (heard.host, heard.taken.interface, heard.taken.direction, packet.outer is None, *packet.train[2:])


def _group(events: Iterable[RuleEvent]) -> list[_Group]:
    """Part the reports of each host by packet and base chain.

    A trace id alone does not do: it is used again for later packets, and changes where a bridge hands a packet up.
    """
    groups: list[_Group] = []
    current: dict[tuple[str, int], _Group] = {}
    for number, event in enumerate(events):
        key = (event.host, event.trace)
        if event.network and (decoded := decode_headers(event.network, event.transport)) is not None:
            current[key] = _Group(event.host, decoded)
            groups.append(current[key])
        if key in current:
            current[key].events.append((number, event))
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
