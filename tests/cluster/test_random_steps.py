"""Whatever is applied and deleted in whatever order: the rules are those of a fresh cluster with the same objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cluster_tools import eventually
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from netlab import Cluster
from netlab.kubernetes.load_balancers import addresses_of

if TYPE_CHECKING:
    from netlab.kubernetes.store import Object

pytestmark = pytest.mark.kernel

NAMES = ("alpha", "beta", "gamma", "delta")
#: 5 examples of 50 steps in each of the two modes.
EXAMPLES, STEPS = 5, 50


def services() -> st.SearchStrategy[dict[str, Any]]:
    """Draw Services of all types, with the fields that decide their rules."""
    port = st.sampled_from([{"port": 80}, {"port": 80, "targetPort": 8080}, {"port": 53, "protocol": "UDP"}])
    fields = st.fixed_dictionaries(
        {"ports": port.map(lambda each: [each])},
        optional={
            "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
            "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
            "internalTrafficPolicy": st.sampled_from(["Cluster", "Local"]),
            "externalIPs": st.just(["192.0.2.1"]),
        },
    )
    local = fields.filter(lambda spec: spec.get("type") in {"NodePort", "LoadBalancer"}).map(
        lambda spec: {**spec, "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["203.0.113.0/24"]}
    )
    return st.one_of(fields, local)


def slices() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw up to four endpoints, ready, not ready, or ending."""
    condition = st.sampled_from(
        [{"ready": True}, {"ready": False}, {"ready": False, "serving": True, "terminating": True}]
    )
    return st.lists(st.tuples(st.integers(2, 9), condition), max_size=4, unique_by=lambda pair: pair[0]).map(
        lambda pairs: [
            {
                "addresses": [f"10.244.{1 + number % 2}.{number}"],
                "nodeName": f"node-{1 + number % 2}",
                "conditions": state,
            }
            for number, state in pairs
        ]
    )


def rules_of(cluster: Cluster) -> list[str]:
    """Return the rules of the node, as the kernel lists them; only the order of chains may differ."""
    listed = cluster.node("node-1").run("nft", "-s", "list", "ruleset").stdout
    blocks: list[list[str]] = []
    for line in listed.splitlines():
        if line.startswith(("table", "\tchain", "\tset", "\tmap")):
            blocks.append([])
        if blocks and line not in {"", "}"}:  # the end of a table comes after whichever chain is last
            blocks[-1].append(_sorted(line))
    return sorted("\n".join(block) for block in blocks)


def _sorted(line: str) -> str:
    """Return a line with the elements of a set in order."""
    return " ".join(sorted(line.replace(",", " ").split())) if "elements" in line else line


def _with_its_address(data: Object) -> Object:
    """Ask for the load balancer's address that a Service has: which one it got depends on who came before."""
    if data["kind"] != "Service" or not (given := addresses_of(data)):
        return data
    return {**data, "spec": {**data["spec"], "loadBalancerIP": given[0]}}


class Steps(RuleBasedStateMachine):
    """Apply and delete Services and EndpointSlices, one at a time."""

    cluster: Cluster
    names: Bundle[str] = Bundle("names")

    @rule(target=names, name=st.sampled_from(NAMES), spec=services())
    def apply_service(self, name: str, spec: dict[str, Any]) -> Any:
        """Create a Service, or change one."""
        self._apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
        return name

    @rule(name=st.sampled_from(NAMES), endpoints=slices())
    def apply_slice(self, name: str, endpoints: list[dict[str, Any]]) -> None:
        """Create a slice, or change one; its Service need not be there."""
        self._apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "", "port": 8080, "protocol": protocol} for protocol in ("TCP", "UDP")],
                "endpoints": endpoints,
            }
        )

    @rule(name=consumes(names))
    def delete_service(self, name: str) -> None:
        """Delete a Service."""
        if f"service/{name}" in self.cluster.get("services", "-o", "name").splitlines():
            self.cluster.delete(f"service/{name}")

    @rule(name=st.sampled_from(NAMES))
    def delete_slice(self, name: str) -> None:
        """Delete a slice."""
        if f"endpointslice.discovery.k8s.io/{name}-1" in self.cluster.get("endpointslices", "-o", "name").splitlines():
            self.cluster.delete(f"endpointslice/{name}-1")

    def _apply(self, data: Object) -> None:
        self.cluster.apply(data)

    @invariant()
    def no_sync_has_failed(self) -> None:
        """Every text was taken by its tool: there was no second full sync."""
        syncs = [proxy.last for node in self.cluster.nodes.values() for proxy in node.proxies]
        assert not [sync for sync in syncs if sync is not None and "failed" in sync.why]

    def teardown(self) -> None:
        """Compare with a fresh cluster that gets the same objects at once; then begin anew."""
        objects = [*self.cluster.store.all("Service"), *self.cluster.store.all("EndpointSlice")]
        with Cluster(nodes=1, proxy=self.cluster.settings.proxy) as fresh:
            if objects:
                fresh.apply([_with_its_address(data) for data in objects])
            # In nftables mode emptied chains are deleted a second later.
            eventually(lambda: rules_of(self.cluster) == rules_of(fresh))
        for data in objects:
            self.cluster.delete(f"{data['kind'].lower()}/{data['metadata']['name']}")


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_nothing_is_lost_and_nothing_left_over(mode: str) -> None:
    """Random steps, one after the other."""
    with Cluster(nodes=1, proxy=mode) as cluster:
        machine = type("Steps", (Steps,), {"cluster": cluster})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                # The cluster is shared, and a run is not repeated with fewer steps: it would take minutes.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
