"""Syncs that write only what changed lead to the same rules as a sync from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from proxy_objects import Manifest, changes, fields, manifests, settings as node_settings, state

from netlab.kubernetes.proxy import Family, Inventory, Settings, State, iptables, nftables
from netlab.kubernetes.rulesets import NftTable, Tables, read_listing

if TYPE_CHECKING:
    from conftest import Kernel

FAMILIES = st.sampled_from(list(Family))
# Every example starts programs; the kernel fixture is one namespace, which each example empties.
WITH_KERNEL = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
PURE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def two_states(draw: st.DrawFn, mode: str) -> tuple[State, State]:
    """Return a state, and another that came from it by changes to some objects."""
    family = draw(FAMILIES)
    known = draw(node_settings(family, mode))
    before = draw(manifests(family))
    drawn = draw(manifests(family))
    # Half of the old objects stay as they are, so that there is something to leave alone.
    kept = [item for item in before if draw(st.booleans())]
    names = {(item["kind"], item["metadata"]["name"]) for item in kept}
    after = kept + [item for item in drawn if (item["kind"], item["metadata"]["name"]) not in names]
    return _follow(known, before, after)


def _follow(known: Settings, before: list[Manifest], after: list[Manifest]) -> tuple[State, State]:
    old = Inventory.empty(known).update(fields(before))
    changed, gone = changes(before, after)
    new = old.update(changed, gone)
    fresh = state(known, after)
    assert {name: view.backends for name, view in new.state.services.items()} == {
        name: view.backends for name, view in fresh.services.items()
    }
    return old.state, new.state


def _chains(*texts: str) -> dict[tuple[str, str], object]:
    tables = Tables()
    for text in texts:
        tables.apply(text)
    return dict(tables.chains)


@PURE
@given(two_states("iptables"))
def test_iptables_changes_equal_a_first_sync(states: tuple[State, State]) -> None:
    """A partial, a smallest and a full sync after the old rules all give the rules of a first sync, in order."""
    old = iptables.build(states[0])
    new = iptables.build(states[1], old)
    assert new.fragments == iptables.build(states[1]).fragments
    start, wanted = iptables.first(old), _chains(iptables.first(new))
    existing = [chain for table, chain in _chains(start) if table == "nat"]
    assert _chains(start, iptables.partial(old, new)) == wanted
    assert _chains(start, iptables.smallest(old, new)) == wanted
    assert _chains(start, iptables.full(new, existing=existing)) == wanted
    assert not iptables.smallest(new, new)


@PURE
@given(two_states("nftables"))
def test_nftables_changes_equal_a_first_sync(states: tuple[State, State]) -> None:
    """A partial sync and its sweep give the table of a first sync, in order."""
    old = nftables.build(states[0])
    new = nftables.build(states[1], old)
    assert new.fragments == nftables.build(states[1]).fragments
    changed, wanted = NftTable(), NftTable()
    for script in (nftables.first(old), nftables.partial(old, new), nftables.sweep(old, new)):
        changed.apply(script)
    wanted.apply(nftables.first(new))
    assert changed == wanted
    assert not nftables.partial(new, new)


@given(FAMILIES.flatmap(lambda f: st.tuples(node_settings(f, "iptables"), node_settings(f, "iptables"), manifests(f))))
@PURE
def test_iptables_follows_a_change_of_settings(drawn: tuple[Settings, Settings, list[Manifest]]) -> None:
    """When the node or the configuration changes, a partial and a smallest sync still lead to the right rules."""
    first, second, objects = drawn
    old, new = iptables.build(state(first, objects)), iptables.build(state(second, objects))
    wanted = _chains(iptables.first(new))
    assert _chains(iptables.first(old), iptables.partial(old, new)) == wanted
    assert _chains(iptables.first(old), iptables.smallest(old, new)) == wanted


@pytest.mark.kernel
@WITH_KERNEL
@given(states=two_states("iptables"))
def test_the_kernel_agrees_on_iptables_changes(kernel: Kernel, states: tuple[State, State]) -> None:
    """iptables-restore takes every text, and lists the same rules after changes as after a first sync."""
    family = states[0].settings.family
    old, new = iptables.build(states[0]), iptables.build(states[1])
    wanted = _without_counters(kernel.saved(family, iptables.first(new)))
    for sync in (iptables.partial, iptables.smallest):
        kernel.clear()
        kernel.restore(family, iptables.first(old))
        kernel.restore(family, sync(old, new))
        assert _without_counters(kernel.save(family)) == wanted


@pytest.mark.kernel
@WITH_KERNEL
@given(states=two_states("nftables"))
def test_the_kernel_agrees_on_nftables_changes(kernel: Kernel, states: tuple[State, State]) -> None:
    """Nft takes every script, and lists the same table after changes as after a first sync."""
    family = states[0].settings.family
    old, new = nftables.build(states[0]), nftables.build(states[1])
    wanted = read_listing(kernel.listed(family, nftables.first(new)))
    kernel.nft(nftables.replace(old))
    kernel.nft(nftables.partial(old, new))
    kernel.nft(nftables.sweep(old, new))
    assert read_listing(kernel.table(family)) == wanted
    kernel.nft(nftables.replace(new))
    assert read_listing(kernel.table(family)) == wanted
    kernel.nft(nftables.clean(family))
    assert not kernel.must("nft", "list", "ruleset")


def _without_counters(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if not line.startswith("#")]
