"""The ports of a hub: where the chips of its bridges sit, how they drop onto the bus, and the tube of a tunnel."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from netlab.view.cards import small_chip
from netlab.view.measure import text_width
from netlab.view.parts import PAD, ChipText, Part, Point, chip_size, chip_text, spread

if TYPE_CHECKING:
    from netlab.view.cards import Spec
    from netlab.view.nouns import Bridge, Chip, SceneHost

BAR = 58.0
LABEL = 136.0
DROP = 18.0
TUBE = 30.0
_SMALL_CHIP = 24.0
_WIDEST_LABEL = 260.0
_NARROWEST_NAME = 36.0
_NARROWEST_LED = 12.0


@dataclass(frozen=True, slots=True)
class Zone:
    """The part of a hub that one bridge takes: a label, then its ports."""

    bridge: Bridge
    x: float
    width: float


@dataclass(slots=True)
class Draft:
    """A hub while it is laid out."""

    host: SceneHost
    spec: Spec
    texts: dict[str, ChipText] = field(default_factory=dict)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    centres: dict[str, float] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    anchors: dict[str, Point] = field(default_factory=dict)
    aside: float = 0.0  # width of what stands to the left of the ports

    @property
    def ports(self) -> list[Chip]:
        """Return the chips that belong to a bridge."""
        bridges = {bridge.name for bridge in self.host.bridges}
        return [chip for chip in self.host.chips if chip.master in bridges]

    @property
    def routed(self) -> list[Chip]:
        """Return the chips that belong to no bridge."""
        bridges = {bridge.name for bridge in self.host.bridges}
        return [chip for chip in self.host.chips if chip.master not in bridges]

    @property
    def label(self) -> float:
        """Return the room at the left of the ports: for the label of a bridge, and above it the host's name."""
        return max(self.aside, LABEL, min(text_width(self.host.name, 16, "bold") + 12, _WIDEST_LABEL))

    def side(self, chip: Chip) -> str:
        """Return the border on which a chip sits."""
        return "top" if self.spec.sides.get(chip.name) == "top" else "bottom"

    def half(self, side: str) -> float:
        """Return how far chips stick out of a border."""
        return max((self.sizes[c.name][1] / 2 for c in self.host.chips if self.side(c) == side), default=0.0)

    def put(self, chip: Chip, x: float, edge: float) -> None:
        """Place a chip with its middle on a border of the card."""
        width, height = self.sizes[chip.name]
        self.parts.append(Part("chip", chip.id, x - width / 2, edge - height / 2, width, height, self.texts[chip.name]))
        self.anchors[chip.name] = (x, edge + (-height / 2 if self.side(chip) == "top" else height / 2))


def zones(draft: Draft) -> list[Zone]:
    """Give each bridge its width, and each port its centre, counted from the end of the label."""
    found, x = [], 0.0
    for bridge in draft.host.bridges:
        width = draft.label
        for side in ("top", "bottom"):
            row = [chip for chip in draft.ports if chip.master == bridge.name and draft.side(chip) == side]
            if not row:
                continue
            _centre(draft, row)
            centres = sorted(draft.centres[chip.name] for chip in row)
            gap = min((b - a for a, b in pairwise(centres)), default=140.0)
            for chip in row:
                _write(draft, chip, gap - 6)
            last = max(draft.centres[chip.name] + draft.sizes[chip.name][0] / 2 + 10 for chip in row)
            width = max(width, draft.label + max(last, draft.spec.ports.get(f"end {side}", 0.0)))
        found.append(Zone(bridge, x, width))
        x += width + 10
    return found


def _centre(draft: Draft, row: list[Chip]) -> None:
    known = draft.spec.ports
    if all(chip.name in known for chip in row):
        draft.centres |= {chip.name: known[chip.name] for chip in row}
        return
    centres, _ = spread((chip_size(chip_text(chip, "medium", with_mac=False))[0] for chip in row), 10)
    draft.centres |= {chip.name: centre for chip, centre in zip(row, centres, strict=True)}


def _write(draft: Draft, chip: Chip, room: float) -> None:
    """Write a port as large as its neighbours let it be: with words, as a short name, or as a led only."""
    text = chip_text(chip, "medium", with_mac=False)
    width, height = chip_size(text)
    if width > room:
        name = small_chip(chip, room).name if room >= _NARROWEST_NAME else ""
        text = ChipText(chip, name, words=False, lines=(), size=10)
        width = max(_NARROWEST_LED, min(room, text_width(name, 10, "mono") + 28 if name else _NARROWEST_LED))
        height = _SMALL_CHIP
    draft.texts[chip.name], draft.sizes[chip.name] = text, (width, max(height, _SMALL_CHIP))


def place(draft: Draft, found: list[Zone], left: float, right: float, bar: tuple[float, float], height: float) -> None:  # noqa: PLR0913, PLR0917 - one rectangle within another
    """Draw the bars from ``left`` to ``right`` and put all ports on the borders; ``bar`` is its top and height."""
    for number, zone in enumerate(found):
        start = left + zone.x
        width = right - start if number + 1 == len(found) else zone.width
        drops = []
        for chip in draft.ports:
            if chip.master == zone.bridge.name:
                top = draft.side(chip) == "top"
                centre = start + draft.label + draft.centres[chip.name]
                draft.put(chip, centre, 0.0 if top else height)
                half = draft.sizes[chip.name][1] / 2
                drops.append((chip, centre, half if top else height - half))
        data = (zone.bridge, draft.label, tuple(drops))
        draft.parts.insert(0, Part("bar", zone.bridge.id, start, bar[0], width, bar[1], data))


def tubes(draft: Draft, left: float, right: float, y: float) -> float:
    """Draw the tunnels that pass through this host, each a tube into which lines lead; return where they end."""
    for tube in draft.host.tubes:
        lanes = []
        for name in tube.lanes:
            x = left + draft.label + draft.spec.ports.get(name, 0.0)
            lanes.append(x)
            draft.anchors[name] = (x, 0.0)
        y += 8
        draft.parts.append(Part("tube", tube.id, left, y, right - left, TUBE, (tube, tuple(lanes))))
        y += TUBE
    return y


def bottom_chips(draft: Draft, height: float, left: float, gap: float = 12.0) -> None:
    """Put the chips of no bridge on the lower border, from the left."""
    row = [chip for chip in draft.routed if draft.side(chip) == "bottom"]
    centres, _ = spread((draft.sizes[chip.name][0] for chip in row), gap)
    for chip, centre in zip(row, centres, strict=True):
        draft.put(chip, left + centre, height)


def routed_width(draft: Draft, side: str) -> float:
    """Return how much of a border the chips of no bridge take."""
    wide = (draft.sizes[chip.name][0] for chip in draft.routed if draft.side(chip) == side)
    return spread(wide, 12)[1] + 2 * PAD
