"""Keep the packets of a trace for a file, with what they met as comments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.journey.walk import visits
from netlab.kernel.packets import Packet
from netlab.kernel.read_rules import NFT_FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Asked, Track
    from netlab.journey.walk import Visit
    from netlab.kernel.packet_socket import Taken


def record(evidence: Evidence, tracks: list[Track], questions: Iterable[Asked]) -> tuple[Packet, ...]:
    """Return what was captured of the trace, and the questions for neighbours, in order, with comments."""
    found: dict[int, Packet] = {}
    for track in tracks:
        for visit in visits(track):
            # A fragment that got lost is a packet of its own as well.
            found |= _commented(evidence, track, visit)
    more = [_question_packet(asked) for asked in questions if _concerns(tracks, asked)]
    return tuple(sorted((*found.values(), *more), key=lambda packet: packet.time_ns))


def _concerns(tracks: list[Track], asked: Asked) -> bool:
    """Tell whether a question for a neighbour was asked in a host on the way, or reached one."""
    return any(sighting.host == asked.host for track in tracks for sighting in track.sightings) or not tracks


def _commented(evidence: Evidence, track: Track, visit: Visit) -> dict[int, Packet]:
    """Return the packets of a visit by the identity of what was captured."""
    words: dict[int, list[str]] = {}
    captured = visit.captured
    place = -1
    rules = evidence.rules.get(visit.host, {})
    for sighting in visit.sightings:
        if sighting.taken is not None:
            place += 1
        elif sighting.event is not None and sighting.event.handle:
            event = sighting.event
            family = NFT_FAMILIES.get(event.family, "")
            rule = rules.get((family, event.table, event.handle))
            if rule is not None:
                line = f"{event.table} {event.chain} rule {rule.number}: {rule.text}"
                words.setdefault(max(place, 0), []).append(line)
    name = f"{track.key.leg}: {track.key.packet}" + (f", attempt {track.attempt}" if track.attempt > 1 else "")
    found: dict[int, Packet] = {}
    for number, each in enumerate(captured):
        if each.taken is None:
            continue
        comment = "\n".join([name, *words.get(number, [])])
        found[id(each.taken)] = _packet(visit.host, each.taken, comment)
        for place, piece in enumerate(each.pieces, 2):
            found[id(piece.taken)] = _packet(visit.host, piece.taken, f"{name}, fragment {place}")
    return found


def _packet(host: str, taken: Taken, comment: str) -> Packet:
    return Packet(taken.time_ns, host, taken.interface, taken.direction, taken.data, taken.link, comment)


def _question_packet(asked: Asked) -> Packet:
    taken, question = asked.taken, asked.question
    comment = f"{question.kind}: {'answer' if question.answer else 'question'} about {question.target}"
    return _packet(asked.host, taken, comment)
