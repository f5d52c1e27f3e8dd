"""Tell a rule's place and words from its handle: what a report of a rule leaves out."""

from __future__ import annotations

import re
import shlex
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kernel import nfnetlink as nf, read_rules as saved
from netlab.kernel.netlink import NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, length, walk
from netlab.kernel.process import output_of

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterable, Iterator

    from netlab.kernel.sandbox import Sandbox

_GETCHAIN, _GETRULE = (nf.SUBSYS_NFTABLES << 8 | kind for kind in (4, 7))
#: Hooks by their number in the IP families (linux/netfilter.h).
_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}
FAMILIES = {"ip": 2, "ip6": 10}
#: (family name, table, chain)
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What a base chain is registered as; empty for a chain that is only jumped to."""

    hook: str = ""
    kind: str = ""
    priority: int = 0
    policy: str = ""


#: Rules by (family name, table, handle): each is (number in its chain, words, packets counted or None).
Rules = dict[tuple[str, str, int], tuple[int, str, int | None]]


def read_chains(sock: _socket.socket) -> dict[Place, ChainFacts]:
    """Read the chains of one host through a plain netfilter socket of it."""
    found = {}
    for family, values in _dump(sock, _GETCHAIN, 0):
        facts = ChainFacts()
        if 4 in values:
            hook = dict(nf.each(values[4]))
            policy = {0: "DROP", 1: "ACCEPT"}.get(nf.big(values.get(5, b"")), "") if 5 in values else ""
            priority = struct.unpack(">i", hook[2])[0] if 2 in hook else 0
            facts = ChainFacts(_HOOKS.get(nf.big(hook.get(1, b"")), "?"), nf.word(values.get(7, b"")), priority, policy)
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


def read_rules(sandbox: Sandbox, sockets: dict[str, _socket.socket], wanted: dict[str, set[Place]]) -> dict[str, Rules]:
    """Read the words of the rules in some chains of some hosts, all hosts at once.

    iptables-save spells the rules of iptables, which nft cannot; it gives no handles, so that the order tells which
    rule is which.
    """
    commands: list[tuple[str, tuple[str, ...]]] = []
    for host, places in wanted.items():
        commands += [(host, command) for command in dict.fromkeys(_command(place) for place in sorted(places))]
    printed = output_of(sandbox, commands)
    rules: dict[str, Rules] = {host: {} for host in wanted}
    for host, command in commands:
        mine = [place for place in wanted[host] if _command(place) == command]
        rules[host].update(_spell(command, printed[host, command], sockets[host], mine))
    return rules


def _command(place: Place) -> tuple[str, ...]:
    family, table, _ = place
    if table in saved.IPTABLES_TABLES and family in FAMILIES:
        return ("iptables-save" if family == "ip" else "ip6tables-save", "-c", "-t", table)
    return ("nft", "-a", "list", "table", family, table)


def _spell(command: tuple[str, ...], text: str, sock: _socket.socket, places: Iterable[Place]) -> Rules:
    found: Rules = {}
    if command[0] == "nft":
        return _spell_nft(text)
    found_rules = saved.parse_iptables_save(text, command[0].removesuffix("-save"))
    by_chain: dict[str, list[tuple[int, str, int | None]]] = {}
    for rule in found_rules:
        if rule.text:
            by_chain.setdefault(rule.chain, []).append((rule.number, rule.text, rule.packets))
    for place in places:
        family, table, chain = place
        for handle, rule_words in zip(read_handles(sock, place), by_chain.get(chain, []), strict=False):
            found[family, table, handle] = rule_words
    return found


_HEAD = re.compile(r"table (\S+) (\S+) \{")
_COUNTER = re.compile(r"counter packets (\d+) bytes \d+")


def _spell_nft(text: str) -> Rules:
    found: Rules = {}
    family = table = ""
    number = 0
    for line in text.splitlines():
        if match := _HEAD.match(line):
            family, table = match.groups()
        body, separator, handle = line.rpartition(" # handle ")
        if not separator or body.startswith("table "):
            continue
        if body.rstrip().endswith("{"):
            number = 0
            continue
        number += 1
        counter = _COUNTER.search(body)
        words = _COUNTER.sub("counter", body.strip())
        found[family, table, int(handle)] = (number, words, int(counter[1]) if counter else None)
    return found


def target_of(words: str) -> str:
    """Return what a rule does to a packet that it matches: DNAT, MASQUERADE, REJECT, DROP and so on, in capitals."""
    parts = shlex.split(words) if words.count('"') % 2 == 0 else words.split()
    for option in ("-j", "-g"):
        if option in parts:
            return parts[parts.index(option) + 1]
    for word in ("dnat", "snat", "masquerade", "redirect", "reject", "drop", "accept", "return", "tproxy", "queue"):
        if word in parts:
            return word.upper()
    return ""
