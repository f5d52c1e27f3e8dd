"""Write a first sync in many small transactions: it is quick that way, takes little memory, and fits any user's lab.

The time of iptables-restore grows with the square of a transaction's length. Here each transaction makes whole chains,
after those that they lead to, and the jumps from the kernel's chains come last: so no packet meets a half-built chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.batches import by_reach
from netlab.kubernetes.proxy.iptables_fixed import (
    CANARY,
    FILTER_CHAINS,
    JUMPS,
    MARTIANS,
    NAT_CHAINS,
    SHARED_CHAINS,
    fixed_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netlab.kubernetes.proxy.iptables_text import Ruleset


def first_parts(rules: Ruleset, size: int) -> Iterator[str]:
    """Yield the transactions of a first sync, of about ``size`` lines each; together they give what `first` gives."""
    yield f"*mangle\n:{CANARY} - [0:0]\nCOMMIT\n"
    yield _transaction("nat", (*NAT_CHAINS, CANARY), [])
    yield _transaction("filter", (*FILTER_CHAINS, MARTIANS, CANARY), [])
    yield from _own(rules, size)
    # Those that lead nowhere else first.
    for table, chain in sorted(SHARED_CHAINS, key=lambda place: place[1] == "KUBE-SERVICES"):
        lines = (line for fragment in rules.fragments.values() for line in _lines(fragment.shared(table).get(chain)))
        for part in _pack((*lines, *fixed_lines(rules.state.settings, table, chain)), size):
            yield _transaction(table, (), part)
    for table in ("filter", "nat"):
        yield _transaction(table, (), [f"-A {jump.spec}\n" for jump in JUMPS if jump.table == table])


def _own(rules: Ruleset, size: int) -> Iterator[str]:
    """Yield the chains that belong to Services and endpoints."""
    declared: list[str] = []
    lines: list[str] = []
    for fragment in rules.fragments.values():
        for chain in by_reach(fragment.chains):
            declared.append(chain)
            for line in _lines(fragment.chains[chain]):
                lines.append(line)
                if len(lines) + len(declared) >= size:
                    yield _transaction("nat", declared, lines)
                    declared, lines = [], []
    if declared or lines:
        yield _transaction("nat", declared, lines)


def _lines(text: str | None) -> list[str]:
    return text.splitlines(keepends=True) if text else []


def _pack(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    part: list[str] = []
    for line in lines:
        part.append(line)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _transaction(table: str, chains: Iterable[str], lines: Iterable[str]) -> str:
    # iptables-restore looks for the place of each chain in a sorted list.
    declared = (f":{chain} - [0:0]\n" for chain in sorted(chains))
    return "".join((f"*{table}\n", *declared, *lines, "COMMIT\n"))
