"""Read from ``iptables-save`` what is there already: chains to delete, jumps not to add twice, a canary that died."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.iptables_fixed import CANARY, JUMPS, Jump

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Saved:
    """The chains of each table, and those of the proxy's jumps that are there."""

    chains: Mapping[str, tuple[str, ...]]
    jumps: tuple[Jump, ...]

    @property
    def intact(self) -> bool:
        """Say whether the proxy's chains were left alone: its canaries live, and every jump is in place.

        Where this is false somebody flushed a table, and a full sync is due.
        """
        alive = all(CANARY in self.chains.get(table, ()) for table in ("mangle", "filter", "nat"))
        return alive and len(self.jumps) == len(JUMPS)


def read_saved(text: str) -> Saved:
    """Return what the output of ``iptables-save`` or ``ip6tables-save`` holds for the proxy."""
    chains: dict[str, list[str]] = {}
    table = ""
    rules: set[tuple[str, str]] = set()
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
            chains[table] = []
        elif line.startswith(":"):
            chains[table].append(line[1:].split(" ", 1)[0])
        elif line.startswith("-A "):
            rules.add((table, line[3:]))
    found = tuple(jump for jump in JUMPS if (jump.table, jump.spec) in rules)
    return Saved({name: tuple(names) for name, names in chains.items()}, found)
