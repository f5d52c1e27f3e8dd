"""Part the sightings of one packet by the attempts to send it: TCP sends again what was not acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.journey.tracks import Track

if TYPE_CHECKING:
    from netlab.journey.identity import Key
    from netlab.journey.tracks import Sighting

#: Nanoseconds without a sight of a packet after which the same again is a retransmission: TCP waits 200 ms at least.
GAP = 120_000_000
#: How far a rule's report stands from the capture that it belongs to (see `netlab.journey.sightings`).
_BESIDE = 0.5


def attempts(probe: int, key: Key, found: list[Sighting]) -> list[Track]:
    """Return one track for each attempt: it begins where the packet began, or after a pause."""
    tracks: list[Track] = []
    for cluster in _clusters(found):
        for part in _part(cluster):
            tracks.append(Track(probe, key, len(tracks) + 1, part))
    return tracks


def _clusters(found: list[Sighting]) -> list[list[Sighting]]:
    clusters: list[list[Sighting]] = []
    for sighting in sorted(found, key=lambda each: each.at):
        if not clusters or sighting.at[0] - clusters[-1][-1].at[0] > GAP:
            clusters.append([])
        clusters[-1].append(sighting)
    return clusters


def _part(cluster: list[Sighting]) -> list[list[Sighting]]:
    """Part what was seen without a pause, where a packet began more than once.

    Where it was seen less often than it began, the earlier ones were lost: the last sighting is of the last attempt.
    """
    captured = [each for each in cluster if each.taken is not None]
    starts = [each.at for each in captured if _place(each) == _place(captured[0])]
    if len(starts) < 2:
        return [cluster]
    places: dict[tuple[object, ...], list[Sighting]] = {}
    for each in captured:
        places.setdefault(_place(each), []).append(each)
    belongs: dict[tuple[int, float], int] = {}
    for seen in places.values():
        for number, each in enumerate(seen):
            chosen = max(len(starts) - len(seen) + number, 0)
            while chosen and each.at < starts[chosen]:
                chosen -= 1
            belongs[each.at[:2]] = chosen
    parts: list[list[Sighting]] = [[] for _ in starts]
    for each in cluster:
        moment, rank = each.at[:2]
        near = [belongs[place] for shift in (0, -_BESIDE, _BESIDE) if (place := (moment, rank + shift)) in belongs]
        parts[near[0] if near else max(sum(start <= each.at for start in starts) - 1, 0)].append(each)
    return [part for part in parts if part]


def _place(sighting: Sighting) -> tuple[object, ...]:
    """Return where a packet was captured, and with how many hops left: in a loop it comes by again with less."""
    ttl = sighting.decoded.header.ttl if sighting.decoded is not None else 0
    return sighting.host, sighting.interface, sighting.direction, ttl
