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
    """Yield the transactions of a first sync, of about ``size`` lines each; together they give what `first` gives.

    They come in pieces, which are the texts of the ruleset: none is put together, so that they take no more memory.
    """
    yield f"*mangle\n:{CANARY} - [0:0]\nCOMMIT\n"
    yield from _transaction("nat", (*NAT_CHAINS, CANARY), [])
    yield from _transaction("filter", (*FILTER_CHAINS, MARTIANS, CANARY), [])
    own = (
        (chain, fragment.chains[chain]) for fragment in rules.fragments.values() for chain in by_reach(fragment.chains)
    )
    yield from _packed("nat", own, size)
    # Those that lead nowhere else first.
    for table, chain in sorted(SHARED_CHAINS, key=lambda place: place[1] == "KUBE-SERVICES"):
        shared = (fragment.shared(table).get(chain, "") for fragment in rules.fragments.values())
        lines = (*(text for text in shared if text), *fixed_lines(rules.state.settings, table, chain))
        yield from _packed(table, (("", text) for text in lines), size)
    for table in ("filter", "nat"):
        yield from _transaction(table, (), [f"-A {jump.spec}\n" for jump in JUMPS if jump.table == table])


def _packed(table: str, texts: Iterable[tuple[str, str]], size: int) -> Iterator[str]:
    """Yield transactions of texts, each with the chain that it makes, if it makes one; a long text is cut."""
    chains: list[str] = []
    parts: list[str] = []
    count = 0
    for chain, text in texts:
        if chain:
            chains.append(chain)
        for part in (text,) if text.count("\n") <= size else text.splitlines(keepends=True):
            parts.append(part)
            count += part.count("\n")
            if count + len(chains) >= size:
                yield from _transaction(table, chains, parts)
                chains, parts, count = [], [], 0
    if chains or parts:
        yield from _transaction(table, chains, parts)


def _transaction(table: str, chains: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
    yield f"*{table}\n"
    # iptables-restore looks for the place of each chain in a sorted list.
    yield from (f":{chain} - [0:0]\n" for chain in sorted(chains))
    yield from lines
    yield "COMMIT\n"
