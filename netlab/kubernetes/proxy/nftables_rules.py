"""Write the nftables rules and elements of one Service, as kube-proxy does.

Source: syncProxyRules in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.addresses import network
from netlab.kubernetes.proxy.endpoints import Choice, choose
from netlab.kubernetes.proxy.model import Family
from netlab.kubernetes.proxy.names import nftables_base, nftables_endpoint_base

if TYPE_CHECKING:
    from netlab.kubernetes.proxy.model import Backend, Endpoint, ServicePort, ServiceView, Settings

CLUSTER_IPS = "cluster-ips"
HAIRPINS = "hairpin-connections"
SERVICE_IPS = "service-ips"
NODE_PORTS = "service-nodeports"
FIREWALL_IPS = "firewall-ips"
NO_SERVICE = "no-endpoint-services"
NO_NODE_PORT = "no-endpoint-nodeports"

SETS = (CLUSTER_IPS, HAIRPINS)
MAPS = (SERVICE_IPS, NODE_PORTS, FIREWALL_IPS, NO_SERVICE, NO_NODE_PORT)
REJECT = "goto reject-chain"

_NO_AFFINITY: dict[str, int] = {}

# nft refuses a longer comment, and with it the whole transaction: every Service on the node would stop changing.
_LONGEST_COMMENT = 128


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one Service puts into the table.

    ``elements`` are triples: a set or a map, a key in it, and what follows the key: nothing in a set, ``: verdict`` in
    a map, with a comment in some. ``own`` pairs a chain with its rules; ``affinity`` maps a set of clients to its
    time-out in seconds. ``warnings`` are sentences on what had to be left out.
    """

    # Tuples and not dicts: in a large cluster those would be most of what this takes.
    elements: tuple[tuple[str, str, str], ...]
    own: tuple[tuple[str, tuple[str, ...]], ...]
    affinity: dict[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Return the rules of each chain."""
        return dict(self.own)


@dataclass(slots=True)
class _Draft:
    """A fragment while it is being written."""

    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    affinity: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def element(self, container: str, key: str, verdict: str = "", comment: str = "") -> None:
        note = f' comment "{comment}"' if comment else ""
        self.elements.setdefault(container, {})[key] = f"{note} : {verdict}" if verdict else note

    def rule(self, chain: str, rule: str) -> None:
        self.chains[chain].append(rule)


def write_service(view: ServiceView, settings: Settings) -> Fragment:
    """Return chains, elements and affinity sets of one Service."""
    draft = _Draft()
    for backend in view.backends:
        _Writer(backend, settings, draft).write()
    chains = tuple((chain, tuple(rules)) for chain, rules in draft.chains.items())
    elements = tuple((name, key, rest) for name, pairs in draft.elements.items() for key, rest in pairs.items())
    return Fragment(elements, chains, draft.affinity or _NO_AFFINITY, tuple(draft.warnings))


def masquerade(settings: Settings) -> str:
    """Return the statement that marks a packet for masquerading."""
    return f"mark set mark or {settings.mark}"


def from_pods(settings: Settings, *, negated: bool = False) -> str:
    """Return what matches packets that pods of this cluster send, or the others; empty without a detector."""
    detector = settings.detector
    if detector is None:
        return ""
    operator = " != " if negated else " "
    if detector.kind == "interface":
        pattern = f"{detector.value[:-1]}*" if detector.value.endswith("+") else detector.value
        return f"iifname{operator}{pattern}"
    return f"{ip_word(settings)} saddr{operator}{detector.value}"


def ip_word(settings: Settings) -> str:
    """Return ``ip`` or ``ip6``: the family's name in nft."""
    return "ip" if settings.family is Family.IPV4 else "ip6"


class _Writer:
    """Writes one Service port."""

    def __init__(self, backend: Backend, settings: Settings, draft: _Draft) -> None:
        port = backend.port
        self.port: ServicePort = port
        self.settings = settings
        self.draft = draft
        self.choice: Choice = choose(port, backend.endpoints, settings.node_name, settings.zone)
        self.path = f"{port.namespace}/{port.service}/{port.protocol}/{port.port_name}"
        base = nftables_base(self.path)
        self.cluster_chain = f"service-{base}"
        self.local_chain = f"local-{base}"
        self.external_chain = f"external-{base}"
        self.firewall_chain = f"firewall-{base}"
        exists = self.choice.exists
        self.inside = exists and (bool(self.choice.local) or not port.internal_local)
        self.outside = exists and (bool(self.choice.local) or not port.external_local)

    def write(self) -> None:
        self._hairpins()
        self._cluster_ip()
        self._outside_ips()
        self._node_port()
        if self.choice.exists and self.port.accessible:
            self._external_chain()
        if self.port.load_balancer_ips and self.port.source_ranges:
            self._firewall()
        if self.port.uses_cluster and self.choice.cluster:
            self._policy_chain(self.cluster_chain, self.choice.cluster)
        if self.port.uses_local and self.choice.local:
            self._policy_chain(self.local_chain, self.choice.local)
        if self.port.affinity is not None:
            for endpoint in self.choice.reachable:
                self._endpoint_chain(endpoint)

    def _hairpins(self) -> None:
        """Note the endpoints of this node: only they can reach themselves through a Service."""
        for endpoint in self.choice.reachable:
            if endpoint.local:
                key = f"{endpoint.address} . {endpoint.address} . {self.port.protocol} . {endpoint.port}"
                self.draft.element(HAIRPINS, key)

    def _key(self, address: str) -> str:
        return f"{address} . {self.port.protocol} . {self.port.port}"

    def _refuse(self, container: str, key: str) -> None:
        comment = self.port.name
        if len(comment) > _LONGEST_COMMENT:
            self.draft.warnings.append(
                f"{comment}: its entry in {container} has no comment, because nft takes "
                f"{_LONGEST_COMMENT} characters at most and this name has {len(comment)}"
            )
            comment = ""
        self.draft.element(container, key, "drop" if self.choice.exists else REJECT, comment)

    def _cluster_ip(self) -> None:
        port = self.port
        self.draft.element(CLUSTER_IPS, port.cluster_ip)
        if self.inside:
            chain = self.local_chain if port.internal_local else self.cluster_chain
            self.draft.element(SERVICE_IPS, self._key(port.cluster_ip), f"goto {chain}")
        else:
            self._refuse(NO_SERVICE, self._key(port.cluster_ip))

    def _outside_ips(self) -> None:
        for address in (*self.port.external_ips, *self.port.load_balancer_ips):
            if self.choice.exists:
                self.draft.element(SERVICE_IPS, self._key(address), f"goto {self.external_chain}")
            if not self.outside:
                self._refuse(NO_SERVICE, self._key(address))

    def _node_port(self) -> None:
        if not self.port.node_port:
            return
        key = f"{self.port.protocol} . {self.port.node_port}"
        if self.choice.exists:
            self.draft.element(NODE_PORTS, key, f"goto {self.external_chain}")
        if not self.outside:
            self._refuse(NO_NODE_PORT, key)

    def _external_chain(self) -> None:
        chain = self.external_chain
        self.draft.chains[chain] = []
        mark = masquerade(self.settings)
        if not self.port.external_local:
            # The endpoint may be on another node: the answer has to come back through this one.
            self.draft.rule(chain, f'{mark} comment "masquerade"')
        else:
            # Pods and the node itself reach every endpoint, as if their traffic had gone out and come back in.
            pods = from_pods(self.settings)
            if pods:
                self.draft.rule(chain, f'{pods} goto {self.cluster_chain} comment "short-circuit pod traffic"')
            local = "fib saddr type local"
            self.draft.rule(chain, f'{local} {mark} comment "masquerade local traffic"')
            self.draft.rule(chain, f'{local} goto {self.cluster_chain} comment "short-circuit local traffic"')
        if self.outside:
            self.draft.rule(chain, f"goto {self.local_chain if self.port.external_local else self.cluster_chain}")

    def _firewall(self) -> None:
        """Write the firewall. Unlike in iptables mode it is there even while the Service has no endpoint."""
        port = self.port
        for address in port.load_balancer_ips:
            self.draft.element(FIREWALL_IPS, self._key(address), f"goto {self.firewall_chain}")
        sources = list(port.source_ranges)
        node = ip_address(self.settings.node_ip)
        if any(node in network(text) for text in port.source_ranges):
            # Where the balancer's address is also the node's own, the node's packets to it carry it as their source.
            sources += port.load_balancer_ips
        allowed = " , ".join(sources)
        self.draft.chains[self.firewall_chain] = [f"{ip_word(self.settings)} saddr != {{ {allowed} }} drop"]

    def _policy_chain(self, chain: str, endpoints: tuple[Endpoint, ...]) -> None:
        self.draft.chains[chain] = []
        choose_one = f"numgen random mod {len(endpoints)}"
        if self.port.affinity is None:
            pairs = " , ".join(f"{i} : {e.address} . {e.port}" for i, e in enumerate(endpoints))
            dnat = f"meta l4proto {self.port.protocol} dnat {ip_word(self.settings)} addr . port to"
            self.draft.rule(chain, f"{dnat} {choose_one} map {{ {pairs} }}")
            return
        bases = [self._base(endpoint) for endpoint in endpoints]
        source = f"{ip_word(self.settings)} saddr"
        for base in bases:
            self.draft.rule(chain, f"{source} @affinity-{base} goto endpoint-{base}")
        jumps = " , ".join(f"{index} : goto endpoint-{base}" for index, base in enumerate(bases))
        self.draft.rule(chain, f"{choose_one} vmap {{ {jumps} }}")

    def _endpoint_chain(self, endpoint: Endpoint) -> None:
        base = self._base(endpoint)
        self.draft.affinity[f"affinity-{base}"] = self.port.affinity or 0
        self.draft.chains[f"endpoint-{base}"] = [
            f"update @affinity-{base} {{ {ip_word(self.settings)} saddr }}",
            f"meta l4proto {self.port.protocol} dnat to {endpoint.text}",
        ]

    def _base(self, endpoint: Endpoint) -> str:
        return nftables_endpoint_base(self.path, endpoint.address, endpoint.port)
