"""The parts of a card and their sizes in points: chips, and the text blocks of the kernel's tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from netlab.view.measure import fit, text_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netlab.view.nouns import Chip, Line, Program, SceneHost
    from netlab.view.placing import Level

Kind = Literal[
    "title", "chip", "bar", "tube", "programs", "program", "block", "rules", "gate", "lane", "unit", "note",
    "heading", "pod", "trunk", "port", "kernel", "ruleset", "table", "gatelet", "cable",
    "underlay", "socket", "pipe", "totals", "quiet",
]  # fmt: skip
Point = tuple[float, float]

PAD = 12
LINE = 14
_MAX_ADDRESSES = 3
_MAX_LINES = {"full": 5, "medium": 3, "compact": 0}
_MAX_NEIGHBOURS = 3
_GAP = 6.0
_TWO_BLOCKS = 430.0  # wide enough for routes and neighbours side by side
NO_CARRIER = "NO CARRIER"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing within a card: its kind, identity, place in the card, and what it shows."""

    kind: Kind
    id: str
    x: float
    y: float
    width: float
    height: float
    data: Any = None

    def moved(self, dx: float, dy: float) -> Part:
        """Return the same part elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True, slots=True)
class ChipText:
    """What a chip writes: the name as it fits, whether its state has room in words, and the lines below."""

    chip: Chip
    name: str
    words: bool
    lines: tuple[tuple[str, str], ...]  # (style, text)
    size: int = 11
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Lines under a heading, such as the routes of a host."""

    heading: str
    token: str
    lines: tuple[Line, ...]
    sentence: str
    most: int


@dataclass(frozen=True, slots=True)
class Card:
    """A host with its size, how far its chips stick out on each side, and where the cables of each begin."""

    host: SceneHost
    width: float
    height: float
    parts: tuple[Part, ...]
    anchors: dict[str, Point] = field(default_factory=dict)
    overhang: tuple[float, float, float, float] = (0, 0, 0, 0)  # top, right, bottom, left

    @property
    def outer(self) -> tuple[float, float]:
        """Return width and height with what sticks out."""
        top, right, bottom, left = self.overhang
        return self.width + left + right, self.height + top + bottom


@dataclass(frozen=True, slots=True)
class Room:
    """How many lines each table of a host gets, so that its card keeps its size when some of them vanish."""

    routes: int = 1
    neighbours: int = 1
    programs: int = 0

    def widened(self, host: SceneHost) -> Room:
        """Return the room that holds the present lines too."""
        return Room(
            max(self.routes, len(host.routes)),
            max(self.neighbours, len(host.neighbours)),
            max(self.programs, len(host.programs)),
        )


def chip_text(chip: Chip, level: Level, *, with_mac: bool) -> ChipText:
    """Return what a chip says at its natural width."""
    lines: list[tuple[str, str]] = [("note", chip.note)] if chip.note else []
    shown = chip.addresses[:_MAX_ADDRESSES]
    lines += [("address", address) for address in shown]
    if len(chip.addresses) > len(shown):
        lines.append(("muted", f"and {len(chip.addresses) - len(shown)} more"))
    if not chip.addresses and not chip.master:
        lines.append(("muted", "no address"))
    if with_mac and chip.mac:
        lines.append(("mac", chip.mac))
    return ChipText(chip, chip.name, words=True, lines=tuple(lines), size=11 if level == "full" else 10)


def chip_size(text: ChipText) -> tuple[float, float]:
    """Return width and height of a chip; the width has room for every state and moves in steps."""
    head = text.size + 3 + text_width(text.name, text.size, "mono") * 1.02
    head += 6 + text_width(NO_CARRIER, 10, "bold") if text.words else 0
    widths = [head] + [line_width(style, line, text.size) for style, line in text.lines]
    return _step(max(widths) + 16), 9 + LINE * (1 + len(text.lines))


def line_width(style: str, line: str, size: int) -> float:
    """Return the width of a line in a chip."""
    return text_width(line, size if style == "address" else 10, "mono" if style in {"address", "mac"} else "ui")


def _step(width: float) -> float:
    return -(-width // 12) * 12


def loopback(host: SceneHost, x: float, y: float, width: float) -> Part | None:
    """Return the loopback interface as a chip wholly inside its host: it is no way out. ``x`` is its right end."""
    if host.loopback is None:
        return None
    room = text_width("lo 127.0.0.1/8", 10, "mono") + 30
    where = ", ".join(host.loopback.addresses[:1]) or ("no address" if not host.loopback.word else "")
    text = ChipText(host.loopback, "lo", words=True, lines=(("inline", where),), size=10, inside=True)
    return Part("chip", host.loopback.id, max(x - room, PAD), y, min(room, width), 22, text)


def title(host: SceneHost, x: float, y: float, width: float) -> Part:
    """Return the name of a host, with what it is if there is room."""
    name = fit(host.name, width, 16, "bold")
    used = text_width(name, 16, "bold")
    about = "network namespace"
    sub = about if used + 8 + text_width(about, 11) <= width else ""
    return Part("title", "", x, y, width, 20, (name, sub, used))


def tables(  # noqa: PLR0913, PLR0917 - a place, a size and what to show
    host: SceneHost, room: Room, x: float, y: float, width: float, level: Level
) -> tuple[list[Part], float]:
    """Return the programs, rules, routes and neighbours of a host one under the other, and where they end."""
    parts, y = _programs(host, room, x, y, width)
    if host.rules:
        parts.append(Part("rules", f"ipt:{host.name}", x, y, width, 24, host))
        y += 24 + _GAP
    blocks = [(_block(host, "routes", host.routes, _MAX_LINES[level]), room.routes)]
    if level == "full":
        blocks.append((_block(host, "neighbours", host.neighbours, _MAX_NEIGHBOURS), room.neighbours))
    heights = [20 + LINE * max(1, min(block.most, max(lines, len(block.lines)))) + 5 for block, lines in blocks]
    beside = width >= _TWO_BLOCKS and len(blocks) > 1
    for (block, _), height in zip(blocks, heights, strict=True):
        identity = f"{'rt' if block.heading == 'routes' else 'nb'}:{host.name}/main"
        if beside:
            wide = (width - _GAP) / 2
            left = x if block.heading == "routes" else x + wide + _GAP
            parts.append(Part("block", identity, left, y, wide, max(heights), block))
        else:
            parts.append(Part("block", identity, x, y, width, height, block))
            y += height + _GAP
    return parts, y + max(heights) if beside else y - _GAP


def _block(host: SceneHost, heading: str, lines: Sequence[Line], most: int) -> Block:
    shown = list(lines[:most])
    if len(lines) > most:
        shown[-1] = replace(lines[0], text=f"and {len(lines) - most + 1} more", short="", fault="")
    said = "; ".join(f"{line.text} {line.fault}".strip() for line in lines) or "none"
    sentence = f"{heading.capitalize()} of {host.name}: {said}."
    return Block(heading, "l3line" if heading == "routes" else "l2line", tuple(shown), sentence, most)


def _programs(host: SceneHost, room: Room, x: float, y: float, width: float) -> tuple[list[Part], float]:
    parts: list[Part] = []
    left, top = x, y
    for program in host.programs:
        wide = min(width, program_width(program))
        if left + wide > x + width + 0.5:
            left, top = x, top + 40
        parts.append(Part("program", program.id, left, top, wide, 34, program))
        left += wide + 6
    if host.programs or room.programs:
        top += 40
    return parts, top


def program_width(program: Program) -> float:
    """Return how wide the box of a program is."""
    about = text_width(" ".join(program.ports), 11, "mono") if program.ports else text_width("lives in here", 10)
    return 16 + max(44, text_width(program.name, 11), about)


def spread(widths: Iterable[float], gap: float) -> tuple[list[float], float]:
    """Return the centres of things that stand side by side from 0, and the width they take."""
    centres, x = [], 0.0
    for width in widths:
        centres.append(x + width / 2)
        x += width + gap
    return centres, max(0.0, x - gap)
