"""Make rulesets comparable: what two programs wrote, or what the kernel lists.

Only differences without a meaning go: the order of options inside a rule, spellings that the kernel shows as one, the
order between Services in a chain they share (kube-proxy's is that of a Go map), counters, and nfacct matches.
Inside a Service, and inside every other chain, order counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Rule = tuple[tuple[str, str], ...]
ChainKey = tuple[str, str]

SHARED = {
    ("nat", "KUBE-SERVICES"),
    ("nat", "KUBE-NODEPORTS"),
    ("filter", "KUBE-SERVICES"),
    ("filter", "KUBE-EXTERNAL-SERVICES"),
    ("filter", "KUBE-NODEPORTS"),
    ("filter", "KUBE-PROXY-FIREWALL"),
}
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_MATCH_ONLY = {"-m"}
# Written by one side and implied by the other, or shown by the kernel whatever was asked for.
_IMPLIED = {"--mask", "--rsource", "--random-fully", "--reject-with", "--nfacct-name"}
_ONLY_COUNTED = "localhost_nps_accepted_pkts"


@dataclass(slots=True)
class Tables:
    """iptables rules: chains by (table, chain), each a list of rules in order; ``deleted`` are those of ``-X``."""

    chains: dict[ChainKey, list[Rule]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def apply(self, text: str) -> None:
        """Do what ``iptables-restore --noflush`` would: a declared chain is emptied, then rules come and go."""
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
            elif line.startswith(":"):
                self.chains[table, line[1:].split()[0]] = []
            elif line.startswith("-X "):
                self.chains.pop((table, line.split()[1]), None)
                self.deleted.add(line.split()[1])
            elif line.startswith("-A "):
                _, chain, rest = line.split(" ", 2)
                if _ONLY_COUNTED not in rest:
                    self.chains.setdefault((table, chain), []).append(canonical(rest))
            elif line.startswith("-I "):
                _, chain, place, rest = line.split(" ", 3)
                self.chains[table, chain].insert(int(place) - 1, canonical(rest))
            elif line.startswith("-D "):
                _, chain, place = line.split(" ")
                del self.chains[table, chain][int(place) - 1]

    @property
    def own(self) -> dict[ChainKey, object]:
        """Return the proxy's chains, comparable: a list of rules, or, where Services share it, rules by Service."""
        return {
            key: _by_service(rules) if key in SHARED else rules
            for key, rules in self.chains.items()
            if key[1].startswith("KUBE-")
        }


def read_tables(text: str) -> Tables:
    """Return the rules in the input of iptables-restore or the output of iptables-save."""
    tables = Tables()
    tables.apply(text)
    return tables


def canonical(rule: str) -> Rule:
    """Return one rule (what follows ``-A chain``) as sorted pairs of option and value.

    >>> canonical('-m tcp -p tcp -d 10.0.0.1/32 ! -s 10.0.0.0/8 -j X') == canonical(
    ...     '! -s 10.0.0.0/8 -d 10.0.0.1 -p tcp -m tcp -j X')
    True
    """
    words = [(quoted, True) if quoted else (bare, False) for quoted, bare in _WORD.findall(rule)]
    pairs: list[tuple[str, str]] = []
    negated = ""
    index = 0
    while index < len(words):
        option = words[index][0]
        index += 1
        if option == "!":
            negated = "! "
            continue
        values: list[str] = []
        while index < len(words) and (words[index][1] or not _is_option(words[index][0])):
            values.append(words[index][0])
            index += 1
        if option not in _MATCH_ONLY and option not in _IMPLIED:
            pairs.append(_pair(option, " ".join(values), negated))
        negated = ""
    return tuple(sorted(pairs))


def _is_option(word: str) -> bool:
    return word == "!" or (word.startswith("-") and len(word) > 1)


def _pair(option: str, value: str, negated: str) -> tuple[str, str]:
    if option in {"-s", "-d"}:
        value = value.removesuffix("/128") if ":" in value else value.removesuffix("/32")
    elif option in {"--or-mark", "--xor-mark"}:
        value = f"{value}/{value if option == '--or-mark' else '0x0'}"
        option = "--set-xmark"
    elif option == "--probability":
        value = f"{float(value):.8f}"
    elif option == "--ctstate":
        value = ",".join(sorted(value.split(",")))
    if option in {"--set-xmark", "--mark"}:
        value = "/".join(hex(int(part, 16)) for part in value.split("/"))
    return f"{negated}{option}", value


def _by_service(rules: Iterable[Rule]) -> dict[str, object]:
    """Return rules by the Service in their comment; those of none come with how many Services' rules follow them."""
    grouped: dict[str, list[Rule]] = {}
    fixed: list[Rule] = []
    for rule in rules:
        first = dict(rule).get("--comment", "").split(" ")[0]
        if "/" in first:
            grouped.setdefault(first, []).append(rule)
            if fixed:
                grouped.setdefault("a Service after the last rule", []).append(rule)
        else:
            fixed.append(rule)
    return {**grouped, "": sorted(fixed)}


@dataclass(slots=True)
class NftTable:
    """One nftables table: what each object is declared as, rules by chain in order, elements by set or map."""

    objects: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, script: str) -> None:
        """Do what ``nft -f`` would do with a script of one command a line."""
        for line in script.splitlines():
            words = line.split(" ", 5)
            if len(words) < 4 or line.startswith("#"):  # noqa: PLR2004 (verb, kind, family, table)
                continue
            verb, kind, name = words[0], words[1], words[4] if len(words) > 4 else ""  # noqa: PLR2004 (the name)
            rest = _plain(words[5]) if len(words) > 5 else ""  # noqa: PLR2004 (what follows)
            self._do(verb, kind, name, rest)

    def _do(self, verb: str, kind: str, name: str, rest: str) -> None:
        if kind == "table":
            if verb == "delete":
                for part in (self.objects, self.rules, self.elements):
                    part.clear()
        elif kind == "rule":
            self.rules[name].append(rest)
        elif kind == "element":
            self._element(verb, name, rest)
        elif verb == "add":
            self.objects.setdefault(f"{kind} {name}", rest)
            self._content(kind).setdefault(name, [] if kind == "chain" else {})
        elif verb == "flush":
            self._content(kind)[name].clear()
        else:
            del self.objects[f"{kind} {name}"], self._content(kind)[name]

    def _content(self, kind: str) -> dict[str, Any]:
        return self.rules if kind == "chain" else self.elements

    def _element(self, verb: str, name: str, rest: str) -> None:
        key, value = _element(rest)
        if verb == "delete":
            del self.elements[name][key]
        elif self.elements[name].setdefault(key, value) != value:
            raise ValueError(f"{name} holds {key} already, with another value")


def read_script(script: str) -> NftTable:
    """Return the table that a script makes from nothing."""
    table = NftTable()
    # A dump may name elements before their set, as it names rules before their chain.
    lines = sorted(script.splitlines(), key=lambda line: line.startswith(("add rule", "add element")))
    table.apply("\n".join(lines))
    return table


def read_listing(listing: str) -> dict[str, list[str]]:
    """Return the blocks of ``nft -s list table``, by first line; elements are sorted, rules are in order."""
    blocks: dict[str, list[str]] = {}
    name = ""
    joined = re.sub(r",\n\s+", ", ", listing)
    for line in joined.splitlines():
        text = line.strip()
        if text.endswith("{") and "elements" not in text:
            name = text
            blocks[name] = []
        elif text == "}":
            name = next(iter(blocks), "")
        elif text.startswith("elements = {"):
            inner = text.removeprefix("elements = {").removesuffix("}")
            blocks[name] += sorted(item.strip() for item in inner.split(", "))
        elif text:
            blocks[name].append(text)
    return blocks


def _plain(text: str) -> str:
    return re.sub(r"0x0+(?=[0-9a-f])", "0x", text)


def _element(rest: str) -> tuple[str, str]:
    inner = rest.removeprefix("{ ").removesuffix(" }")
    key, colon, value = inner.partition(" : ")
    key, comment, words = key.partition(" comment ")
    return key, f"{comment}{words}{colon}{value}"
