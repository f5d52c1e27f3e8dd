"""Bring rules into a host and take them out again: one class for each mode, with the same methods.

They keep the ruleset that was loaded last, and write the way from there to the next one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from netlab.errors import CommandError
from netlab.kubernetes.proxy import iptables, nftables
from netlab.kubernetes.proxy.batches import CHARACTERS, FIRST, RULES, split_iptables, split_nft, split_tables
from netlab.kubernetes.proxy.facts import rule_counts
from netlab.kubernetes.proxy.iptables_first import first_parts
from netlab.kubernetes.proxy.iptables_fixed import CANARY, OWN_PREFIXES, SHARED_CHAINS
from netlab.kubernetes.proxy.iptables_saved import read_saved
from netlab.kubernetes.proxy.loading import NFT, Pieces, load, load_file, rules_file
from netlab.kubernetes.proxy.model import Family
from netlab.kubernetes.proxy.nftables_script import FIXED_CHAINS, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.host import Host
    from netlab.kubernetes.proxy.model import State

#: Chains are deleted this many seconds after they were emptied.
SWEEP_AFTER = 1.0


class Backend(Protocol):
    """What the applier needs of a mode."""

    @property
    def mode(self) -> str:
        """Return the mode's name."""

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Return chains, as (table, chain), whose use tells whether somebody changed what all Services share."""

    @property
    def rules(self) -> iptables.Ruleset | nftables.Ruleset | None:
        """Return the ruleset that was loaded last."""

    @property
    def written(self) -> Mapping[str, int]:
        """Return how many rules the last sync wrote, by table of iptables."""

    def full(self, state: State, *, fresh: bool = False) -> list[str]:
        """Write every rule, whatever is there; return sentences on what had to be left out.

        ``fresh`` says that the host never had any rules.
        """

    def renew(self, state: State) -> list[str]:
        """Write every rule again, though nobody is known to have changed one; return sentences as `full` does."""

    def change(self, state: State) -> bool:
        """Write what leads from the last ruleset to this state's; say whether there was anything to write."""

    def sweep(self) -> bool:
        """Delete what earlier changes left to be deleted; say whether there was anything."""

    def clean(self) -> None:
        """Take every rule away."""


class IptablesBackend:
    """Rules by ``iptables-restore --noflush``, or ``ip6tables-restore``."""

    mode = "iptables"
    places = (*SHARED_CHAINS, *((table, CANARY) for table in ("mangle", "nat", "filter")))

    def __init__(self, host: Host, family: Family) -> None:
        """Write rules of one family into one host."""
        self.rules: iptables.Ruleset | None = None
        self.written: dict[str, int] = {}
        self._host = host
        self._tool = "iptables" if family is Family.IPV4 else "ip6tables"
        self._command = (f"{self._tool}-restore", "--noflush", "-w")
        #: Chains that should go, and that somebody else's rule leads to.
        self._stuck: list[str] = []

    def full(self, state: State, *, fresh: bool = False) -> list[str]:
        """Write every rule, whatever is there; return sentences on what had to be left out."""
        saved = read_saved("" if fresh else self._save())
        new = iptables.build(state, self.rules)
        self.rules, self._stuck = None, []
        there = saved.chains.get("nat", ())
        if not saved.chains:
            size = FIRST if self._host.namespace.sandbox.privileged else RULES
            load(self._host, self._command, first_parts(new, size))
            warnings: list[str] = []
        else:
            batch = 0 if saved.jumps else FIRST
            start = iptables.prepare(saved.jumps)
            stale = [chain for chain in there if chain.startswith(OWN_PREFIXES) and chain not in new.chains]
            warnings = self._full(start, (new, stale), batch)
        self.rules, self.written = new, rule_counts(new)
        return warnings

    def renew(self, state: State) -> list[str]:
        """Write every rule again: a chain is emptied and filled in one transaction."""
        return self.full(state)

    def _full(self, start: str, rules: tuple[iptables.Ruleset, list[str]], batch: int) -> list[str]:
        new, stale = rules
        try:
            self._load(start + iptables.full(new, existing=stale), batch)
        except CommandError:
            if not stale:
                raise
            # Somebody else's rule may lead to a chain that has to go. The others must not suffer from that.
            self._load(start + iptables.full(new), batch)
            self._load("*nat\n" + "".join(f":{chain} - [0:0]\n" for chain in stale) + "COMMIT\n")
            self._stuck = self._delete_each("nat", stale)
        return [f"The chain {chain} stays, empty: a rule that is not the proxy's leads to it." for chain in self._stuck]

    def _delete_each(self, table: str, chains: Iterable[str]) -> list[str]:
        """Delete chains that are empty; return those to which somebody else's rule leads."""
        stuck = []
        for chain in chains:
            try:
                self._load(f"*{table}\n:{chain} - [0:0]\n-X {chain}\nCOMMIT\n")
            except CommandError:
                stuck.append(chain)
        return stuck

    def change(self, state: State) -> bool:
        """Write what leads from the last ruleset to this state's; say whether there was anything to write."""
        assert self.rules is not None  # noqa: S101 - the applier begins with a full sync
        new = iptables.build(state, self.rules)
        text = iptables.smallest(self.rules, new)
        if text:
            self._load(text)
            self.written = {table: sum(map(_is_rule, lines)) for table, lines in split_tables(text)}
        self.rules = new
        return bool(text)

    def sweep(self) -> bool:
        """Try again to delete what could not be deleted; say whether any of it went."""
        before = len(self._stuck)
        self._stuck = self._delete_each("nat", self._stuck)
        return len(self._stuck) < before

    def clean(self) -> None:
        """Take every rule away, those of an earlier proxy too."""
        saved = read_saved(self._save())
        text = iptables.clean(saved.chains, saved.jumps)
        self.rules, self._stuck = None, []
        try:
            if text:
                self._load(text)
        except CommandError:
            # Some tables may be done already.
            saved = read_saved(self._save())
            text = iptables.clean(saved.chains, saved.jumps)
            self._load("".join(line for line in text.splitlines(keepends=True) if not line.startswith("-X ")))
            for table, lines in split_tables(text):
                self._delete_each(table, [line.split()[1] for line in lines if line.startswith("-X ")])

    def _save(self) -> str:
        return self._host.run(f"{self._tool}-save", check=True).stdout

    def _load(self, text: str, batch: int = 0) -> None:
        """Run iptables-restore; ``batch`` is how many lines a transaction may have, 0 for any number.

        An ordinary user's lab allows a few hundred.
        """
        size = batch if self._host.namespace.sandbox.privileged else RULES
        load(self._host, self._command, [split_iptables(text, size) if size else text])


def _is_rule(line: str) -> bool:
    return line.startswith(("-A ", "-I "))


class NftablesBackend:
    """Rules in a table of their own, by ``nft -f``."""

    mode = "nftables"
    places = tuple((TABLE, chain) for chain in FIXED_CHAINS)

    def __init__(self, host: Host, family: Family) -> None:
        """Write rules of one family into one host."""
        self.rules: nftables.Ruleset | None = None
        self.written: dict[str, int] = {}
        self._host = host
        self._family = family
        #: Commands that delete chains, and when they may be given (see `nftables.partial`).
        self._pending: dict[str, float] = {}

    def full(self, state: State, *, fresh: bool = False) -> list[str]:
        """Replace the table; return sentences on what had to be left out."""
        new = nftables.build(state, self.rules)
        self.rules = None
        if not fresh:
            self._load(nftables.replace(new))
        elif self._host.namespace.sandbox.privileged:
            with rules_file() as file:
                nftables.write_first(new, file)
                load_file(self._host, NFT, file)
        else:
            with Pieces(self._host, NFT, CHARACTERS) as pieces:
                nftables.write_first(new, pieces)
        self._pending = {}
        self.rules = new
        return list(new.warnings)

    def renew(self, state: State) -> list[str]:
        """Write every rule again; which client belongs to which endpoint stays known."""
        try:
            self.change(state)
            assert self.rules is not None  # noqa: S101 - the change has set it
            self._load(nftables.renew(self.rules))
        except CommandError:
            return self.full(state)
        return list(self.rules.warnings)

    def change(self, state: State) -> bool:
        """Write what leads from the last ruleset to this state's; say whether there was anything to write."""
        assert self.rules is not None  # noqa: S101 - the applier begins with a full sync
        old, new = self.rules, nftables.build(state, self.rules)
        script = nftables.partial(old, new)
        if script:
            self._load(script)
            self._postpone(old, new)
        self.rules = new
        return bool(script)

    def _postpone(self, old: nftables.Ruleset, new: nftables.Ruleset) -> None:
        if self._pending:
            there = {chain for fragment in new.fragments.values() for chain, _ in fragment.own}
            self._pending = {line: due for line, due in self._pending.items() if line.split()[-1] not in there}
        due = time.monotonic() + SWEEP_AFTER
        for line in nftables.sweep(old, new).splitlines():
            self._pending[line] = due

    def sweep(self) -> bool:
        """Delete the chains that were emptied a second ago or earlier; say whether there were any."""
        now = time.monotonic()
        ready = [line for line, due in self._pending.items() if due <= now]
        if ready:
            self._load("".join(f"{line}\n" for line in ready))
            for line in ready:
                del self._pending[line]
        return bool(ready)

    def clean(self) -> None:
        """Take the table away, an earlier proxy's too."""
        self._load(nftables.clean(self._family))
        self._pending = {}
        self.rules = None

    def _load(self, script: str) -> None:
        scripts = [script] if self._host.namespace.sandbox.privileged else split_nft(script)
        for part in scripts:
            load(self._host, NFT, [part])


BACKENDS: dict[str, type[IptablesBackend | NftablesBackend]] = {
    "iptables": IptablesBackend,
    "nftables": NftablesBackend,
}
