"""Apply the Service proxy's rules on one node, and keep them what the objects say.

The rules are those of `netlab.kubernetes.proxy`, which is pure; this is its hand in the kernel.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from netlab.errors import CommandError
from netlab.kubernetes.node import restore_tool
from netlab.kubernetes.proxy import Field, Inventory, conntrack, facts, iptables, nftables, read_mode, read_settings
from netlab.kubernetes.proxy.batches import split_iptables, split_nft
from netlab.kubernetes.proxy.iptables_fixed import OWN_PREFIXES
from netlab.kubernetes.proxy.iptables_saved import Saved, read_saved

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from netlab.host import Host
    from netlab.kubernetes.proxy import Family, Settings

_log = logging.getLogger(__name__)
#: Seconds that one load of rules may take.
TIMEOUT = 600.0


class Rules(Protocol):
    """One mode of the proxy on one node, for one family."""

    def sync(self, inventory: Inventory) -> None:
        """Make the kernel's rules those of the inventory."""

    def forget(self) -> None:
        """Take nothing for granted: the next sync is a full one."""

    def clean(self) -> None:
        """Take all of the proxy's rules away."""


class NodeProxy:
    """The proxy of one node for one family: it keeps the objects it was told of, and the rules that follow."""

    def __init__(self, host: Host, config: dict[str, Any], node: dict[str, Any], family: Family) -> None:
        """Prepare; nothing is written before the first `sync`."""
        self.host, self.family = host, family
        self.settings = _settings(config, node, family)
        self.mode = read_mode(Field(config, "KubeProxyConfiguration"))
        self.inventory = Inventory.empty(self.settings)
        self.rules: Rules = IptablesRules(host, family) if self.mode == "iptables" else NftablesRules(host, family)
        self._synced: Inventory | None = None
        #: Seconds of the last sync, and how many there were; `failures` counts those that had to be done again.
        self.seconds, self.syncs, self.failures = 0.0, 0, 0

    def update(self, changed: Iterable[Field], removed: Iterable[tuple[str, str]]) -> None:
        """Take note of objects that were made, changed or removed."""
        self.inventory = self.inventory.update(changed, removed)

    def sync(self) -> None:
        """Make the kernel's rules those of the objects; does nothing where no rule can have changed."""
        before, now = self._synced, self.inventory
        if before is now or (before is not None and before.state.services == now.state.services):
            return
        began = time.perf_counter()
        for key, value in facts.sysctls(self.settings, self.mode).items():
            if before is None:
                self.host.sysctl[key] = value
        try:
            self.rules.sync(now)
        except CommandError as error:
            # As in kube-proxy: what failed half-way is followed by a full sync, which takes nothing for granted.
            self.failures += 1
            self.rules.forget()
            self.note(f"a sync failed and is done again in full: {error}")
            self.rules.sync(now)
        self.syncs += 1
        self.seconds = time.perf_counter() - began
        if before is not None and conntrack.needs_look(before.state, now.state):
            forget_stale(self.host, now)
        self._synced = now

    def clean(self) -> None:
        """Take all of the proxy's rules away, as a proxy that is switched off does."""
        self.rules.clean()
        self._synced = None

    def note(self, words: str) -> None:
        """Say something in the log, under the node's name."""
        _log.warning("node %s: %s", self.host.name, words)

    def health_checks(self) -> dict[str, facts.HealthCheck]:
        """Return what the health-check node ports of this node have to answer."""
        return facts.health_checks(self.inventory.state)


def _settings(config: dict[str, Any], node: dict[str, Any], family: Family) -> Settings:
    return read_settings(Field(config, "KubeProxyConfiguration"), Field(node, "Node"), family)


class IptablesRules:
    """The iptables mode: ``iptables-restore --noflush``, one transaction where the lab is root's, else several."""

    def __init__(self, host: Host, family: Family) -> None:
        """Write on one host."""
        self._host, self._family = host, family
        self._written: iptables.Ruleset | None = None
        #: Chains that should be gone, and that somebody else's rule still leads to.
        self._stuck: set[str] = set()

    def sync(self, inventory: Inventory) -> None:
        """Write what changed; everything, the first time and after a failure."""
        rules = iptables.build(inventory.state, self._written)
        if self._written is None:
            saved = self._saved()
            self._restore(iptables.prepare(saved.jumps) + iptables.full(rules))
            # One that cannot be deleted would take the whole transaction with it.
            ours = {chain for chain in saved.chains.get("nat", ()) if chain.startswith(OWN_PREFIXES)}
            self._stuck = ours - rules.chains
        else:
            self._restore(iptables.smallest(self._written, rules))
        self._written = rules
        self._unstick(rules.chains)

    def forget(self) -> None:
        """Take nothing for granted: the next sync is a full one."""
        self._written = None

    def clean(self) -> None:
        """Take every chain and jump of the proxy away, as far as nobody else's rule leads there."""
        self._written = None
        saved = self._saved()
        try:
            self._restore(iptables.clean(saved.chains, saved.jumps))
        except CommandError:
            self._restore(iptables.clean({}, saved.jumps))
            self._stuck = {chain for chain in saved.chains.get("nat", ()) if chain.startswith(OWN_PREFIXES)}
            self._unstick(())

    def _unstick(self, wanted: Container[str]) -> None:
        """Try to delete the chains that are left over: all at once, or else one by one."""
        self._stuck = {chain for chain in self._stuck if chain not in wanted}
        if not self._stuck:
            return
        chains = sorted(self._stuck)
        emptied = "".join(f":{chain} - [0:0]\n" for chain in chains)
        self._restore(f"*nat\n{emptied}COMMIT\n")
        for chain in chains:
            try:
                self._restore(f"*nat\n:{chain} - [0:0]\n-X {chain}\nCOMMIT\n")
            except CommandError:
                _log.warning("node %s: a rule leads to %s, which can not be deleted yet", self._host.name, chain)
            else:
                self._stuck.discard(chain)

    def _saved(self) -> Saved:
        return read_saved(self._run(self._tool("save"), "").stdout)

    def _tool(self, verb: str) -> str:
        return restore_tool(self._family.version).replace("restore", verb)

    def _restore(self, text: str) -> None:
        if not text:
            return
        if not self._host.lab.sandbox.privileged:
            text = split_iptables(text)
        self._run(self._tool("restore"), text, "--noflush", "-w")

    def _run(self, tool: str, text: str, *options: str) -> Any:
        return self._host.run(tool, *options, input=text, check=True, timeout=TIMEOUT)


class NftablesRules:
    """The nftables mode: ``nft -f``."""

    def __init__(self, host: Host, family: Family) -> None:
        """Write on one host."""
        self._host, self._family = host, family
        self._written: nftables.Ruleset | None = None

    def sync(self, inventory: Inventory) -> None:
        """Write what changed; the whole table, the first time and after a failure."""
        rules = nftables.build(inventory.state, self._written)
        for warning in rules.warnings:
            _log.warning("node %s: %s", self._host.name, warning)
        if self._written is None:
            self._load(f"{nftables.clean(self._family)}{nftables.first(rules)}")
        else:
            self._load(nftables.partial(self._written, rules))
            # The chains that it emptied can be deleted in a transaction of their own.
            self._load(nftables.sweep(self._written, rules))
        self._written = rules

    def forget(self) -> None:
        """Take nothing for granted: the next sync makes the table anew."""
        self._written = None

    def clean(self) -> None:
        """Delete the table."""
        self._written = None
        self._load(nftables.clean(self._family))

    def _load(self, script: str) -> None:
        if not script:
            return
        for part in [script] if self._host.lab.sandbox.privileged else _parts(script):
            self._host.run("nft", "-f", "-", input=part, check=True, timeout=TIMEOUT)


def _parts(script: str) -> Sequence[str]:
    return split_nft(script) if script.count("\n") > 500 else [script]  # noqa: PLR2004 - one batch


def forget_stale(host: Host, inventory: Inventory) -> list[conntrack.Flow]:
    """Delete the UDP entries of the connection table that lead to endpoints that are gone; return them."""
    flows = [
        conntrack.Flow(
            conntrack.UDP,
            str(each.original.source),
            each.original.source_port or 0,
            str(each.original.destination),
            each.original.destination_port or 0,
            str(each.reply.source),
            each.reply.source_port or 0,
        )
        for each in host.state().connections
        if each.protocol == "udp"
    ]
    gone = conntrack.stale(inventory.state, flows)
    for flow in gone:
        words = ("--orig-src", flow.source, "--sport", str(flow.source_port), "--orig-dst", flow.destination)
        host.run("conntrack", "-D", "-p", "udp", *words, "--dport", str(flow.destination_port))
    return gone
