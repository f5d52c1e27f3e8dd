"""Pods are wired by CNI, reach each other without translation, and are held by a pause process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from cluster_tools import ask, deployment, eventually, pod

from netlab import Cluster, InvalidInputError, NotFoundError
from netlab.kubernetes.manifests import InvalidManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with four pods on three nodes."""
    cluster.apply(deployment("web", 4))
    yield cluster
    cluster.delete("deployment/web")


def test_pods_are_spread_in_a_stable_way(web: Cluster) -> None:
    """The node with the fewest pods gets the next one; addresses come from that node's range."""
    found = {name: (each.node.name, each.ip) for name, each in web.pods.items()}
    assert {name: node for name, (node, _) in found.items()} == {
        "web-1": "node-1",
        "web-2": "node-2",
        "web-3": "node-3",
        "web-4": "node-1",
    }
    for node, ip in found.values():
        assert ip.startswith(f"10.244.{node[-1]}.")


@pytest.mark.parametrize(("client", "server"), [("web-1", "web-4"), ("web-1", "web-2"), ("web-3", "web-1")])
def test_pods_see_each_others_own_addresses(web: Cluster, client: str, server: str) -> None:
    """On one node and across nodes: the server sees the client's address, nothing is translated."""
    answer = ask(web.pod(client), f"{web.pod(server).ip}:8080")
    assert answer["server"] == server
    assert answer["client_address"] == web.pod(client).ip


def test_nodes_reach_pods_and_pods_reach_nodes(web: Cluster) -> None:
    """A node's agents can talk to all pods."""
    answer = ask(web.node("node-2"), f"{web.pod('web-1').ip}:8080")
    assert answer["client_address"] == "192.168.1.12"
    assert web.pod("web-1").run("ping", "-c1", "-W1", "192.168.1.13").ok


def test_pods_reach_the_outside_by_their_nodes_address(web: Cluster) -> None:
    """The world outside knows nothing of pods."""
    with web.outside.serve(8080):
        answer = ask(web.pod("web-3"), "203.0.113.10:8080")
    assert answer["client_address"] == "192.168.1.13"


def test_a_pod_is_a_host_that_was_wired_by_cni(web: Cluster) -> None:
    """The bridge, the veth with the pod's name as its alias, host-local's file and the cached result are there."""
    node, web_1 = web.node("node-1"), web.pod("web-1")
    state = node.host.state()
    ports = {interface.alias: interface for interface in state.interfaces if interface.master == "cni0"}
    assert set(ports) == {"default/web-1", "default/web-4"}
    assert re.fullmatch(r"veth[0-9a-f]{8}", ports["default/web-1"].name)
    assert web.lab.snapshot()["node-1"].interface(ports["default/web-1"].name).peer is not None
    files = node.run("ls", "/run/cni/node-1/networks/netlab", "/run/cni/node-1/results").stdout.split()
    container = web_1.attachment.container_id
    assert {web_1.ip, f"netlab-{container}-eth0", f"cni-loopback-{container}-lo"} <= set(files)
    assert str(web_1.host.state().addresses_of("lo")[0].address) == "127.0.0.1/8"
    assert node.run("ip", "-n", "web-1", "addr", "show", "eth0").ok


def test_a_deleted_pod_leaves_nothing(cluster: Cluster) -> None:
    """No interface, no file, no rule, no namespace."""
    node = cluster.node("node-1")

    def picture() -> Any:
        state = node.host.state()
        files = node.run("find", "/run/cni", "-type", "f", "-not", "-name", "last_reserved_ip*").stdout
        return (
            [each.name for each in state.interfaces],
            sorted(files.split()),
            node.run("iptables-save").stdout.split("\n")[1:-2],
        )

    cluster.apply(pod("first", nodeName="node-1"))
    cluster.delete("pod/first")
    before, hosts = picture(), set(cluster.lab.hosts)
    ports = [{"containerPort": 8080, "hostPort": 8081}]
    container = {"name": "echo", "image": "echo", "ports": ports}
    changes = cluster.apply(pod("second", nodeName="node-1", containers=[container]))
    assert str(changes) == "pod/second created"
    assert ask(cluster.node("node-2"), "192.168.1.11:8081")["server"] == "second"
    assert str(cluster.delete("pod/second")) == 'pod "second" deleted from default namespace'
    after = picture()
    # The portmap plugin leaves its base chains for the next one.
    assert after[:2] == before[:2]
    assert not [line for line in after[2] if "second" in line]
    assert set(cluster.lab.hosts) == hosts


def test_containers_of_a_pod_share_its_network(cluster: Cluster) -> None:
    """One listens, the other finds it on localhost; each has its own log."""
    client = {
        "name": "client",
        "image": "busybox",
        "command": ["sh", "-c", "echo $WHO at $IP; exec sleep infinity"],
        "env": [
            {"name": "WHO", "value": "client"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
    }
    cluster.apply(pod("two", containers=[{"name": "echo", "image": "echo:1.0"}, client]))
    two = cluster.pod("two")
    assert ask(two, "localhost:8080")["server"] == "two"
    eventually(lambda: two.logs("client") == f"client at {two.ip}\n")
    with pytest.raises(NotFoundError, match="It has: echo, client"):
        two.logs("third")
    cluster.delete("pod/two")


def test_nginx_is_the_real_nginx(cluster: Cluster) -> None:
    """It serves on the container's port, and says which pod it is in."""
    if not cluster.node("node-1").run("sh", "-c", "command -v nginx").ok:
        pytest.skip("nginx is not installed")
    cluster.apply(pod("page", containers=[{"name": "nginx", "image": "docker.io/library/nginx:1.27"}]))
    answer = cluster.node("node-1").run("curl", "-s", "-i", "-m", "2", f"http://{cluster.pod('page').ip}/hello")
    assert answer.stdout.startswith("HTTP/1.1 200 OK\r\nServer: nginx/")
    assert "page: 192.168.1.11 asked for 10.244." in answer.stdout
    cluster.delete("pod/page")


def test_a_configmap_reaches_a_container_by_its_environment(cluster: Cluster) -> None:
    """All of it by envFrom, one key by valueFrom."""
    data = {"COLOUR": "green", "SIZE": "4"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}
    container = {
        "name": "c",
        "image": "busybox",
        "command": ["sh", "-c", 'echo "$COLOUR $SIZE $ONE"; exec sleep infinity'],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [{"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "SIZE"}}}],
    }
    cluster.apply([config, pod("reader", containers=[container])])
    eventually(lambda: cluster.pod("reader").logs() == "green 4 4\n")
    cluster.delete("pod/reader", "configmap/settings")


def test_nothing_is_applied_when_one_object_is_bad(cluster: Cluster) -> None:
    """Not the good ones before it either."""
    with pytest.raises(InvalidManifestError, match="postgres"):
        cluster.apply([pod("good"), pod("bad", containers=[{"name": "c", "image": "postgres:16"}])])
    with pytest.raises(InvalidManifestError, match="namespace 'nowhere' is not there; there are: default, kube-system"):
        cluster.apply([pod("good"), {**pod("bad"), "metadata": {"name": "bad", "namespace": "nowhere"}}])
    assert not {"good", "bad"} & {each["metadata"]["name"] for each in cluster.store.all("Pod")}


def test_namespaces_keep_pods_of_one_name_apart(cluster: Cluster) -> None:
    """Deleting a namespace deletes what is in it."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue"}}
    cluster.apply([space, pod("one"), {**pod("one"), "metadata": {"name": "one", "namespace": "blue"}}])
    assert {"one", "blue/one"} <= set(cluster.pods)
    assert ask(cluster.pod("one"), f"{cluster.pod('blue/one').ip}:8080")["server"] == "one"
    assert "blue.one" in cluster.lab.hosts
    cluster.delete("namespace/blue", "pod/one")
    assert not {"one", "blue/one"} & set(cluster.pods)


def test_wrong_options_are_refused() -> None:
    """Each with what was expected."""
    for options, words in (
        ({"network": "calico"}, "The network must be one of routed"),
        ({"proxy": "ipvs"}, "The proxy must be one of iptables, nftables"),
        ({"colour": "red"}, "A cluster has the options"),
        ({"pod_cidr": "10.0.0.0/33"}, "The range of pods"),
        ({"pod_cidr": "10.96.0.0/16"}, "overlap"),
        ({"pod_cidr": "10.244.0.0/16,fd00::/48"}, "the same families"),
        ({"nodes": -1}, "The number of nodes"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            Cluster(**options)
