"""From a drawing to SVG: graphviz says where, this module writes what is seen.

``live`` pictures are for a page that holds the style sheet; ``static`` ones carry it with them and follow the reader's
light or dark preference on their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import faces, pen, theme
from netlab.view.cables import courses, draw_cable
from netlab.view.drawing import dot
from netlab.view.expanded import draw_opened, open_above
from netlab.view.layout import Layout, lay_out
from netlab.view.overhead import arrange, draw_overhead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.view.drawing import Drawing
    from netlab.view.overhead import Box
    from netlab.view.parts import Point

SVG = "http://www.w3.org/2000/svg"
_MARGIN = 12.0
_SMALL = 40.0  # a pod that is lower has no room for a line of its own


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be compared with the one before.

    ``fragments`` holds the markup of each thing that can be replaced, in the order in which they were drawn;
    ``labels`` the sentence of each thing, and ``size`` width and height.
    """

    dot: str
    markup: str
    fragments: dict[str, str]
    labels: dict[str, str]
    size: tuple[float, float]

    def patch(self, old: Picture | None) -> dict[str, str] | None:
        """Return the markup of what looks different now, or None if more than looks has changed."""
        if old is None or (old.dot, old.size) != (self.dot, self.size) or list(old.fragments) != list(self.fragments):
            return None
        return {key: text for key, text in self.fragments.items() if old.fragments[key] != text}


def picture(drawing: Drawing) -> Picture:
    """Return the live picture of a drawing."""
    text = dot(drawing)
    layout = lay_out(text)
    root, _ = base(drawing, layout)
    root.set("class", "nl live")
    root.set("aria-label", pen.clean(drawing.scene.sentence))
    leaves = {e.get("data-nl-id", ""): text_of(e) for e in _leaves(root)}
    labels = {e.get("data-nl-id", ""): e.get("aria-label", "") for e in root.iter("g") if e.get("data-nl-id")}
    return Picture(text, text_of(root), leaves, labels, (float(root.get("width", 0)), float(root.get("height", 0))))


def static(drawing: Drawing, key: str = "", *, closed: bool = False) -> str:
    """Return a picture that stands on its own: in a saved notebook, on GitHub, in a file.

    ``key`` goes into the ids of the SVG, so that two of them can stand in one page.
    """
    root, _ = base(drawing, lay_out(dot(drawing)))
    root.set("class", "nl static")
    root.set("data-nl-key", key)
    key = f"nl-{key or 'picture'}"
    head = ET.Element("title", {"id": f"{key}-t"})
    head.text = pen.clean(drawing.scene.sentence)
    about = ET.Element("desc", {"id": f"{key}-d"})
    said = [host.sentence for host in drawing.scene.hosts if not host.gone]
    about.text = pen.clean(" ".join([*said, "This lab is closed."] if closed else said))
    style = ET.Element("style")
    style.text = theme.static_css()
    root.set("aria-labelledby", f"{key}-t {key}-d")
    for place, element in enumerate((head, about, style)):
        root.insert(place, element)
    return text_of(root)


def _leaves(element: ET.Element) -> Iterator[ET.Element]:
    """Yield what can be replaced on its own: a folded host as a whole, of other hosts the things inside."""
    for child in element:
        if child.get("data-nl-id") and child.get("class") != "host":
            yield child
        else:
            yield from _leaves(child)


def text_of(element: ET.Element) -> str:
    """Return an element as markup."""
    return ET.tostring(element, encoding="unicode")


def base(drawing: Drawing, layout: Layout) -> tuple[ET.Element, ET.Element]:
    """Return the root of a picture, and the group in it whose coordinates are those of the layout."""
    cards = _boxes(drawing, layout)
    opened = open_above(drawing.scene.hosts, cards, layout.width)
    extra = opened.height if opened is not None else 0.0
    cards = {name: (x, y + extra, wide, high) for name, (x, y, wide, high) in cards.items()}
    if opened is not None:
        cards[f"open:{opened.host.name}"] = opened.box
    overhead = arrange(drawing.scene.services, cards, _inside(drawing))
    width = max(layout.width, overhead.width, opened.box[0] + opened.box[2] if opened else 0.0, 96) + 2 * _MARGIN
    height = layout.height + extra + overhead.height + 2 * _MARGIN
    attributes = {
        "xmlns": SVG,
        "viewBox": f"0 0 {pen.number(width)} {pen.number(height)}",
        "width": pen.number(width),
        "height": pen.number(height),
        "role": "graphics-document",
        "font-family": theme.UI_FONT,
        "data-nl-lab": pen.clean(drawing.scene.lab),
    }
    root = ET.Element("svg", attributes)
    down = _MARGIN + overhead.height + extra
    body = ET.SubElement(root, "g", {"transform": f"translate({pen.number(_MARGIN)} {pen.number(down)})"})
    if opened is not None:
        over = ET.SubElement(root, "g", {"transform": f"translate({pen.number(_MARGIN)} {pen.number(down - extra)})"})
        draw_opened(over, opened, extra)
    if not drawing.cards:
        pen.write(body, (0, 4), "no hosts yet", 12, fill="muted")
    for number, name in enumerate(drawing.cards):
        if not drawing.scene[name].gone:
            _host(body, drawing, name, layout.places[number])
    for cable, course in courses(drawing, layout):
        draw_cable(body, cable, course)
    if overhead.placed:
        corner = (pen.number(_MARGIN), pen.number(_MARGIN + overhead.top))
        above = ET.SubElement(root, "g", {"transform": f"translate({corner[0]} {corner[1]})"})
        shift = overhead.height - overhead.top
        lower = {name: (x, y + shift, wide, high) for name, (x, y, wide, high) in cards.items()}
        draw_overhead(above, overhead, lower)
    return root, body


def _boxes(drawing: Drawing, layout: Layout) -> dict[str, Box]:
    """Return where each host is, with all that sticks out of it."""
    places = ((name, layout.places[number]) for number, name in enumerate(drawing.cards))
    found: dict[str, Box] = {}
    for name, (x, y) in places:
        if drawing.scene[name].gone:
            continue
        card = drawing.cards[name]
        found[name] = (x, y, *card.outer)
        for part in card.parts:
            if part.kind == "pod" and part.height > _SMALL:
                inner = part.moved(x + card.overhang[3], y + card.overhang[0])
                found[part.id.removeprefix("host:")] = (inner.x, inner.y, inner.width, inner.height)
    return found


def _inside(drawing: Drawing) -> dict[str, str]:
    """Return the node of each pod that is too small to lead a line to."""
    found = {}
    for name, card in drawing.cards.items():
        for part in card.parts:
            if (part.kind == "pod" and part.height <= _SMALL) or part.kind == "unit":
                found[part.data[0].name if part.kind == "pod" else part.data.name] = name
    return found


def _host(body: ET.Element, drawing: Drawing, name: str, place: Point) -> None:
    card = drawing.cards[name]
    fault = any(unit.state == "fault" for unit in card.host.units)
    box = pen.group(body, card.host.id, "host folded" if card.host.units else "host", card.host.sentence)
    box.set("role", "graphics-object group")
    x, y = place[0] + card.overhang[3], place[1] + card.overhang[0]
    box.set("transform", f"translate({pen.number(x)} {pen.number(y)})")
    fill, line = ("l2", "l2line") if any(item.kind == "underlay" for item in card.parts) else ("host", "hostline")
    pen.rect(box, (0, 0, card.width, card.height), fill, "badline" if fault else line, rx="10")
    for item in sorted(card.parts, key=lambda part: (part.kind == "chip", part.kind == "port")):
        faces.part(box, item)
