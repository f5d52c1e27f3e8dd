"""Services, with real packets: who answers, and whose address the server sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cluster_tools import ask, deployment, eventually, pod, service, spread

from netlab import Cluster
from netlab.kubernetes.manifests import InvalidManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.kubernetes.admission import Change

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def web(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Return a cluster with three echo servers and a client, in each mode of the proxy."""
    with Cluster(nodes=3, proxy=request.param) as cluster:
        cluster.apply([deployment("web", 3), pod("client", nodeName="node-1")])
        yield cluster


@pytest.fixture
def apply(web: Cluster) -> Iterator[Any]:
    """Return what applies a Service, which is deleted after the test."""
    keys: list[Change] = []

    def do(*manifests: dict[str, Any]) -> dict[str, Any]:
        changes = web.apply(list(manifests))
        keys.extend(changes)
        return web.store.get(changes[-1].key)

    yield do
    web.delete(*(f"{change.key.kind.lower()}/{change.key.name}" for change in keys if change.key in web.store))


def test_a_cluster_ip_spreads_over_all_endpoints(web: Cluster, apply: Any) -> None:
    """300 requests from a pod: each of three servers gets between 60 and 140, and sees the client's own address."""
    apply(service("web", clusterIP="10.96.0.20"))
    counts = spread(web.pod("client"), "10.96.0.20", 300)
    assert set(counts) == {"web-1", "web-2", "web-3"}
    assert all(60 <= count <= 140 for count in counts.values()), counts
    answer = ask(web.pod("client"), "10.96.0.20")
    assert answer["client_address"] == web.pod("client").ip


def test_a_pod_reaches_itself_by_its_service(web: Cluster, apply: Any) -> None:
    """The hairpin: it is masqueraded, or the answer would never leave the pod."""
    apply(service("self", app="client", clusterIP="10.96.0.21"))
    answer = ask(web.pod("client"), "10.96.0.21")
    assert answer["server"] == "client"
    assert answer["client_address"] == "10.244.1.1"


def test_a_node_port_answers_on_every_node(web: Cluster, apply: Any) -> None:
    """From outside, by any node: the server sees the node's address, for its answer must come back that way."""
    apply(service("web", type="NodePort", ports=[{"port": 80, "targetPort": "http", "nodePort": 30123}]))
    for number in (1, 2, 3):
        servers = spread(web.outside, f"192.168.1.{10 + number}:30123", 40)
        assert set(servers) == {"web-1", "web-2", "web-3"}
    answer = ask(web.outside, "192.168.1.12:30123")
    assert answer["client_address"] != "203.0.113.10"


def test_a_load_balancer_is_reached_from_outside(web: Cluster, apply: Any) -> None:
    """It gets an address from the pool, and connections are spread over nodes and endpoints."""
    made = apply(service("web", type="LoadBalancer"))
    made = web.store.get(web.apply(service("web", type="LoadBalancer"))[0].key)
    ip = made["status"]["loadBalancer"]["ingress"][0]["ip"]
    assert ip == "198.51.100.1"
    assert set(spread(web.outside, ip, 60)) == {"web-1", "web-2", "web-3"}
    web.delete("service/web")
    assert not web.outside.run("curl", "-s", "-m", "0.5", f"http://{ip}/").ok
    assert ip not in web.router.run("ip", "route").stdout


def test_policy_local_keeps_the_clients_address(web: Cluster, apply: Any) -> None:
    """Only nodes with an endpoint get traffic, and the server sees who asked; the health check says which nodes."""
    apply(deployment("one", 1), service("one", type="LoadBalancer", externalTrafficPolicy="Local"))
    data = web.store.all("Service")[-1]
    ip = data["status"]["loadBalancer"]["ingress"][0]["ip"]
    for _ in range(5):
        answer = ask(web.outside, ip)
        assert (answer["server"], answer["client_address"]) == ("one-1", "203.0.113.10")
    health = data["spec"]["healthCheckNodePort"]
    home = web.pod("one-1").node.name
    for name, node in web.nodes.items():
        found = web.outside.run("curl", "-s", "-m", "2", "-w", "%{http_code}", f"http://{node.address}:{health}/")
        assert found.stdout.endswith("200" if name == home else "503"), (name, found)
        assert json.loads(found.stdout[:-3])["localEndpoints"] == (name == home)


def test_affinity_keeps_a_client_with_one_server(web: Cluster, apply: Any) -> None:
    """Thirty connections, one server; another client may get another."""
    apply(service("web", clusterIP="10.96.0.22", sessionAffinity="ClientIP"))
    assert len(spread(web.pod("client"), "10.96.0.22", 30)) == 1


def test_internal_policy_local_stays_on_the_node(web: Cluster, apply: Any) -> None:
    """The client on node-1 gets the server on node-1, always."""
    apply(service("web", clusterIP="10.96.0.23", internalTrafficPolicy="Local"))
    here = {name for name, each in web.pods.items() if each.node.name == "node-1"} - {"client"}
    assert set(spread(web.pod("client"), "10.96.0.23", 20)) == here


def test_an_external_ip_and_source_ranges(web: Cluster, apply: Any) -> None:
    """A load balancer that lets only one network in drops the outside; an external IP leads to the Service."""
    apply(service("web", type="LoadBalancer", loadBalancerSourceRanges=["203.0.113.0/28"]))
    ip = web.store.all("Service")[-1]["status"]["loadBalancer"]["ingress"][0]["ip"]
    assert ask(web.outside, ip)["server"].startswith("web-")
    web.apply(service("web", type="LoadBalancer", loadBalancerSourceRanges=["203.0.113.64/28"]))
    assert not web.outside.run("curl", "-s", "-m", "0.5", f"http://{ip}/").ok
    web.apply(service("web", externalIPs=["192.0.2.7"]))
    web.router.add_route("192.0.2.7/32", via="192.168.1.12")
    assert ask(web.outside, "192.0.2.7")["server"].startswith("web-")
    web.router.remove_route("192.0.2.7/32")


def test_a_pod_that_is_not_ready_gets_nothing(web: Cluster, apply: Any) -> None:
    """The flag takes it out of the Service at once, and brings it back."""
    apply(service("web", clusterIP="10.96.0.24"))
    web.pod("web-2").ready = False
    assert set(spread(web.pod("client"), "10.96.0.24", 40)) == {"web-1", "web-3"}
    assert ask(web.pod("client"), f"{web.pod('web-2').ip}:8080")["server"] == "web-2"
    web.pod("web-2").ready = True
    assert set(spread(web.pod("client"), "10.96.0.24", 60)) == {"web-1", "web-2", "web-3"}


def test_a_service_without_endpoints_refuses(web: Cluster, apply: Any) -> None:
    """The client is told at once (REJECT), it need not wait."""
    apply(service("empty", clusterIP="10.96.0.25"))
    result = web.pod("client").run("curl", "-s", "-m", "2", "http://10.96.0.25/")
    assert result.returncode == 7, "curl: could not connect"


def test_hand_written_slices_serve_a_service_without_selector(web: Cluster, apply: Any) -> None:
    """The endpoint is the host outside of the cluster."""
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "far-1", "labels": {"kubernetes.io/service-name": "far"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 9000, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["203.0.113.10"]}],
    }
    far = service("far", clusterIP="10.96.0.26")
    del far["spec"]["selector"]
    apply(far, piece)
    with web.outside.serve(9000):
        assert ask(web.pod("client"), "10.96.0.26")["server"] == "outside"
    web.delete("endpointslice/far-1")
    assert not web.pod("client").run("curl", "-s", "-m", "2", "http://10.96.0.26/").ok


def test_a_headless_service_has_slices_and_no_rules(web: Cluster, apply: Any) -> None:
    """Its slice says who is there; nothing is added in the kernel."""
    before = set(web.node("node-1").run("nft", "-s", "list", "ruleset").stdout.splitlines())
    apply(service("quiet", app="web", clusterIP="None"))
    pieces = [each for each in web.store.all("EndpointSlice") if each["metadata"]["name"].startswith("quiet-")]
    assert [len(each["endpoints"]) for each in pieces] == [3]
    # What an earlier change left empty may go meanwhile: the proxy sweeps a second later.
    assert set(web.node("node-1").run("nft", "-s", "list", "ruleset").stdout.splitlines()) <= before


def test_udp_forgets_endpoints_that_are_gone(web: Cluster, apply: Any) -> None:
    """A client that keeps its port is sent to the endpoint that is left, not to the one that went."""
    apply(
        deployment("dns", 2, ports=[{"containerPort": 9000, "protocol": "UDP"}]),
        service("dns", clusterIP="10.96.0.27", ports=[{"port": 53, "targetPort": 9000, "protocol": "UDP"}]),
    )
    script = """import json, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 5353)); s.settimeout(1)
for _ in sys.stdin:
    s.sendto(b"x", ("10.96.0.27", 53))
    print(json.loads(s.recv(4096))["server"], flush=True)
"""
    client = web.pod("client").popen("python3", "-c", script, stdin=-1)
    assert client.stdin is not None
    assert client.stdout is not None

    to, answers = client.stdin, client.stdout

    def answer() -> str:
        to.write(b"go on\n")
        return answers.readline().decode().strip()

    first = answer()
    assert first in {"dns-1", "dns-2"}
    assert answer() == first
    web.pod(first).ready = False
    assert answer() == {"dns-1": "dns-2", "dns-2": "dns-1"}[first]
    client.close()


def test_a_change_of_a_service_is_checked_against_what_it_was(web: Cluster, apply: Any) -> None:
    """A cluster IP stays, and belongs to one Service."""
    made = apply(service("web"))
    assert made["spec"]["clusterIP"].startswith("10.96.1.")
    assert str(web.apply(service("web"))) == "service/web unchanged"
    with pytest.raises(InvalidManifestError, match="this field cannot change"):
        web.apply(service("web", clusterIP="10.96.0.99"))
    with pytest.raises(InvalidManifestError, match="belongs to Service default/web already"):
        web.apply(service("other", clusterIP=made["spec"]["clusterIP"]))
    changed = web.apply(service("web", ports=[{"port": 81, "targetPort": 8080}]))
    assert str(changed) == "service/web configured"
    assert ask(web.pod("client"), f"{made['spec']['clusterIP']}:81")["server"].startswith("web-")


def test_rules_are_those_of_a_fresh_cluster_after_all_is_deleted(web: Cluster) -> None:
    """Every chain, set and element of the Services above is gone."""
    mode = web.settings.proxy
    with Cluster(nodes=3, proxy=mode) as fresh:
        for name in web.nodes:
            assert_same(web, fresh, name)


def assert_same(cluster: Cluster, fresh: Cluster, node: str) -> None:
    """Wait for it: in nftables mode chains are emptied first, and deleted a second later."""
    eventually(lambda: rules(cluster, node) == rules(fresh, node))


def rules(cluster: Cluster, node: str) -> list[str]:
    """Return the rules of a node without handles and counters."""
    return cluster.node(node).run("nft", "-s", "list", "ruleset").stdout.splitlines()
