"""Understand what came back instead of an answer: an ICMP error, or the reset of a TCP connection."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from netlab.journey.drops import Ended, by_route, by_rule, no_listener, too_big
from netlab.journey.evidence import RouteQuestion
from netlab.journey.neighbours import neighbour_fault

if TYPE_CHECKING:
    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Track
    from netlab.journey.values import Drop
    from netlab.kernel.headers import Decoded

_TIME_EXCEEDED = frozenset({("icmp", 11), ("icmpv6", 3)})
_TOO_BIG = frozenset({("icmp", 3, 4), ("icmpv6", 2, 0)})
_PORT_UNREACHABLE = frozenset({("icmp", 3, 3), ("icmpv6", 1, 4)})


def is_refusal(track: Track) -> bool:
    """Tell whether a packet that came back is a refusal."""
    return track.key.packet == "RST" or track.key.packet.startswith("ICMP ")


def explain(evidence: Evidence, ended: Ended, refusal: Track) -> Drop:
    """Return the drop that a refusal tells of; ``ended`` is the refused packet in the host that refused it."""
    visit = ended.visit
    last = next((step for step in reversed(visit.steps if visit else []) if step.kind in {"rule", "policy"}), None)
    if last is not None and (found := by_rule(ended, last)) is not None:
        return found
    packet = next((each.decoded for each in refusal.sightings if each.decoded is not None), None)
    seen = f"{refusal.key.packet} from {ended.host}"
    if packet is None or packet.icmp is None or (packet.header.protocol, *packet.icmp) in _PORT_UNREACHABLE:
        return no_listener(evidence, ended, ended.header, seen, deduced=False)
    if (packet.header.protocol, packet.icmp[0]) in _TIME_EXCEEDED:
        return ended.drop("ttl", "forwarding", f"TTL reached 0 in {ended.host}: {seen}", seen, deduced=False)
    return _unreachable(evidence, ended, packet, seen)


def _unreachable(evidence: Evidence, ended: Ended, packet: Decoded, seen: str) -> Drop:
    """Return the drop that an ICMP error from a router tells of: it had no way to send the packet on."""
    visit = ended.visit
    entry = visit.entry(evidence) if visit is not None else None
    iif = evidence.index(ended.host, entry.interface) if entry is not None else 0
    header = (visit.header if visit is not None else None) or ended.header
    answer = evidence.route(ended.host, RouteQuestion(header, iif))
    if (packet.header.protocol, *(packet.icmp or ())) in _TOO_BIG:
        leaving = answer.route.interface if answer.route else None
        return too_big(ended, leaving or "the next link", packet.mtu, f"{seen}, MTU {packet.mtu}", deduced=False)
    found = by_route(evidence, ended, header, answer)
    if found is not None:
        return dataclasses.replace(found, evidence=(seen, *found.evidence), deduced=False)
    if answer.route is not None and answer.route.type == "unicast":
        return neighbour_fault(evidence, ended, answer.route.interface, answer.route.via or header.destination)
    return ended.drop("prohibit", "routes", f"{ended.host} refused the packet: {seen}", seen, deduced=False)
