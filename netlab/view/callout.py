"""The one note on a journey's picture: why the packet ended, or what was rewritten, in words beside the place.

It may cover what the packet did not pass, never what it did. The line that ties it to its place runs in the gaps
between rows of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import pen, theme
from netlab.view.measure import Face, text_width
from netlab.view.waymarks import outline, shifted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlab.journey.values import Journey, Step
    from netlab.kernel.values import Snapshot
    from netlab.view.overhead import Box
    from netlab.view.parts import Point
    from netlab.view.places import Places
    from netlab.view.route import Hop, Piece

Line = tuple[str, Face, str]  # text, face, colour
_WIDTH, _LINE, _GAP, _PAD = 250.0, 14.0, 16.0, 10.0
_HIGH, _MUCH = 0.75, 60.0
_RULE = 38  # letters of a rule in one line
_COMMENT = re.compile(r'-m comment --comment (?:"[^"]*"|\S+) ?|-m (?:tcp|udp) ')


@dataclass(frozen=True, slots=True)
class Words:
    """What a note says, line by line as (text, face, colour), and the colours of its box."""

    lines: tuple[Line, ...]
    fill: str = "bad"
    stroke: str = "badline"
    sign: bool = True

    @property
    def size(self) -> tuple[float, float]:
        """Return the width and height of the box."""
        wide = max(text_width(text, 11, face) for text, face, _ in self.lines)
        return wide + 2 * _PAD + (28 if self.sign else 0), _LINE * len(self.lines) + 14


def of_drop(journey: Journey, stop: Hop) -> Words | None:
    """Return what is said of the drop: table, chain, number and words of a rule with its counter, or the reason."""
    drop = journey.drop
    if drop is None:
        return None
    step = next((s for s in journey.steps if s.number == stop.number and s.table), None)
    if step is None or not step.rule:
        return Words(tuple((line, "bold", "badline") for line in _wrapped(drop.reason, _WIDTH)))
    word = "REJECTED" if step.verdict == "REJECT" else "DROPPED"
    of = _rules(journey.snapshot, step)
    lines: list[Line] = [(f"{word} in {step.host}", "bold", "badline"), (f"{step.table} {step.chain}", "ui", "ink")]
    if step.position:
        lines.append((f"rule {step.position}{f' of {of}' if of else ''}", "ui", "ink"))
    rule = _COMMENT.sub("", step.rule)
    head, mark, verdict = rule.rpartition("-j ")
    lines += [(line, "mono", "ink") for line in _cut(head.strip())]
    lines += [(mark + verdict, "mono", "badline")] if mark else []
    if drop.counter is not None:
        lines.append((f"counter {drop.counter} packets", "ui", "muted"))
    return Words(tuple(lines))


def of_rewrite(journey: Journey, hop: Hop) -> Words | None:
    """Return what is said of the first rewrite of a destination: what it was, and what it became."""
    rewrite = next((each for each in journey.nat if each.step == hop.number), None)
    if rewrite is None:
        return None
    old, new = rewrite.before, rewrite.after
    to = old.to_text != new.to_text
    first, second = (old.to_text, new.to_text) if to else (old.from_text, new.from_text)
    title = f"{hop.label}  {'destination' if to else 'source'} rewritten by {rewrite.kind}"
    glyphs, inks = (("◆ ", "→ ■ "), ("svcline", "l3line")) if to else (("", "→ "), ("ink", "ink"))
    values: list[Line] = [
        (glyph + text, "mono", ink) for glyph, text, ink in zip(glyphs, (first, second), inks, strict=True)
    ]
    return Words(((title, "bold", "ink"), *values), "page", "svcline", sign=False)


def _rules(snapshot: Snapshot | None, step: Step) -> int:
    """Return how many rules the chain has, of the tool that has it."""
    if snapshot is None or step.host not in snapshot:
        return 0
    chain = [r for r in snapshot[step.host].rules if r.table == step.table and r.chain == step.chain and r.text]
    return max((sum(r.tool == tool for r in chain) for tool in {rule.tool for rule in chain}), default=0)


def write(body: ET.Element, words: Words, stop: Hop, places: tuple[Places, list[Box], tuple[float, float]]) -> Box:
    """Write a note beside its place, tied to it where it can be; return its box.

    ``places`` are those of the picture, the boxes that it may not cover, and the size of the picture.
    """
    known, taken, size = places
    beside = _beside_node(words, stop, known, taken)
    free = _free(stop.at, words.size, taken, size)
    # A high picture stands beside the table: there it must not grow much.
    if beside is None or (size[1] > size[0] * _HIGH and beside[0][0] - free[0] > _MUCH):
        box, leader = free, None
    else:
        box, leader = beside
    x, y, *_ = box
    group = ET.SubElement(body, "g", {"class": f"nl-note {'nl-note-drop' if words.sign else 'nl-note-nat'}"})
    group.set("data-step", str(stop.number))
    if leader is not None:
        pen.line(group, leader, "page", 4)
        pen.line(group, leader, words.stroke, 1.5)
    pen.rect(group, box, words.fill, words.stroke, stroke_width="1.5")
    left = x + _PAD
    if words.sign:
        sign = {"fill": theme.light("badline"), "points": outline("octagon", x + 20, y + 17)}
        ET.SubElement(group, "polygon", sign)
        pen.write(group, (x + 20, y + 21.3), "✕", 12, fill="page", anchor="middle", bold=True)
        left += 28
    for number, (text, face, ink) in enumerate(words.lines):
        pen.write(group, (left, y + 18 + number * _LINE), text, 11, face, fill=ink, bold=ink == "badline")
    return box


def _beside_node(words: Words, stop: Hop, places: Places, taken: list[Box]) -> tuple[Box, tuple[Point, ...]] | None:
    """Return a place beside the node in whose kernel it happened, and the line to it between two rows of text."""
    host = next((h for h, k in places.kernels.items() if _within(stop.at, places.hosts[h]) and k.rows), None)
    if host is None:
        return None
    kernel, (x, _, width, _) = places.kernels[host], places.hosts[host]
    inside = stop.at[1] > kernel.top
    row = min(kernel.rows, key=lambda y: abs(y - stop.at[1])) if inside else kernel.above
    wide, high = words.size
    for left, reach in ((x + width + _GAP, 10.0), (x - _GAP - wide, -10.0)):
        box = (left, row - high / 2, wide, high)
        if left >= 0 and not any(_meet(box, other) for other in taken):
            edge = (left if reach > 0 else left + wide, row)
            # To the left of the lane, the only gap is that between the rules and the processes.
            if inside and reach < 0 and abs(row - kernel.rows[1]) > 1:
                continue
            near = (stop.at[0] + reach, row)
            return box, (near, edge) if inside else ((stop.at[0] + reach * 0.7, stop.at[1] + 4), near, edge)
    return None


def _within(point: Point, box: Box) -> bool:
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]


def _free(at: Point, size: tuple[float, float], taken: list[Box], picture: tuple[float, float]) -> Box:
    """Return the free place for a box that is nearest to a point; right of the picture, where there is none."""
    width, height = size

    def near(y: float) -> float:
        return min(max(y, 0.0), max(picture[1] - height, 0.0))

    xs = [at[0] + 22, at[0] - 22 - width]
    ys = [near(at[1] - height / 2)]
    for bx, by, wide, high in taken:
        xs += [bx + wide + _GAP, bx - _GAP - width, bx]
        ys += [near(by + high + _GAP), near(by - _GAP - height)]
    right = max((bx + wide for bx, _, wide, _ in taken), default=at[0]) + _GAP
    places = [(x, y) for x in xs for y in ys if x >= 0 and x + width <= max(picture[0], right + width)]
    free = [place for place in places if not any(_meet((*place, width, height), box) for box in taken)]

    def distance(place: Point) -> float:
        dx = max(place[0] - at[0], at[0] - place[0] - width, 0.0)
        dy = max(place[1] - at[1], at[1] - place[1] - height, 0.0)
        # A picture that grows is better than a note far away, but not by much.
        return dx + dy + max(0.0, place[0] + width - picture[0]) / 2

    return (*min(free, key=distance, default=(right, near(at[1] - height / 2))), width, height)


def _meet(one: Box, other: Box) -> bool:
    return (
        one[0] < other[0] + other[2] + 6
        and other[0] < one[0] + one[2] + 6
        and one[1] < other[1] + other[3] + 6
        and other[1] < one[1] + one[3] + 6
    )


def extents(pieces: Iterable[Piece]) -> Iterator[Box]:
    """Yield the box of each stretch of line."""
    for _, leg, points in pieces:
        shown = shifted(points, leg)
        for (ax, ay), (bx, by) in pairwise(shown):
            yield min(ax, bx), min(ay, by), abs(ax - bx), abs(ay - by)


def _wrapped(text: str, width: float) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_width(longer, 11, "bold") > width:
            yield line
            longer = word
        line = longer
    if line:
        yield line


def _cut(rule: str) -> Iterator[str]:
    """Yield the words of a rule in lines; an option stays with its value."""
    line = ""
    for option in re.split(r" (?=-)", rule):
        longer = f"{line} {option}".strip()
        if line and len(longer) > _RULE:
            yield line
            longer = option
        line = longer
    if line:
        yield line
