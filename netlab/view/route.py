"""The way of a packet over a drawing: a line along cables, buses and lanes, numbered hops, a stop sign. Pure.

The layout is never changed for it, and the line runs where no text is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from string import ascii_lowercase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.journey.values import Journey, Step
    from netlab.view.parts import Point
    from netlab.view.places import Places

Shape = Literal["circle", "diamond", "square", "octagon"]
Piece = tuple[int, str, list["Point"]]
_BADGE = 8.0
_STRAIGHT = 12.0
#: How far before a gate a dropped packet stops, and how far beside an interface what happens at it is shown.
_BEFORE, _BESIDE = 16.0, 16.0
_SHIFT = 6.0
_INTERFACES = frozenset({"in", "out", "wrap", "unwrap"})


@dataclass(frozen=True, slots=True)
class Hop:
    """A step that has a place in the picture: its number, where, and what it did to the packet.

    ``down`` tells that there is free room below it, not beside it; ``span`` where on its lane it may move to.
    """

    number: int
    leg: str
    at: Point
    shape: Shape
    sentence: str
    down: bool = False
    label: str = ""
    span: tuple[float, float] | None = None


class _Trail:
    """Follows one packet through the picture."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.hops: list[Hop] = []
        self.pieces: list[Piece] = []
        self.gone: list[list[Point]] = []
        self._device = ""
        self._before: Step | None = None
        self._pending: list[Step] = []
        self._forwarded = False

    def take(self, step: Step) -> None:
        """Go on to the next step."""
        key = f"{step.host}/{step.interface}"
        where = self._places.where(key) if step.kind in _INTERFACES else None
        if step.kind == "route":
            self._forwarded = step.verdict == "forward"
            self._device = _device(step.rule) if self._forwarded else ""
        if where is None:
            stopped = step.kind == "drop" or step.verdict in {"DROP", "REJECT"}
            # The rule that dropped it has its sign already.
            again = step.kind == "drop" and any(shape(each) == "octagon" for each in self._pending)
            if (step.rewritten or stopped) and not again:
                self._pending.append(step)
            return
        before = self._before
        if before is not None:
            points = between(before, step, self._places, forwarded=self._forwarded)
            self.pieces.append((step.number, step.leg, points))
            self._place(points if before.host == step.host else None, key)
        else:
            self._place(None)
        self.hops.append(self._hop(step, where, down=self._sideways(key)))
        self._before = step
        if step.kind in {"wrap", "unwrap"}:
            self._forwarded = False

    def end(self) -> None:
        """Show what happened after the last interface: there the packet stopped."""
        before = self._before
        if not self._pending or before is None or before.host != self._pending[0].host:
            self._place(None)
            return
        key = f"{before.host}/{before.interface}"
        *passed, last = self._pending
        points = self._until(key, last)
        self.pieces.append((self._pending[0].number, before.leg, points))
        self._pending = passed
        self._place(points)
        self.hops.append(self._hop(last, points[-1]))
        if shape(last) == "octagon":
            self._go_on(before, last, points[-1])

    def _until(self, key: str, last: Step) -> list[Point]:
        """Return the way from an interface to where a packet was stopped: a hook on a node's lane, or before a gate."""
        places = self._places
        lane = places.lane(last.host, key)
        kernel = places.kernels.get(last.host)
        if kernel is not None and key in places.masters:
            return places.across(key, places.masters[key]) or self._stub(key)
        if kernel is not None and lane:
            at = kernel.hook(last.hook.split(" ")[-1].lower(), downwards=lane[0][1] < kernel.top)
            return [*lane[:-1], at]
        return _shorter(lane, _BEFORE) if lane else self._stub(key)

    def _go_on(self, before: Step, last: Step, at: Point) -> None:
        """Note the way that the packet would have taken: by the route that was looked up, up to who has the address."""
        places, host = self._places, last.host
        if not self._device:
            return
        key, target = f"{before.host}/{before.interface}", f"{host}/{self._device}"
        whole = places.through(host, key, target, forwarded=True) if _known(places, key, target) else None
        if whole is None:
            return
        way = _rest(whole, at)
        header = last.after or last.before
        end = places.holders.get(str(header.destination)) if header is not None else None
        port = next((b for (a, b) in places.cables if a == end and places.masters.get(b) == target), None)
        if port is not None and end is not None:
            way = [*way, *(places.across(target, port) or []), *places.cables[port, end]]
        self.gone.append(way)
        if end is not None and (target, end) in places.cables:
            # The words of the interface between are left free.
            self.gone.append(places.cables[target, end])

    def _stub(self, key: str) -> list[Point]:
        """Return a short way from an interface into its host, to the free place beside it."""
        if key in self._places.buses:
            x, y = self._places.buses[key].entry
            return [(x, y), (x + 1, y)]
        spot = self._places.spots[key]
        (x, y), (dx, dy) = spot.inner, spot.out
        if self._sideways(key):
            return [(x, y), (x - dx * _BESIDE, y)]
        level = y - dy * 4
        return [(x, y), (x, level), (x + spot.width / 2 + _BESIDE, level)]

    def _sideways(self, key: str) -> bool:
        spot = self._places.spots.get(key)
        return spot is not None and abs(spot.out[0]) > abs(spot.out[1])

    def _place(self, points: list[Point] | None, key: str = "") -> None:
        """Give what happened between two interfaces its place: at its hook on a node's lane, else on the line."""
        for number, step in enumerate(self._pending, 1):
            hook = self._hook(step, points, key)
            if hook is not None:
                at = hook
            elif points is not None:
                at = _along(points, number / (len(self._pending) + 1))
            else:
                x, y, width, height = self._places.tables.get(step.host) or self._places.hosts.get(
                    step.host, (0.0, 0.0, 0.0, 0.0)
                )
                at = (x + width, y + height / 2)
            kernel = self._places.kernels.get(step.host) if hook is not None else None
            span = (kernel.top + _BADGE, kernel.bottom - _BADGE) if kernel and at[1] > kernel.top else None
            self.hops.append(replace(self._hop(step, at), span=span))
        self._pending = []

    def _hook(self, step: Step, points: list[Point] | None, key: str) -> Point | None:
        """Return where on the lane of its node a rule was met; one of the bridge's own, at its bus."""
        kernel = self._places.kernels.get(step.host)
        if kernel is None or points is None:
            return None
        if max(y for _, y in points) <= kernel.top:
            bus = self._places.buses.get(key) or self._places.buses.get(self._places.masters.get(key, ""))
            return bus.entry if bus is not None else None
        return kernel.hook(step.hook, downwards=points[0][1] < points[-1][1])

    @staticmethod
    def _hop(step: Step, at: Point, *, down: bool = False) -> Hop:
        return Hop(step.number, step.leg, at, shape(step), sentence(step), down)


@dataclass(frozen=True, slots=True)
class Trail:
    """The way of a journey: its stops, the line between them, and the way that a dropped packet did not take.

    A piece of line is (number of the later step, leg, points).
    """

    hops: tuple[Hop, ...]
    pieces: tuple[Piece, ...]
    gone: tuple[list[Point], ...] = ()


def trail(journey: Journey, places: Places) -> Trail:
    """Return the way of a journey; stops of the request have numbers, those of the reply letters."""
    trails: dict[tuple[str, str], _Trail] = {}
    for step in journey.steps:
        trails.setdefault((step.leg, step.packet), _Trail(places)).take(step)
    for each in trails.values():
        each.end()
    hops = [hop for each in trails.values() for hop in each.hops]
    pieces = [piece for each in trails.values() for piece in each.pieces]
    gone = [way for each in trails.values() for way in each.gone]
    labelled = _labelled(sorted(hops, key=lambda hop: hop.number))
    return Trail(tuple(_spread(labelled)), tuple(sorted(pieces, key=lambda piece: piece[0])), tuple(gone))


def _labelled(hops: list[Hop]) -> list[Hop]:
    counts = {"request": 0, "reply": 0}
    found = []
    for hop in hops:
        counts[hop.leg] += 1
        count = counts[hop.leg]
        letters = ascii_lowercase[(count - 1) % 26] * ((count - 1) // 26 + 1)
        found.append(replace(hop, label=letters if hop.leg == "reply" else str(count)))
    return found


def shape(step: Step) -> Shape:
    """Return the shape that says what happened to the packet."""
    if step.kind == "drop" or step.verdict in {"DROP", "REJECT"}:
        return "octagon"
    if step.kind in {"wrap", "unwrap"}:
        return "square"
    return "diamond" if step.rewritten else "circle"


def between(one: Step, other: Step, places: Places, *, forwarded: bool) -> list[Point]:
    """Return the line from one step to the next: along a cable, over a bridge, or through a host."""
    a, b = f"{one.host}/{one.interface}", f"{other.host}/{other.interface}"
    if (a, b) in places.cables:
        return places.cables[a, b]
    if one.host != other.host:
        return [places.where(a) or (0.0, 0.0), places.where(b) or (0.0, 0.0)]
    found = places.across(a, b) or places.through(one.host, a, b, forwarded=forwarded)
    if found is not None:
        return found
    start, end = (places.spots[key].inner if key in places.spots else places.buses[key].entry for key in (a, b))
    if abs(start[1] - end[1]) < _STRAIGHT and a in places.spots and b in places.spots:
        # Both on one border: along it, on the inside.
        level = (start[1] + end[1]) / 2 - places.spots[a].out[1] * _SHIFT
        return [start, (start[0], level), (end[0], level), end]
    if abs(start[1] - end[1]) < _STRAIGHT or abs(start[0] - end[0]) < _STRAIGHT:
        return [start, end]
    middle = (start[1] + end[1]) / 2
    return [start, (start[0], middle), (end[0], middle), end]


def _device(rule: str) -> str:
    """Return the interface of a route."""
    words = rule.split()
    return words[words.index("dev") + 1] if "dev" in words[:-1] else ""


def _known(places: Places, *keys: str) -> bool:
    return all(key in places.spots or key in places.buses for key in keys)


def _rest(points: list[Point], at: Point) -> list[Point]:
    """Return what comes of a line after the point on it that is nearest to another."""

    def distance(number: int) -> float:
        (ax, ay), (bx, by) = points[number], points[number + 1]
        length = (bx - ax) ** 2 + (by - ay) ** 2
        share = max(0.0, min(1.0, ((at[0] - ax) * (bx - ax) + (at[1] - ay) * (by - ay)) / length)) if length else 0.0
        return abs(ax + (bx - ax) * share - at[0]) + abs(ay + (by - ay) * share - at[1])

    nearest = min(range(len(points) - 1), key=distance)
    return [at, *points[nearest + 1 :]]


def _lengths(points: list[Point]) -> list[float]:
    return [((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5 for a, b in pairwise(points)]


def _along(points: list[Point], share: float) -> Point:
    """Return the point at a share of a line's length."""
    lengths = _lengths(points)
    left = share * sum(lengths)
    for a, b, length in zip(points, points[1:], lengths, strict=False):
        if left <= length and length:
            return a[0] + (b[0] - a[0]) * left / length, a[1] + (b[1] - a[1]) * left / length
        left -= length
    return points[-1]


def _shorter(points: list[Point], by: float) -> list[Point]:
    """Return a line that ends earlier, but keeps at least the half of its length."""
    lengths = _lengths(points)
    total = sum(lengths)
    left = keep = max(total - by, total / 2)
    kept = [points[0]]
    for point, length in zip(points[1:], lengths, strict=True):
        if left <= length:
            break
        kept.append(point)
        left -= length
    return [*kept, _along(points, keep / total if total else 0.0)]


def _spread(hops: list[Hop]) -> list[Hop]:
    """Move badges that would lie on each other apart, in the order of their numbers."""
    placed: list[Hop] = []
    for hop in hops:
        shift = _SHIFT if hop.leg == "reply" else 0
        x, y = hop.at[0] + shift, hop.at[1] + shift * hop.down
        if hop.span is not None:
            y = next((free for free in _on_lane(y, hop.span) if not _taken(placed, (x, free))), y)
        while _taken(placed, (x, y)):
            x, y = (x, y + 2 * _BADGE + 2) if hop.down else (x + 2 * _BADGE + 2, y)
        placed.append(replace(hop, at=(x, y)))
    return placed


def _taken(placed: list[Hop], at: Point) -> bool:
    return any(abs(at[0] - hop.at[0]) < 2 * _BADGE and abs(at[1] - hop.at[1]) < 2 * _BADGE for hop in placed)


def _on_lane(y: float, span: tuple[float, float]) -> Iterator[float]:
    """Yield the places on a lane for one more badge, the nearest first."""
    for step in range(8):
        yield from (place for place in (y - step * 2 * _BADGE, y + step * 2 * _BADGE) if span[0] <= place <= span[1])


def sentence(step: Step) -> str:
    """Return a step as a sentence for a screen reader."""
    where = step.interface or f"{step.table} {step.chain}".strip() or step.hook
    words = [f"Step {step.number}", step.host, where, step.verdict]
    if step.rewritten:
        words.append(f"{step.before} becomes {step.after}")
    return ", ".join(word for word in words if word)
