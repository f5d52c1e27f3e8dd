from __future__ import annotations

import dataclasses
import itertools
import re
from string import ascii_lowercase
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from netlab import InvalidInputError, Lab
from netlab.journey.values import Journey
from netlab.view.drawing import dot, draw
from netlab.view.folding import fold
from netlab.view.journey import JourneyView, outcome, to_svg
from netlab.view.layout import lay_out
from netlab.view.places import Places
from netlab.view.ribbon import bars
from netlab.view.route import trail
from netlab.view.scene import to_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Give a client, a router that masquerades, a node with a bridge, and a web server behind it."""
    with Lab("way") as lab:
        client, router, node, web = (lab.add_host(name) for name in ("client", "router", "node", "web"))
        lab.connect(client, router, "10.0.1.2/24", "10.0.1.1/24")
        lab.connect(router, node, "10.0.2.1/24", "10.0.2.2/24")
        node.add_bridge("br0")
        node.add_address("br0", "10.244.1.1/24")
        lab.connect(node, web, None, "10.244.1.2/24", names=("veth1", "eth0"))
        node.add_port("br0", "veth1")
        lab.add_host("bystander")
        for host in (router, node):
            host.sysctl["net.ipv4.ip_forward"] = 1
        client.add_route("default", via="10.0.1.1")
        router.add_route("10.244.0.0/16", via="10.0.2.2")
        web.add_route("default", via="10.244.1.1")
        router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
        web.serve(80)
        yield lab


@pytest.fixture(scope="module")
def answered(lab: Lab) -> Journey:
    """Give a journey that comes back."""
    return lab.trace("client", "10.244.1.2", port=80)


@pytest.fixture(scope="module")
def dropped(lab: Lab) -> Journey:
    """Give a journey that ends at a rule of the node."""
    node = lab.host("node")
    node.iptables("-A", "FORWARD", "-p", "tcp", "-j", "DROP")
    try:
        return lab.trace("client", "10.244.1.2", port=80)
    finally:
        node.iptables("-F", "FORWARD")


def hops(svg: str) -> list[ET.Element]:
    """Return the badges of a picture, in the order in which they are drawn."""
    return [each for each in ET.fromstring(svg).iter(f"{SVG}g") if "nl-hop" in each.get("class", "")]  # noqa: S314


def test_each_interface_that_was_met_has_a_numbered_badge(answered: Journey) -> None:
    """The numbers are those of the steps, for the way there and the way back."""
    passed = {step.number for step in answered.steps if step.kind in {"in", "out"}}
    numbers = {int(each.get("data-step", "0")) for each in hops(to_svg(answered))}
    assert passed <= numbers
    assert {each.get("class", "").split()[1] for each in hops(to_svg(answered))} == {"request", "reply"}


def test_a_rewrite_is_a_diamond(answered: Journey) -> None:
    """Shape says what happened to the packet."""
    shapes = {int(each.get("data-step", "0")): each.get("class", "").split()[2] for each in hops(to_svg(answered))}
    assert {shapes[rewrite.step] for rewrite in answered.nat} == {"diamond"}
    assert "octagon" not in shapes.values()


def test_a_drop_is_one_octagon_at_its_end(dropped: Journey) -> None:
    """The stop sign is the last badge of the request, and there is one."""
    found = hops(to_svg(dropped))
    assert [each.get("class", "").split()[2] for each in found].count("octagon") == 1
    assert "octagon" in found[-1].get("class", "")
    assert "FORWARD" in outcome(dropped)


def test_hosts_off_the_way_are_dimmed(dropped: Journey) -> None:
    """The bystander and the server that was never reached step back."""
    root = ET.fromstring(to_svg(dropped))  # noqa: S314
    dim = {each.get("data-nl-id") for each in root.iter(f"{SVG}g") if "nl-off" in each.get("class", "")}
    assert dim == {"host:web", "host:bystander", "veth:node/veth1~web/eth0"}


def test_badges_do_not_lie_on_each_other(answered: Journey) -> None:
    """Every number can be read."""
    centres = []
    for each in hops(to_svg(answered)):
        text = each.find(f"{SVG}text")
        assert text is not None
        centres.append((float(text.get("x", "0")), float(text.get("y", "0"))))
    for place, (x, y) in enumerate(centres):
        assert all(abs(x - ox) >= 15 or abs(y - oy) >= 15 for ox, oy in centres[:place])


def test_a_saved_picture_tells_the_same_as_the_table(dropped: Journey) -> None:
    """Hosts, rules and the reason of the drop stand in the static picture as text."""
    words = " ".join(ET.fromstring(to_svg(dropped)).itertext())  # noqa: S314
    for step in dropped.steps:
        assert step.host in words
    assert "MASQUERADE" in words
    assert "FORWARD" in words


def test_the_widget_has_a_row_for_each_step(answered: Journey) -> None:
    """The table is the text of the journey; the picture repeats it."""
    view = JourneyView(answered)
    assert [row["number"] for row in view.rows] == [step.number for step in answered.steps]
    assert view.end["ok"] is True
    view.close()


def test_a_journey_from_json_can_be_shown(answered: Journey) -> None:
    """The snapshot travels with it."""
    again = Journey.from_json(answered.to_json())
    assert again == answered
    assert len(hops(to_svg(again))) == len(hops(to_svg(answered)))


def test_without_a_snapshot_it_says_why(answered: Journey) -> None:
    """A journey without its lab can be printed, not drawn."""
    with pytest.raises(InvalidInputError, match="snapshot"):
        JourneyView(dataclasses.replace(answered, snapshot=None))


def test_the_way_covers_no_text(answered: Journey, dropped: Journey) -> None:
    """Lines, badges and the note of a drop lie where nothing is written."""
    for journey in (answered, dropped):
        texts, marks = boxes_of(to_svg(journey, "live"))
        assert not [(text, mark) for text in texts for mark in marks if meet(text[1], mark)]


Box = tuple[float, float, float, float]


def boxes_of(svg: str) -> tuple[list[tuple[str, Box]], list[Box]]:
    """Return the boxes (left, top, right, bottom) of the lab's texts, and those of what was drawn over it."""
    texts: list[tuple[str, Box]] = []
    marks: list[Box] = []

    def visit(element: ET.Element, dx: float, dy: float) -> None:
        moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", element.get("transform", ""))
        if moved:
            dx, dy = dx + float(moved[1]), dy + float(moved[2])
        classes = element.get("class", "").split()
        if element.tag == f"{SVG}text":
            x, y, wide = (float(element.get(name, "0")) for name in ("x", "y", "data-w"))
            x -= wide / 2 if element.get("text-anchor") == "middle" else 0
            texts.append((element.text or "", (dx + x, dy + y - 7, dx + x + wide, dy + y + 1)))
        elif "nl-way" in classes:
            found = re.findall(r"([-\d.]+),([-\d.]+)", element.get("d", ""))
            points = [(dx + float(x), dy + float(y)) for x, y in found]
            for (ax, ay), (bx, by) in itertools.pairwise(points):
                marks.append((min(ax, bx) - 1, min(ay, by) - 1, max(ax, bx) + 1, max(ay, by) + 1))
        elif "nl-hop" in classes or "nl-note-drop" in classes:
            for each in element.iter(f"{SVG}polygon"):
                corners = [tuple(map(float, pair.split(","))) for pair in each.get("points", "").split()]
                xs, ys = ([dx + corner[0] for corner in corners], [dy + corner[1] for corner in corners])
                marks.append((min(xs) + 2, min(ys) + 2, max(xs) - 2, max(ys) - 2))
            return
        for child in element:
            visit(child, dx, dy)

    visit(ET.fromstring(svg), 0, 0)  # noqa: S314 - our own text
    return texts, marks


def meet(one: Box, other: Box) -> bool:
    """Tell whether two boxes overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_a_drop_stands_on_the_line_with_its_reason_beside_it(dropped: Journey) -> None:
    """The line ends at the stop sign; one note in the picture says why."""
    root = ET.fromstring(to_svg(dropped, "live"))  # noqa: S314 - our own text
    ways = [each.get("d", "") for each in root.iter(f"{SVG}path") if "nl-way" in each.get("class", "")]
    (stop,) = (each for each in hops(to_svg(dropped)) if "octagon" in each.get("class", ""))
    sign = stop.find(f"{SVG}text")
    assert sign is not None
    ends = [tuple(map(float, re.findall(r"[-\d.]+", way)[-2:])) for way in ways]
    x, y = float(sign.get("x", "0")), float(sign.get("y", "0"))
    assert any(abs(ex - x) < 1 and abs(ey - y) < 6 for ex, ey in ends)
    (note,) = (each for each in root.iter(f"{SVG}g") if "nl-note-drop" in each.get("class", ""))
    said = " ".join(note.itertext())
    for words in ("DROPPED in node", "filter FORWARD", "rule 1 of 1", "-p tcp", "-j DROP", "counter 0 → 1 packets"):
        assert words in said


def test_a_journey_is_saved_as_it_is_shown(dropped: Journey, tmp_path: Path) -> None:
    """The file holds picture, ribbon and table: as SVG with all words, and as PNG."""
    view = JourneyView(dropped)
    saved = view.save(tmp_path / "way.svg").read_text("utf-8")
    assert "counter 0 → 1 packets" in saved
    assert "destination</text>" in saved
    assert view.save(tmp_path / "way.png", dark=True).read_bytes().startswith(b"\x89PNG")
    view.close()


def test_the_way_not_taken_leads_to_who_has_the_address(dropped: Journey, answered: Journey) -> None:
    """Dark-red dots go on from the stop sign, along lane, bus and cable, to the server's interface."""
    root = ET.fromstring(to_svg(dropped, "live"))  # noqa: S314 - our own text
    (gone,) = (each for each in root.iter(f"{SVG}path") if each.get("class") == "nl-gone")
    points = [tuple(map(float, pair)) for pair in re.findall(r"([-\d.]+),([-\d.]+)", gone.get("d", ""))]
    (chip,) = (each for each in root.iter(f"{SVG}g") if each.get("data-nl-id") == "if:web/eth0")
    rect = chip.find(f"{SVG}rect")
    assert rect is not None
    (node,) = (each for each in root.iter(f"{SVG}g") if each.get("data-nl-id") == "host:node")
    dx, dy = map(float, re.findall(r"[-\d.]+", node.get("transform", "")))
    x, y, wide, high = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
    assert points[-1] == pytest.approx((dx + x + wide / 2, dy + y + high), abs=1)
    assert "nl-gone" not in to_svg(answered)


def test_a_rule_of_a_node_is_met_at_its_hook(dropped: Journey) -> None:
    """FORWARD is half-way between the bridge and the way out, on the lane of the node's gate."""
    root = ET.fromstring(to_svg(dropped, "live"))  # noqa: S314 - our own text
    (stop,) = (each for each in hops(to_svg(dropped, "live")) if "octagon" in each.get("class", ""))
    sign = stop.find(f"{SVG}text")
    (node,) = (each for each in root.iter(f"{SVG}g") if each.get("data-nl-id") == "host:node")
    assert sign is not None
    dx, dy = map(float, re.findall(r"[-\d.]+", node.get("transform", "")))
    (lane,) = (each for each in node if "lane" in each.get("class", "").split())
    xs = {
        float(x) for path in lane.iter(f"{SVG}path") for x, _ in re.findall(r"([-\d.]+),([-\d.]+)", path.get("d", ""))
    }
    assert any(abs(float(sign.get("x", "0")) - dx - x) < 1 for x in xs)
    (routes,) = (each for each in node if each.get("class") == "routes")
    box = routes.find(f"{SVG}rect")
    assert box is not None
    top, high = float(box.get("y", "0")) + dy, float(box.get("height", "0"))
    assert top < float(sign.get("y", "0")) < top + high


def test_the_ribbon_says_who_the_packet_is_for_at_each_stop(answered: Journey) -> None:
    """A bar lasts as long as its value; where NAT changed the packet, one ends and another begins."""
    drawing = draw(fold(to_scene(answered.snapshot))) if answered.snapshot else None
    assert drawing is not None
    way = trail(answered, Places(drawing, lay_out(dot(drawing))))
    steps = {step.number: step for step in answered.steps}
    found = bars(answered, list(way.hops), drawing.scene)
    assert list(found) == ["source", "destination"]
    for row, side in (("source", "from_text"), ("destination", "to_text")):
        said = [bar.text for bar in found[row] for _ in range(bar.first, bar.last + 1)]
        assert said == [getattr(steps[hop.number].after, side) for hop in way.hops]
    assert [bar.who for bar in found["source"]] == ["client", "node", "endpoint"]
    assert [bar.who for bar in found["destination"]] == ["endpoint", "node", "client"]


def test_stops_bear_the_labels_of_their_rows(answered: Journey, dropped: Journey) -> None:
    """Numbers there, letters back; picture, ribbon and table use the same ones."""
    for journey in (answered, dropped):
        view = JourneyView(journey)
        labels = {row["number"]: row["label"] for row in view.rows if row["label"]}
        signs = {
            int(each.get("data-step", "0")): (each.findtext(f"{SVG}text") or "").strip() for each in hops(view.svg)
        }
        assert {number: label for number, label in labels.items() if signs[number] != "✕"} == {
            number: sign for number, sign in signs.items() if sign != "✕"
        }
        there = [row["label"] for row in view.rows if row["label"] and row["leg"] == "request"]
        back = [row["label"] for row in view.rows if row["label"] and row["leg"] == "reply"]
        assert there == [str(number + 1) for number in range(len(there))]
        assert back == list(ascii_lowercase[: len(back)])
        assert view.ribbon.count('class="nl-col') == len(labels)
        view.close()
