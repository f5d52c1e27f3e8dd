from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import view_samples as samples
from geometry import Box, local, look

from netlab.view.drawing import draw
from netlab.view.folding import fold
from netlab.view.scene import to_scene
from netlab.view.services import services
from netlab.view.slots import Slots
from netlab.view.svg import picture

if TYPE_CHECKING:
    from netlab.kernel.values import Snapshot


def shown(snapshot: Snapshot, unfolded: str = "") -> str:
    """Return the live picture of a snapshot."""
    return picture(draw(fold(to_scene(snapshot), unfolded))).markup


def hosts(snapshot: Snapshot) -> dict[str, Box]:
    """Return where hosts, nodes and pods are."""
    return look(shown(snapshot)).hosts


def of(found: dict[str, Box], node: int) -> list[str]:
    """Return the pods of a node, in the order in which they stand."""
    pods = [name for name in found if name.startswith((f"host:web-{node}-", f"host:pod-{node}-"))]
    return sorted(pods, key=lambda name: (found[name].top, found[name].left))


def test_pods_are_inside_their_node() -> None:
    """Boxes in boxes: each pod within its node, above the bridge, with its chip on the border of the pod."""
    seen = look(shown(samples.cluster()))
    inside = {"node-1": ("client", "web-1"), "node-2": ("web-2", "dns"), "node-3": ("web-3", "api")}
    chips = {box.what: box for box in seen.chips}
    for node, pods in inside.items():
        for pod in pods:
            box = seen.hosts[f"host:{pod}"]
            assert seen.hosts[f"host:{node}"].holds(box)
            assert chips[f"if:{pod}/eth0"].top < box.bottom < chips[f"if:{pod}/eth0"].bottom
        uplink = chips[f"if:{node}/eth0"]
        assert uplink.top < seen.hosts[f"host:{node}"].bottom < uplink.bottom
    assert seen.hosts["host:underlay"].top > seen.hosts["host:node-1"].bottom


@pytest.mark.parametrize(
    "before", [(1, 1, 1), (2, 2, 2), (2, 3, 1), (4, 4, 4), (7, 2, 2), (12, 5, 3), (0, 1, 0), (0, 0, 0)]
)
@pytest.mark.parametrize("node", [1, 2, 3])
def test_one_more_pod_moves_no_other_node(before: tuple[int, ...], node: int) -> None:
    """Whatever the numbers: nodes stay where they are, and the other pods keep their order."""
    after = tuple(count + (number == node) for number, count in enumerate(before, 1))
    old, new = hosts(samples.nodes(*before)), hosts(samples.nodes(*after))
    for number in (1, 2, 3):
        name = f"host:node-{number}"
        # The Service above all of them may come into being with the first endpoint.
        row = new["host:node-1"].top - old["host:node-1"].top
        assert new[name].left == old[name].left
        assert abs(new[name].top - old[name].top - row) < 0.5
        kept = [pod for pod in of(new, number) if pod in old]
        assert kept == [pod for pod in of(old, number) if pod in new]


def test_a_node_alone_is_drawn_before_its_first_pod() -> None:
    """A cluster of one node is there, with nothing in it."""
    empty = hosts(samples.nodes(0))
    assert "host:node-1" in empty
    assert not of(empty, 1)


def test_one_more_pod_in_a_free_place_moves_nothing_at_all() -> None:
    """Where a row has room, no host, node or pod moves by a point."""
    old, new = hosts(samples.nodes(1, 2, 2)), hosts(samples.nodes(2, 2, 2))
    assert {name: box for name, box in new.items() if name in old} == old


def test_a_pod_that_goes_leaves_its_place_empty() -> None:
    """The second pod does not slide into the first one's place."""
    full = samples.nodes(2, 2, 2)
    slots = Slots()
    before = look(picture(draw(fold(slots.keep(to_scene(full))))).markup).hosts
    rest = tuple(
        replace(host, interfaces=tuple(i for i in host.interfaces if not (i.peer and i.peer.host == "web-1-0")))
        for host in full.hosts
        if host.name != "web-1-0"
    )
    after = look(picture(draw(fold(slots.keep(to_scene(replace(full, hosts=rest)))))).markup).hosts
    assert "host:web-1-0" not in after
    assert after == {name: box for name, box in before.items() if name != "host:web-1-0"}


def test_machines_behind_a_router_are_no_pods() -> None:
    """A switch port with a plain name leads to a machine of its own, even where its router forwards."""
    seen = hosts(samples.gateway())
    assert not any(seen["host:hub"].holds(box) for name, box in seen.items() if name.startswith("host:h1"))


def test_pods_on_routes_are_inside_their_node_too() -> None:
    """Without a bridge, the node's end of each cable is a chip of its own, and the node's way out is on its border."""
    seen = look(shown(samples.routed()))
    chips = {box.what: box for box in seen.chips}
    for pod, node in (("red", "node-1"), ("blue", "node-2")):
        box = seen.hosts[f"host:{node}"]
        assert box.holds(seen.hosts[f"host:{pod}"])
        assert box.holds(chips[f"if:{node}/veth-{pod}"])
        assert not box.holds(chips[f"if:{node}/eth0"])
        assert seen.hosts["host:underlay"].top > box.bottom


def test_a_bridge_for_pods_holds_them_before_it_has_an_address() -> None:
    """The address comes later in a chapter: then nothing moves, since cni0 is the name of a bridge for pods."""
    before = hosts(samples.routed(bridge=True))
    assert before["host:node-1"].holds(before["host:red"])
    lab = samples.Builder("by-hand", {host.name: host for host in samples.routed(bridge=True).hosts})
    after = hosts(lab.address("node-1", "cni0", "10.244.1.1/24").build())
    assert after == before


def test_a_client_of_a_node_stands_below_it() -> None:
    """The ways out of a node are on its lower border: no cable leads through the pods."""
    lab = samples.Builder("node", {host.name: host for host in samples.node().hosts}, 900)
    lab.host("laptop").connect(("node-1", "eth1", "10.9.9.1/24"), ("laptop", "eth0", "10.9.9.2/24"))
    seen = hosts(lab.build())
    assert seen["host:laptop"].top > seen["host:node-1"].bottom
    assert seen["host:node-1"].holds(seen["host:web-1"])


def test_a_bridge_with_other_ports_is_drawn_with_all_of_them() -> None:
    """A pod with a second cable, or a pair that lies within the node, is no case for boxes in boxes."""
    for one, other in (
        (("node-1", "eth1", "10.9.9.1/24"), ("client", "eth1", None)),
        (("node-1", "a", None), ("node-1", "b", None)),
    ):
        lab = samples.Builder("node", {host.name: host for host in samples.node().hosts}, 900).connect(one, other)
        node = lab.hosts["node-1"]
        links = tuple(replace(i, master="cni0") if i.name in {"eth1", "a"} else i for i in node.interfaces)
        lab.hosts["node-1"] = replace(node, interfaces=links)
        seen = hosts(lab.build())
        assert not seen["host:node-1"].holds(seen["host:web-1"])


@pytest.mark.parametrize(("pods", "form"), [(4, "cards"), (5, "boxes"), (12, "boxes"), (13, "marks")])
def test_the_more_pods_the_smaller(pods: int, form: str) -> None:
    """Up to 4 are cards with chips, up to 12 small boxes, more are marks; each has its identity in all forms."""
    root = ET.fromstring(shown(samples.nodes(pods, 1)))  # noqa: S314 - our own text
    ids = {e.get("data-nl-id"): e.get("class", "") for e in root.iter() if e.get("data-nl-id")}
    assert all(f"host:{'pod' if n % 2 else 'web'}-1-{n}" in ids for n in range(pods))
    assert ("if:web-1-0/eth0" in ids) == (form == "cards")
    assert ids["host:web-1-0"].startswith("unit" if form == "marks" else "host pod")


def test_four_nodes_are_folded_whatever_they_hold() -> None:
    """One row of nodes with a mark for each pod, and the totals on the network between them."""
    markup = shown(samples.nodes(2, 1, 2, 3))
    assert markup.count('class="host folded"') == 4
    assert "4 nodes · 8 pods</text>" in markup


def test_three_hundred_pods_are_drawn_in_time() -> None:
    """10 nodes with 30 pods each: from Snapshot to SVG in a second, with one of them open too."""
    crowd = samples.crowd()
    began = time.perf_counter()
    assert "open:node-3" in shown(crowd, "node-3")
    assert time.perf_counter() - began < 1.0


def test_a_pod_without_a_carrier_is_seen_in_every_form() -> None:
    """A fault is a word and a dashed cable on a card, a cross in a box, a cross as a mark."""
    for pods, word in ((2, "DOWN</text>"), (6, "✕ DOWN</text>"), (20, 'class="unit fault"')):
        snapshot = samples.nodes(pods, 1)
        broken = tuple(
            replace(
                h,
                interfaces=tuple(replace(i, up=False, carrier=False) if i.name == "eth0" else i for i in h.interfaces),
            )
            if h.name == "web-1-0"
            else h
            for h in snapshot.hosts
        )
        assert word in shown(replace(snapshot, hosts=broken))


def test_a_closed_gate_breaks_the_lane() -> None:
    """What ip_forward is, is seen where the lane enters the kernel."""
    snapshot = samples.nodes(2, 2)
    closed = tuple(
        replace(h, sysctls=(("net.ipv4.ip_forward", "0"),)) if h.name == "node-1" else h for h in snapshot.hosts
    )
    markup = shown(replace(snapshot, hosts=closed))
    assert markup.count('class="lane closed"') == 1
    assert markup.count('class="gate closed"') == 1
    assert markup.count('class="gate open"') == 1


def test_small_pods_share_one_line_from_a_service() -> None:
    """A node with boxes or marks gets one line with the sum of their shares; cards get one each."""
    root = ET.fromstring(shown(samples.nodes(6, 2, 2)))  # noqa: S314 - our own text
    ends = [e for e in root.iter() if e.get("data-nl-id", "").startswith("ep:")]
    said = {e.get("data-nl-id", "").split("/")[1]: "".join(t.text or "" for t in e if local(t) == "text") for e in ends}
    assert said == {"node-1": "60 %", "web-2-0": "20 %", "web-3-0": "20 %"}


def test_rules_by_hand_on_several_hosts_keep_their_shares() -> None:
    """The same rules on three nodes are one Service, with the shares that each of them gives."""
    (found,) = services(samples.nodes(4, 3, 4))
    assert [round(end.share, 3) for end in found.endpoints] == [0.167] * 6
    assert found.hosts == ("node-1", "node-2", "node-3")


def test_a_port_of_every_node_stands_in_its_way_out() -> None:
    """A NodePort is no place: it is a number in the chip of each node's interface."""
    snapshot = samples.nodes(2, 2)
    rule = '-p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j KUBE-SVC-WEB'
    front = '-d 10.96.0.9/32 -p tcp -m comment --comment "default/web cluster IP" -j KUBE-SVC-WEB'
    lab = samples.Builder("nodes", {host.name: host for host in snapshot.hosts})
    for name in ("node-1", "node-2"):
        lab.rules(name, "nat", "KUBE-SERVICES", front)
        lab.rules(name, "nat", "KUBE-SVC-WEB", "-j DNAT --to-destination 10.244.1.2:80")
        lab.rules(name, "nat", "KUBE-NODEPORTS", rule)
    assert shown(lab.build()).count(">:30080</text>") == 2
