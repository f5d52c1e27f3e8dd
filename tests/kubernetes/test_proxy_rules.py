"""What the rules are made of, where no recording shows it."""

from __future__ import annotations

import re
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from proxy_objects import Maker, fields, state

from netlab.kubernetes import conformance
from netlab.kubernetes.proxy import Family, Field, Inventory, Settings, conntrack, iptables, nftables
from netlab.kubernetes.proxy.addresses import parse_address, parse_network
from netlab.kubernetes.proxy.conntrack import Flow
from netlab.kubernetes.proxy.iptables_saved import read_saved
from netlab.kubernetes.rulesets import read_listing

if TYPE_CHECKING:
    from pathlib import Path

    from rule_kernel import Kernel

SETTINGS = Settings(Family.IPV4, node_name="n1", node_ip="192.168.0.2", node_port_addresses=("192.168.0.2",))


def _service(name: str, cluster_ip: str, **spec: Any) -> dict[str, Any]:
    namespace, _, own = name.rpartition("/")
    fields = {"clusterIP": cluster_ip, "ports": [{"port": 80}], **spec}
    return {"kind": "Service", "metadata": {"name": own, "namespace": namespace or "default"}, "spec": fields}


def _slice(service: str, *addresses: str, **fields: Any) -> dict[str, Any]:
    namespace, _, own = service.rpartition("/")
    return {
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": own, "namespace": namespace or "default", "labels": {"kubernetes.io/service-name": own}},
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": 8080}],
        **fields,
    }


def _many(count: int) -> list[dict[str, Any]]:
    objects = []
    for index in range(count):
        objects.append(_service(f"svc-{index}", f"10.96.{index // 250}.{index % 250}"))
        objects.append(_slice(f"svc-{index}", *(f"10.{net}.{index // 250}.{index % 250}" for net in (201, 202, 203))))
    return objects


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("010.000.00.01", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("FD00:0:0::1", "fd00::1"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
        ("10.0.0", None),
        ("10.0.0.256", None),
        ("fe80::1%eth0", None),
        ("", None),
        ("none", None),
    ],
)
def test_addresses_are_read_as_kubernetes_reads_them(text: str, value: str | None) -> None:
    """Leading zeros are decimal, and an IPv4 address dressed as IPv6 is IPv4."""
    assert parse_address(text) == (None if value is None else ip_address(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [("10.1.2.3/8", "10.0.0.0/8"), ("010.0.0.0/08", "10.0.0.0/8"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
     ("fd00::1/64", "fd00::/64"), ("10.0.0.0/33", None), ("10.0.0.0", None), ("10.0.0.0/x", None)],
)  # fmt: skip
def test_ranges_lose_their_host_bits(text: str, value: str | None) -> None:
    """A range is named by its first address."""
    assert str(parse_network(text)) == str(value)


def test_large_clusters_have_no_comments_on_endpoints() -> None:
    """The 1,001st endpoint takes the comments from all endpoint rules, and only from those."""
    objects = [_service("a", "10.96.0.1"), _slice("a", *(f"10.0.{i // 250}.{i % 250}" for i in range(1000)))]
    before = Inventory.empty(SETTINGS).update(fields(objects))
    after = before.update(fields([_service("b", "10.96.0.2"), _slice("b", "10.1.0.1")]))
    small = iptables.build(before.state)
    large = iptables.build(after.state, small)
    assert '"default/a -> 10.0.0.1:8080"' in iptables.first(small)
    text = iptables.first(large)
    assert " -> " not in text
    assert '--comment "default/a cluster IP"' in text
    # The whole of Service a is written again, though nothing in it changed: kube-proxy would leave old comments there.
    assert '"default/a -> 10.0.0.1:8080"' not in text
    assert iptables.smallest(small, large).count("DNAT") == 1001


def test_one_change_among_ten_thousand_services_is_little_work() -> None:
    """Rules are written for the one Service that changed; the texts name it, and no other."""
    known = Inventory.empty(SETTINGS).update(fields(_many(10_000)))
    old_rules, old_table = iptables.build(known.state), nftables.build(known.state)
    start = time.perf_counter()
    changed = known.update(fields([_slice("svc-5000", "10.9.9.9", "10.201.20.0")]))
    rules, table = iptables.build(changed.state, old_rules), nftables.build(changed.state, old_table)
    texts = iptables.smallest(old_rules, rules), nftables.partial(old_table, table)
    seconds = time.perf_counter() - start
    same = [name for name, fragment in rules.fragments.items() if fragment is old_rules.fragments[name]]
    assert len(same) == 9_999
    assert sum(fragment is not old_table.fragments[name] for name, fragment in table.fragments.items()) == 1
    for text in texts:
        assert len(text) < 2_000
        assert "10.9.9.9" in text
    assert set(re.findall(r"/(svc-\d+)/", texts[1])) == {"svc-5000"}
    assert seconds < 0.5  # both modes together; each alone may take that long


@pytest.mark.kernel
def test_the_longest_names_are_taken(kernel: Kernel) -> None:
    """Names of 63 characters, with and without endpoints: nothing is refused, and one missing comment is told of."""
    name = f"{'n' * 63}/{'s' * 63}"
    ports = [{"port": 80, "name": "p" * 63}]
    balancer = {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.168.0.0/24"], "sessionAffinity": "ClientIP"}
    empty = _service(f"{'n' * 63}/{'e' * 63}", "10.96.0.2", ports=ports)
    full = _service(
        name, "10.96.0.1", ports=ports, **balancer, externalTrafficPolicy="Local", healthCheckNodePort=30000
    )
    full["status"] = {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}
    there = _slice(name, "10.244.0.1", ports=[{"port": 80, "name": "p" * 63}])
    for objects in ([full, empty], [full, there, empty]):
        known = state(SETTINGS, objects)
        kernel.saved(Family.IPV4, iptables.first(iptables.build(known)))
        table = nftables.build(known)
        script = nftables.first(table)
        assert "10.96.0.2 . tcp . 80 : goto reject-chain" in kernel.listed(Family.IPV4, script)
        assert script.startswith(f"# {table.warnings[0]}")


@pytest.mark.kernel
@hypothesis_settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), family=st.sampled_from(list(Family)))
def test_cleaning_up_leaves_the_kubelets_chain_only(kernel: Kernel, seed: int, family: Family) -> None:
    """After the clean-up nothing is left but KUBE-FIREWALL, which the kubelet shares, and the rules of others."""
    maker = Maker(seed, family)
    rules = iptables.build(state(maker.settings("iptables"), maker.objects()))
    kernel.clear()
    others = "*nat\n:OTHERS - [0:0]\n-A PREROUTING -j OTHERS\nCOMMIT\n"
    kernel.restore(family, others)
    kernel.restore(family, iptables.prepare())
    kernel.restore(family, iptables.full(rules))
    saved = kernel.save(family)
    assert saved.index("-A PREROUTING -m comment") < saved.index("-A PREROUTING -j OTHERS")
    there = read_saved(saved)
    assert there.intact
    kernel.restore(family, iptables.clean(there.chains, there.jumps))
    saved = kernel.save(family)
    left = read_saved(saved)
    assert not left.intact
    assert {name for names in left.chains.values() for name in names if "KUBE" in name} == {"KUBE-FIREWALL"}
    assert {jump.target for jump in left.jumps} == {"KUBE-FIREWALL"}
    assert "-A PREROUTING -j OTHERS" in saved
    assert len(re.findall("^-A (?!KUBE-FIREWALL)", saved, re.MULTILINE)) == 3


def test_jumps_are_found_in_every_recorded_listing(recordings: Path) -> None:
    """Iptables-save shows each jump as it is written here, so that none is added twice."""
    for step in conformance.golden_steps(recordings / "kube-proxy"):
        if step.mode == "iptables":
            assert read_saved(step.golden).intact, step.name
            assert not read_saved(step.golden.replace("-A INPUT -j KUBE-FIREWALL\n", "")).intact


def test_a_liberal_node_keeps_invalid_packets() -> None:
    """With tcpBeLiberal, packets that conntrack calls invalid are not dropped."""
    assert "--ctstate INVALID -j DROP" in iptables.first(iptables.build(state(SETTINGS, [])))
    liberal = Settings(Family.IPV4, tcp_be_liberal=True)
    assert "INVALID" not in iptables.first(iptables.build(state(liberal, [])))


def test_external_ips_can_be_switched_off() -> None:
    """Without AllowServiceExternalIPs external addresses get no rules."""
    service = _service("a", "10.96.0.1", externalIPs=["10.9.0.1"])
    allowed = state(SETTINGS, [service, _slice("a", "10.244.0.1")])
    assert "10.9.0.1" in iptables.first(iptables.build(allowed))
    refused = state(Settings(Family.IPV4, external_ips=False), [service, _slice("a", "10.244.0.1")])
    assert "10.9.0.1" not in iptables.first(iptables.build(refused))


@pytest.mark.kernel
def test_affinity_can_change_its_time(kernel: Kernel) -> None:
    """A new time-out reaches the kernel, though nothing else changed; nft would keep the old one without a word."""
    tables = []
    for seconds in (10, 600):
        config = {"clientIP": {"timeoutSeconds": seconds}}
        service = _service("a", "10.96.0.1", sessionAffinity="ClientIP", sessionAffinityConfig=config)
        tables.append(nftables.build(state(SETTINGS, [service, _slice("a", "10.244.0.1", "10.244.0.2")])))
    old, new = tables
    assert kernel.listed(Family.IPV4, nftables.first(old)).count("timeout 10s") == 2
    kernel.nft(nftables.partial(old, new))
    changed = kernel.table(Family.IPV4)
    assert read_listing(changed) == read_listing(kernel.listed(Family.IPV4, nftables.first(new)))


@pytest.mark.parametrize("ranges", [["0.0.0.0/0"], ["10.1.0.0/16", "1.2.3.4/0"], ["fd00::/8"], [], ["nonsense", ""]])
def test_a_range_of_everything_is_no_firewall(ranges: list[str]) -> None:
    """A /0 among the source ranges, or none of this family that can be read, means that everyone may come."""
    service = _service("a", "10.96.0.1", type="LoadBalancer", loadBalancerSourceRanges=ranges)
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}
    known = state(SETTINGS, [service, _slice("a", "10.244.0.1")])
    assert "KUBE-FW-" not in iptables.first(iptables.build(known))
    assert "firewall-" not in "".join(nftables.build(known).fragments["default/a"].chains)


def test_the_firewall_of_a_service_without_endpoints() -> None:
    """In nftables mode the firewall is there even then; in iptables mode it is not."""
    service = _service("a", "10.96.0.1", type="LoadBalancer", loadBalancerSourceRanges=["10.1.0.0/16"])
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}}
    known = state(SETTINGS, [service])
    assert "KUBE-FW-" not in iptables.first(iptables.build(known))
    assert "firewall-" in "".join(nftables.build(known).fragments["default/a"].chains)


def test_a_live_endpoint_counts_before_a_dying_one_with_its_address() -> None:
    """Where a new pod got the address of one that still terminates, in either order, it is ready."""
    live = {"addresses": ["10.244.0.1"]}
    dying = {"addresses": ["10.244.0.1"], "conditions": {"ready": False, "serving": False, "terminating": True}}
    for endpoints in ([live, dying], [dying, live]):
        known = state(SETTINGS, [_service("a", "10.96.0.1"), _slice("a", endpoints=endpoints)])
        assert "10.244.0.1:8080" in iptables.first(iptables.build(known))


def test_dual_stack_services_have_an_address_of_each_family() -> None:
    """ClusterIPs are matched to families by ipFamilies, or by what they are."""
    both = ["10.96.0.1", "fd00:96::1"]
    for families in ({}, {"ipFamilies": ["IPv4", "IPv6"]}):
        service = _service("a", "10.96.0.1", clusterIPs=both, **families)
        found = [state(Settings(family), [service]).services["default/a"] for family in Family]
        assert [view.backends[0].port.cluster_ip for view in found] == both


def _flow(destination: str, port: int, answers: str, answer_port: int = 8080, protocol: int = conntrack.UDP) -> Flow:
    return Flow(protocol, "10.1.1.1", 5000, destination, port, answers, answer_port)


def test_udp_entries_of_gone_endpoints_are_chosen() -> None:
    """Entries of a UDP Service that lead elsewhere than to a serving endpoint are stale; all others are not."""
    udp = [{"port": 80, "protocol": "UDP", "nodePort": 30080}]
    dying = {"addresses": ["10.244.0.2"], "conditions": {"ready": False, "serving": True, "terminating": True}}
    slice_ = _slice("a", endpoints=[{"addresses": ["10.244.0.1"]}, dying], ports=[{"port": 8080, "protocol": "UDP"}])
    known = Inventory.empty(SETTINGS).update(
        fields(
            [
                _service("a", "10.96.0.1", ports=udp, externalIPs=["10.9.0.1"]),
                slice_,
                _service("b", "10.96.0.2", ports=udp),
            ]
        )
    )
    stale = [
        _flow("10.96.0.1", 80, "10.244.0.9"),
        _flow("10.9.0.1", 80, "10.244.0.9"),
        _flow("192.168.0.2", 30080, "10.244.0.9"),
    ]
    alive = [
        _flow("10.96.0.1", 80, "10.244.0.1"),
        _flow("10.96.0.1", 80, "10.244.0.2"),
        _flow("10.96.0.1", 81, "10.244.0.9"),
        _flow("10.96.0.2", 80, "10.244.0.9"),
        _flow("10.96.0.1", 80, "10.244.0.9", protocol=6),
    ]
    assert conntrack.stale(known.state, [*alive, *stale]) == stale
    assert conntrack.needs_look(known.state, known.update(fields([_slice("a", ports=[])])).state)
    assert not conntrack.needs_look(known.state, known.update(fields([_service("c", "10.96.0.3")])).state)


def test_an_update_that_is_refused_changes_nothing() -> None:
    """A bad manifest among good ones leaves the inventory as it was."""
    known = Inventory.empty(SETTINGS).update(fields([_service("a", "10.96.0.1")]))
    with pytest.raises(ValueError, match="expected a number"):
        known.update([*fields([_service("b", "10.96.0.2")]), Field(_service("c", "10.96.0.3", ports=[{}]), "bad")])
    assert list(known.state.services) == ["default/a"]
    assert "default/b" not in known.ports
