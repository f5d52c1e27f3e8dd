"""From a drawing to SVG: graphviz says where, this module writes what is seen.

``live`` pictures are for a page that holds the style sheet; ``static`` ones carry it with them and follow the reader's
light or dark preference on their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from netlab.view import faces, pen, theme
from netlab.view.drawing import dot
from netlab.view.layout import Layout, lay_out

if TYPE_CHECKING:
    from netlab.view.drawing import Drawing
    from netlab.view.nouns import Cable
    from netlab.view.parts import Point

SVG = "http://www.w3.org/2000/svg"
_MARGIN = 12.0
_STRAIGHT = 9.0
_TOGETHER = 26.0  # a cable shorter than this has no room for a sign in its middle


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be compared with the one before.

    ``fragments`` holds the markup of each thing without the things inside it, ``order`` all ids as they were drawn.
    """

    dot: str
    markup: str
    fragments: dict[str, str]
    labels: dict[str, str]
    width: float
    height: float

    def patch(self, old: Picture | None) -> dict[str, str] | None:
        """Return the markup of what looks different now, or None if more than looks has changed."""
        if old is None or old.dot != self.dot or list(old.fragments) != list(self.fragments):
            return None
        return {key: text for key, text in self.fragments.items() if old.fragments[key] != text}


def picture(drawing: Drawing) -> Picture:
    """Return the live picture of a drawing."""
    text = dot(drawing)
    layout = lay_out(text)
    root = _build(drawing, layout)
    root.set("class", "nl live")
    root.set("aria-label", pen.clean(drawing.scene.sentence))
    found = {e.get("data-nl-id", ""): e for e in root.iter("g") if e.get("data-nl-id")}
    leaves = {key: _text(e) for key, e in found.items() if "host" not in e.get("class", "").split()}
    labels = {key: e.get("aria-label", "") for key, e in found.items()}
    return Picture(text, _text(root), leaves, labels, layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN)


def static(drawing: Drawing, key: str = "", *, closed: bool = False) -> str:
    """Return a picture that stands on its own: in a saved notebook, on GitHub, in a file.

    ``key`` goes into the ids of the SVG, so that two of them can stand in one page.
    """
    root = _build(drawing, lay_out(dot(drawing)))
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
    return _text(root)


def _text(element: ET.Element) -> str:
    return ET.tostring(element, encoding="unicode")


def _build(drawing: Drawing, layout: Layout) -> ET.Element:
    width, height = max(layout.width, 96) + 2 * _MARGIN, layout.height + 2 * _MARGIN
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
    body = ET.SubElement(root, "g", {"transform": f"translate({pen.number(_MARGIN)} {pen.number(_MARGIN)})"})
    if not drawing.cards:
        pen.write(body, (0, 14), "no hosts yet", 12, fill="muted")
    for number, name in enumerate(drawing.cards):
        if not drawing.scene[name].gone:
            _host(body, drawing, name, layout.places[number])
    places = {name: layout.places[number] for number, name in enumerate(drawing.cards)}
    between = drawing.scene.between()
    for cable in drawing.scene.cables:
        if any(drawing.scene[end[0]].gone for end in (cable.a, cable.b)):
            continue
        ends = tuple(_shift(drawing.anchor(end), places[end[0]]) for end in (cable.a, cable.b))
        if cable in between:
            course = _course(drawing, layout.courses[between.index(cable)], ends)
        else:
            course = _loop(ends)
        _cable(body, cable, course)
    return root


def _shift(point: Point, by: Point) -> Point:
    return point[0] + by[0], point[1] + by[1]


def _host(body: ET.Element, drawing: Drawing, name: str, place: Point) -> None:
    card = drawing.cards[name]
    box = pen.group(body, card.host.id, "host", card.host.sentence)
    box.set("role", "graphics-object group")
    x, y = place[0] + card.overhang[3], place[1] + card.overhang[0]
    box.set("transform", f"translate({pen.number(x)} {pen.number(y)})")
    pen.rect(box, (0, 0, card.width, card.height), "host", "hostline", rx="10")
    for item in sorted(card.parts, key=lambda part: part.kind == "chip"):
        faces.part(box, item)


def _course(drawing: Drawing, pieces: tuple[tuple[Point, ...], ...], ends: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return the course of a cable: straight if it nearly is, else as graphviz led it around the hosts."""
    (ax, ay), (bx, by) = ends
    bent = max(abs((p[1] - ay) if drawing.plan.columns else (p[0] - ax)) for piece in pieces for p in piece)
    if bent <= _STRAIGHT and drawing.plan.columns:
        return ((ax, (ay + by) / 2), (bx, (ay + by) / 2))
    if bent <= _STRAIGHT:
        middle = (ax + bx) / 2
        return ((middle, ay), (middle, by))
    points: list[Point] = []
    for piece in pieces:
        # Between two pieces the cable runs straight on.
        points += [points[-1], piece[0], piece[0]] if points else [piece[0]]
        points += piece[1:]
    if abs(points[0][0] - ax) + abs(points[0][1] - ay) > abs(points[-1][0] - ax) + abs(points[-1][1] - ay):
        points.reverse()
    points[0], points[-1] = (ax, ay), (bx, by)
    return tuple(points)


def _loop(ends: tuple[Point, ...]) -> tuple[Point, ...]:
    (ax, ay), (bx, by) = ends
    return ((ax, ay), (ax, ay + 26), (bx, by + 26), (bx, by))


def _cable(body: ET.Element, cable: Cable, course: tuple[Point, ...]) -> None:
    classes = {"veth": "cable", "macvlan": "cable macvlan", "tunnel": "tunnel"}[cable.kind]
    box = pen.group(body, cable.id, classes + ("" if cable.up else " down"), cable.sentence)
    text = pen.curve(course) if len(course) > 2 else _straight(course)
    pen.path(box, text, "page", 12, stroke_opacity="0", pointer_events="stroke")
    if not cable.up:
        pen.path(box, text, "badline", 2.0, stroke_dasharray="6 4")
    elif cable.kind == "tunnel":
        pen.path(box, text, "tunline", 5.4)
        pen.path(box, text, "tun", 2.6)
    else:
        pen.path(box, text, "l2line" if cable.kind == "macvlan" else "cable", 1.9)
    if cable.kind != "tunnel":
        for end in (course[0], course[-1]):
            pen.dot(box, end, 3.6, "cable") if cable.up else pen.dot(box, end, 3.3, "page", "badline")
    if not cable.up:
        _cross(box, course)


def _straight(course: tuple[Point, ...]) -> str:
    (ax, ay), (bx, by) = course
    return f"M{pen.number(ax)},{pen.number(ay)}L{pen.number(bx)},{pen.number(by)}"


def _cross(box: ET.Element, course: tuple[Point, ...]) -> None:
    """Draw the sign of a cable that carries nothing, in its middle."""
    x, y = middle(course)
    (ax, ay), (bx, by) = course[0], course[-1]
    radius = 8.0 if abs(ax - bx) + abs(ay - by) > _TOGETHER else 5.0
    pen.dot(box, (x, y), radius, "page", "badline")
    arm = pen.number(radius * 0.45)
    text = f"M{pen.number(x)},{pen.number(y)}m-{arm},-{arm}l{2 * float(arm)},{2 * float(arm)}m0,-{2 * float(arm)}l-{2 * float(arm)},{2 * float(arm)}"
    pen.path(box, text, "badline", 2.0, stroke_linecap="round")


def middle(course: tuple[Point, ...]) -> Point:
    """Return the point half-way along a cable."""
    if len(course) == 2:
        return (course[0][0] + course[1][0]) / 2, (course[0][1] + course[1][1]) / 2
    curves = (len(course) - 1) // 3
    which, share = divmod(curves / 2, 1)
    p = course[int(which) * 3 : int(which) * 3 + 4]
    if len(p) < 4:
        return p[0]
    weights = ((1 - share) ** 3, 3 * share * (1 - share) ** 2, 3 * share**2 * (1 - share), share**3)
    return (
        sum(w * q[0] for w, q in zip(weights, p, strict=True)),
        sum(w * q[1] for w, q in zip(weights, p, strict=True)),
    )
