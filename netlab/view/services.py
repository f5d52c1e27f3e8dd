"""Find the Services of a lab in its rules: addresses that no interface holds, and where packets to them are sent.

Read from the kernel, so what a learner writes by hand shows as well as what a proxy wrote. The shape of kube-proxy's
chains is that of pkg/proxy/iptables/proxier.go and pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from netlab.view.nouns import Endpoint, Service

if TYPE_CHECKING:
    from netlab.kernel.values import FirewallRule, HostState, Snapshot

_OPTION = r"(?:^| ){} (\S+)"
_DESTINATION, _PORT, _TARGET, _TO, _CHANCE = (
    re.compile(_OPTION.format(re.escape(word))) for word in ("-d", "--dport", "-j", "--to-destination", "--probability")
)
_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')
_NFT_SERVICE = re.compile(r"service-[^-]+-([^/]+/[^/]+)/")
_NFT_FRONT = re.compile(r"goto (?:service|external)-[^-]+-([^/]+/[^/]+)/")
_NFT_MAP = re.compile(r"\d+ : (\S+) \. (\d+)")
_NFT_GOTO = re.compile(r"goto endpoint-\S+?__([0-9a-fA-F.:]+)/(\d+)")
_DEEPEST = 8
_OWN = {"KUBE-MARK-MASQ", "KUBE-MARK-DROP"}


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a rule that say where it sends packets."""

    destination: str
    port: str
    target: str
    to: str
    chance: float
    name: str
    aside: bool  # it marks packets, or brings back those who have been here before


@dataclass(slots=True)
class _Found:
    """A Service while its rules are read."""

    name: str
    tool: str
    addresses: dict[str, None] = field(default_factory=dict)
    ports: dict[str, None] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], float] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)


def services(snapshot: Snapshot) -> tuple[Service, ...]:
    """Return the Services, in the order of their rules."""
    held = {str(a.address.ip) for host in snapshot.hosts for a in host.addresses}
    holders = {str(a.address.ip): host.name for host in snapshot.hosts for a in host.addresses}
    found: dict[str, _Found] = {}
    for host in snapshot.hosts:
        nat = [rule for rule in host.rules if rule.table == "nat" and rule.tool != "nft" and rule.text]
        if any("DNAT" in rule.text for rule in nat):
            _read_iptables(host.name, nat, held, found)
        _read_nft(host, found)
    return tuple(_service(item, holders) for item in found.values() if item.endpoints and (item.addresses or item.tool))


def _service(item: _Found, holders: dict[str, str]) -> Service:
    endpoints = tuple(
        Endpoint(f"{address}:{port}" if port else address, holders.get(address, ""), share)
        for (address, port), share in item.endpoints.items()
    )
    return Service(item.name, tuple(item.addresses), tuple(item.ports), endpoints, tuple(item.hosts))


def _read_iptables(host: str, rules: list[FirewallRule], held: set[str], found: dict[str, _Found]) -> None:
    chains: dict[str, list[FirewallRule]] = {}
    for rule in rules:
        chains.setdefault(rule.chain, []).append(rule)
    left: dict[str, float] = {}  # what earlier rules of the same front leave over
    for rule in rules:
        words = _words(rule.text)
        if rule.chain == "KUBE-NODEPORTS" and words.port and words.name in found:
            found[words.name].ports[f":{words.port}"] = None
        if not words.destination or words.aside or words.destination in held:
            continue
        front = f"{words.destination}:{words.port}" if words.port else words.destination
        item = found.get(words.name or front)
        if item is not None and next(iter(item.hosts), host) != host and front in item.addresses:
            # The host that was read first has said the same: kube-proxy writes each Service on every node.
            item.hosts[host] = None
            continue
        share = left.get(f"{rule.chain} {front}", 1.0)
        shares = _resolve(chains, words, share * words.chance, 0)
        if not shares:
            continue
        left[f"{rule.chain} {front}"] = share * (1 - words.chance)
        item = found.setdefault(words.name or front, _Found(words.name or front, ""))
        item.addresses[front] = None
        if not item.hosts or host in item.hosts:
            for end, part in shares.items():
                # A rule in PREROUTING has its twin in OUTPUT: the shares are those of one of them.
                item.endpoints[end] = max(part, item.endpoints.get(end, 0.0))
        item.hosts[host] = None


def _resolve(
    chains: dict[str, list[FirewallRule]], words: _Words, share: float, depth: int
) -> dict[tuple[str, str], float]:
    """Return where a rule sends packets, and which share of them; nothing if it rewrites none."""
    if words.target == "DNAT":
        address, _, port = words.to.rpartition(":")
        return {(address.strip("[]"), port): share} if address else {(port, ""): share}
    found: dict[tuple[str, str], float] = {}
    for inner in chains.get(words.target, ()) if depth < _DEEPEST else ():
        inner_words = _words(inner.text)
        if inner_words.aside:
            continue
        ends = _resolve(chains, inner_words, share * inner_words.chance, depth + 1)
        for end, part in ends.items():
            found[end] = found.get(end, 0.0) + part
        if ends:
            share *= 1 - inner_words.chance
    return found


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> _Words:
    """Read a rule once: the same texts are on every node and in every snapshot."""
    target = _first(_TARGET, text)
    return _Words(
        destination=_first(_DESTINATION, text).partition("/")[0],
        port=_first(_PORT, text),
        target=target,
        to=_first(_TO, text),
        chance=float(_first(_CHANCE, text) or 1),
        name=_name(text),
        aside=target in _OWN or "! -d" in text or " --rcheck " in text,
    )


def _name(text: str) -> str:
    """Return the Service that kube-proxy names in its comments, as namespace/name."""
    comment = next((a or b for a, b in _COMMENT.findall(text)), "")
    first = comment.partition(" ")[0]
    return first.partition(":")[0] if first.count("/") == 1 else ""


def _read_nft(host: HostState, found: dict[str, _Found]) -> None:
    for rule in host.rules:
        match = _NFT_SERVICE.match(rule.chain) if rule.tool == "nft" else None
        ends = (_NFT_MAP.findall(rule.text) or _NFT_GOTO.findall(rule.text)) if match else []
        if match and ends:
            item = found.setdefault(match[1], _Found(match[1], "nft"))
            item.hosts[host.name] = None
            item.endpoints = {end: 1 / len(ends) for end in ends}
    for element in host.elements:
        leads = _NFT_FRONT.match(element.value)
        service = found.get(leads[1]) if leads else None
        if service is None:
            continue
        *address, _, port = element.key.split(" . ")
        if address:
            service.addresses[_front(address[0], port)] = None
        else:
            service.ports[f":{port}"] = None


def _front(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
