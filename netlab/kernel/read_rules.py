"""Read iptables and nftables rules with their counters, from what ``iptables-save -c`` and ``nft -j`` print."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from netlab.kernel.values import FirewallRule, MapElement

if TYPE_CHECKING:
    from collections.abc import Iterable

#: One thing of ``nft -j``: an object with one field, which names its kind.
Entry = dict[str, Any]

#: Families of nftables by their number (linux/netfilter.h).
NFT_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
#: Tables that iptables-nft and ip6tables-nft keep; nft lists them too, but cannot spell all of their matches.
IPTABLES_TABLES = {"filter", "nat", "mangle", "raw", "security"}
#: The tables in which we mark packets to be traced, for a moment; they are no part of what a reader has made.
TRACE_PREFIX = "netlab-trace-"
_HOOKS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
#: Where iptables puts its tables (enum nf_ip_hook_priorities of linux/netfilter_ipv4.h): nat changes the source last.
PRIORITIES: dict[tuple[str, str | None], int] = {
    ("raw", None): -300,
    ("mangle", None): -150,
    ("nat", "prerouting"): -100,
    ("nat", "output"): -100,
    ("filter", None): 0,
    ("security", None): 50,
    ("nat", "input"): 100,
    ("nat", "postrouting"): 100,
}
_CHAIN = re.compile(r":(\S+) (\S+) \[(\d+):(\d+)\]")
_RULE = re.compile(r"\[(\d+):(\d+)\] -A (\S+) ?(.*)")


def parse_iptables_save(text: str, tool: str) -> tuple[FirewallRule, ...]:
    """Parse the output of ``iptables-save -c``: policies of base chains and rules, in the kernel's order."""
    family = "ip6" if tool.startswith("ip6") else "ip"
    found: list[FirewallRule] = []
    table, numbers = "", {}  # type: ignore[var-annotated]
    for line in text.splitlines():
        if line.startswith("*"):
            table, numbers = line[1:].strip(), {}
        elif match := _CHAIN.match(line):
            chain, policy, packets, size = match.groups()
            if policy != "-":
                hook = chain.lower() if chain in _HOOKS else None
                place = PRIORITIES.get((table, hook), PRIORITIES.get((table, None)))
                found.append(
                    FirewallRule(
                        *(tool, family, table, chain, 0, "", int(packets), int(size), policy), hook=hook, priority=place
                    )
                )
        elif match := _RULE.match(line):
            packets, size, chain, words = match.groups()
            numbers[chain] = numbers.get(chain, 0) + 1
            found.append(FirewallRule(tool, family, table, chain, numbers[chain], words, int(packets), int(size)))
    return tuple(found)


def native_tables(entries: Iterable[Entry]) -> frozenset[tuple[str, str]]:
    """Return the tables, as (family, name), that nft made and not iptables.

    ``iptables-save`` prints them too if they are named like its own, but leaves out words that it does not know. It
    names base chains after their hooks, and gives every rule a counter.
    """
    found = set()
    for entry in entries:
        chain, rule = entry.get("chain"), entry.get("rule")
        if (chain and chain.get("hook") and chain["name"] not in _HOOKS) or (
            rule and not any("counter" in part for part in rule["expr"])
        ):
            item = chain or rule or {}
            found.add((item["family"], item["table"]))
    return frozenset(found)


def parse_listing(text: str) -> list[Entry]:
    """Parse ``nft -j -a list ruleset``; raises JSONDecodeError where nft broke off."""
    found: list[Entry] = json.loads(text)["nftables"]
    return found


def parse_nft(
    entries: Iterable[Entry], text: str, skip: frozenset[tuple[str, str]] = frozenset()
) -> tuple[FirewallRule, ...]:
    """Take chains, handles and counters from a listing, and the rules' words from ``nft -a list ruleset``.

    ``skip`` holds (family, table) pairs that iptables-save has told of already.
    """
    words = _rule_texts(text)
    found: list[FirewallRule] = []
    numbers: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        item: dict[str, Any] = entry.get("chain") or entry.get("rule") or {}
        where = (item.get("family", ""), item.get("table", ""))
        if not item or where in skip or where[1].startswith(TRACE_PREFIX):
            continue
        if "chain" in entry:
            if item.get("policy"):
                found.append(
                    FirewallRule(
                        *("nft", *where, item["name"], 0, ""),
                        policy=item["policy"].upper(),
                        handle=item["handle"],
                        hook=item["hook"],
                        priority=item["prio"],
                    )
                )
            continue
        key = (*where, item["chain"])
        numbers[key] = numbers.get(key, 0) + 1
        counter: dict[str, int] = next(
            (part["counter"] for part in item["expr"] if isinstance(part.get("counter"), dict)), {}
        )
        sentence = words.get((*where, item["handle"]), "")
        found.append(
            FirewallRule(
                "nft", *key, numbers[key], sentence, counter.get("packets"), counter.get("bytes"), handle=item["handle"]
            )
        )
    return tuple(found)


def parse_elements(entries: Iterable[Entry]) -> tuple[MapElement, ...]:
    """Take the elements of named sets and maps from a listing."""
    found = []
    for entry in entries:
        item = entry.get("map") or entry.get("set")
        if item is None or "timeout" in item.get("flags", ()) or item["table"].startswith(TRACE_PREFIX):
            continue
        place = (item["family"], item["table"], item["name"])
        for element in item.get("elem", ()):
            key, value = element if entry.get("map") else (element, "")
            found.append(MapElement(*place, _words(key), _words(value)))
    return tuple(found)


def _words(part: Any) -> str:
    """Return a part of an element as nft writes it: a text, a number, a verdict, or several parts together."""
    if not isinstance(part, dict):
        return str(part)
    ((kind, inside),) = part.items()
    if kind == "concat":
        return " . ".join(map(_words, inside))
    if kind in {"prefix", "elem"}:
        return f"{_words(inside['addr'])}/{inside['len']}" if kind == "prefix" else _words(inside["val"])
    if kind == "range":
        return "-".join(map(_words, inside))
    if kind in {"jump", "goto"}:
        return f"{kind} {inside['target']}"
    return str(kind) if inside is None else f"{kind} {inside}"


def _rule_texts(text: str) -> dict[tuple[str, str, int], str]:
    """Return the words of each rule by (family, table, handle), from nft's own listing."""
    found: dict[tuple[str, str, int], str] = {}
    family = table = ""
    for line in text.splitlines():
        body, separator, handle = line.rpartition(" # handle ")
        if not separator:
            continue
        if match := re.match(r"table (\S+) (\S+) \{", line):
            family, table = match.groups()
        elif not body.rstrip().endswith("{"):
            sentence = re.sub(r"counter packets \d+ bytes \d+", "counter", body.strip())
            found[family, table, int(handle)] = sentence
    return found
