"""Write what ``nft -f`` reads: a first sync, a partial one, the clean-up.

A `Ruleset` holds chains and elements of every Service. Building one from an older one writes those of changed
Services only; the text that leads from one to the other names what changed, and is one transaction.

Source: setupNFTables and syncProxyRules in pkg/proxy/nftables/proxier.go, and cleanup.go beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.model import Family
from netlab.kubernetes.proxy.nftables_rules import MAPS, SETS, Fragment, ip_word, write_service
from netlab.kubernetes.proxy.nftables_script import TABLE, Script, set_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.kubernetes.proxy.model import State
    from netlab.kubernetes.proxy.nftables_script import Writer


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """The table of a `State`, by Service, and its elements as the kernel holds them: each key once."""

    state: State
    fragments: Mapping[str, Fragment]
    elements: Mapping[str, Mapping[str, str]]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return sentences on what had to be left out, because nft would refuse it."""
        return tuple(warning for fragment in self.fragments.values() for warning in fragment.warnings)


def build(state: State, previous: Ruleset | None = None) -> Ruleset:
    """Return the table of ``state``; what belongs to Services that are the same in ``previous`` is taken from there."""
    settings = state.settings
    old_views: Mapping[str, object] = {}
    old: Mapping[str, Fragment] = {}
    if previous is not None and previous.state.settings == settings:
        old_views, old = previous.state.services, previous.fragments
    fragments = {
        name: old[name] if old_views.get(name) is view else write_service(view, settings)
        for name, view in sorted(state.services.items())
    }
    # Two Services may claim one address and port; a map holds it once, and the last one has it.
    elements: dict[str, dict[str, str]] = {container: {} for container in (*SETS, *MAPS)}
    for fragment in fragments.values():
        for container, key, rest in fragment.elements:
            elements[container][key] = rest
    return Ruleset(state, fragments, elements)


def first(rules: Ruleset) -> str:
    """Return the script of a first sync, on a node that does not have the table yet."""
    out = StringIO()
    write_first(rules, out)
    return out.getvalue()


def write_first(rules: Ruleset, out: Writer) -> None:
    """Write the script of a first sync into a file: for a large cluster it need not be in memory.

    Each line may also be loaded for itself, in this order: the elements that lead to chains come after their rules.
    """
    _write(rules, Script(rules.state.settings, out), emptied=False)


def _write(rules: Ruleset, nft: Script, *, emptied: bool) -> None:
    for warning in rules.warnings:
        nft.say(f"# {warning}")
    set_up(nft)
    for container in rules.elements if emptied else ():
        nft.say(f"flush {'set' if container in SETS else 'map'} {nft.table} {container}")
    for fragment in rules.fragments.values():
        for chain, _ in fragment.own:
            nft.add_chain(chain)
    for fragment in rules.fragments.values():
        for name, seconds in fragment.affinity.items():
            nft.add_affinity(name, seconds)
        for chain, chain_rules in fragment.own:
            nft.add_rules(chain, chain_rules)
    for container, pairs in rules.elements.items():
        nft.add_elements(container, pairs)


def replace(rules: Ruleset) -> str:
    """Return the script that replaces the whole table in one step, whatever is in it.

    It forgets which client belongs to which endpoint (session affinity).
    """
    table = f"{ip_word(rules.state.settings)} {TABLE}"
    return f"add table {table}\ndelete table {table}\n{first(rules)}"


def renew(rules: Ruleset) -> str:
    """Return the script that writes everything again on a node that has the table, and keeps the clients' endpoints.

    Chains that are nobody's stay. nft refuses it where the table is not as we made it: then use `replace`.
    """
    out = StringIO()
    _write(rules, Script(rules.state.settings, out), emptied=True)
    return out.getvalue()


def partial(old: Ruleset, new: Ruleset) -> str:
    """Return the script that makes the table of ``old`` that of ``new``; empty if they are the same.

    Chains that nothing leads to any more are emptied, and stay: kernels before 6.2 may count a reference to them for a
    moment after it is gone. Delete them with `sweep` a second later.
    """
    if old.state.settings != new.state.settings:
        return replace(new)
    out = StringIO()
    nft = Script(new.state.settings, out)
    names = _changed(old, new)
    before, after = _chains(old, names), _chains(new, names)
    old_sets, new_sets = _affinity(old, names), _affinity(new, names)
    # A set cannot change its time-out while rules use it: empty their chains, make it anew, fill them again.
    renewed = {name for name, seconds in new_sets.items() if old_sets.get(name, seconds) != seconds}
    rewritten = {
        chain: rules
        for chain, rules in after.items()
        if before.get(chain) != rules or any(name in rule for name in renewed for rule in rules)
    }
    for chain in rewritten:
        nft.add_chain(chain)
    for chain in sorted(before.keys() - after.keys()):
        nft.flush_chain(chain)
    for name in sorted((old_sets.keys() - new_sets.keys()) | renewed):
        nft.delete_set(name)
    for name in sorted((new_sets.keys() - old_sets.keys()) | renewed):
        nft.add_affinity(name, new_sets[name])
    for chain, rules in rewritten.items():
        nft.add_rules(chain, rules)
    for container, pairs in new.elements.items():
        if pairs != old.elements[container]:
            nft.change_elements(container, old.elements[container], pairs)
    return out.getvalue()


def sweep(old: Ruleset, new: Ruleset) -> str:
    """Return the script that deletes the chains that `partial` emptied."""
    if old.state.settings != new.state.settings:
        return ""  # then `partial` made the table anew
    names = _changed(old, new)
    table = f"{ip_word(new.state.settings)} {TABLE}"
    gone = sorted(_chains(old, names).keys() - _chains(new, names).keys())
    return "".join(f"delete chain {table} {chain}\n" for chain in gone)


def clean(family: Family) -> str:
    """Return the script that removes the table, and does not mind if there is none."""
    table = f"{'ip' if family is Family.IPV4 else 'ip6'} {TABLE}"
    return f"add table {table}\ndelete table {table}\n"


def _changed(old: Ruleset, new: Ruleset) -> list[str]:
    before, after = old.fragments, new.fragments
    # Most are the same object: only the others are worth a comparison.
    names = [name for name, now in after.items() if (was := before.get(name)) is not now and was != now]
    return names + [name for name in before if name not in after]


def _chains(rules: Ruleset, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    fragments = (rules.fragments[name] for name in names if name in rules.fragments)
    return {chain: lines for fragment in fragments for chain, lines in fragment.own}


def _affinity(rules: Ruleset, names: Iterable[str]) -> dict[str, int]:
    fragments = (rules.fragments[name] for name in names if name in rules.fragments)
    return {name: seconds for fragment in fragments for name, seconds in fragment.affinity.items()}
