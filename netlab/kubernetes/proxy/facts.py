"""Say what else a node owes its Services besides rules: kernel settings, health checks, and numbers to watch.

Source: pkg/proxy/healthcheck/service_health.go, pkg/proxy/metrics/metrics.go, NewProxier in iptables/proxier.go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.endpoints import choose
from netlab.kubernetes.proxy.iptables_fixed import SHARED_CHAINS, blocks_martians

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.kubernetes.proxy.iptables_text import Ruleset
    from netlab.kubernetes.proxy.model import ServiceView, Settings, State


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What a load balancer is told when it asks whether this node has endpoints of a Service.

    ``local_endpoints`` counts ready ones; one that ends counts no more, though it may still answer.
    """

    namespace: str
    service: str
    port: int
    local_endpoints: int

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return 200 if self.local_endpoints else 503

    @property
    def headers(self) -> dict[str, str]:
        """Return the HTTP headers that kube-proxy sends."""
        return {
            "Content-Type": "application/json",
            "X-Content-Type-Options": "nosniff",
            "X-Load-Balancing-Endpoint-Weight": str(self.local_endpoints),
        }

    @property
    def body(self) -> str:
        """Return the answer in JSON."""
        answer = {
            "service": {"namespace": self.namespace, "name": self.service},
            "localEndpoints": self.local_endpoints,
            "serviceProxyHealthy": True,
        }
        return json.dumps(answer, indent="\t")


def health_checks(state: State) -> dict[str, HealthCheck]:
    """Return the health checks to answer on this node, by the name of their Service."""
    return {name: check for name, view in state.services.items() for check in _health_check(view)}


def _health_check(view: ServiceView) -> Iterator[HealthCheck]:
    port = next((b.port for b in view.backends if b.port.health_check_node_port), None)
    if port is not None:
        # A pod that serves two ports of the Service is one endpoint.
        ready = {e.address for backend in view.backends for e in backend.endpoints if e.local and e.ready}
        yield HealthCheck(port.namespace, port.service, port.health_check_node_port, len(ready))


def sysctls(settings: Settings, mode: str) -> dict[str, str]:
    """Return the kernel settings that the rules need, as ``sysctl`` names them."""
    needed: dict[str, str] = {}
    if mode == "iptables" and blocks_martians(settings):
        # Node ports on 127.0.0.1 are sent out to a pod with that source: the kernel would call it a martian.
        needed["net.ipv4.conf.all.route_localnet"] = "1"
    if settings.tcp_be_liberal:
        needed["net.netfilter.nf_conntrack_tcp_be_liberal"] = "1"
    return needed


def rule_counts(rules: Ruleset) -> dict[str, int]:
    """Return the number of rules by table: the metric ``kubeproxy_sync_proxy_rules_iptables_total``."""
    counts = {"filter": 0, "nat": 0}
    for table, chain in SHARED_CHAINS:
        counts[table] += sum(lines.count("\n") for lines in rules.lines(table, chain))
    for fragment in rules.fragments.values():
        counts["nat"] += sum(lines.count("\n") for lines in fragment.chains.values())
    return counts


def without_local_endpoints(state: State) -> dict[str, int]:
    """Return how many ports keep traffic on this node and have nothing here to answer it.

    By kind of traffic, ``internal`` and ``external``: the metric
    ``kubeproxy_sync_proxy_rules_no_local_endpoints_total``.
    """
    counts = {"internal": 0, "external": 0}
    settings = state.settings
    for view in state.services.values():
        for backend in view.backends:
            choice = choose(backend.port, backend.endpoints, settings.node_name, settings.zone)
            if choice.exists and not choice.local:
                counts["internal"] += backend.port.internal_local
                counts["external"] += backend.port.external_local
    return counts
