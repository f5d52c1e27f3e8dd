"""Networks between nodes: they follow nodes as these come and go, and repair what is theirs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from cluster_tools import ask, deployment, eventually, pod

from netlab import Cluster, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

RANGES = {"pod_cidr": "10.244.0.0/16,fd00:244::/48", "service_cidr": "10.96.0.0/16,fd00:96::/112"}
#: What stands in `ip route` for the pods of node-2, on node-1.
WAY = {
    "routed": "10.244.2.0/24 via 192.168.1.12 dev eth0 proto static",
    "vxlan": "10.244.2.0/24 via 10.244.2.0 dev vxlan.1 proto static onlink",
    "bgp": "10.244.2.0/24 via 192.168.1.12 dev eth0 proto bird metric 32",
}


@pytest.fixture(scope="module", params=["routed", "vxlan", "bgp"])
def net(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Return a dual-stack cluster with each network, and a pod on each node."""
    with Cluster(nodes=3, network=request.param, **RANGES) as cluster:
        cluster.apply(deployment("web", 3))
        yield cluster


def routes(cluster: Cluster, node: str = "node-1") -> list[str]:
    """Return what `ip route` prints, without trailing spaces."""
    return [line.strip() for line in cluster.node(node).run("ip", "route").stdout.splitlines()]


def test_pods_on_different_nodes_talk_in_both_families(net: Cluster) -> None:
    """The server sees the client's own address."""
    one, two = net.pod("web-1"), net.pod("web-2")
    for mine, theirs in zip(one.addresses, two.addresses, strict=True):
        answer = ask(one, f"[{theirs}]:8080" if ":" in theirs else f"{theirs}:8080")
        assert (answer["server"], answer["client_address"]) == ("web-2", mine)


def test_the_way_is_the_one_of_this_network(net: Cluster) -> None:
    """The route on the node, and on the wire what the network says: VXLAN wraps packets, the others do not."""
    assert WAY[net.settings.network] in routes(net)
    host = net.node("node-1").host
    with host.capture("eth0", filter="udp port 4789") as wrapped, host.capture("eth0", filter="tcp port 8080") as plain:
        ask(net.pod("web-1"), f"{net.pod('web-2').ip}:8080")
    seen = (bool(wrapped.packets), bool(plain.packets))
    assert seen == ((True, False) if net.settings.network == "vxlan" else (False, True))


def test_pods_have_the_right_mtu(net: Cluster) -> None:
    """The largest packet of a pod's interface gets through unbroken, and fills it."""
    mtu = 1450 if net.settings.network == "vxlan" else 1500
    one, two = net.pod("web-1"), net.pod("web-2")
    assert one.host.state().interface("eth0").mtu == mtu
    assert one.run("ping", "-c1", "-W1", "-M", "do", "-s", str(mtu - 28), two.ip).ok
    assert not one.run("ping", "-c1", "-W1", "-M", "do", "-s", str(mtu - 27), two.ip).ok


def test_vxlan_over_ipv6_has_longer_headers() -> None:
    """20 bytes more, which the pods' interfaces leave room for."""
    with Cluster(nodes=2, network="vxlan", pod_cidr="fd00:244::/48", service_cidr="fd00:96::/112") as cluster:
        cluster.apply(deployment("web", 2))
        one, two = cluster.pod("web-1"), cluster.pod("web-2")
        assert one.host.state().interface("eth0").mtu == 1430
        assert one.run("ping", "-c1", "-W1", "-M", "do", "-s", str(1430 - 48), two.ip).ok


def test_a_deleted_route_comes_back_and_a_strange_one_goes(net: Cluster) -> None:
    """Within a second; a route of the learner's to another place stays."""
    node, way = net.node("node-1"), WAY[net.settings.network]
    node.run("ip", "route", "add", "10.9.0.0/16", "via", "192.168.1.12", check=True)
    node.run("ip", "route", "add", "10.244.77.0/24", "via", "192.168.1.13", check=True)
    node.run("ip", "route", "del", "10.244.2.0/24", check=True)
    eventually(lambda: way in routes(net) and not [line for line in routes(net) if "10.244.77" in line], 1.5)
    assert any("10.9.0.0/16" in line for line in routes(net))
    node.run("ip", "route", "del", "10.9.0.0/16", check=True)


def test_vxlan_entries_come_back(net: Cluster) -> None:
    """The forwarding line and the neighbour entry of another node."""
    if net.settings.network != "vxlan":
        pytest.skip("only VXLAN has such entries")
    node = net.node("node-1")
    fdb, neigh = (
        ("bridge", "fdb", "show", "dev", "vxlan.1"),
        ("ip", "neigh", "show", "dev", "vxlan.1", "nud", "permanent"),
    )

    def lines() -> list[str]:
        return sorted([*node.run(*fdb).stdout.splitlines(), *node.run(*neigh).stdout.splitlines()])

    before = lines()
    assert any("02:00:00:00:00:02 dst 192.168.1.12" in line for line in before)
    node.run("bridge", "fdb", "del", "02:00:00:00:00:02", "dev", "vxlan.1", "dst", "192.168.1.12", check=True)
    node.run("ip", "neigh", "del", "10.244.2.0", "dev", "vxlan.1", check=True)
    node.run("bridge", "fdb", "append", "02:00:00:00:00:09", "dev", "vxlan.1", "dst", "192.168.1.99", check=True)
    eventually(lambda: lines() == before, 1.5)


def test_birdc_shows_the_sessions(net: Cluster) -> None:
    """The real daemon, with its own tool; it is started again when it dies."""
    if net.settings.network != "bgp":
        pytest.skip("only BGP has a daemon")
    node = net.node("node-1")

    def established() -> int:
        shown = node.run("birdc", "-s", "/run/bird/node-1/bird.ctl", "show", "protocols")
        return shown.stdout.count("Established")

    eventually(lambda: established() == 4, 5)
    listening = node.run("ss", "-lntpH", "sport = 179").stdout
    node.run("kill", "-9", listening.partition("pid=")[2].partition(",")[0], check=True)
    eventually(lambda: established() < 4, 2)
    eventually(lambda: established() == 4, 8)


def test_nodes_come_fail_return_and_go(net: Cluster) -> None:
    """Each change reaches every node's routes in a second, and pods on the new node are reached at once."""
    limit = 2.0 if net.settings.network == "bgp" else 1.0  # BIRD waits for a second before it connects

    def within(action: Callable[[], object], *, known: bool) -> None:
        began = time.monotonic()
        action()
        eventually(lambda: any(line.startswith("10.244.4.0/24") for line in routes(net)) is known, limit)
        assert time.monotonic() - began < limit

    within(net.add_node, known=True)
    net.apply(pod("far", nodeName="node-4"))
    assert ask(net.pod("web-1"), f"{net.pod('far').ip}:8080")["server"] == "far"
    within(lambda: net.fail_node("node-4"), known=False)
    within(lambda: net.return_node("node-4"), known=True)
    within(lambda: net.remove_node("node-4"), known=False)
    assert "node-4" not in net.lab.hosts
    assert "node-4" not in net.node("node-1").run("ip", "-d", "link").stdout


def test_nothing_is_done_by_no_network() -> None:
    """With "none" the routes are the learner's: until then pods reach only their own node."""
    with Cluster(nodes=2, network="none") as cluster:
        cluster.apply(deployment("web", 3))
        one, two, three = (cluster.pod(f"web-{number}") for number in (1, 2, 3))
        assert ask(one, f"{three.ip}:8080")["server"] == "web-3"
        assert not one.run("curl", "-s", "-m", "0.5", f"http://{two.ip}:8080").ok
        cluster.node("node-1").host.add_route("10.244.2.0/24", via="192.168.1.12")
        cluster.node("node-2").host.add_route("10.244.1.0/24", via="192.168.1.11")
        assert ask(one, f"{two.ip}:8080")["client_address"] == one.ip
        time.sleep(0.6)  # longer than the controller's glance: it must leave the routes alone
        assert ask(one, f"{two.ip}:8080")["server"] == "web-2"


def test_a_route_reflector_takes_the_place_of_a_mesh() -> None:
    """Nodes speak to the reflector alone, and their pods are reached directly, not by it."""
    with Cluster(nodes=3, network="bgp", reflector="node-1") as cluster:
        shown = cluster.node("node-2").run("birdc", "-s", "/run/bird/node-2/bird.ctl", "show", "protocols").stdout
        assert "to_node_1_4" in shown
        assert "to_node_3_4" not in shown
        assert "10.244.3.0/24 via 192.168.1.13 dev eth0 proto bird metric 32" in routes(cluster, "node-2")
    with pytest.raises(InvalidInputError, match="A reflector is for the network bgp"):
        Cluster(nodes=1, network="routed", reflector="node-1")
