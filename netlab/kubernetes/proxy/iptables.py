"""Write what ``iptables-restore --noflush`` reads: a first sync, a partial one, the smallest one, the clean-up.

A `Ruleset` holds the rules of every Service. Building one from an older one writes rules for the changed Services only,
and the texts that lead from one to the other name the chains that changed.

Source: syncProxyRules in pkg/proxy/iptables/proxier.go, and cleanup.go beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.iptables_rules import FILTER_CHAINS, NAT_CHAINS, Fragment, write_service
from netlab.kubernetes.proxy.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from netlab.kubernetes.proxy.model import Settings, State

LARGE_CLUSTER = 1000
CANARY = "KUBE-PROXY-CANARY"
_MANGLE = f"*mangle\n:{CANARY} - [0:0]\nCOMMIT\n"
OWN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")

_LAST = '"kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
_NEW = "-m conntrack --ctstate NEW "


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule that leads from a chain of the kernel to one of the proxy's."""

    table: str
    source: str
    rule: str

    @property
    def spec(self) -> str:
        """Return chain and rule, as they follow ``-A``, ``-C`` or ``-D``."""
        return f"{self.source} {self.rule}"


def _jump(table: str, source: str, target: str, comment: str, match: str = "") -> Jump:
    words = f'-m comment --comment "kubernetes {comment}" ' if comment else ""
    return Jump(table, source, f"{match}{words}-j {target}")


# In the order the kernel holds them. kube-proxy asks for each to be put first, so its own list reads backwards.
JUMPS = (
    _jump("filter", "INPUT", "KUBE-FIREWALL", ""),
    _jump("filter", "INPUT", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "INPUT", "KUBE-NODEPORTS", "health check service ports"),
    _jump("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", "externally-visible service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "FORWARD", "KUBE-FORWARD", "forwarding rules"),
    _jump("filter", "FORWARD", "KUBE-SERVICES", "service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", "externally-visible service portals", _NEW),
    _jump("filter", "OUTPUT", "KUBE-FIREWALL", ""),
    _jump("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "OUTPUT", "KUBE-SERVICES", "service portals", _NEW),
    _jump("nat", "PREROUTING", "KUBE-SERVICES", "service portals"),
    _jump("nat", "OUTPUT", "KUBE-SERVICES", "service portals"),
    _jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "postrouting rules"),
)


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


@dataclass(slots=True)
class _Text:
    """The input of iptables-restore, table by table: chains to declare (which empties them), lines, chains to delete."""

    chains: dict[str, set[str]] = field(default_factory=lambda: {"filter": set(), "nat": set()})
    lines: dict[str, list[str]] = field(default_factory=lambda: {"filter": [], "nat": []})
    deleted: set[str] = field(default_factory=set)

    def render(self) -> str:
        parts: list[str] = []
        for table, chains in self.chains.items():
            if not chains and not self.lines[table] and not self.deleted:
                continue
            gone = self.deleted if table == "nat" else set()
            # iptables-restore looks for the place of each chain in a sorted list: unsorted names cost it minutes.
            declared = "".join(f":{chain} - [0:0]\n" for chain in sorted(chains | gone))
            lines = "".join(self.lines[table])
            deletions = "".join(f"-X {chain}\n" for chain in sorted(gone))
            if declared or lines:
                parts += (f"*{table}\n", declared, lines, deletions, "COMMIT\n")
        return "".join(parts)


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


def full(rules: Ruleset, *, existing: Iterable[str] = ()) -> str:
    """Return the text of a full sync: every chain of the proxy, but not the jumps to them (see `prepare`).

    ``existing`` names the chains of the nat table now; those of Services that are gone get deleted.
    """
    text = _Text()
    _shared(text, rules, rules.fragments.values())
    own = rules.chains
    text.chains["nat"] |= own
    text.deleted = {chain for chain in existing if chain.startswith(OWN_PREFIXES) and chain not in own}
    return text.render()


def first(rules: Ruleset) -> str:
    """Return the text of a first sync on a node without rules: all tables, the jumps and the canaries too."""
    text = _Text()
    _shared(text, rules, rules.fragments.values())
    text.chains["nat"] |= rules.chains | {CANARY}
    text.chains["filter"] |= {"KUBE-FIREWALL", CANARY}
    for table, lines in text.lines.items():
        lines[:0] = (f"-A {jump.spec}\n" for jump in JUMPS if jump.table == table)
    return f"{_MANGLE}{text.render()}"


def prepare(present: Iterable[Jump] = ()) -> str:
    """Return the text that puts the jumps that are not ``present`` before all other rules of their chains.

    It makes the chains they lead to, empty: `full` has to follow at once. This is how kube-proxy starts on a node that
    has rules of others.
    """
    have = set(present)
    parts = [_MANGLE]
    for table in ("filter", "nat"):
        missing = [jump for jump in reversed(JUMPS) if jump.table == table and jump not in have]
        chains = sorted({CANARY, *(jump.rule.rpartition(" ")[2] for jump in missing)})
        declared = (f":{chain} - [0:0]\n" for chain in chains)
        parts += (f"*{table}\n", *declared, *(f"-I {jump.spec}\n" for jump in missing), "COMMIT\n")
    return "".join(parts)


def partial(old: Ruleset, new: Ruleset) -> str:
    """Return the text of kube-proxy's partial sync: the shared chains, and those of the Services that changed.

    Applied to the rules of ``old`` it gives exactly those of ``new``.
    """
    text = _Text()
    changed = [new.fragments[name] for name in _changed(old, new) if name in new.fragments]
    _shared(text, new, changed)
    for fragment in changed:
        text.chains["nat"].update(fragment.chains)
    if old.state.settings != new.state.settings:
        text.chains["filter"].add("KUBE-FIREWALL")
    text.deleted = _gone(old, new)
    return text.render()


def smallest(old: Ruleset, new: Ruleset) -> str:
    """Return the shortest text that makes the rules of ``old`` those of ``new``: chains that differ, no others.

    kube-proxy writes the shared chains each time, one rule or more for each Service of the cluster. Where none of
    those rules changed that is the most expensive part, and nothing in it is news. Empty if nothing changed.
    """
    text = _Text()
    names = _changed(old, new)
    nothing = Fragment({}, {}, {})
    pairs = [(old.fragments.get(name, nothing), new.fragments.get(name, nothing)) for name in names]
    fixed = old.state.settings != new.state.settings
    before, after = (_shared_lines(rules) if fixed else {} for rules in (old, new))
    for table in ("filter", "nat"):
        for chain in FILTER_CHAINS + ("KUBE-FIREWALL",) if table == "filter" else NAT_CHAINS:
            differs = before.get((table, chain)) != after.get((table, chain)) or any(
                getattr(was, table).get(chain) != getattr(now, table).get(chain) for was, now in pairs
            )
            if differs:
                text.chains[table].add(chain)
                text.lines[table] += _chain_lines(new, table, chain)
    for was, now in pairs:
        for chain, lines in now.chains.items():
            if was.chains.get(chain) != lines:
                text.chains["nat"].add(chain)
                text.lines["nat"].append(lines)
    text.deleted = _gone(old, new)
    return text.render()


def clean(existing: Mapping[str, Iterable[str]], present: Iterable[Jump] = JUMPS) -> str:
    """Return the text that removes every trace of the proxy.

    ``existing`` names the chains by table (``filter``, ``nat``, ``mangle``), ``present`` the jumps that are there.
    KUBE-FIREWALL and its jumps stay, as they do when kube-proxy leaves: they are the kubelet's too.
    """
    have = [jump for jump in present if not jump.rule.endswith("KUBE-FIREWALL")]
    fixed = {"filter": (*FILTER_CHAINS, CANARY), "nat": (*NAT_CHAINS, CANARY), "mangle": (CANARY,)}
    parts: list[str] = []
    for table, ours in fixed.items():
        chains = sorted(
            chain
            for chain in existing.get(table, ())
            if chain in ours or (table == "nat" and chain.startswith(OWN_PREFIXES))
        )
        jumps = [f"-D {jump.spec}\n" for jump in have if jump.table == table]
        if chains or jumps:
            declared = (f":{chain} - [0:0]\n" for chain in chains)
            parts += (f"*{table}\n", *declared, *jumps, *(f"-X {chain}\n" for chain in chains), "COMMIT\n")
    return "".join(parts)


def _changed(old: Ruleset, new: Ruleset) -> list[str]:
    """Return the names of Services whose rules may differ, in order."""
    before, after = old.fragments, new.fragments
    # Most are the same object: only the others are worth a comparison.
    names = [name for name, now in after.items() if (was := before.get(name)) is not now and was != now]
    names += [name for name in before if name not in after]
    return sorted(names)


def _gone(old: Ruleset, new: Ruleset) -> set[str]:
    names = _changed(old, new)
    before = {chain for name in names if name in old.fragments for chain in old.fragments[name].chains}
    after = {chain for name in names if name in new.fragments for chain in new.fragments[name].chains}
    return before - after


def _shared(text: _Text, rules: Ruleset, own: Iterable[Fragment]) -> None:
    """Add the chains that Services share, whole, and the own chains of the Services ``own``."""
    settings = rules.state.settings
    text.chains["filter"].update(FILTER_CHAINS)
    if _blocks_martians(settings):
        text.chains["filter"].add("KUBE-FIREWALL")
    for chain in ("KUBE-FIREWALL", *FILTER_CHAINS):
        text.lines["filter"] += _chain_lines(rules, "filter", chain)
    text.chains["nat"].update(NAT_CHAINS)
    for chain in ("KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-SERVICES", "KUBE-NODEPORTS"):
        text.lines["nat"] += _chain_lines(rules, "nat", chain)
    for fragment in own:
        text.lines["nat"] += fragment.chains.values()


def _shared_lines(rules: Ruleset) -> dict[tuple[str, str], str]:
    """Return the fixed lines of each shared chain: those that come from the settings."""
    chains = [("filter", chain) for chain in (*FILTER_CHAINS, "KUBE-FIREWALL")] + [("nat", c) for c in NAT_CHAINS]
    return {pair: "".join(_fixed(rules.state.settings, *pair)) for pair in chains}


def _chain_lines(rules: Ruleset, table: str, chain: str) -> Iterator[str]:
    for fragment in rules.fragments.values():
        lines = (fragment.filter if table == "filter" else fragment.nat).get(chain)
        if lines:
            yield lines
    yield from _fixed(rules.state.settings, table, chain)


def _blocks_martians(settings: Settings) -> bool:
    return settings.family is Family.IPV4 and settings.localhost_node_ports


def _fixed(settings: Settings, table: str, chain: str) -> Iterator[str]:
    """Yield the lines of a shared chain that no Service decides. They come after those of the Services."""
    mark = settings.mark
    if (table, chain) == ("nat", "KUBE-POSTROUTING"):
        yield f"-A {chain} -m mark ! --mark {mark}/{mark} -j RETURN\n"
        # Without this a packet that passes the stack a second time would be masqueraded a second time.
        yield f"-A {chain} -j MARK --xor-mark {mark}\n"
        random = " --random-fully" if settings.random_fully else ""
        yield f'-A {chain} -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{random}\n'
    elif (table, chain) == ("nat", "KUBE-MARK-MASQ"):
        yield f"-A {chain} -j MARK --or-mark {mark}\n"
    elif (table, chain) == ("nat", "KUBE-SERVICES"):
        yield from (f"-A {chain} -m comment --comment {_LAST} {to} -j KUBE-NODEPORTS\n" for to in _to_node(settings))
    elif (table, chain) == ("filter", "KUBE-FORWARD"):
        if not settings.tcp_be_liberal:
            yield f"-A {chain} -m conntrack --ctstate INVALID -j DROP\n"
        comment = '-m comment --comment "kubernetes forwarding'
        yield f'-A {chain} {comment} rules" -m mark --mark {mark}/{mark} -j ACCEPT\n'
        yield f'-A {chain} {comment} conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n'
    elif (table, chain) == ("filter", "KUBE-FIREWALL") and _blocks_martians(settings):
        # route_localnet lets node ports answer on 127.0.0.1; without this rule neighbours could reach it too.
        yield (
            f'-A {chain} -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 '
            "! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
        )


def _to_node(settings: Settings) -> Iterator[str]:
    """Yield what matches traffic to the node itself."""
    version = settings.family.version
    if settings.node_port_addresses is None:
        local = "-m addrtype --dst-type LOCAL"
        if version == 6:  # noqa: PLR2004 (the IP version)
            yield f"{local} ! -d ::1/128"
        else:
            yield local if settings.localhost_node_ports else f"{local} ! -d 127.0.0.0/8"
        return
    for address in settings.node_port_addresses:
        loopback = address == "::1" or address.startswith("127.")
        if not loopback or (version == 4 and settings.localhost_node_ports):  # noqa: PLR2004 (the IP version)
            yield f"-d {address}"
