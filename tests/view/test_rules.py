from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlab import Lab
from netlab.kernel.read_rules import parse_iptables_save
from netlab.kernel.values import HostState
from netlab.view.chains import Chain, describe, to_chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Host

WEB = "KUBE-SVC-4SW47YFZTEDKD3PK"
POD = "KUBE-SEP-UKSFD7AGPMPPLUHC"
CHANCE = "-m statistic --mode random --probability 0.33333333349"
SAVED = f"""
*nat
:PREROUTING ACCEPT [5:300]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:{WEB} - [0:0]
:{POD} - [0:0]
:EMPTY - [0:0]
[5:300] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
[2:120] -A KUBE-SERVICES -d 10.96.0.10/32 -m comment --comment "default/web:http cluster IP" -j {WEB}
[0:0] -A KUBE-SERVICES -d 10.96.0.11/32 -j EMPTY
[1:60] -A {WEB} -m comment --comment "default/web:http -> 10.244.1.2:80" {CHANCE} -j {POD}
[1:60] -A {POD} -p tcp -j DNAT --to-destination 10.244.1.2:80
COMMIT
*raw
:PREROUTING ACCEPT [9:540]
COMMIT
"""


def walk(text: str = SAVED) -> dict[str, Chain]:
    """Return the chains of a saved ruleset by table and name."""
    rules = parse_iptables_save(text, "iptables")
    return {f"{chain.table} {chain.name}": chain for chain in to_chains(HostState("node-1", 1, rules=rules))}


def test_base_chains_come_in_the_order_in_which_a_packet_meets_them() -> None:
    """Within a hook raw comes before nat, as the kernel's priorities say, and chains that are jumped to come last."""
    assert list(walk())[:3] == ["raw PREROUTING", "nat PREROUTING", "nat POSTROUTING"]
    assert walk()["nat KUBE-SERVICES"].hook is None


def test_a_kube_chain_has_the_name_of_its_service() -> None:
    """kube-proxy's comments tell which Service and which endpoint a hash stands for."""
    chains = walk()
    assert chains["nat KUBE-SVC-4SW47YFZTEDKD3PK"].alias == "default/web:http"
    assert chains["nat KUBE-SEP-UKSFD7AGPMPPLUHC"].alias == "default/web:http -> 10.244.1.2:80"


def test_the_words_around_a_service_are_no_name() -> None:
    """A comment may put words before the Service's name."""
    line = '[0:0] -A X -m comment --comment "pod traffic for a/b:c external destinations" -j KUBE-SVC-GNZBNJ2PO5MGZ6GT'
    assert walk(f"*nat\n:X - [0:0]\n{line}\nCOMMIT\n")["nat KUBE-SVC-GNZBNJ2PO5MGZ6GT"].alias == "a/b:c"


def test_a_step_tells_its_chance_its_target_and_its_verdict() -> None:
    """Probability, jump and final target are taken out of the rule's words."""
    chains = walk()
    (jump,) = chains["nat KUBE-SVC-4SW47YFZTEDKD3PK"].steps
    (final,) = chains["nat KUBE-SEP-UKSFD7AGPMPPLUHC"].steps
    assert jump.chance == pytest.approx(1 / 3)
    assert jump.targets == ("KUBE-SEP-UKSFD7AGPMPPLUHC",)
    assert (jump.verdict, final.verdict, final.targets) == ("", "DNAT", ())


def test_dice_in_a_row_tell_their_share_of_all() -> None:
    """One in three, half of what is left, and the rest are a third each; other rules of the chain roll nothing."""
    roll = "-m statistic --mode random --probability"
    rules = (
        "! -s 10.244.0.0/16 -d 10.96.0.10/32 -j KUBE-MARK-MASQ",
        *(f"{roll} {chance} -j KUBE-SEP-{end}" for chance, end in ((0.33333333349, "A"), (0.5, "B"))),
        "-j KUBE-SEP-C",
    )
    chains = walk("\n".join(("*nat", ":X - [0:0]", *(f"[0:0] -A X {rule}" for rule in rules), "COMMIT", "")))
    shares = [step.share for step in chains["nat X"].steps]
    assert shares[0] is None
    assert shares[1:] == pytest.approx([1 / 3, 1 / 3, 1 / 3])


def test_a_chain_without_rules_can_still_be_followed() -> None:
    """A jump to an empty chain leads to a chain with no step."""
    assert walk()["nat EMPTY"].steps == ()


def test_the_text_shows_each_chain_once() -> None:
    """Where two rules lead to one chain, the second says so instead of repeating it."""
    again = SAVED.replace("-j EMPTY", "-j KUBE-SVC-4SW47YFZTEDKD3PK")
    text = describe("node-1", walk(again).values())
    assert text.count("--to-destination") == 1
    assert "KUBE-SVC-4SW47YFZTEDKD3PK (default/web:http): see above" in text
    assert "[33% of all]" in text


def test_a_host_without_rules_says_so() -> None:
    """No rule means that every packet passes."""
    assert "every packet passes" in describe("red", to_chains(HostState("red", 1)))


@pytest.fixture
def node() -> Iterator[Host]:
    """Give a host with rules of both tools."""
    with Lab("rules") as lab:
        host = lab.add_host("node")
        host.set_link("lo", up=True)
        host.iptables("-A", "INPUT", "-p", "icmp", "-j", "ACCEPT")
        host.nft(
            "table inet mine { chain sub { counter drop; }\n"
            "chain in { type filter hook input priority 10; policy accept; udp dport 9 jump sub; }\n}"
        )
        yield host


@pytest.mark.kernel
def test_both_tools_stand_in_one_walk(node: Host) -> None:
    """The filter table of iptables has priority 0 and comes before a table of nftables with priority 10."""
    bases = [chain for chain in to_chains(node.state()) if chain.hook == "input" and chain.steps]
    assert [(chain.tool, chain.priority) for chain in bases] == [("iptables", 0), ("nft", 10)]
    assert bases[1].steps[0].targets == ("sub",)


@pytest.mark.kernel
def test_counters_tick_without_a_new_walk(node: Host) -> None:
    """A packet changes the widget's counters, and nothing else of it: what a reader has opened stays open."""
    view = node.rules()
    try:
        before = view.chains
        node.run("ping", "-c1", "-W1", "127.0.0.1", check=True)
        view._update(node.lab.snapshot())
        assert view.counters["iptables/ip/filter/INPUT"]["1"] == 2
        assert view.chains == before
        assert "policy ACCEPT" in str(view)
    finally:
        view.close()


@pytest.mark.kernel
def test_a_closed_lab_keeps_the_last_walk(node: Host) -> None:
    """The rules can still be read after the lab has gone."""
    view = node.rules()
    node.lab.close()
    assert view.closed
    assert "icmp" in str(view)
    view.close()


@pytest.mark.kernel
def test_the_rules_that_a_journey_met_are_marked(node: Host) -> None:
    """Rules of both tools and their chains, each by tool, family, table, chain and number; others are not."""
    node.nft("table inet mine { chain sub2 { counter; }\nchain out { type filter hook output priority 0; }\n}")
    node.nft("add rule inet mine out udp dport 9 counter jump sub2")
    node.iptables("-A", "OUTPUT", "-p", "tcp", "-j", "DROP")
    node.iptables("-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT")
    journey = node.trace("127.0.0.1", 9, protocol="udp")
    view = node.rules(journey=journey)
    try:
        assert {tuple(hit) for hit in view.hits} == {
            ("iptables/ip/filter/OUTPUT", 2),
            ("nft/inet/mine/out", 1),
            ("nft/inet/mine/sub2", 1),
            ("nft/inet/mine/in", 1),
            ("nft/inet/mine/sub", 1),
        }
        assert "udp to 127.0.0.1 port 9" in view.marked
        lines = str(view).splitlines()
        assert sum("▸" in line for line in lines) == 5
        assert any("▸" in line and "-p udp -j ACCEPT" in line for line in lines)
        # A rule that has moved keeps its mark, one that was deleted loses it.
        node.iptables("-I", "OUTPUT", "-p", "icmp", "-j", "ACCEPT")
        node.nft("flush chain inet mine sub2")
        view._update(node.lab.snapshot())
        assert ["iptables/ip/filter/OUTPUT", 3] in view.hits
        assert ["nft/inet/mine/sub2", 1] not in view.hits
        view.mark_journey(None)
        assert view.hits == []
        assert view.marked == ""
    finally:
        view.close()
