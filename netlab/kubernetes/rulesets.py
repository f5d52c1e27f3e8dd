"""Make rulesets comparable: what two programs wrote, or what the kernel lists.

Only differences without a meaning go: the order of options inside a rule, spellings that the kernel shows as one, the
order between Services in a chain they share (kube-proxy's is that of a Go map), counters, and nfacct matches.
Inside a Service, and inside every other chain, order counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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
        """Do what ``iptables-restore --noflush`` would: a declared chain is emptied, then rules are added."""
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
            self._do(f"{verb} {kind}", name, rest)

    def _do(self, command: str, name: str, rest: str) -> None:
        if command in {"add table", "delete table"}:
            if command == "delete table":
                self.objects.clear()
                self.rules.clear()
                self.elements.clear()
        elif command == "add chain":
            self.objects.setdefault(f"chain {name}", rest)
            self.rules.setdefault(name, [])
        elif command in {"add set", "add map"}:
            self.objects.setdefault(f"{command[4:]} {name}", rest)
            self.elements.setdefault(name, {})
        elif command == "add rule":
            self.rules[name].append(rest)
        elif command == "add element":
            key, value = _element(rest)
            self.elements[name][key] = value
        elif command == "delete element":
            del self.elements[name][_element(rest)[0]]
        elif command == "flush chain":
            self.rules[name].clear()
        elif command == "flush set":
            self.elements[name].clear()
        elif command == "delete chain":
            del self.objects[f"chain {name}"], self.rules[name]
        elif command in {"delete set", "delete map"}:
            del self.objects[f"{command[7:]} {name}"], self.elements[name]
        else:
            raise ValueError(f"expected a command that the proxy uses, found {command}")


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
