"""What a node owes its Services besides rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from proxy_objects import fields, state

from netlab.kubernetes import conformance
from netlab.kubernetes.proxy import Family, Inventory, Settings, iptables
from netlab.kubernetes.proxy.facts import health_checks, rule_counts, sysctls, without_local_endpoints

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(Family.IPV4, node_name="n1")
BALANCER = {
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "clusterIP": "10.96.0.1",
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30000,
        "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}],
    },
}


def _slice(*endpoints: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": list(endpoints),
        "ports": [{"name": "a", "port": 8080}, {"name": "b", "port": 8081}],
    }


def test_health_checks_count_ready_pods_of_this_node() -> None:
    """A pod counts once, however many ports it serves; pods elsewhere and pods that end do not count."""
    here = {"addresses": ["10.244.0.1"], "nodeName": "n1"}
    there = {"addresses": ["10.244.0.2"], "nodeName": "n2"}
    ending = {"addresses": ["10.244.0.3"], "nodeName": "n1", "conditions": {"ready": False, "terminating": True}}
    check = health_checks(state(SETTINGS, [BALANCER, _slice(here, there, ending)]))["shop/web"]
    assert (check.port, check.status, check.local_endpoints) == (30000, 200, 1)
    assert json.loads(check.body)["service"] == {"namespace": "shop", "name": "web"}
    assert check.headers["X-Load-Balancing-Endpoint-Weight"] == "1"
    gone = health_checks(state(SETTINGS, [BALANCER, _slice(there, ending)]))["shop/web"]
    assert (gone.status, json.loads(gone.body)["localEndpoints"]) == (503, 0)
    assert not health_checks(state(SETTINGS, []))


def test_ports_without_local_endpoints_are_counted() -> None:
    """Only Services that have endpoints, and none here, are counted: one without any is another matter."""
    there = {"addresses": ["10.244.0.2"], "nodeName": "n2"}
    assert without_local_endpoints(state(SETTINGS, [BALANCER])) == {"internal": 0, "external": 0}
    balancer = {**BALANCER, "status": {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}}
    assert without_local_endpoints(state(SETTINGS, [balancer, _slice(there)])) == {"internal": 0, "external": 2}


@pytest.mark.parametrize(
    ("settings", "mode", "needed"),
    [
        (SETTINGS, "iptables", ["net.ipv4.conf.all.route_localnet"]),
        (SETTINGS, "nftables", []),
        (Settings(Family.IPV6), "iptables", []),
        (Settings(Family.IPV4, localhost_node_ports=False), "iptables", []),
        (Settings(Family.IPV6, tcp_be_liberal=True), "nftables", ["net.netfilter.nf_conntrack_tcp_be_liberal"]),
    ],
)
def test_kernel_settings(settings: Settings, mode: str, needed: list[str]) -> None:
    """Localhost node ports need route_localnet; nothing else is touched without being asked for."""
    assert list(sysctls(settings, mode)) == needed


def test_rules_are_counted_as_they_are_written(recordings: Path) -> None:
    """The count by table is the number of rules in a full sync of every recorded state."""
    for step in conformance.golden_steps(recordings / "kube-proxy"):
        rules = iptables.build(step.state)
        filter_part, nat_part = iptables.full(rules).split("*nat\n")
        written = {"filter": filter_part.count("\n-A "), "nat": nat_part.count("\n-A ")}
        assert rule_counts(rules) == written, step.name


def test_slices_may_move_and_change_owner() -> None:
    """A slice that is given to another Service, or renamed, leaves nothing behind."""
    here = {"addresses": ["10.244.0.1"], "nodeName": "n1"}
    other = {**BALANCER, "metadata": {"name": "api", "namespace": "shop"}}
    known = Inventory.empty(SETTINGS).update(fields([BALANCER, other, _slice(here)]))
    moved = _slice(here)
    moved["metadata"] = {**moved["metadata"], "labels": {"kubernetes.io/service-name": "api"}}
    after = known.update(fields([moved]))
    counts = {name: view.endpoint_count for name, view in after.state.services.items()}
    assert counts == {"shop/web": 0, "shop/api": 2}
    assert after.update(removed=[("EndpointSlice", "shop/web")]).state.endpoint_count == 0
