"""Tell a rule's place and words from its handle: what a report of a rule leaves out."""

from __future__ import annotations

import re
import shlex
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kernel import nfnetlink as nf, read_rules as saved
from netlab.kernel.netlink import NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, length, walk

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable, Iterator

    from netlab.kernel.values import FirewallRule

_GETCHAIN, _GETRULE = (nf.SUBSYS_NFTABLES << 8 | kind for kind in (4, 7))
#: Hooks by their number in the IP families (linux/netfilter.h), and in the netdev family.
_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting", 5: "ingress"}
_NETDEV_HOOKS = {0: "ingress", 1: "egress"}
_COMMENT = re.compile(r'\bcomment "[^"]*"')
#: (family name, table, chain)
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What a base chain is registered as; empty for a chain that is only jumped to."""

    hook: str = ""
    kind: str = ""
    priority: int = 0
    policy: str = ""


#: Rules by (family name, table, handle).
Rules = dict[tuple[str, str, int], "FirewallRule"]


def read_chains(sock: _socket.socket) -> dict[Place, ChainFacts]:
    """Read the chains of one host through a plain netfilter socket of it."""
    found = {}
    for family, values in _dump(sock, _GETCHAIN, 0):
        facts = ChainFacts()
        if 4 in values:
            hook = dict(nf.each(values[4]))
            policy = {0: "DROP", 1: "ACCEPT"}.get(nf.big(values.get(5, b"")), "") if 5 in values else ""
            priority = struct.unpack(">i", hook[2])[0] if 2 in hook else 0
            names = _NETDEV_HOOKS if family == "netdev" else _HOOKS
            facts = ChainFacts(names.get(nf.big(hook.get(1, b"")), "?"), nf.word(values.get(7, b"")), priority, policy)
        found[family, nf.word(values[1]), nf.word(values[3])] = facts
    return found


def read_handles(sock: _socket.socket, place: Place) -> list[int]:
    """Return the handles of the rules of a chain, in order."""
    family, table, chain = place
    number = next(key for key, name in saved.NFT_FAMILIES.items() if name == family)
    asked = _dump(sock, _GETRULE, number, nf.text(1, table), nf.text(2, chain))
    return [nf.big(values[3]) for found, values in asked if (found, nf.word(values[1]), nf.word(values[2])) == place]


def _dump(sock: _socket.socket, kind: int, family: int, *attributes: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    sock.send(nf.message(kind, family, *attributes, flags=NLM_F_DUMP))
    while True:
        data = sock.recv(1 << 18)
        for answer, _, _, start in walk(data):
            if answer in {NLMSG_DONE, NLMSG_ERROR}:
                return
            values = nf.values(data, start + nf.BODY, start + length(data, start))
            yield saved.NFT_FAMILIES.get(data[start + 16], ""), values


def match_handles(sock: _socket.socket, rules: Iterable[FirewallRule], places: Iterable[Place]) -> Rules:
    """Return the rules of some chains by their handles.

    iptables-save gives no handles; the order tells which rule is which.
    """
    wanted = set(places)
    by_place: dict[Place, list[FirewallRule]] = {}
    for rule in rules:
        if rule.text and "legacy" not in rule.tool:
            by_place.setdefault((rule.family, rule.table, rule.chain), []).append(rule)
    found: Rules = {}
    for place in wanted:
        mine = by_place.get(place, [])
        handles = [rule.handle for rule in mine]
        if None in handles:
            handles = list(read_handles(sock, place))
        family, table, _ = place
        for handle, rule in zip(handles, mine, strict=False):
            if handle is not None:
                found[family, table, handle] = rule
    return found


def target_of(words: str) -> str:
    """Return what a rule does to a packet that it matches: DNAT, MASQUERADE, REJECT, DROP and so on, in capitals."""
    # What nft has as a comment is no statement: kube-proxy's word for a mark is "masquerade".
    said = _COMMENT.sub("", words)
    parts = shlex.split(said) if said.count('"') % 2 == 0 else said.split()
    for option in ("-j", "-g"):
        if option in parts:
            return parts[parts.index(option) + 1]
    for word in ("dnat", "snat", "masquerade", "redirect", "reject", "drop", "accept", "return", "tproxy", "queue"):
        if word in parts:
            return word.upper()
    return ""
