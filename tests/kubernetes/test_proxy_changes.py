"""Syncs that write only what changed lead to the same rules as a sync from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from proxy_objects import Maker, Manifest, changes, fields, state

from netlab.kubernetes.proxy import Family, Inventory, Settings, State, batches, iptables, nftables
from netlab.kubernetes.rulesets import NftTable, Tables, read_listing, read_tables

if TYPE_CHECKING:
    from rule_kernel import Kernel

FAMILIES = st.sampled_from(list(Family))
SEEDS = st.integers(0, 2**32)
# No database: these tests run as root and again as an ordinary user, and the two cannot share one.
# Every example with the kernel starts programs; the fixture is one namespace, which each example empties.
PURE = settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
WITH_KERNEL = settings(PURE, max_examples=40, suppress_health_check=list(HealthCheck))
FEW_WITH_KERNEL = settings(WITH_KERNEL, max_examples=15)


def two_states(mode: str) -> st.SearchStrategy[tuple[State, State]]:
    """Return a state, and another that came from it by changes to some objects."""

    def make(seed: int, family: Family) -> tuple[State, State]:
        maker = Maker(seed, family)
        before = maker.objects()
        return _follow(maker.settings(mode), before, maker.changed(before))

    return st.builds(make, SEEDS, FAMILIES)


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


@given(SEEDS, FAMILIES)
@PURE
def test_iptables_follows_a_change_of_settings(seed: int, family: Family) -> None:
    """When the node or the configuration changes, a partial and a smallest sync still lead to the right rules."""
    maker = Maker(seed, family)
    first, second, objects = maker.settings("iptables"), maker.settings("iptables"), maker.objects()
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


@PURE
@given(two_states("iptables"), st.sampled_from([40, 100, 10_000]))
def test_iptables_batches_do_the_same(states: tuple[State, State], size: int) -> None:
    """A text cut into small transactions does what the whole one does, and never names a chain that is not there."""
    old, new = (iptables.build(each) for each in states)
    start, sync = iptables.first(old), iptables.smallest(old, new)
    cut = [batches.split_iptables(text, size) for text in (start, sync)]
    assert _chains(*cut) == _chains(start, sync)
    for text in cut:
        assert all(len(part.splitlines()) <= size + 2 for part in text.split("COMMIT\n"))


@PURE
@given(two_states("nftables"))
def test_nftables_batches_do_the_same(states: tuple[State, State]) -> None:
    """A script cut into small transactions does what the whole one does."""
    old, new = (nftables.build(each) for each in states)
    whole, parts = NftTable(), NftTable()
    for script in (nftables.first(old), nftables.partial(old, new), nftables.sweep(old, new)):
        whole.apply(script)
        for part in batches.split_nft(script, 100):
            parts.apply(part)
    assert whole == parts


@pytest.mark.kernel
def test_an_ordinary_users_lab_takes_a_thousand_services(kernel: Kernel) -> None:
    """What is too long for one transaction in a user namespace works in batches, and gives the same rules."""
    known = Settings(Family.IPV4, node_port_addresses=("192.168.0.2",))
    objects = [item for index in range(1000) for item in _plain_service(index)]
    known_state = state(known, objects)
    rules, table = iptables.build(known_state), nftables.build(known_state)
    kernel.clear()
    kernel.restore(Family.IPV4, batches.split_iptables(iptables.first(rules)))
    assert read_tables(kernel.save(Family.IPV4)).own == read_tables(iptables.first(rules)).own
    kernel.clear()
    for script in batches.split_nft(nftables.first(table)):
        kernel.nft(script)
    listed = read_listing(kernel.table(Family.IPV4))
    assert len(listed["map service-ips {"]) == len(table.elements["service-ips"]) + 2


@pytest.mark.kernel
@FEW_WITH_KERNEL
@given(
    states=st.sampled_from(["iptables", "nftables"]).flatmap(lambda mode: st.tuples(st.just(mode), two_states(mode)))
)
def test_the_kernel_takes_batches(kernel: Kernel, states: tuple[str, tuple[State, State]]) -> None:
    """Every batch is accepted after the ones before it: chains are there before rules lead to them."""
    mode, (before, after) = states
    family = before.settings.family
    kernel.clear()
    if mode == "iptables":
        old, new = iptables.build(before), iptables.build(after)
        for text in (iptables.first(old), iptables.smallest(old, new)):
            kernel.restore(family, batches.split_iptables(text, 40))
        cut = _without_counters(kernel.save(family))
        assert cut == _without_counters(kernel.saved(family, iptables.first(new)))
    else:
        table, next_table = nftables.build(before), nftables.build(after)
        for script in (nftables.first(table), nftables.partial(table, next_table), nftables.sweep(table, next_table)):
            for part in batches.split_nft(script, 100):
                kernel.nft(part)
        listing = read_listing(kernel.table(family))
        assert listing == read_listing(kernel.listed(family, nftables.first(next_table)))


@pytest.mark.kernel
def test_a_changed_service_among_many_is_a_few_edits(kernel: Kernel) -> None:
    """One Service added, one gone, one without endpoints: rules are moved by number, and land in the right place."""
    known = Settings(Family.IPV4, node_port_addresses=("192.168.0.2",))
    objects = [item for index in range(60) for item in _plain_service(index)]
    old = Inventory.empty(known).update(fields(objects[2:]))
    emptied = {**objects[41], "endpoints": []}
    new = old.update(fields([*objects[:2], emptied]), [("Service", "default/svc-30")])
    before = iptables.build(old.state)
    after = iptables.build(new.state, before)
    text = iptables.smallest(before, after)
    assert text.count("\n-I KUBE-SERVICES ") == 1
    assert text.count("\n-D KUBE-SERVICES ") == 2
    assert len(text.splitlines()) < 30
    wanted = _without_counters(kernel.saved(Family.IPV4, iptables.first(after)))
    kernel.clear()
    kernel.restore(Family.IPV4, iptables.first(before))
    kernel.restore(Family.IPV4, text)
    assert _without_counters(kernel.save(Family.IPV4)) == wanted


def _plain_service(index: int) -> list[Manifest]:
    name = f"svc-{index}"
    return [
        {
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"clusterIP": f"10.96.{index // 250}.{index % 250}", "ports": [{"port": 80}]},
        },
        {
            "kind": "EndpointSlice",
            "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [f"10.244.{index // 250}.{index % 250}"]}],
            "ports": [{"port": 80}],
        },
    ]


def _without_counters(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if not line.startswith("#")]
