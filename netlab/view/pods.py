"""The pods inside a node: cards with a chip and a cable each, small boxes, or marks. Pure.

Cards stand in columns. The cable of a card in an upper row runs down beside the cards below it, outside of all columns;
lines from Services come down between the columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.view.cards import small_chip
from netlab.view.folded import MARK, to_unit
from netlab.view.parts import Part, Point

if TYPE_CHECKING:
    from netlab.view.nouns import Cable, Nest, SceneHost

MARGIN, COLUMN_GAP = 16.0, 24.0
POD_WIDTH, POD_HEIGHT, CHIP = 140.0, 58.0, 32.0
_ROW_GAP = 14.0
_LANE, _LANES = 6.0, 5.0  # from the border of the node to the first cable beside the cards, and between two
_BOX_HEIGHT, _BOX_GAP, _BOXES = 34.0, 8.0, 4
_MARKS, _PITCH = 18, 15.0


def height(nest: Nest) -> float:
    """Return how much the pods of a node take, with what sticks out of them."""
    if nest.level == "cards":
        return nest.rows * (POD_HEIGHT + CHIP / 2) + (nest.rows - 1) * _ROW_GAP
    if nest.level == "boxes":
        return -(-len(nest.pods) // _columns(nest)) * (_BOX_HEIGHT + _BOX_GAP) - _BOX_GAP
    return -(-len(nest.pods) // _marks(nest)) * _PITCH + 20


def width(nest: Nest) -> float:
    """Return the width between the first column's left end and the last one's right end."""
    return nest.columns * POD_WIDTH + (nest.columns - 1) * COLUMN_GAP


def _columns(nest: Nest) -> int:
    return _BOXES * nest.columns // 2


def _marks(nest: Nest) -> int:
    return int(width(nest) // _PITCH) if nest.columns > 2 else _MARKS


def _corner(nest: Nest, number: int) -> Point:
    """Return the upper left corner of a pod, from the upper left of all of them."""
    if nest.level == "cards":
        row, column = divmod(number, nest.columns)
        return MARGIN + column * (POD_WIDTH + COLUMN_GAP), row * (POD_HEIGHT + CHIP / 2 + _ROW_GAP)
    if nest.level == "boxes":
        row, column = divmod(number, _columns(nest))
        return MARGIN + column * (_box(nest) + _BOX_GAP), row * (_BOX_HEIGHT + _BOX_GAP)
    row, column = divmod(number, _marks(nest))
    return MARGIN + 2 + column * _PITCH, row * _PITCH


def _box(nest: Nest) -> float:
    return (width(nest) - _BOX_GAP * (_columns(nest) - 1)) / _columns(nest)


def _below(nest: Nest, number: int) -> bool:
    """Tell whether another card stands below this one."""
    return number + nest.columns < len(nest.pods)


def drops(nest: Nest) -> dict[str, float]:
    """Return where the cable of each pod meets the bar below."""
    found: dict[str, float] = {}
    for number, pod in enumerate(nest.pods):
        if pod.gone:
            continue
        row, column = divmod(number, nest.columns)
        x = _corner(nest, number)[0]
        if nest.level != "cards":
            found[pod.name] = x + (_box(nest) if nest.level == "boxes" else MARK) / 2
        elif not _below(nest, number):
            found[pod.name] = x + POD_WIDTH / 2
        elif column < nest.columns / 2:
            found[pod.name] = x + 12 + _LANES * row
        else:
            found[pod.name] = x + POD_WIDTH - 12 - _LANES * row
    return found


def place(nest: Nest, top: float, bar: float, parts: list[Part]) -> None:
    """Put the pods below ``top``, and their cables down to the bar."""
    ends = drops(nest)
    cables = {end[0]: cable for cable in nest.cables for end in (cable.a, cable.b)}
    for number, pod in enumerate(nest.pods):
        if pod.gone:
            continue
        x, y = _corner(nest, number)
        if nest.level == "cards":
            parts.append(_card(nest, pod, x, top + y))
            start = (x + POD_WIDTH / 2, top + y + POD_HEIGHT + CHIP / 2)
            course = _course(nest, number, start, (ends[pod.name], bar))
            parts.append(_cable(cables[pod.name], course))
        elif nest.level == "boxes":
            data = (pod, pod.name in nest.endpoints, ())
            parts.append(Part("pod", pod.id, x, top + y, _box(nest), _BOX_HEIGHT, data))
        else:
            parts.append(
                Part("unit", pod.id, x, top + y, MARK, MARK, to_unit(pod, endpoint=pod.name in nest.endpoints))
            )
    if nest.level == "marks":
        text, listening = f"{len(nest.pods)} pods", sum(pod.name in nest.endpoints for pod in nest.pods)
        text += f" · ■ {listening} endpoints" if listening else ""
        parts.append(Part("note", "", MARGIN, top + height(nest) - 15, width(nest), 14, (text, "bold", "ink")))


def _card(nest: Nest, pod: SceneHost, x: float, y: float) -> Part:
    """Return a pod as a box with its chip on the lower border."""
    chips = [chip for chip in pod.chips if not chip.gone]
    room = (POD_WIDTH - 16 - 4 * (len(chips) - 1)) / max(1, len(chips))
    inner = tuple(
        Part("chip", chip.id, x + 8 + n * (room + 4), y + POD_HEIGHT - CHIP / 2, room, CHIP, small_chip(chip, room))
        for n, chip in enumerate(chips)
    )
    return Part("pod", pod.id, x, y, POD_WIDTH, POD_HEIGHT, (pod, pod.name in nest.endpoints, inner))


def _course(nest: Nest, number: int, start: Point, end: Point) -> tuple[Point, ...]:
    """Return the way of a cable: straight down, or around the cards below."""
    if not _below(nest, number):
        return (start, end)
    row, column = divmod(number, nest.columns)
    x = _corner(nest, number)[0]
    left = column < nest.columns / 2
    lane = x - MARGIN + _LANE + _LANES * row if left else x + POD_WIDTH + MARGIN - _LANE - _LANES * row
    turn, back = start[1] + 5, end[1] - 9
    return bent(((start[0], start[1]), (start[0], turn), (lane, turn), (lane, back), (end[0], back), end))


def bent(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return a line through points as a chain of Bézier curves, its corners rounded."""
    found = [points[0]]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _toward(corner, before), _toward(corner, after)
        found += [found[-1], enter, enter, corner, corner, leave]
    return (*found, found[-1], points[-1], points[-1])


def _toward(corner: Point, other: Point) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = (dx * dx + dy * dy) ** 0.5
    share = min(5.0, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share


def _cable(cable: Cable, course: tuple[Point, ...]) -> Part:
    return Part("cable", cable.id, 0, 0, 0, 0, (cable, course))
