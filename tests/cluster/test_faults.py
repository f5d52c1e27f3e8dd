"""What goes wrong on a real cluster: nodes that die, rules in the way, a mode that is changed."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cluster_tools import ask, deployment, eventually, pod, service, spread

from netlab import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def web(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Return a cluster with a Service in front of three pods, in each mode of the proxy."""
    with Cluster(nodes=3, proxy=request.param) as cluster:
        cluster.apply([pod("client", nodeName="node-1"), deployment("web", 3), service("web", clusterIP="10.96.0.10")])
        yield cluster


def test_requests_go_on_when_a_node_fails(web: Cluster) -> None:
    """Its endpoints are out, its pods come up elsewhere, and it may come back."""
    lost = {name for name, each in web.pods.items() if each.node.name == "node-2"}
    assert lost
    web.fail_node("node-2")
    assert "NotReady" in web.get("nodes", "node-2")
    assert not lost & set(web.pods)
    servers = set(spread(web.pod("client"), "10.96.0.10", 60))
    assert len(servers) == 3
    assert not servers & lost
    assert not web.outside.run("ping", "-c1", "-W1", "192.168.1.12").ok
    web.return_node("node-2")
    assert "NotReady" not in web.get("nodes", "node-2")
    web.apply(pod("back", nodeName="node-2"))
    assert ask(web.pod("client"), f"{web.pod('back').ip}:8080")["server"] == "back"
    assert ask(web.node("node-2"), "10.96.0.10")["server"] in servers
    web.delete("pod/back")


def test_a_node_may_fail_while_others_apply(web: Cluster) -> None:
    """Two threads, one cluster: both get what they asked for, and the node that is back has every Service."""
    many = [service(f"many-{number}", "web", clusterIP=f"10.96.9.{number + 1}") for number in range(20)]
    applying = threading.Thread(target=web.apply, args=(many,))
    applying.start()
    web.fail_node("node-3")
    applying.join(20)
    assert not applying.is_alive()
    assert ask(web.pod("client"), "10.96.9.20")["server"].startswith("web-")
    web.return_node("node-3")
    assert ask(web.node("node-3"), "10.96.9.20")["server"].startswith("web-")
    web.delete(*(f"service/many-{number}" for number in range(20)))


def test_a_rule_in_the_way_is_survived(web: Cluster) -> None:
    """A learner's rule leads to a chain that has to go: the sync fails, and is done in full."""
    if web.settings.proxy != "iptables":
        pytest.skip("in nftables mode the proxy has a table of its own")
    web.apply(service("old", "web", clusterIP="10.96.0.40"))
    node = web.node("node-1")

    def chains() -> list[str]:
        lines = node.run("iptables-save", "-t", "nat").stdout.splitlines()
        return [line.split()[0][1:] for line in lines if line.startswith(":KUBE-SVC")]

    both = chains()
    for chain in both:
        node.run("iptables", "-t", "nat", "-I", "PREROUTING", "-d", "10.99.0.1", "-j", chain, check=True)
    web.delete("service/old")
    assert set(spread(web.pod("client"), "10.96.0.10", 40)) <= set(web.pods)
    for chain in both:
        node.run("iptables", "-t", "nat", "-D", "PREROUTING", "-d", "10.99.0.1", "-j", chain)
    web.apply(service("new", "web", clusterIP="10.96.0.41"))
    assert ask(web.pod("client"), "10.96.0.41")["server"].startswith("web-")
    web.delete("service/new")
    assert len(chains()) == 1


def test_flushed_rules_come_back(web: Cluster) -> None:
    """A learner empties a chain of the proxy: within a second or so it is written again."""
    node = web.node("node-1")
    if web.settings.proxy == "iptables":
        node.run("iptables", "-t", "nat", "-F", "KUBE-SERVICES", check=True)
    else:
        node.run("nft", "delete", "table", "ip", "kube-proxy", check=True)
    eventually(lambda: web.pod("client").run("curl", "-s", "-m", "1", "http://10.96.0.10/").ok, 5)


def test_a_node_counts_its_syncs(web: Cluster) -> None:
    """Under kube-proxy's own names, at its own port."""
    node = web.node("node-1")
    answer = node.run("curl", "-s", "-m", "2", "http://127.0.0.1:10249/metrics").stdout
    assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in answer
    assert node.run("curl", "-s", "-m", "2", "http://127.0.0.1:10249/proxyMode").stdout == web.settings.proxy


def test_the_mode_is_switched_on_a_live_cluster(web: Cluster) -> None:
    """The new rules serve, and nothing of the old ones is left; switched off, nothing serves."""
    mode = web.settings.proxy
    other = {"iptables": "nftables", "nftables": "iptables"}[mode]
    web.switch_proxy(other)
    assert ask(web.pod("client"), "10.96.0.10")["server"].startswith("web-")
    rules = web.node("node-1").run("nft", "list", "ruleset").stdout
    assert ("table ip kube-proxy" in rules) == (other == "nftables")
    assert ("KUBE-SVC-" in rules) == (other == "iptables")
    web.switch_proxy("none")
    left = web.node("node-1").run("nft", "list", "ruleset").stdout
    assert "table ip kube-proxy" not in left
    assert set(re.findall(r"KUBE-(?!NETLAB)[A-Z-]+", left)) <= {"KUBE-FIREWALL"}
    assert not web.pod("client").run("curl", "-s", "-m", "0.5", "http://10.96.0.10/").ok
    web.switch_proxy(mode)
    assert ask(web.pod("client"), "10.96.0.10")["server"].startswith("web-")


def test_a_removed_node_takes_its_pods_elsewhere(web: Cluster) -> None:
    """The Deployment has three pods afterwards, none of them there."""
    web.remove_node("node-3")
    assert "node-3" not in web.get("nodes", "-o", "name")
    assert sum(name.startswith("web-") for name in web.pods) == 3
    assert {each.node.name for each in web.pods.values()} == {"node-1", "node-2"}
    assert set(spread(web.pod("client"), "10.96.0.10", 60)) == {name for name in web.pods if name.startswith("web-")}


def test_two_clusters_in_one_program(web: Cluster) -> None:
    """Same names, same addresses, and they know nothing of each other."""
    with Cluster(nodes=1) as other:
        other.apply([deployment("web", 1), service("web", clusterIP="10.96.0.10")])
        assert ask(other.node("node-1"), "10.96.0.10")["server"] == "web-1"
        assert other.pod("web-1").host.namespace.inode not in {each.host.namespace.inode for each in web.pods.values()}


def test_more_than_a_hundred_endpoints_fill_several_slices() -> None:
    """100 in a slice, as the real controller; an endpoint stays in the slice it is in."""
    from netlab.kubernetes.endpoints import slices_of  # noqa: PLC0415 - pure, and only here

    made = {
        "metadata": {"name": "web", "namespace": "default", "uid": "1"},
        "spec": {"ipFamilies": ["IPv4"], "ports": []},
    }

    def member(number: int) -> dict[str, Any]:
        return {
            "metadata": {"name": f"p{number}", "namespace": "default", "uid": str(number)},
            "spec": {"containers": [], "nodeName": "node-1"},
            "status": {"podIPs": [{"ip": f"10.0.{number // 250}.{number % 250 + 1}"}]},
        }

    pods = [member(number) for number in range(250)]
    first = slices_of(made, pods, [], {})
    assert [len(piece["endpoints"]) for piece in first] == [100, 100, 50]
    second = slices_of(made, pods[50:], first, {})
    assert [len(piece["endpoints"]) for piece in second] == [50, 100, 50]
    assert second[1] is first[1]
    assert second[2] is first[2]
    third = slices_of(made, [*pods[50:], member(300)], second, {})
    assert [len(piece["endpoints"]) for piece in third] == [51, 100, 50]
