"""Write the iptables rules of one Service, as kube-proxy does.

Source: syncProxyRules in pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.addresses import network
from netlab.kubernetes.proxy.endpoints import Choice, choose
from netlab.kubernetes.proxy.names import iptables_hash

if TYPE_CHECKING:
    from netlab.kubernetes.proxy.model import Backend, Endpoint, ServicePort, ServiceView, Settings

MASQUERADE = "KUBE-MARK-MASQ"

# Most Services write nothing into the filter table: they share one empty table.
_NONE: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Fragment:
    """The rules of one Service. Each value of the tables is text: whole lines.

    ``filter`` and ``nat`` map a chain that Services share to this one's lines in it; ``chains`` maps the chains that
    are this Service's own, all in the nat table, to theirs.
    """

    filter: dict[str, str]
    nat: dict[str, str]
    chains: dict[str, str]

    def shared(self, table: str) -> dict[str, str]:
        """Return the lines in the chains of ``table`` that Services share."""
        return self.filter if table == "filter" else self.nat


@dataclass(slots=True)
class _Lines:
    """Lines by chain, while they are being written."""

    filter: dict[str, list[str]] = field(default_factory=dict)
    nat: dict[str, list[str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def reject(self, chain: str, rule: str) -> None:
        self.filter.setdefault(chain, []).append(f"-A {chain} {rule}\n")

    def send(self, chain: str, rule: str) -> None:
        self.nat.setdefault(chain, []).append(f"-A {chain} {rule}\n")

    def own(self, chain: str, rule: str) -> None:
        self.chains.setdefault(chain, []).append(f"-A {chain} {rule}\n")


def write_service(view: ServiceView, settings: Settings, *, comments: bool) -> Fragment:
    """Return the rules of one Service. ``comments`` is off in clusters with more than 1,000 endpoints."""
    lines = _Lines()
    for backend in view.backends:
        _Writer(backend, settings, lines, comments=comments).write()
    return Fragment(
        {chain: "".join(rules) for chain, rules in lines.filter.items()} or _NONE,
        {chain: "".join(rules) for chain, rules in lines.nat.items()},
        {chain: "".join(rules) for chain, rules in lines.chains.items()},
    )


class _Writer:
    """Writes one Service port: first where its traffic comes in, then its own chains."""

    def __init__(self, backend: Backend, settings: Settings, lines: _Lines, *, comments: bool) -> None:
        port = backend.port
        self.port: ServicePort = port
        self.settings = settings
        self.lines = lines
        self.comments = comments
        self.choice: Choice = choose(port, backend.endpoints, settings.node_name, settings.zone)
        self.name = port.name
        self.match = f"-m {port.protocol} -p {port.protocol}"
        name_hash = iptables_hash(self.name, port.protocol)
        self.cluster_chain = f"KUBE-SVC-{name_hash}"
        self.local_chain = f"KUBE-SVL-{name_hash}"
        self.external_chain = f"KUBE-EXT-{name_hash}"
        self.firewall_chain = f"KUBE-FW-{name_hash}"
        exists = self.choice.exists
        self.inside = exists and (bool(self.choice.local) or not port.internal_local)
        self.outside = exists and (bool(self.choice.local) or not port.external_local)
        self.firewall = exists and bool(port.load_balancer_ips and port.source_ranges)

    def write(self) -> None:
        self._cluster_ip()
        self._external_ips()
        self._load_balancer_ips()
        self._node_port()
        self._health_check()
        if self.choice.exists and self.port.accessible:
            self._external_chain()
        if self.firewall:
            self._firewall_chain()
        if self.port.uses_cluster and self.choice.cluster:
            self._endpoint_rules(self.cluster_chain, self.choice.cluster)
        if self.port.uses_local and self.choice.local:
            self._endpoint_rules(self.local_chain, self.choice.local)
        for endpoint in self.choice.reachable:
            self._endpoint_chain(endpoint)

    def _to(self, address: str) -> str:
        return f"{self.match} -d {address} --dport {self.port.port}"

    def _refusal(self) -> tuple[str, str]:
        """Return the comment and the target for traffic that finds no endpoint."""
        if not self.choice.exists:
            return f'-m comment --comment "{self.name} has no endpoints"', "REJECT"
        return f'-m comment --comment "{self.name} has no local endpoints"', "DROP"

    def _cluster_ip(self) -> None:
        port = self.port
        to = self._to(port.cluster_ip)
        if not self.inside:
            comment, target = self._refusal()
            self.lines.reject("KUBE-SERVICES", f"{comment} {to} -j {target}")
            return
        chain = self.local_chain if port.internal_local else self.cluster_chain
        capture = f'-m comment --comment "{self.name} cluster IP" {to}'
        self.lines.send("KUBE-SERVICES", f"{capture} -j {chain}")
        if self.settings.masquerade_all:
            self.lines.own(chain, f"{capture} -j {MASQUERADE}")
        elif self.settings.detector is not None:
            # Someone outside may route the Service range to this node; the answer must come back the same way.
            self.lines.own(chain, f"{capture} ! {self._from_pods()} -j {MASQUERADE}")

    def _external_ips(self) -> None:
        for address in self.port.external_ips:
            to = self._to(address)
            if self.choice.exists:
                comment = f'-m comment --comment "{self.name} external IP"'
                self.lines.send("KUBE-SERVICES", f"{comment} {to} -j {self.external_chain}")
            self._refuse_outside(to)

    def _load_balancer_ips(self) -> None:
        chain = self.firewall_chain if self.firewall else self.external_chain
        for address in self.port.load_balancer_ips:
            to = self._to(address)
            if self.choice.exists:
                comment = f'-m comment --comment "{self.name} loadbalancer IP"'
                self.lines.send("KUBE-SERVICES", f"{comment} {to} -j {chain}")
            if self.firewall:
                comment = f'-m comment --comment "{self.name} traffic not accepted by {self.firewall_chain}"'
                self.lines.reject("KUBE-PROXY-FIREWALL", f"{comment} {to} -j DROP")
            self._refuse_outside(to)

    def _node_port(self) -> None:
        port = self.port.node_port
        if not port:
            return
        if self.choice.exists:
            comment = f"-m comment --comment {self.name}"
            self.lines.send("KUBE-NODEPORTS", f"{comment} {self.match} --dport {port} -j {self.external_chain}")
        self._refuse_outside(f"-m addrtype --dst-type LOCAL {self.match} --dport {port}")

    def _refuse_outside(self, to: str) -> None:
        if not self.outside:
            comment, target = self._refusal()
            self.lines.reject("KUBE-EXTERNAL-SERVICES", f"{comment} {to} -j {target}")

    def _health_check(self) -> None:
        port = self.port.health_check_node_port
        if port:
            comment = f'-m comment --comment "{self.name} health check node port"'
            self.lines.reject("KUBE-NODEPORTS", f"{comment} -m tcp -p tcp --dport {port} -j ACCEPT")

    def _external_chain(self) -> None:
        chain = self.external_chain
        rest = f'for {self.name} external destinations"'
        if not self.port.external_local:
            # The endpoint may be on another node: the answer has to come back through this one.
            self.lines.own(chain, f'-m comment --comment "masquerade traffic {rest} -j {MASQUERADE}')
        else:
            # Pods and the node itself reach every endpoint, as if their traffic had gone out and come back in.
            if self.settings.detector is not None:
                comment = f'-m comment --comment "pod traffic {rest}'
                self.lines.own(chain, f"{comment} {self._from_pods()} -j {self.cluster_chain}")
            node = "-m addrtype --src-type LOCAL"
            self.lines.own(chain, f'-m comment --comment "masquerade LOCAL traffic {rest} {node} -j {MASQUERADE}')
            self.lines.own(chain, f'-m comment --comment "route LOCAL traffic {rest} {node} -j {self.cluster_chain}')
        if self.outside:
            target = self.local_chain if self.port.external_local else self.cluster_chain
            self.lines.own(chain, f"-j {target}")

    def _firewall_chain(self) -> None:
        port = self.port
        comment = f'-m comment --comment "{self.name} loadbalancer IP"'
        sources = list(port.source_ranges)
        node = ip_address(self.settings.node_ip)
        if any(node in network(text) for text in port.source_ranges):
            # Where the balancer's address is also the node's own, the node's packets to it carry it as their source.
            sources += port.load_balancer_ips
        for source in sources:
            self.lines.own(self.firewall_chain, f"{comment} -s {source} -j {self.external_chain}")
        last = f'"other traffic to {self.name} will be dropped by KUBE-PROXY-FIREWALL"'
        self.lines.own(self.firewall_chain, f"-m comment --comment {last}")

    def _endpoint_rules(self, chain: str, endpoints: tuple[Endpoint, ...]) -> None:
        named = [(endpoint, self._endpoint_name(endpoint)) for endpoint in endpoints]
        if self.port.affinity is not None:
            for endpoint, target in named:
                recent = f"-m recent --name {target} --rcheck --seconds {self.port.affinity} --reap"
                self.lines.own(chain, f"{self._towards(endpoint)}{recent} -j {target}")
        for index, (endpoint, target) in enumerate(named):
            left = len(named) - index
            # Each rule takes an equal part of what the rules before it left over; the last takes all.
            chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
            self.lines.own(chain, f"{self._towards(endpoint)}{chance}-j {target}")

    def _endpoint_chain(self, endpoint: Endpoint) -> None:
        chain = self._endpoint_name(endpoint)
        comment = f"-m comment --comment {self.name} " if self.comments else ""
        # An endpoint that reaches itself through the Service must not see its own address as the source.
        self.lines.own(chain, f"{comment}-s {endpoint.address} -j {MASQUERADE}")
        affinity = f"-m recent --name {chain} --set " if self.port.affinity is not None else ""
        self.lines.own(chain, f"{comment}{affinity}{self.match} -j DNAT --to-destination {endpoint.text}")

    def _endpoint_name(self, endpoint: Endpoint) -> str:
        return f"KUBE-SEP-{iptables_hash(self.name, self.port.protocol, endpoint.text)}"

    def _towards(self, endpoint: Endpoint) -> str:
        return f'-m comment --comment "{self.name} -> {endpoint.text}" ' if self.comments else ""

    def _from_pods(self) -> str:
        detector = self.settings.detector
        if detector is None:
            return ""
        return f"-s {detector.value}" if detector.kind == "source" else f"-i {detector.value}"
