from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import ip_interface
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import view_samples as samples
from geometry import local, look

from netlab.view.drawing import dot, draw, to_dot
from netlab.view.folding import fold
from netlab.view.placing import plan
from netlab.view.scene import to_scene
from netlab.view.slots import Slots
from netlab.view.svg import picture, static

if TYPE_CHECKING:
    from netlab.kernel.values import HostState, Snapshot

ALL = pytest.mark.parametrize("name", samples.ALL)


def shown(snapshot: Snapshot, unfolded: str = "") -> str:
    """Return the live picture of a snapshot."""
    return picture(draw(fold(to_scene(snapshot), unfolded))).markup


@ALL
def test_graphviz_takes_the_dot_without_a_word(name: str) -> None:
    """The DOT of every lab is accepted by its real consumer, and nothing is warned of."""
    result = subprocess.run(
        ["dot", "-Tsvg"], input=to_dot(samples.ALL[name]()), capture_output=True, text=True, check=True, timeout=20
    )
    assert result.stderr == ""
    assert "<svg" in result.stdout


@ALL
def test_the_same_lab_gives_the_same_picture(name: str) -> None:
    """Nothing depends on the order of dictionaries, on time or on chance."""
    assert shown(samples.ALL[name]()) == shown(samples.ALL[name]())


@ALL
def test_no_text_lies_on_another(name: str) -> None:
    """Every text has its own place, in every lab."""
    texts = [box for box, _ in look(shown(samples.ALL[name]())).texts]
    assert [(a, b) for a, b in combinations(texts, 2) if a.covers(b)] == []


@ALL
def test_text_stays_inside_of_its_box(name: str) -> None:
    """No text is wider than the chip, table or host in which it stands."""
    spilled = [
        (box, holder) for box, holder in look(shown(samples.ALL[name]())).texts if holder and not holder.holds(box)
    ]
    assert spilled == []


@ALL
def test_no_text_lies_in_a_lane(name: str) -> None:
    """The lines on which packets travel cross no text."""
    seen = look(shown(samples.ALL[name]()))
    assert [(line, text) for line in seen.lines for text, _ in seen.texts if line.covers(text, slack=0.2)] == []


@ALL
def test_chips_and_hosts_cover_nothing(name: str) -> None:
    """Chips do not overlap, nor hosts unless one holds the other, and all of it is inside of the picture."""
    seen = look(shown(samples.ALL[name]()))
    for boxes in (seen.chips, list(seen.hosts.values())):
        assert [(a, b) for a, b in combinations(boxes, 2) if a.covers(b) and not a.holds(b) and not b.holds(a)] == []
        assert [box for box in boxes if not seen.size.holds(box)] == []


@ALL
def test_every_thing_has_one_identity_and_a_sentence(name: str) -> None:
    """Ids are unique; each thing says what it is, to the ear and as a tooltip."""
    root = ET.fromstring(shown(samples.ALL[name]()))  # noqa: S314 - our own text
    things = [element for element in root.iter() if element.get("data-nl-id")]
    ids = [element.get("data-nl-id") for element in things]
    assert len(ids) == len(set(ids))
    for element in things:
        said = element.get("aria-label", "")
        titles = [child.text for child in element if local(child) == "title"]
        assert titles == [said]
        assert said.endswith(".")
        assert len(said) > 10
        assert element.get("role")
    assert root.get("aria-label", "").startswith("Lab ")


@ALL
def test_the_static_picture_stands_on_its_own(name: str) -> None:
    """A file needs no style sheet of a page, says what it is, and has no id twice."""
    root = ET.fromstring(static(draw(to_scene(samples.ALL[name]())), "a1"))  # noqa: S314 - our own text
    names = [local(child) for child in root][:3]
    assert names == ["title", "desc", "style"]
    assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"
    assert "prefers-color-scheme:dark" in (root[2].text or "")


def test_an_interface_sits_on_the_border_of_its_host() -> None:
    """A chip is half inside and half outside; the loopback is no way out and lies within."""
    seen = look(shown(samples.two_hosts()))
    red = seen.hosts["host:red"]
    chips = {box.what: box for box in seen.chips}
    assert chips["if:red/eth0"].left < red.right < chips["if:red/eth0"].right
    assert red.holds(chips["if:red/lo"])


def test_kernel_text_is_escaped() -> None:
    """A name with markup in it is shown as it is, and breaks nothing."""
    markup = shown(samples.strange())
    ids = {element.get("data-nl-id") for element in ET.fromstring(markup).iter()}  # noqa: S314 - our own text
    assert 'if:a<b>&"c"/x<y&z>' in ids
    assert "x&lt;y&amp;z&gt;" in markup


def test_control_characters_do_not_break_the_picture() -> None:
    """The kernel allows nearly any byte in an interface's name, XML does not."""
    lab = samples.Builder().host("h").interface("h", "a\x07b\x1b", "10.0.0.1/24", up=False)
    assert "a\N{REPLACEMENT CHARACTER}b" in shown(lab.build())


def test_a_link_that_goes_down_needs_no_layout() -> None:
    """State changes only looks: the DOT stays the same, and the patch names what looks different."""
    slots = Slots()
    pictures = []
    for snapshot in (samples.two_hosts(), samples.two_hosts(up=(True, False)), samples.two_hosts()):
        scene = slots.keep(to_scene(snapshot))
        pictures.append(picture(draw(scene, slots.rooms)))
    up, down, again = pictures
    assert up.dot == down.dot
    patch = down.patch(up)
    assert patch is not None
    assert {"if:red/eth0", "if:blue/eth0", "veth:blue/eth0~red/eth0"} <= set(patch)
    assert "NO CARRIER" in patch["if:red/eth0"]
    assert "DOWN" in patch["if:blue/eth0"]
    assert "stroke-dasharray" in patch["veth:blue/eth0~red/eth0"]
    assert again.patch(up) == {}


def moved(before: str, after: str) -> dict[str, float]:
    """Return how far each host moved that is in both pictures."""
    old, new = look(before).hosts, look(after).hosts
    far = {
        name: max(abs(old[name].left - new[name].left), abs(old[name].top - new[name].top))
        for name in old
        if name in new
    }
    return {name: distance for name, distance in far.items() if distance > 1}


def test_a_host_that_vanishes_leaves_its_place_empty() -> None:
    """Nothing else moves when a host goes, and its place is taken away once there are several of them."""
    full = samples.node()
    slots = Slots()
    before = picture(draw(slots.keep(to_scene(full)), slots.rooms)).markup
    gone = replace(full, hosts=tuple(_without(host, "web-1") for host in full.hosts if host.name != "web-1"))
    after = picture(draw(slots.keep(to_scene(gone)), slots.rooms)).markup
    assert moved(before, after) == {}
    assert "host:web-1" not in look(after).hosts
    assert "veth0102c3f1" not in after
    slots.tidy()
    tidy = picture(draw(slots.keep(to_scene(gone)), slots.rooms))
    assert look(tidy.markup).size.right < look(before).size.right


def _without(host: HostState, peer: str) -> HostState:
    return replace(host, interfaces=tuple(i for i in host.interfaces if not (i.peer and i.peer.host == peer)))


def test_a_new_host_changes_no_order() -> None:
    """Hosts keep the order of their birth when one more comes."""
    old, new = look(shown(samples.star(4))).hosts, look(shown(samples.star(5))).hosts
    names = sorted((name for name in old if name != "host:hub"), key=lambda name: old[name].left)
    assert names == ["host:h1", "host:h2", "host:h3", "host:h4"]
    assert sorted(names, key=lambda name: new[name].left) == names


def test_addresses_of_the_same_width_move_nothing() -> None:
    """Another address is another text in the same place."""
    one, two = samples.two_hosts(), samples.two_hosts()
    red = one.hosts[0]
    changed = tuple(
        replace(a, address=ip_interface("10.0.0.7/24")) if a.interface == "eth0" else a for a in red.addresses
    )
    two = replace(two, hosts=(replace(red, addresses=changed), two.hosts[1]))
    assert moved(shown(one), shown(two)) == {}


def test_thirty_hosts_are_drawn_in_time() -> None:
    """The plan puts many leaves into rows above and below their bridge, with lanes for the outer ones."""
    found = plan(to_scene(samples.star(29)))
    hosts = [[entry.host for entry in row if not entry.lane] for row in found.rows]
    assert [len(row) for row in hosts] == [8, 8, 1, 8, 5]
    assert sum(entry.lane for row in found.rows for entry in row) == 13


def test_cables_of_one_bridge_are_straight() -> None:
    """Each host stands right above or below its port."""
    drawing = draw(to_scene(samples.star(8)))
    root = ET.fromstring(picture(drawing).markup)  # noqa: S314 - our own text
    cables = [e for e in root.iter() if e.get("class", "").startswith("cable")]
    assert len(cables) == 8
    for cable in cables:
        course = next(child.get("d", "") for child in cable if local(child) == "path")
        assert "C" not in course


def test_hosts_that_share_a_namespace_are_one_box() -> None:
    """There is one eth0 and one cable, and whoever lives in the namespace is named in it."""
    scene = to_scene(samples.shared())
    assert [host.name for host in scene.hosts] == ["pause", "peer"]
    assert [cable.id for cable in scene.cables] == ["veth:pause/eth0~peer/eth0"]
    markup = shown(samples.shared())
    assert "Host app lives in the network namespace of pause." in markup
    assert markup.count("lives in here</text>") == 2


def test_a_route_without_a_carrier_says_so() -> None:
    """The kernel keeps a route whose link has no carrier, and marks it: linkdown."""
    lab = samples.Builder("lab").host("h").interface("h", "eth0", "10.0.0.1/24")
    state = lab.hosts["h"]
    links = tuple(replace(i, carrier=i.name == "lo") for i in state.interfaces)
    lab.hosts["h"] = replace(state, interfaces=links)
    assert "linkdown</text>" in shown(lab.build())


def test_a_crowd_is_folded_and_no_fault_is_hidden() -> None:
    """Three hundred pods are marks in ten cards; the one that is down is a cross, a word and a red border."""
    markup = shown(samples.crowd())
    seen = look(markup)
    root = ET.fromstring(markup)  # noqa: S314 - our own text
    units = [element for element in root.iter() if "unit" in element.get("class", "").split()]
    assert len(units) == 300
    assert [unit.get("data-nl-id") for unit in units if "fault" in unit.get("class", "")] == ["host:pod-8-4"]
    assert "1 with a fault" in markup
    nodes = [seen.hosts[f"host:node-{number}"] for number in range(1, 11)]
    assert len({round(box.top) for box in nodes}) == 1
    assert nodes == sorted(nodes, key=lambda box: box.left)
    assert seen.size.right < 1600


def test_one_node_unfolds_and_the_others_stay() -> None:
    """What is unfolded stands above the row, with all pods in the order of their birth; the row stays as it was."""
    markup = shown(samples.crowd(), "node-3")
    before, hosts = look(shown(samples.crowd())).hosts, look(markup).hosts
    row = [f"host:node-{number}" for number in range(1, 11)]
    assert len({(round(hosts[n].left - before[n].left), round(hosts[n].top - before[n].top)) for n in row}) == 1
    assert hosts["open:node-3"].bottom < hosts["host:node-3"].top
    pods = [hosts[f"host:pod-3-{number}"] for number in range(30) if number % 9]
    assert pods == sorted(pods, key=lambda box: (box.top, box.left))
    assert all(hosts["open:node-3"].holds(pod) for pod in pods)
    texts = [box for box, _ in look(markup).texts]
    assert [(a, b) for a, b in combinations(texts, 2) if a.covers(b)] == []


def test_a_fault_in_a_folded_node_is_a_patch() -> None:
    """The mark, the totals and the border of a folded card change without a layout of the rest."""
    before = picture(draw(fold(to_scene(samples.crowd()))))
    well = samples.crowd()
    broken = tuple(
        replace(h, interfaces=tuple(replace(i, up=False) for i in h.interfaces)) if h.name == "pod-8-7" else h
        for h in well.hosts
    )
    after = picture(draw(fold(to_scene(replace(well, hosts=broken)))))
    patch = after.patch(before)
    assert patch is not None
    assert list(patch) == ["host:node-8"]
    assert "2 with a fault" in patch["host:node-8"]


def test_a_tunnel_is_drawn_inside_of_its_underlay() -> None:
    """The tube lies within the host that carries it, and a double line leads into it from each end."""
    seen = look(shown(samples.cluster()))
    root = ET.fromstring(shown(samples.cluster()))  # noqa: S314 - our own text
    ids = {element.get("data-nl-id") for element in root.iter()}
    assert {"tube:underlay/1", "tun:node-1/flannel.1", "tun:node-2/flannel.1", "tun:node-3/flannel.1"} <= ids
    assert len({round(seen.hosts[f"host:node-{n}"].top) for n in (1, 2, 3)}) == 1


def test_the_gate_shows_the_flag() -> None:
    """A router whose ip_forward is 0 has a closed gate, in words and as a broken line."""
    opened, closed = shown(samples.router()), shown(samples.router(forward=0))
    assert "gate open" in opened
    assert "gate closed" in closed
    assert 'class="lane closed"' in closed


def test_a_pair_within_one_host_is_a_loop() -> None:
    """Both ends of a new veth pair are in one namespace until one is moved: that is drawn too."""
    drawing = draw(to_scene(samples.strange()))
    assert 'veth:a<b>&"c"/veth0~a<b>&"c"/veth1' in picture(drawing).fragments
    assert "veth0" not in dot(drawing)
