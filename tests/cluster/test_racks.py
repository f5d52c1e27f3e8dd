"""Nodes in several racks: a switch and a network for each, joined by the router; every network works over it."""

from __future__ import annotations

import pytest
from cluster_tools import ask, deployment, eventually, pod, service, spread

from netlab import Cluster, InvalidInputError

pytestmark = pytest.mark.kernel

#: By network: the route on node-1 to the pods of node-2, which is in the other rack, and of node-3, which is not.
WAYS = {
    "routed": ("10.244.2.0/24 via 192.168.1.1 dev eth0", "10.244.3.0/24 via 192.168.1.13 dev eth0"),
    "vxlan": ("10.244.2.0/24 via 10.244.2.0 dev vxlan.1", "10.244.3.0/24 via 10.244.3.0 dev vxlan.1"),
    "bgp": ("10.244.2.0/24 via 192.168.1.1 dev eth0 proto bird", "10.244.3.0/24 via 192.168.1.13 dev eth0 proto bird"),
}


@pytest.mark.parametrize("network", WAYS)
def test_pods_and_services_reach_across_racks(network: str) -> None:
    """In both families, with the client's own address; and the router forgets and relearns as the nodes do."""
    ranges = {"pod_cidr": "10.244.0.0/16,fd00:244::/48", "service_cidr": "10.96.0.0/16,fd00:96::/112"}
    with Cluster(nodes=3, racks=2, network=network, **ranges) as cluster:
        cluster.apply([deployment("web", 3), service("web", type="NodePort", trafficDistribution="PreferSameZone")])
        assert [node.rack for node in cluster.nodes.values()] == [1, 2, 1]
        one, others = cluster.pod("web-1"), (cluster.pod("web-2"), cluster.pod("web-3"))
        for other in others:
            for mine, theirs in zip(one.addresses, other.addresses, strict=True):
                answer = ask(one, f"[{theirs}]:8080" if ":" in theirs else f"{theirs}:8080")
                assert (answer["server"], answer["client_address"]) == (other.name, mine)
        routes = cluster.node("node-1").run("ip", "route").stdout
        assert all(way in routes for way in WAYS[network])
        made = cluster.store.all("Service")[0]["spec"]
        # Racks are zones: traffic may stay in one.
        assert set(spread(one, made["clusterIP"], 30)) == {"web-1", "web-3"}
        assert ask(cluster.outside, f"192.168.2.12:{made['ports'][0]['nodePort']}")["server"] == "web-2"

        def at_router() -> str:
            return cluster.router.run("ip", "route").stdout

        if network != "vxlan":  # whose packets are the nodes' own: the router knows nothing of pods
            cluster.router.run("ip", "route", "del", "10.244.2.0/24", check=True)
            eventually(lambda: "10.244.2.0/24 via 192.168.2.12 dev eth2" in at_router(), 2)
        cluster.fail_node("node-2")
        eventually(lambda: "10.244.2.0/24" not in at_router() + cluster.node("node-1").run("ip", "route").stdout, 2)
        cluster.add_node(rack=2)
        cluster.apply(pod("far", nodeName="node-4"))
        assert ask(one, f"{cluster.pod('far').ip}:8080")["server"] == "far"


def test_what_racks_cannot_be_is_said() -> None:
    """The number of them, a rack that is not there, and a reflector beside the router."""
    with pytest.raises(InvalidInputError, match="number of racks"):
        Cluster(nodes=0, racks=0)
    with pytest.raises(InvalidInputError, match="it is the router that reflects"):
        Cluster(nodes=0, racks=2, network="bgp", reflector="node-1")
    with Cluster(nodes=0) as cluster, pytest.raises(InvalidInputError, match="The rack"):
        cluster.add_node(rack=2)
