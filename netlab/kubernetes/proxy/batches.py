"""Cut a text into transactions that are small enough for an ordinary user's lab.

One transaction is one queue of netlink messages, and has to fit the socket's send buffer. Only the machine's real root
may make that buffer as large as it takes; in a user namespace ``iptables-restore`` fails with "Message too long" above
some 460 rules a COMMIT, and ``nft -f`` above one or two thousand lines.

What is given up is the one atomic switch from old rules to new ones. What is kept: a chain is emptied and filled in one
transaction, after the chains it leads to and before those that lead to it, and the jumps from the kernel's chains come
last. So no packet meets a half-built chain, except a chain that is itself longer than a batch and in use already;
`iptables.smallest` does not write such chains anew.

A first sync loses nothing by it, since the jumps come last, and gains much: the time of ``iptables-restore`` grows with
the square of a transaction's length. For 10,000 Services with three endpoints each it took 13 s in one transaction, and
2.6 s in transactions of `FIRST` lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RULES = 200
FIRST = 1000
LINES = 500
#: How long a piece of an nft script may be that is nothing but rules: each becomes three or more messages.
CHARACTERS = 30_000

# Chains in the order of who leads to whom: the first lead to none of the others.
_IPTABLES_ORDER = (
    "KUBE-MARK-MASQ",
    "KUBE-PROXY-CANARY",
    "KUBE-SEP-",
    "KUBE-SVC-",
    "KUBE-SVL-",
    "KUBE-EXT-",
    "KUBE-FW-",
    "KUBE-NODEPORTS",
    "KUBE-",
)
_NFT_ORDER = ("endpoint-", "service-", "local-", "external-", "firewall-")
_ELEMENT = " element "


def split_iptables(text: str, rules: int = RULES) -> str:
    """Return a text for ``iptables-restore --noflush`` that does the same, ``rules`` lines a transaction at most."""
    parts: list[str] = []
    for table, lines in split_tables(text):
        for batch in _pack(_iptables_units(lines), rules):
            parts += (f"*{table}\n", *batch, "COMMIT\n")
    return "".join(parts)


def split_nft(script: str, lines: int = LINES) -> list[str]:
    """Return scripts for ``nft -f``, to be run one after the other, that do the same; each has ``lines`` at most."""
    found = script.splitlines(keepends=True)
    names = {_name(line) for line in found if " delete set " in f" {line}"}
    if any(" add set " in f" {line}" and _name(line) in names for line in found if "/" in line):
        return [script]  # a set is made anew: that needs the chains that use it emptied in the same transaction
    return ["".join(batch) for batch in _pack(_nft_units(found), lines)]


def by_reach(chains: Iterable[str]) -> list[str]:
    """Return iptables chains sorted such that each comes after those that it leads to."""
    return sorted(chains, key=lambda chain: _place(chain, _IPTABLES_ORDER))


def split_tables(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each table of a text, with the lines between its name and COMMIT."""
    table, lines = "", list[str]()
    for line in text.splitlines(keepends=True):
        if line.startswith("*"):
            table, lines = line[1:].strip(), []
        elif line == "COMMIT\n":
            yield table, lines
        else:
            lines.append(line)


def _iptables_units(lines: list[str]) -> list[list[str]]:
    """Return the lines of a table in groups that belong together, in the order they have to be done."""
    declared = {line[1:].split(" ", 1)[0]: [line] for line in lines if line.startswith(":")}
    deleted = [line for line in lines if line.startswith("-X ")]
    gone = {line.split()[1] for line in deleted}
    changes: list[str] = []
    for line in lines:
        if line.startswith("-A ") and (group := declared.get(line.split(" ", 2)[1])):
            group.append(line)
        elif line.startswith("-") and not line.startswith("-X "):
            changes.append(line)
    kept = [(chain, group) for chain, group in declared.items() if chain not in gone]
    kept.sort(key=lambda pair: _place(pair[0], _IPTABLES_ORDER))
    # A chain can be deleted only once nothing leads to it, and the chains that go may lead to one another.
    emptied = [declared[chain] for chain in declared if chain in gone]
    return [
        *(group for _, group in kept),
        *_by_chain(changes),
        *emptied,
        *([declared[line.split()[1]][0], line] for line in deleted),
    ]


def _by_chain(changes: Iterable[str]) -> list[list[str]]:
    """Return changes by rule number grouped by chain: half of them would leave numbers that mean other rules."""
    groups: dict[str, list[str]] = {}
    for line in changes:
        groups.setdefault(line.split(" ", 2)[1], []).append(line)
    return list(groups.values())


def _nft_units(lines: list[str]) -> list[list[str]]:
    fixed: list[str] = []
    sets: list[list[str]] = []
    chains: dict[str, list[str]] = {}
    elements: dict[str, list[str]] = {}
    last: list[list[str]] = []
    for line in lines:
        name = _name(line)
        if _ELEMENT in line and not name.startswith("nodeport-ips"):
            key = line.partition(" { ")[2].partition(" : ")[0].partition(" comment ")[0].removesuffix(" }\n")
            elements.setdefault(f"{name} {key}", []).append(line)
        elif "/" not in name:
            fixed.append(line)
        elif line.startswith("add set "):
            sets.append([line])
        elif line.startswith(("delete set ", "delete chain ")):
            last.append([line])
        else:
            chains.setdefault(name, []).append(line)
    # What is only emptied is no longer in use, and some sets can go only after that.
    emptied = [group for group in chains.values() if not group[0].startswith("add chain ")]
    filled = [(name, group) for name, group in chains.items() if group[0].startswith("add chain ")]
    filled.sort(key=lambda pair: _place(pair[0], _NFT_ORDER))
    return [fixed, *sets, *(group for _, group in filled), *elements.values(), *emptied, *last]


def _name(line: str) -> str:
    """Return the name in an nft command: ``verb kind family table name ...``."""
    words = line.split(" ", 5)
    return words[4].strip() if len(words) > 4 else ""  # noqa: PLR2004 (the fifth word)


def _place(name: str, order: tuple[str, ...]) -> int:
    return next((place for place, prefix in enumerate(order) if name.startswith(prefix)), len(order))


def _pack(units: Iterable[list[str]], size: int) -> Iterator[list[str]]:
    """Yield batches of whole units; a unit that is longer than a batch is cut."""
    batch: list[str] = []
    for unit in units:
        if len(batch) + len(unit) > size and batch:
            yield batch
            batch = []
        batch += unit
        while len(batch) > size:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch
