"""A journey on screen: the way of the packet over the picture of the lab, and below it the table of all steps."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import traitlets
from IPython.display import display

from netlab.errors import InvalidInputError
from netlab.view import callout, pen, theme
from netlab.view.drawing import dot, draw
from netlab.view.folding import fold
from netlab.view.layout import lay_out
from netlab.view.measure import fit, text_width
from netlab.view.nesting import MOST_NODES, pods_of
from netlab.view.notebook import in_kernel
from netlab.view.places import Places
from netlab.view.png import save_picture
from netlab.view.ribbon import bars, draw_ribbon, height, ribbon
from netlab.view.route import trail
from netlab.view.scene import to_scene
from netlab.view.still import Still
from netlab.view.svg import base, text_of
from netlab.view.waymarks import paint
from netlab.view.widget import Shown, script, style

if TYPE_CHECKING:
    from pathlib import Path

    from netlab.journey.values import Journey, Step
    from netlab.kernel.values import Snapshot
    from netlab.view.drawing import Drawing
    from netlab.view.route import Hop, Trail

#: A lab with more hosts than this is shown with the hosts of the journey only.
_MANY = 12
#: The signs of stops in the table of a saved picture.
_SIGNS = {
    (leg, shape): sign
    for leg, signs in (("request", "●◆■✕"), ("reply", "○◇□✕"))
    for shape, sign in zip(("circle", "diamond", "square", "octagon"), signs, strict=True)
}
_INKS = {"circle": "pkt", "diamond": "svcline", "square": "tunline", "octagon": "badline"}
_LINE, _MARGIN, _TABLE_WIDTH, _RIBBON = 15.0, 12.0, 760.0, 1000.0


class JourneyView(Shown):
    """Show a journey: play, step through it, or choose a row; a place in the picture and its row light together."""

    _esm = script("text.js", "journey.js")
    _css = style("journey.css")
    title = traitlets.Unicode().tag(sync=True)
    svg = traitlets.Unicode().tag(sync=True)
    ribbon = traitlets.Unicode(help="source, destination and outer header, stop by stop").tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    end = traitlets.Dict(help="ok, text: what came of it").tag(sync=True)

    def __init__(self, journey: Journey) -> None:
        """Draw it once; a journey does not change."""
        if journey.snapshot is None:
            raise InvalidInputError(
                "This journey holds no snapshot of its lab, so that there is nothing to draw it on."
            )
        self._journey = journey
        self._still: Still | None = None
        key = secrets.token_hex(4)
        shown = _pictured(journey, "live", key)
        super().__init__(
            key=key,
            title=repr(journey).strip("<>").rpartition(", ")[0],
            svg=shown.svg,
            ribbon=shown.ribbon,
            rows=_rows(journey, shown.hops),
            end={"ok": journey.drop is None, "text": outcome(journey)},
        )

    def save(self, path: str | Path, *, dark: bool = False) -> Path:
        """Write picture, ribbon and table to a file, whose name ends in ``.svg`` or ``.png``; return its path."""
        return save_picture(to_svg(self._journey, "static", self.key), path, dark=dark)

    def _ipython_display_(self, **_: Any) -> None:
        words = str(self._journey)
        bundle = self._repr_mimebundle_()
        picture = to_svg(self._journey, "static", self.key)
        if bundle is None or not in_kernel():
            display({"image/svg+xml": picture, "text/plain": words}, raw=True)  # type: ignore[no-untyped-call]
            return
        data, metadata = bundle
        display(data | {"text/plain": words}, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        self._still = Still(f"netlab-{self.key}", lambda: (picture, self.title))


def outcome(journey: Journey) -> str:
    """Return what came of it, in a sentence."""
    if journey.drop is None:
        return f"An answer came back to {journey.client}." if journey.ok else "The request arrived."
    what = "reply" if journey.drop.leg == "reply" else "request"
    deduced = " This is a deduction from the evidence." if journey.drop.deduced else ""
    return f"The {what} ended in {journey.drop.host}: {journey.drop.reason}.{deduced}"


def to_svg(journey: Journey, kind: str = "static", key: str = "") -> str:
    """Return the picture of a journey; a "static" one holds the table and its style sheet too."""
    return _pictured(journey, kind, key).svg


@dataclass(frozen=True, slots=True)
class _Pictured:
    """A journey's picture, the stops in it, and its ribbon where that is a picture of its own."""

    svg: str
    hops: list[Hop]
    ribbon: str = ""


def _pictured(journey: Journey, kind: str, key: str) -> _Pictured:
    assert journey.snapshot is not None  # noqa: S101 - the caller has looked
    drawing = draw(fold(to_scene(_shown(journey, journey.snapshot))))
    layout = lay_out(dot(drawing))
    root, body = base(drawing, layout)
    _dim(root, drawing, {step.host for step in journey.steps})
    places = Places(drawing, layout)
    way = trail(journey, places)
    paint(body, way)
    _note(root, body, journey, (way, places))
    hops = list(way.hops)
    found = bars(journey, hops, drawing.scene)
    # On screen the ribbon is as wide as the page, whatever the picture's size.
    own = ribbon(journey, found, hops) if kind == "live" and found else ""
    if found and not own:
        width, y = float(root.get("width", "0")), float(root.get("height", "0"))
        wide = max(width - 2 * _MARGIN, min(_RIBBON, 88 + 60.0 * len(hops)))
        draw_ribbon(root, found, hops, (_MARGIN, y, wide))
        _grow(root, wide + 2 * _MARGIN, y + height(found))
    root.set("class", f"nl {kind} nl-journey")
    root.set("aria-label", pen.clean(f"{repr(journey).strip('<>')}"))
    if kind == "static":
        root.set("data-nl-key", key)
        _write_table(root, journey, hops)
        sheet = ET.Element("style")
        sheet.text = theme.static_css() + ".nl-off{opacity:.5}"
        root.insert(0, sheet)
    return _Pictured(text_of(root), hops, own)


def _shown(journey: Journey, snapshot: Snapshot) -> Snapshot:
    """Return the part of a large lab that the journey is about."""
    nodes = pods_of(to_scene(snapshot))
    if len(snapshot.hosts) <= _MANY or 0 < len(nodes) <= MOST_NODES:
        return snapshot
    touched = {step.host for step in journey.steps}
    return dataclasses.replace(snapshot, hosts=tuple(host for host in snapshot.hosts if host.name in touched))


def _note(root: ET.Element, body: ET.Element, journey: Journey, shown: tuple[Trail, Places]) -> None:
    """Write the one note: at the drop, or at the first rewrite of a packet that arrived."""
    way, places = shown
    stop = next((hop for hop in way.hops if hop.shape == "octagon"), None)
    words = callout.of_drop(journey, stop) if stop is not None else None
    if stop is None:
        stop = next((hop for hop in way.hops if hop.shape == "diamond" and hop.leg == "request"), None)
        words = callout.of_rewrite(journey, stop) if stop is not None and places.kernels else None
    if stop is None or words is None:
        return
    size = (float(root.get("width", "0")) - 2 * _MARGIN, float(root.get("height", "0")) - 2 * _MARGIN)
    touched = {step.host for step in journey.steps}
    # What sticks out of a host counts too. Nodes off the way may be covered; elsewhere there is room beside hosts.
    hosts = [
        (x, y - 20, wide, high + 40)
        for name, (x, y, wide, high) in places.hosts.items()
        if name in touched or not places.kernels
    ]
    box = callout.write(body, words, stop, (places, [*hosts, *callout.extents(way.pieces)], size))
    _grow(root, box[0] + box[2] + 2 * _MARGIN)


def _dim(root: ET.Element, drawing: Drawing, touched: set[str]) -> None:
    """Have what the packet did not pass step back."""
    inside = {pod.name: host.name for host in drawing.scene.hosts if host.nest for pod in host.nest.pods}
    # A pod steps back with its node; it does not do so twice.
    off = {
        h.id
        for h in drawing.scene.everybody()
        if h.name not in touched and inside.get(h.name, h.name) in {h.name, *touched}
    }
    off |= {cable.id for cable in drawing.scene.cables if {cable.a[0], cable.b[0]} - touched}
    off |= {
        c.id
        for h in drawing.scene.hosts
        if h.nest and h.name in touched
        for c in h.nest.cables
        if {c.a[0], c.b[0]} - touched
    }
    for group in root.iter("g"):
        identity = group.get("data-nl-id", "")
        if identity in off or (identity.startswith("ep:") and not touched & set(identity.split("/"))):
            group.set("class", f"{group.get('class')} nl-off")


def _grow(root: ET.Element, width: float, height: float = 0.0) -> None:
    """Make a picture at least as large as this."""
    size = (
        pen.number(max(width, float(root.get("width", "0")))),
        pen.number(max(height, float(root.get("height", "0")))),
    )
    root.set("width", size[0])
    root.set("height", size[1])
    root.set("viewBox", f"0 0 {size[0]} {size[1]}")


def _write_table(root: ET.Element, journey: Journey, hops: list[Hop]) -> None:
    """Write the steps below the picture, so that a saved notebook tells the same."""
    rows = _rows(journey, hops)
    table = ET.SubElement(root, "g", {"class": "nl-table"})
    columns, x = [], _MARGIN + 62
    for key, most in (("host", 160.0), ("where", 300.0), ("what", 640.0)):
        columns.append((x, key, most))
        x += min(max((text_width(row[key], 10, "mono") for row in rows), default=0.0), most) + 18
    y = float(root.get("height", "0")) + _LINE
    for row in rows:
        ink = "svcline" if row["rewritten"] else "badline" if row["stopped"] else "ink"
        if row["shape"]:
            sign = f"{_SIGNS[row['leg'], row['shape']]} {row['label']}".strip()
            pen.write(table, (_MARGIN, y), sign, 10, "mono", fill=_INKS[row["shape"]], bold=True)
        pen.write(table, (_MARGIN + 54, y), str(row["number"]), 10, "mono", anchor="end", fill="muted")
        for left, key, most in columns:
            pen.write(table, (left, y), fit(row[key], most, 10, "mono"), 10, "mono", fill=ink)
        y += _LINE
    text = fit(outcome(journey), max(x, _TABLE_WIDTH) - 2 * _MARGIN, 11, "bold")
    pen.write(table, (_MARGIN, y + 4), text, 11, "bold", fill="ink" if journey.ok else "badline")
    _grow(root, max(x, _TABLE_WIDTH), y + 2 * _LINE)


def _rows(journey: Journey, hops: list[Hop]) -> list[dict[str, Any]]:
    """Return the rows of the table; those that have a place in the picture bear the label and shape of their stop."""
    stops = {hop.number: hop for hop in hops}
    found = []
    for step in journey.steps:
        if step.kind != "drop" or step.number in stops:
            hop = stops.get(step.number)
            found.append(_row(step) | {"label": hop.label if hop else "", "shape": hop.shape if hop else ""})
    return found


def _row(step: Step) -> dict[str, Any]:
    """Return a step as a row of the table."""
    if step.kind in {"in", "out"}:
        where = f"{step.interface} {step.kind}"
    elif step.table:
        where = f"{step.table} {step.chain}" + (f" #{step.position}" if step.position else "")
    else:
        where = step.hook or step.interface
    flow = ""
    if step.rewritten:
        flow = f"{step.before} ⇒ {step.after}"
    elif step.after is not None:
        flow = str(step.after)
    return {
        "number": step.number,
        "time": f"{step.offset_ns / 1e6:.3f}",
        "leg": step.leg,
        "packet": step.packet,
        "host": step.host,
        "where": where,
        "rule": step.rule or step.conntrack,
        "flow": flow,
        "what": " ".join(word for word in (step.verdict, flow if step.rewritten else "", step.rule) if word),
        "verdict": step.verdict,
        "outer": str(step.outer) if step.outer is not None else "",
        "observed": step.observed,
        "rewritten": step.rewritten,
        "stopped": step.verdict in {"DROP", "REJECT"} or step.kind == "drop",
    }
