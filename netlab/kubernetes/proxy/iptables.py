"""Write what ``iptables-restore --noflush`` reads: a first sync, a partial one, the smallest one, the clean-up.

A `Ruleset` holds the rules of every Service. Building one from an older one writes rules for the changed Services only,
and the texts that lead from one to the other name the chains that changed.

Source: syncProxyRules in pkg/proxy/iptables/proxier.go, and cleanup.go beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.iptables_fixed import (
    CANARY,
    FILTER_CHAINS,
    JUMPS,
    MARTIANS,
    NAT_CHAINS,
    OWN_PREFIXES,
    SHARED_CHAINS,
    Jump,
    fixed_lines,
)
from netlab.kubernetes.proxy.iptables_rules import Fragment
from netlab.kubernetes.proxy.iptables_text import LARGE_CLUSTER, Ruleset, Text, build

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "JUMPS",
    "LARGE_CLUSTER",
    "Jump",
    "Ruleset",
    "build",
    "clean",
    "first",
    "full",
    "partial",
    "prepare",
    "smallest",
]

_MANGLE = f"*mangle\n:{CANARY} - [0:0]\nCOMMIT\n"
_NOTHING = Fragment({}, {}, {})
# Above this part of a chain, writing it anew is less work than changing it rule by rule.
_MOST_EDITS = 0.25


def full(rules: Ruleset, *, existing: Iterable[str] = ()) -> str:
    """Return the text of a full sync: every chain of the proxy, but not the jumps to them (see `prepare`).

    ``existing`` names the chains of the nat table now; those of Services that are gone get deleted.
    """
    text = _everything(rules)
    own = text.chains["nat"]
    text.deleted = {chain for chain in existing if chain.startswith(OWN_PREFIXES) and chain not in own}
    return text.render()


def first(rules: Ruleset) -> str:
    """Return the text of a first sync on a node without rules: all tables, the jumps and the canaries too."""
    text = _everything(rules)
    text.chains["nat"].add(CANARY)
    text.chains["filter"] |= {MARTIANS, CANARY}
    for table, lines in text.lines.items():
        lines[:0] = (f"-A {jump.spec}\n" for jump in JUMPS if jump.table == table)
    return text.render(_MANGLE)


def prepare(present: Iterable[Jump] = ()) -> str:
    """Return the text that puts the jumps that are not ``present`` before all other rules of their chains.

    It makes the chains they lead to, empty: `full` has to follow at once. This is how kube-proxy starts on a node that
    has rules of others.
    """
    have = set(present)
    parts = [_MANGLE]
    for table in ("filter", "nat"):
        missing = [jump for jump in reversed(JUMPS) if jump.table == table and jump not in have]
        chains = sorted({CANARY, *(jump.target for jump in missing)})
        declared = (f":{chain} - [0:0]\n" for chain in chains)
        parts += (f"*{table}\n", *declared, *(f"-I {jump.spec}\n" for jump in missing), "COMMIT\n")
    return "".join(parts)


def partial(old: Ruleset, new: Ruleset) -> str:
    """Return the text of kube-proxy's partial sync: the shared chains, and those of the Services that changed.

    Applied to the rules of ``old`` it gives exactly those of ``new``.
    """
    text = Text()
    text.add_shared(new)
    pairs = _changed(old, new)
    for _, _, now in pairs:
        text.add_own(now)
    if old.state.settings != new.state.settings:
        text.chains["filter"].add(MARTIANS)
    text.deleted = _gone(pairs)
    return text.render()


def smallest(old: Ruleset, new: Ruleset) -> str:
    """Return a short text that makes the rules of ``old`` those of ``new``; empty if nothing changed.

    kube-proxy writes the shared chains each time, one rule or more for each Service of the cluster: the most expensive
    part of its partial sync, and hardly ever news. Here own chains are written where they differ, and shared ones are
    changed rule by rule, or written anew where much of them changed.
    """
    text = Text()
    pairs = _changed(old, new)
    for table, chain in SHARED_CHAINS:
        edits = _edits(old, new, table, chain) if _differs(old, new, pairs, (table, chain)) else []
        if edits is None:
            text.chains[table].add(chain)
            text.lines[table] += new.lines(table, chain)
        else:
            text.lines[table] += edits
    own: list[str] = []
    for _, was, now in pairs:
        for chain, lines in now.chains.items():
            if was.chains.get(chain) != lines:
                text.chains["nat"].add(chain)
                own.append(lines)
    # A rule can only lead to a chain that is there: own chains first.
    text.lines["nat"][:0] = own
    text.deleted = _gone(pairs)
    return text.render()


def clean(existing: Mapping[str, Iterable[str]], present: Iterable[Jump] = JUMPS) -> str:
    """Return the text that removes every trace of the proxy.

    ``existing`` names the chains by table (``filter``, ``nat``, ``mangle``), ``present`` the jumps that are there.
    KUBE-FIREWALL and its jumps stay, as they do when kube-proxy leaves: they are the kubelet's too.
    """
    have = [jump for jump in present if jump.target != MARTIANS]
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


_Pairs = list[tuple[str, Fragment, Fragment]]


def _everything(rules: Ruleset) -> Text:
    text = Text()
    text.add_shared(rules)
    for fragment in rules.fragments.values():
        text.add_own(fragment)
    return text


def _changed(old: Ruleset, new: Ruleset) -> _Pairs:
    """Return name, rules before and rules after of each Service whose rules differ."""
    before, after = old.fragments, new.fragments
    # Most are the same object: only the others are worth a comparison.
    names = [name for name, now in after.items() if (was := before.get(name)) is not now and was != now]
    names += [name for name in before if name not in after]
    return [(name, before.get(name, _NOTHING), after.get(name, _NOTHING)) for name in sorted(names)]


def _gone(pairs: _Pairs) -> set[str]:
    return {chain for _, was, _ in pairs for chain in was.chains} - {c for _, _, now in pairs for c in now.chains}


def _differs(old: Ruleset, new: Ruleset, pairs: _Pairs, key: tuple[str, str]) -> bool:
    table, chain = key
    if any(was.shared(table).get(chain) != now.shared(table).get(chain) for _, was, now in pairs):
        return True
    return _fixed(old, key) != _fixed(new, key)


def _fixed(rules: Ruleset, key: tuple[str, str]) -> list[str]:
    return list(fixed_lines(rules.state.settings, *key))


def _edits(old: Ruleset, new: Ruleset, table: str, chain: str) -> list[str] | None:
    """Return lines that delete and insert rules by their number, or None if the chain is better written anew."""
    key = (table, chain)
    if _fixed(old, key) != _fixed(new, key):
        return None
    lines: list[str] = []
    place = 1
    for was, now in _side_by_side(old, new, table, chain):
        if was != now:
            lines += [f"-D {chain} {place}\n"] * was.count("\n")
            inserted = now.splitlines(keepends=True)
            start = f"-A {chain} "
            lines += [f"-I {chain} {place + i} {line.removeprefix(start)}" for i, line in enumerate(inserted)]
        place += now.count("\n")
    return lines if len(lines) <= _MOST_EDITS * place else None


def _side_by_side(old: Ruleset, new: Ruleset, table: str, chain: str) -> Iterator[tuple[str, str]]:
    """Yield each Service's lines before and after, in the order of names, which both rulesets keep."""
    before, after = old.fragments, new.fragments
    names: Iterable[str] = after if before.keys() <= after.keys() else sorted(before.keys() | after.keys())
    for name in names:
        was, now = before.get(name), after.get(name)
        if was is now and now is not None:
            lines = now.shared(table).get(chain, "")
            yield lines, lines
        else:
            yield (
                was.shared(table).get(chain, "") if was is not None else "",
                now.shared(table).get(chain, "") if now is not None else "",
            )
