"""Put nft commands together, and write everything in the proxy's table that no Service decides.

Source: setupNFTables in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netlab.kubernetes.proxy.nftables_rules import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    HAIRPINS,
    NO_NODE_PORT,
    NO_SERVICE,
    NODE_PORTS,
    SERVICE_IPS,
    SETS,
    from_pods,
    ip_word,
    masquerade,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from netlab.kubernetes.proxy.model import Settings

TABLE = "kube-proxy"
NODE_PORT_IPS = "nodeport-ips"

_BASE_CHAINS = (
    # The firewall looks at the address before DNAT changes it, hence ten earlier than DNAT.
    ("filter-prerouting-pre-dnat", "filter", "prerouting", -110),
    ("filter-output-pre-dnat", "filter", "output", -110),
    ("filter-input", "filter", "input", 0),
    ("filter-forward", "filter", "forward", 0),
    ("filter-output", "filter", "output", 0),
    ("nat-prerouting", "nat", "prerouting", -100),
    ("nat-output", "nat", "output", -100),
    ("nat-postrouting", "nat", "postrouting", 100),
)
_JUMPS = (
    ("filter-input", "nodeport-endpoints-check", "ct state new "),
    ("filter-input", "service-endpoints-check", "ct state new "),
    ("filter-forward", "service-endpoints-check", "ct state new "),
    ("filter-output", "service-endpoints-check", "ct state new "),
    ("filter-prerouting-pre-dnat", "firewall-check", "ct state new "),
    ("filter-output-pre-dnat", "firewall-check", "ct state new "),
    ("nat-output", "services", ""),
    ("nat-prerouting", "services", ""),
    ("nat-postrouting", "masquerading", ""),
    ("filter-forward", "cluster-ips-check", "ct state new "),
    ("filter-output", "cluster-ips-check", "ct state new "),
)
_TOP_CHAINS = tuple(dict.fromkeys(target for _, target, _ in _JUMPS))
# The chains that are there whatever the Services.
FIXED_CHAINS = (*(chain for chain, *_ in _BASE_CHAINS), *_TOP_CHAINS)
_COMMENTS = {
    CLUSTER_IPS: "Active ClusterIPs",
    HAIRPINS: "service hairpin connections",
    NODE_PORT_IPS: "IPs that accept NodePort traffic",
    SERVICE_IPS: "ClusterIP, ExternalIP and LoadBalancer IP traffic",
    NODE_PORTS: "NodePort traffic",
    FIREWALL_IPS: "destinations that are subject to LoadBalancerSourceRanges",
    NO_SERVICE: "vmap to drop or reject packets to services with no endpoints",
    NO_NODE_PORT: "vmap to drop or reject packets to service nodeports with no endpoints",
}


class Writer(Protocol):
    """What a script is written into: a file, or something like it."""

    def write(self, text: str, /) -> object:
        """Take some of the text."""


class Script:
    """Writes lines of an nft script for one table."""

    def __init__(self, settings: Settings, out: Writer) -> None:
        self.settings = settings
        self.word = ip_word(settings)
        self.address_type = "ipv4_addr" if self.word == "ip" else "ipv6_addr"
        self.table = f"{self.word} {TABLE}"
        self._out = out

    def say(self, *lines: str) -> None:
        """Add lines."""
        for line in lines:
            self._out.write(line)
            self._out.write("\n")

    def add_chain(self, chain: str, options: str = "") -> None:
        """Add a chain, and empty it if it is there."""
        self.say(f"add chain {self.table} {chain}{options}", f"flush chain {self.table} {chain}")

    def flush_chain(self, chain: str) -> None:
        """Empty a chain."""
        self.say(f"flush chain {self.table} {chain}")

    def add_rules(self, chain: str, rules: Iterable[str]) -> None:
        """Add rules at the end of a chain."""
        for rule in rules:
            self.say(f"add rule {self.table} {chain} {rule}")

    def add_container(self, name: str, type_: str) -> None:
        """Add one of the sets and maps that all Services share."""
        kind = "set" if name in SETS or name == NODE_PORT_IPS else "map"
        self.say(f'add {kind} {self.table} {name} {{ type {type_} ; comment "{_COMMENTS[name]}" ; }}')

    def add_affinity(self, name: str, seconds: int) -> None:
        """Add the set of clients that belong to an endpoint; each is forgotten after ``seconds``."""
        options = f"type {self.address_type} ; flags dynamic,timeout ; timeout {seconds}s ;"
        self.say(f"add set {self.table} {name} {{ {options} }}")

    def delete_set(self, name: str) -> None:
        """Delete a set or a map."""
        self.say(f"delete set {self.table} {name}")

    def add_elements(self, container: str, pairs: Mapping[str, str]) -> None:
        """Add elements: keys, and what follows each."""
        start = f"add element {self.table} {container} {{ "
        for key, rest in pairs.items():
            self.say(f"{start}{key}{rest} }}")

    def change_elements(self, container: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Write what leads from the old elements to the new ones. A value cannot change in place."""
        gone = [key for key, rest in old.items() if new.get(key) != rest]
        # The kernel asks for the value too when an element of a map is deleted.
        for key in gone:
            self.say(f"delete element {self.table} {container} {{ {key}{_bare(old[key])} }}")
        self.add_elements(container, {key: rest for key, rest in new.items() if old.get(key) != rest})


def _bare(rest: str) -> str:
    """Return what follows a key without the comment: that is not asked for when it is deleted."""
    verdict = rest.rpartition(" : ")[2] if " : " in rest else ""
    return f" : {verdict}" if verdict else ""


def set_up(nft: Script) -> None:
    """Write everything that no Service decides."""
    settings, word, table = nft.settings, nft.word, nft.table
    nft.say(f'add table {table} {{ comment "rules for kube-proxy" ; }}')
    for chain, *_ in _BASE_CHAINS:
        # A base chain of an older release may have another priority, and that cannot be changed: make it anew.
        nft.say(f"add chain {table} {chain}", f"delete chain {table} {chain}")
    for chain, type_, hook, priority in _BASE_CHAINS:
        nft.add_chain(chain, f" {{ type {type_} hook {hook} priority {priority} ; }}")
    for chain in _TOP_CHAINS:
        nft.add_chain(chain)
    for source, target, match in _JUMPS:
        nft.add_rules(source, [f"{match}jump {target}"])
    four = f"{nft.address_type} . inet_proto . inet_service"
    nft.add_container(HAIRPINS, f"{nft.address_type} . {four}")
    nft.add_container(CLUSTER_IPS, nft.address_type)
    _node_port_ips(nft)
    for container in (NO_SERVICE, FIREWALL_IPS, SERVICE_IPS):
        nft.add_container(container, f"{four} : verdict")
    for container in (NO_NODE_PORT, NODE_PORTS):
        nft.add_container(container, "inet_proto . inet_service : verdict")
    nft.add_chain("reject-chain", ' { comment "helper for @no-endpoint-services / @no-endpoint-nodeports" ; }')
    for chain, rules in _fixed_rules(settings, word).items():
        nft.add_rules(chain, rules)


def _node_port_ips(nft: Script) -> None:
    addresses = nft.settings.node_port_addresses
    nft.add_container(NODE_PORT_IPS, nft.address_type)
    if addresses is None:
        nft.delete_set(NODE_PORT_IPS)
        return
    nft.say(f"flush set {nft.table} {NODE_PORT_IPS}")
    # Node ports on loopback do not exist in this mode.
    nft.add_elements(NODE_PORT_IPS, {ip: "" for ip in addresses if ip != "::1" and not ip.startswith("127.")})


def _fixed_rules(settings: Settings, word: str) -> dict[str, list[str]]:
    mark = settings.mark
    target = f"{word} daddr . meta l4proto . th dport"
    port = "meta l4proto . th dport"
    if settings.node_port_addresses is None:
        to_node = "ip daddr != 127.0.0.0/8" if word == "ip" else "ip6 daddr != ::1"
        service_to_node = f"fib daddr type local {to_node}"
    else:
        to_node = service_to_node = f"{word} daddr @{NODE_PORT_IPS}"
    return {
        "masquerading": [
            f"mark and {mark} != 0 mark set mark xor {mark} masquerade fully-random",
            f"ct status dnat {word} saddr . {target} @{HAIRPINS} masquerade fully-random",
        ],
        "cluster-ips-check": list(_unknown_cluster_ips(settings, word)),
        "reject-chain": ["reject"],
        "service-endpoints-check": [f"{target} vmap @{NO_SERVICE}"],
        "nodeport-endpoints-check": [f"{to_node} {port} vmap @{NO_NODE_PORT}"],
        "firewall-check": [f"{target} vmap @{FIREWALL_IPS}"],
        "services": [
            *_cluster_masquerade(settings, word),
            f"{target} vmap @{SERVICE_IPS}",
            f"{service_to_node} {port} vmap @{NODE_PORTS}",
        ],
    }


def _unknown_cluster_ips(settings: Settings, word: str) -> Iterator[str]:
    yield f'{word} daddr @{CLUSTER_IPS} reject comment "Reject traffic to invalid ports of ClusterIPs"'
    if settings.service_cidrs:
        ranges = ",".join(settings.service_cidrs)
        yield f'{word} daddr {{ {ranges} }} drop comment "Drop traffic to unallocated ClusterIPs"'


def _cluster_masquerade(settings: Settings, word: str) -> Iterator[str]:
    to_cluster_ip = f"{word} daddr @{CLUSTER_IPS}"
    if settings.masquerade_all:
        yield f'{to_cluster_ip} {masquerade(settings)} comment "masquerade all clusterIP traffic"'
    elif settings.detector is not None:
        # Someone outside may route the Service range to this node; the answer must come back the same way.
        match = f"{to_cluster_ip} {from_pods(settings, negated=True)}"
        yield f'{match} {masquerade(settings)} comment "masquerade clusterIP traffic from outside cluster"'
