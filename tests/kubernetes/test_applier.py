"""The proxy keeps a host's rules those of its Services, whatever happens to them."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from proxy_objects import Maker

from netlab.errors import CommandError, InvalidInputError
from netlab.kubernetes.proxy import Family, Inventory, LocalDetector, Settings, as_document, iptables
from netlab.kubernetes.proxy.applier import Applier
from netlab.kubernetes.proxy.backends import SWEEP_AFTER
from netlab.kubernetes.proxy.iptables_first import first_parts
from netlab.kubernetes.rulesets import read_listing, read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host, Lab

pytestmark = pytest.mark.kernel

MODES = ("iptables", "nftables")
FOUR = Settings(Family.IPV4, "node", "192.168.0.2", detector=LocalDetector("source", "10.0.0.0/8"))
SIX = Settings(Family.IPV6, "node", "fd00:1::2", detector=LocalDetector("source", "fd00::/16"))


@pytest.fixture
def node(lab: Lab) -> Host:
    """Return a host whose loopback is up."""
    host = lab.add_host("node")
    host.set_link("lo", up=True)
    return host


def objects(number: int, pods: int = 3, **spec: Any) -> list[Any]:
    """Return a Service and its slice."""
    name = f"s{number}"
    labels = {"kubernetes.io/service-name": name}
    ports = [{"port": 80, "protocol": spec.pop("protocol", "TCP")}]
    service = {
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"clusterIP": f"10.96.{number >> 8}.{number & 255}", "ports": ports, **spec},
    }
    piece = {
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": f"{name}-1", "labels": labels},
        "endpoints": [
            {"addresses": [f"10.{number >> 8}.{number & 255}.{pod + 1}"], "nodeName": "node"} for pod in range(pods)
        ],
        "ports": [{"port": 8080, "protocol": ports[0]["protocol"]}],
    }
    return [as_document(service), as_document(piece)]


def inventory(*numbers: int, settings: Settings = FOUR) -> Inventory:
    """Return the Services with these numbers."""
    return Inventory.empty(settings).update(document for number in numbers for document in objects(number))


def rules(host: Host, mode: str, family: Family = Family.IPV4) -> object:
    """Return the proxy's rules in a host, comparable."""
    if mode == "iptables":
        tool = "iptables-save" if family is Family.IPV4 else "ip6tables-save"
        return read_tables(host.run(tool, check=True).stdout).own
    word = "ip" if family is Family.IPV4 else "ip6"
    return read_listing(host.run("nft", "-s", "list", "table", word, "kube-proxy", check=True).stdout)


def fresh(lab: Lab, mode: str, wanted: Inventory) -> object:
    """Return the rules that a host gets which never had others."""
    host = lab.add_host("fresh")
    try:
        Applier(host, wanted.state.settings, mode).sync(wanted)
        return rules(host, mode, wanted.state.settings.family)
    finally:
        lab.remove_host(host)


@pytest.fixture(params=MODES)
def applier(request: pytest.FixtureRequest, node: Host) -> Iterator[Applier]:
    """Return a proxy of each mode."""
    made = Applier(node, FOUR, request.param)
    yield made
    made.clean()


def test_first_then_smallest_then_nothing(applier: Applier, node: Host, lab: Lab) -> None:
    """The first sync is full, the next writes what changed, and one without changes writes nothing."""
    assert applier.sync(inventory(1, 2)).kind == "full"
    assert applier.sync(inventory(1, 2).update(objects(2, 4))).kind == "partial"
    changed = inventory(2).update(objects(3, 4))
    assert applier.sync(changed).kind == "partial"
    assert applier.sync(changed).kind == "nothing"
    time.sleep(SWEEP_AFTER)
    applier.sync(changed)
    assert rules(node, applier.mode) == fresh(lab, applier.mode, changed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", [FOUR, SIX], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("seed", range(2))
def test_after_many_changes_the_rules_are_those_of_a_fresh_node(
    lab: Lab, node: Host, mode: str, settings: Settings, seed: int
) -> None:
    """Nothing is lost and nothing left over, whatever came and went before."""
    maker = Maker(seed, settings.family)
    applier = Applier(node, settings, mode)
    wanted = Inventory.empty(settings)
    names: dict[tuple[str, str], None] = {}
    for _ in range(6):
        gone = [name for name in names if maker.chance(30)]
        new = maker.objects()
        names = {name: None for name in names if name not in gone}
        for manifest in new:
            metadata = manifest["metadata"]
            names[manifest["kind"], f"{metadata.get('namespace') or 'default'}/{metadata['name']}"] = None
        wanted = wanted.update([as_document(manifest) for manifest in new], removed=gone)
        applier.sync(wanted)
    if mode == "nftables":
        time.sleep(SWEEP_AFTER)
        applier.sync(wanted)
    assert rules(node, mode, settings.family) == fresh(lab, mode, wanted)


@pytest.mark.parametrize(
    "harm",
    [
        ("nft", "flush", "ruleset"),
        ("iptables", "-t", "nat", "-F"),
        ("iptables", "-t", "nat", "-D", "KUBE-SERVICES", "1"),
        ("iptables", "-t", "nat", "-I", "KUBE-SERVICES", "-j", "RETURN"),
        ("iptables", "-F", "INPUT"),
        ("iptables", "-t", "mangle", "-X", "KUBE-PROXY-CANARY"),
    ],
    ids=" ".join,
)
def test_iptables_rules_that_somebody_broke_are_repaired(lab: Lab, node: Host, harm: tuple[str, ...]) -> None:
    """The next sync sees the change, and writes everything."""
    applier = Applier(node, FOUR)
    applier.sync(inventory(1, 2))
    whole = node.run("iptables-save").stdout
    node.run(*harm, check=True)
    assert node.run("iptables-save").stdout != whole
    done = applier.sync(inventory(1, 2))
    assert (done.kind, done.why) == ("full", "somebody changed the proxy's chains")
    assert rules(node, "iptables") == fresh(lab, "iptables", inventory(1, 2))
    jumps = [
        line for line in whole.splitlines() if line.startswith(("-A PRE", "-A POST", "-A IN", "-A OUT", "-A FORW"))
    ]
    assert all(node.run("iptables-save").stdout.count(jump) == whole.count(jump) for jump in jumps)


@pytest.mark.parametrize(
    "harm",
    ["flush ruleset", "delete table ip kube-proxy", "flush table ip kube-proxy", "flush chain ip kube-proxy services"],
)
def test_an_nftables_table_that_somebody_broke_is_repaired(lab: Lab, node: Host, harm: str) -> None:
    """The same in the other mode."""
    applier = Applier(node, FOUR, "nftables")
    applier.sync(inventory(1, 2))
    node.nft(harm)
    assert applier.sync(inventory(1, 2)).kind == "full"
    assert rules(node, "nftables") == fresh(lab, "nftables", inventory(1, 2))


def test_rules_of_others_cost_no_full_sync(applier: Applier, node: Host) -> None:
    """What CNI plugins and learners write elsewhere stays, and the proxy goes on with small syncs."""
    node.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7", "-j", "ACCEPT")
    applier.sync(inventory(1, 2))
    node.iptables("-t", "nat", "-N", "MINE")
    node.iptables("-t", "nat", "-A", "POSTROUTING", "-s", "10.5.0.0/16", "-j", "MINE")
    assert applier.sync(inventory(1, 2)).kind == "nothing"
    assert applier.sync(inventory(1)).kind == "partial"
    applier.clean()
    left = node.run("iptables-save", "-t", "nat").stdout
    assert "--dport 7 -j ACCEPT" in left
    assert "-A POSTROUTING -s 10.5.0.0/16 -j MINE" in left
    assert "KUBE" not in left


def test_a_partial_sync_that_fails_is_followed_by_a_full_one(applier: Applier, node: Host, lab: Lab) -> None:
    """A Service's own chain that a learner deleted is in the way of the small sync only."""
    applier.sync(inventory(1, 2))
    if applier.mode == "iptables":
        saved = node.run("iptables-save", "-t", "nat").stdout
        chain = next(line[1:].split()[0] for line in saved.splitlines() if line.startswith(":KUBE-SEP-"))
        node.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7", "-j", chain)
    else:
        node.nft("delete element ip kube-proxy service-ips { 10.96.0.1 . tcp . 80 }")
    done = applier.sync(inventory(9))
    assert done.kind == "full"
    assert "partial sync failed" in done.why
    if applier.mode == "iptables":
        assert [word for word in done.warnings if chain in word]
        assert node.run("iptables-save", "-t", "nat").stdout.count(chain) == 2
        node.iptables("-t", "nat", "-D", "PREROUTING", "-p", "tcp", "--dport", "7", "-j", chain)
    assert applier.sync(inventory(9)).kind == "nothing"
    assert rules(node, applier.mode) == fresh(lab, applier.mode, inventory(9))
    failures = "iptables_partial_restore_failures" if applier.mode == "iptables" else "nftables_sync_failures"
    assert applier.metrics.value(f"sync_proxy_rules_{failures}_total", ip_family="IPv4") == 1


def test_a_sync_that_cannot_work_says_so_and_the_next_one_works(node: Host) -> None:
    """A table that iptables cannot read is an error with the tool's words; without it all is well again."""
    applier = Applier(node, FOUR)
    node.nft("add table ip nat; add chain ip nat KUBE-SERVICES { type filter hook input priority 7 ; }")
    with pytest.raises(CommandError, match="the next sync writes all of them again"):
        applier.sync(inventory(1))
    node.nft("flush ruleset")
    assert applier.sync(inventory(1)).kind == "full"


@pytest.mark.parametrize(("before", "after"), [MODES, MODES[::-1]])
def test_the_mode_changes_while_services_are_used(lab: Lab, node: Host, before: str, after: str) -> None:
    """The new rules are there before the old ones go, and nothing of the old mode stays."""
    applier = Applier(node, FOUR, before)
    applier.sync(inventory(1, 2))
    applier.mode = after
    assert applier.sync(inventory(1, 2)).why == f"the mode changed from {before} to {after}"
    assert rules(node, after) == fresh(lab, after, inventory(1, 2))
    saved, listed = node.run("iptables-save").stdout, node.run("nft", "list", "ruleset").stdout
    assert ("KUBE-SERVICES" in saved) == (after == "iptables")
    assert ("kube-proxy" in listed) == (after == "nftables")


@pytest.mark.parametrize(("before", "after"), [MODES, MODES[::-1]])
def test_a_new_proxy_takes_over_from_an_old_one(lab: Lab, node: Host, before: str, after: str) -> None:
    """What an earlier proxy left, in the same mode or the other one, becomes the new one's or goes."""
    Applier(node, FOUR, before).sync(inventory(1, 2, 3))
    for mode in (before, after):
        Applier(node, FOUR, mode).sync(inventory(2))
        assert rules(node, mode) == fresh(lab, mode, inventory(2))
    assert ("KUBE-SERVICES" in node.run("iptables-save").stdout) == (after == "iptables")


def test_switched_off_it_leaves_nothing(applier: Applier, node: Host) -> None:
    """Only KUBE-FIREWALL stays, which the kubelet owns too; switched on again, all is there."""
    applier.sync(inventory(1, 2))
    applier.clean()
    saved = node.run("iptables-save").stdout
    assert all("KUBE-FIREWALL" in line for line in saved.splitlines() if "KUBE" in line)
    assert "kube-proxy" not in node.run("nft", "list", "ruleset").stdout
    assert applier.sync(inventory(1)).kind == "full"


def test_two_families_on_one_node_leave_each_other_alone(node: Host) -> None:
    """The syncs of one are no reason for the other to write everything."""
    four, six = (Applier(node, settings) for settings in (FOUR, SIX))
    four.sync(inventory(1))
    six.sync(Inventory.empty(SIX))
    assert four.sync(inventory(1, 2)).kind == "partial"
    assert six.sync(Inventory.empty(SIX)).kind == "nothing"


def test_wrong_words_are_refused(node: Host) -> None:
    """A mode or a family that is not the proxy's is an input error."""
    with pytest.raises(InvalidInputError, match="iptables, nftables"):
        Applier(node, FOUR, "ipvs")
    with pytest.raises(InvalidInputError, match="IPv4"):
        Applier(node, FOUR).sync(Inventory.empty(SIX))


def ask(node: Host, url: str) -> tuple[int, dict[str, Any] | str]:
    """Return status and body of an answer."""
    printed = node.run("curl", "-s", "-m", "5", "-w", "\n%{http_code}", url).stdout
    body, _, status = printed.rpartition("\n")
    return int(status), json.loads(body) if body.startswith("{") else body


def test_health_check_node_ports_are_answered(applier: Applier, node: Host) -> None:
    """200 with local endpoints, 503 without, and no answer once the Service is gone."""
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30500}
    wanted = Inventory.empty(FOUR)
    applier.sync(wanted.update(objects(1, 2, **spec)))
    status, body = ask(node, "http://127.0.0.1:30500/healthz")
    assert (status, body) == (
        200,
        {"service": {"namespace": "default", "name": "s1"}, "localEndpoints": 2, "serviceProxyHealthy": True},
    )
    applier.sync(wanted.update(objects(1, 0, **spec)))
    assert ask(node, "http://127.0.0.1:30500/")[0] == 503
    applier.sync(wanted)
    assert ask(node, "http://127.0.0.1:30500/")[0] == 0


def test_a_health_check_port_that_is_taken_is_a_warning(node: Host) -> None:
    """The rules are written all the same."""
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30501}
    with node.serve(30501):
        applier = Applier(node, FOUR)
        done = applier.sync(Inventory.empty(FOUR).update(objects(1, 1, **spec)))
    applier.clean()
    assert done.kind == "full"
    assert [word for word in done.warnings if "0.0.0.0:30501" in word]


def test_metrics_have_the_names_that_dashboards_know(node: Host) -> None:
    """The host answers at kube-proxy's port; the counts of rules are those of iptables-save."""
    applier = Applier(node, FOUR, serve=True)
    applier.sync(inventory(1, 2))
    applier.sync(inventory(1, 2).update(objects(2, 5)))
    applier.sync(inventory(1))
    text = str(ask(node, "http://127.0.0.1:10249/metrics")[1])
    numbers = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    chains = read_tables(node.run("iptables-save").stdout).chains
    for table in ("filter", "nat"):
        count = sum(len(found) for (name, chain), found in chains.items() if name == table and "KUBE-" in chain)
        assert int(numbers[f'kubeproxy_sync_proxy_rules_iptables_total{{ip_family="IPv4",table="{table}"}}']) == count
    assert 'kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv4",table="nat"}' in numbers
    assert numbers["kubeproxy_sync_proxy_rules_service_changes_pending"] == "0"
    assert numbers['kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"}'] == "1"
    assert numbers['kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"}'] == "2"
    assert ask(node, "http://127.0.0.1:10249/proxyMode") == (200, "iptables")
    assert ask(node, "http://127.0.0.1:10256/healthz")[0] == 200
    applier.clean()


def test_udp_connections_to_gone_endpoints_are_forgotten(applier: Applier, node: Host) -> None:
    """A client that goes on sending from one port reaches the endpoint that is left."""
    node.add_address("lo", "10.0.1.1/32")
    node.add_address("lo", "10.0.1.2/32")
    node.add_address("lo", "10.9.9.9/32")
    node.add_route("default", interface="lo")
    wanted = Inventory.empty(FOUR)
    with node.serve(8080, protocol="udp"):
        (client,) = node.namespace.sandbox.sockets([node.name], (socket.AF_INET, socket.SOCK_DGRAM, 0))
        with client:
            client.settimeout(5)
            client.bind(("10.9.9.9", 0))
            client.connect(("10.96.0.1", 80))
            applier.sync(wanted.update(objects(1, 2, protocol="UDP")))
            client.send(b"first")
            first = json.loads(client.recv(4096))["server_address"]
            left = next(place for place in ("10.0.1.1", "10.0.1.2") if place != first)
            changed = objects(1, 2, protocol="UDP")
            changed[1].value["endpoints"] = [{"addresses": [left]}]
            done = applier.sync(wanted.update(changed))
            assert done.forgotten == 1
            client.send(b"second")
            assert json.loads(client.recv(4096))["server_address"] == left


def test_switching_off_does_not_stumble_over_a_rule_in_the_way(node: Host) -> None:
    """A chain to which a learner's rule leads stays, empty; all else goes."""
    applier = Applier(node, FOUR)
    applier.sync(inventory(1))
    node.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "7", "-j", "KUBE-MARK-MASQ")
    applier.clean()
    saved = node.run("iptables-save").stdout
    left = [line for line in saved.splitlines() if "KUBE" in line and "KUBE-FIREWALL" not in line]
    assert left == [":KUBE-MARK-MASQ - [0:0]", "-A PREROUTING -p tcp -m tcp --dport 7 -j KUBE-MARK-MASQ"]


@pytest.mark.parametrize("settings", [FOUR, SIX], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [7, 1000])
def test_a_first_sync_in_small_transactions_gives_the_same_rules(node: Host, settings: Settings, size: int) -> None:
    """However small they are, in the end each chain holds what one transaction would give it."""
    family = settings.family.name.lower()
    maker = Maker(5, settings.family)
    state = Inventory.empty(settings).update([as_document(item) for _ in range(4) for item in maker.objects()]).state
    ruleset = iptables.build(state)
    saved = []
    for text in (iptables.first(ruleset), "".join(first_parts(ruleset, size))):
        node.nft("flush ruleset")
        node.restore_iptables(text, family=family, flush=False)
        chains = read_tables(node.run("iptables-save" if family == "ipv4" else "ip6tables-save").stdout).chains
        saved.append(chains)
    assert saved[0] == saved[1]
    assert len(saved[0]) > 30


def test_a_thousand_services_fit_an_ordinary_lab(applier: Applier, node: Host) -> None:
    """Where a transaction may not be large there are several; nothing is lost between them."""
    wanted = inventory(*range(1000))
    assert applier.sync(wanted).kind == "full"
    assert applier.sync(wanted.update(objects(500, 4))).kind == "partial"
    if applier.mode == "iptables":
        chains = read_tables(node.run("iptables-save", "-t", "nat").stdout).chains
        assert len(chains["nat", "KUBE-SERVICES"]) == 1001
        assert sum(chain.startswith("KUBE-SEP-") for _, chain in chains) == 3001
    else:
        listed: Any = rules(node, "nftables")
        assert sum(" : goto service-" in line for line in listed["map service-ips {"]) == 1000
