"""Hold the iptables rules of a `State` by Service, and put texts together from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.iptables_fixed import FILTER_CHAINS, NAT_CHAINS, SHARED_CHAINS, fixed_lines
from netlab.kubernetes.proxy.iptables_rules import Fragment, write_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from netlab.kubernetes.proxy.model import State

LARGE_CLUSTER = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """The rules of a `State`, by Service. ``comments`` is off in clusters with more than 1,000 endpoints."""

    state: State
    comments: bool
    fragments: Mapping[str, Fragment]

    @property
    def chains(self) -> set[str]:
        """Return the names of all chains that belong to a Service or an endpoint."""
        return {chain for fragment in self.fragments.values() for chain in fragment.chains}

    def lines(self, table: str, chain: str) -> Iterator[str]:
        """Yield the rules of a shared chain: those of each Service as one text, then the fixed ones."""
        for fragment in self.fragments.values():
            lines = fragment.shared(table).get(chain)
            if lines:
                yield lines
        yield from fixed_lines(self.state.settings, table, chain)


def build(state: State, previous: Ruleset | None = None) -> Ruleset:
    """Return the rules of ``state``; those of Services that are the same in ``previous`` are taken from there."""
    comments = state.endpoint_count <= LARGE_CLUSTER
    settings = state.settings
    old_views: Mapping[str, object] = {}
    old: Mapping[str, Fragment] = {}
    if previous is not None and previous.comments == comments and previous.state.settings == settings:
        old_views, old = previous.state.services, previous.fragments
    return Ruleset(
        state,
        comments,
        {
            name: old[name] if old_views.get(name) is view else write_service(view, settings, comments=comments)
            for name, view in sorted(state.services.items())
        },
    )


@dataclass(slots=True)
class Text:
    """The input of iptables-restore by table: chains to declare (which empties them), lines, and chains to delete."""

    chains: dict[str, set[str]] = field(default_factory=lambda: {"filter": set(), "nat": set()})
    lines: dict[str, list[str]] = field(default_factory=lambda: {"filter": [], "nat": []})
    deleted: set[str] = field(default_factory=set)

    def add_shared(self, rules: Ruleset) -> None:
        """Add the chains that Services share, whole."""
        self.chains["filter"].update(FILTER_CHAINS)
        self.chains["nat"].update(NAT_CHAINS)
        for table, chain in SHARED_CHAINS:
            lines = list(rules.lines(table, chain))
            if lines:
                self.chains[table].add(chain)
                self.lines[table] += lines

    def add_own(self, fragment: Fragment) -> None:
        """Add the chains that belong to one Service."""
        self.chains["nat"].update(fragment.chains)
        self.lines["nat"] += fragment.chains.values()

    def render(self, start: str = "") -> str:
        """Return the text after ``start``; a table without anything to do is left out."""
        parts = [start]
        for table, chains in self.chains.items():
            gone = self.deleted if table == "nat" else set()
            # iptables-restore looks for the place of each chain in a sorted list: unsorted names cost it minutes.
            declared = "".join(f":{chain} - [0:0]\n" for chain in sorted(chains | gone))
            if declared or self.lines[table]:
                # The lines stay apart until the end: joined twice, they would be in memory twice.
                deletions = (f"-X {chain}\n" for chain in sorted(gone))
                parts += (f"*{table}\n", declared, *self.lines[table], *deletions, "COMMIT\n")
        return "".join(parts)
