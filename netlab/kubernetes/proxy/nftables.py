"""Write what ``nft -f`` reads: a first sync, a partial one, the clean-up.

A `Ruleset` holds chains and elements of every Service. Building one from an older one writes those of changed
Services only; the text that leads from one to the other names what changed, and is one transaction.

Source: setupNFTables and syncProxyRules in pkg/proxy/nftables/proxier.go, and cleanup.go beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.model import Family
from netlab.kubernetes.proxy.nftables_rules import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    HAIRPINS,
    MAPS,
    NO_NODE_PORT,
    NO_SERVICE,
    NODE_PORTS,
    SERVICE_IPS,
    SETS,
    Fragment,
    from_pods,
    ip_word,
    masquerade,
    write_service,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from netlab.kubernetes.proxy.model import Settings, State

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


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """The table of a `State`, by Service, and its elements as the kernel holds them: each key once."""

    state: State
    fragments: Mapping[str, Fragment]
    elements: Mapping[str, Mapping[str, str]]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return sentences on what had to be left out, because nft would refuse it."""
        return tuple(warning for fragment in self.fragments.values() for warning in fragment.warnings)


def build(state: State, previous: Ruleset | None = None) -> Ruleset:
    """Return the table of ``state``; what belongs to Services that are the same in ``previous`` is taken from there."""
    settings = state.settings
    old_views: Mapping[str, object] = {}
    old: Mapping[str, Fragment] = {}
    if previous is not None and previous.state.settings == settings:
        old_views, old = previous.state.services, previous.fragments
    fragments = {
        name: old[name] if old_views.get(name) is view else write_service(view, settings)
        for name, view in sorted(state.services.items())
    }
    # Two Services may claim one address and port; a map holds it once, and the last one has it.
    elements: dict[str, dict[str, str]] = {container: {} for container in (*SETS, *MAPS)}
    for fragment in fragments.values():
        for container, pairs in fragment.elements.items():
            elements[container].update(pairs)
    return Ruleset(state, fragments, elements)


def first(rules: Ruleset) -> str:
    """Return the script of a first sync, on a node that does not have the table yet."""
    nft = _Script(rules.state.settings)
    for warning in rules.warnings:
        nft.lines.append(f"# {warning}")
    _set_up(nft)
    for fragment in rules.fragments.values():
        for chain in fragment.chains:
            nft.add_chain(chain)
    for fragment in rules.fragments.values():
        for name, seconds in fragment.affinity.items():
            nft.add_affinity(name, seconds)
        for chain, chain_rules in fragment.chains.items():
            nft.add_rules(chain, chain_rules)
    for container, pairs in rules.elements.items():
        nft.add_elements(container, pairs)
    return nft.text()


def replace(rules: Ruleset) -> str:
    """Return the script that replaces the whole table in one step, whatever is in it.

    It forgets which client belongs to which endpoint (session affinity).
    """
    table = f"{ip_word(rules.state.settings)} {TABLE}"
    return f"add table {table}\ndelete table {table}\n{first(rules)}"


def partial(old: Ruleset, new: Ruleset) -> str:
    """Return the script that makes the table of ``old`` that of ``new``; empty if they are the same.

    Chains that nothing leads to any more are emptied, and stay: kernels before 6.2 may count a reference to them for a
    moment after it is gone. Delete them with `sweep` a second later.
    """
    if old.state.settings != new.state.settings:
        return replace(new)
    nft = _Script(new.state.settings)
    changed = [(name, old.fragments.get(name), new.fragments.get(name)) for name in _changed(old, new)]
    before, after = _chains(was for _, was, _ in changed), _chains(now for _, _, now in changed)
    for chain, chain_rules in after.items():
        if before.get(chain) != chain_rules:
            nft.add_chain(chain)
    old_sets, new_sets = _affinity(was for _, was, _ in changed), _affinity(now for _, _, now in changed)
    for chain in before:
        if chain not in after:
            nft.flush_chain(chain)
    again = {name for name, seconds in new_sets.items() if old_sets.get(name, seconds) != seconds}
    if again:
        # A set cannot change its time-out while rules use it: empty their chains, make it anew, fill them again.
        for chain, chain_rules in after.items():
            if before.get(chain) == chain_rules and any(f"@{name} " in rule for rule in chain_rules for name in again):
                nft.flush_chain(chain)
                before.pop(chain)
    for name in old_sets:
        if name not in new_sets or name in again:
            nft.delete_set(name)
    for name, seconds in new_sets.items():
        if name not in old_sets or name in again:
            nft.add_affinity(name, seconds)
    for chain, chain_rules in after.items():
        if before.get(chain) != chain_rules:
            nft.add_rules(chain, chain_rules)
    for container, pairs in new.elements.items():
        if pairs != old.elements[container]:
            nft.change_elements(container, old.elements[container], pairs)
    return nft.text()


def sweep(old: Ruleset, new: Ruleset) -> str:
    """Return the script that deletes the chains that `partial` emptied."""
    nft = _Script(new.state.settings)
    if old.state.settings != new.state.settings:
        return ""  # then `partial` made the table anew
    names = _changed(old, new)
    after = _chains(new.fragments.get(name) for name in names)
    for chain in _chains(old.fragments.get(name) for name in names):
        if chain not in after:
            nft.lines.append(f"delete chain {nft.table} {chain}")
    return nft.text()


def clean(family: Family) -> str:
    """Return the script that removes the table, and does not mind if there is none."""
    table = f"{'ip' if family is Family.IPV4 else 'ip6'} {TABLE}"
    return f"add table {table}\ndelete table {table}\n"


class _Script:
    """Lines of an nft script for one table."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.word = ip_word(settings)
        self.address_type = "ipv4_addr" if self.word == "ip" else "ipv6_addr"
        self.table = f"{self.word} {TABLE}"
        self.lines: list[str] = []

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def add_chain(self, chain: str, options: str = "") -> None:
        self.lines += (f"add chain {self.table} {chain}{options}", f"flush chain {self.table} {chain}")

    def flush_chain(self, chain: str) -> None:
        self.lines.append(f"flush chain {self.table} {chain}")

    def add_rules(self, chain: str, rules: Iterable[str]) -> None:
        self.lines += (f"add rule {self.table} {chain} {rule}" for rule in rules)

    def add_container(self, name: str, type_: str) -> None:
        kind = "set" if name in SETS or name == NODE_PORT_IPS else "map"
        self.lines.append(f'add {kind} {self.table} {name} {{ type {type_} ; comment "{_COMMENTS[name]}" ; }}')

    def add_affinity(self, name: str, seconds: int) -> None:
        options = f"type {self.address_type} ; flags dynamic,timeout ; timeout {seconds}s ;"
        self.lines.append(f"add set {self.table} {name} {{ {options} }}")

    def delete_set(self, name: str) -> None:
        self.lines.append(f"delete set {self.table} {name}")

    def add_elements(self, container: str, pairs: Mapping[str, str]) -> None:
        start = f"add element {self.table} {container} {{ "
        self.lines += (f"{start}{key}{rest} }}" for key, rest in pairs.items())

    def change_elements(self, container: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Write what leads from the old elements to the new ones. A value cannot change in place."""
        gone = [key for key, rest in old.items() if new.get(key) != rest]
        # The kernel asks for the value too when an element of a map is deleted.
        self.lines += (f"delete element {self.table} {container} {{ {key}{_bare(old[key])} }}" for key in gone)
        self.add_elements(container, {key: rest for key, rest in new.items() if old.get(key) != rest})


def _bare(rest: str) -> str:
    """Return what follows a key without the comment: that is not asked for when it is deleted."""
    verdict = rest.rpartition(" : ")[2] if " : " in rest else ""
    return f" : {verdict}" if verdict else ""


def _set_up(nft: _Script) -> None:
    """Write everything that no Service decides."""
    settings, word, table = nft.settings, nft.word, nft.table
    nft.lines.append(f'add table {table} {{ comment "rules for kube-proxy" ; }}')
    for chain, *_ in _BASE_CHAINS:
        # A base chain of an older release may have another priority, and that cannot be changed: make it anew.
        nft.lines += (f"add chain {table} {chain}", f"delete chain {table} {chain}")
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


def _node_port_ips(nft: _Script) -> None:
    addresses = nft.settings.node_port_addresses
    nft.add_container(NODE_PORT_IPS, nft.address_type)
    if addresses is None:
        nft.delete_set(NODE_PORT_IPS)
        return
    nft.lines.append(f"flush set {nft.table} {NODE_PORT_IPS}")
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


def _changed(old: Ruleset, new: Ruleset) -> list[str]:
    before, after = old.fragments, new.fragments
    # Most are the same object: only the others are worth a comparison.
    names = [name for name, now in after.items() if (was := before.get(name)) is not now and was != now]
    return names + [name for name in before if name not in after]


def _chains(fragments: Iterable[Fragment | None]) -> dict[str, tuple[str, ...]]:
    return {chain: rules for fragment in fragments if fragment for chain, rules in fragment.chains.items()}


def _affinity(fragments: Iterable[Fragment | None]) -> dict[str, int]:
    return {name: seconds for fragment in fragments if fragment for name, seconds in fragment.affinity.items()}
