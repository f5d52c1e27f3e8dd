"""Put what was captured of one packet in an order that can be."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Sighting


def straighten(captured: list[Sighting], evidence: Evidence) -> list[Sighting]:
    """Put the captures of one packet in an order that can be: out before in at the other end of a cable.

    Time alone does not do: where the kernel began to stamp packets only a moment ago, some get the time at which they
    were read, which is later. Those of one host are in the kernel's own order.
    """
    follows = _followers(captured, evidence)
    waiting = [0] * len(captured)
    for later in follows:
        for place in later:
            waiting[place] += 1
    ready = [(captured[place].at[0], place) for place in range(len(captured)) if not waiting[place]]
    heapq.heapify(ready)
    ordered: list[Sighting] = []
    while ready:
        _, place = heapq.heappop(ready)
        ordered.append(captured[place])
        for later_place in follows[place]:
            waiting[later_place] -= 1
            if not waiting[later_place]:
                heapq.heappush(ready, (captured[later_place].at[0], later_place))
    if len(ordered) < len(captured):  # a circle, which a wrong guess about cables would make
        ordered = sorted(captured, key=lambda each: each.at)
    limit = ordered[-1].at[0] if ordered else 0
    for rank in range(len(ordered) - 1, -1, -1):
        limit = min(limit, ordered[rank].at[0])
        ordered[rank].at = (limit, rank, 0)
    return ordered


def _followers(captured: list[Sighting], evidence: Evidence) -> list[list[int]]:
    """Return for each capture which others must come after it."""
    follows: list[list[int]] = [[] for _ in captured]
    last: dict[str, int] = {}
    leaving: dict[tuple[str, str], list[int]] = {}
    for place in sorted(range(len(captured)), key=lambda each: captured[each].at[1]):
        each = captured[place]
        if each.host in last:
            follows[last[each.host]].append(place)
        last[each.host] = place
        if each.direction == "out" and (far := evidence.peer(each.host, each.interface)) is not None:
            leaving.setdefault((far[0], far[1].name), []).append(place)
    for place in sorted(range(len(captured)), key=lambda each: captured[each].at[1]):
        each = captured[place]
        earlier = leaving.get((each.host, each.interface))
        if each.direction == "in" and earlier:
            follows[earlier.pop(0)].append(place)
    return follows
