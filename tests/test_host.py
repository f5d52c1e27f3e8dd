from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from fingerprint import unchanged

from netlab import CommandError, InvalidInputError, KernelError, Lab

if TYPE_CHECKING:
    from netlab import Host

pytestmark = pytest.mark.kernel

RULES = """
*nat
:PREROUTING ACCEPT [0:0]
:WEB - [0:0]
-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j WEB
-A WEB -p tcp -j DNAT --to-destination 10.0.0.2:8080
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
COMMIT
"""


def texts(host: Host, tool: str = "iptables") -> list[str]:
    """Return the rules of a host as the snapshot tells them."""
    return [f"{rule.table} {rule.chain} {rule.text}" for rule in host.state().rules if rule.tool == tool and rule.text]


def test_names_are_found_in_etc_hosts(pair: tuple[Host, Host]) -> None:
    """An entry of /etc/hosts is seen by commands of that host, also those that run already, and by nobody else."""
    red, blue = pair
    assert red.read_file("hosts").startswith("127.0.0.1\tlocalhost\n")
    with red.popen("sh", "-c", "read line; getent hosts web", stdin=-1) as process:
        red.add_hosts_entry("10.0.0.2", "web", "web.example")
        red.add_hosts_entry("fd00::2", "web6")
        assert process.communicate(b"\n", timeout=5)[0].split() == [b"10.0.0.2", b"web", b"web.example"]
    assert red.run("ping", "-c1", "-W2", "web.example").ok
    assert red.run("getent", "ahostsv6", "web6").stdout.split()[0] == "fd00::2"
    assert not blue.run("getent", "hosts", "web").ok
    for wrong in (("10.0.0.2",), ("10.0.0.2", "a b"), ("10.0.0.2/24", "web"), ("10.0.0.2", "x\n1.1.1.1 y")):
        before = red.read_file("hosts")
        with pytest.raises(InvalidInputError):
            red.add_hosts_entry(*wrong)
        assert red.read_file("hosts") == before


def test_a_large_hosts_file_is_kept_whole(lab: Lab) -> None:
    """A few thousand entries, more than fit one message to the sandbox, are all there."""
    red = lab.add_host("red")
    names = [f"name-{number}-of-a-rather-long-kind.example.org" for number in range(5000)]
    red.add_hosts_entry("10.0.0.2", *names)
    red.add_hosts_entry("10.0.0.3", "last")
    assert red.run("tail", "-n1", "/etc/hosts").stdout == "10.0.0.3\tlast\n"
    assert set(names) <= set(red.read_file("hosts").split())


def test_resolv_conf_names_the_servers(lab: Lab) -> None:
    """Name servers, search domains and options are what commands see in /etc/resolv.conf."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    red.set_resolv_conf(["10.96.0.10", "fd00::10"], search=["svc.cluster.local", "local"], options=["ndots:5"])
    expected = "nameserver 10.96.0.10\nnameserver fd00::10\nsearch svc.cluster.local local\noptions ndots:5\n"
    assert red.run("cat", "/etc/resolv.conf").stdout == red.read_file("resolv.conf") == expected
    assert "nameserver" not in blue.run("cat", "/etc/resolv.conf").stdout
    red.set_resolv_conf([])
    assert red.run("cat", "/etc/resolv.conf").stdout == "\n"
    with pytest.raises(InvalidInputError):
        red.set_resolv_conf(["ns.example"])
    with pytest.raises(InvalidInputError):
        red.set_resolv_conf(["10.0.0.1"], search=["a\nnameserver 1.1.1.1"])
    with pytest.raises(InvalidInputError, match="not 'passwd'"):
        red.read_file("passwd")


def test_a_host_has_a_hostname(lab: Lab) -> None:
    """Each host has a hostname of its own, which can be changed and does not leave the lab."""
    red, blue = lab.add_host("red"), lab.add_host("blue")
    red.hostname = "web-1.example"
    assert red.hostname == red.run("hostname").stdout.strip() == "web-1.example"
    assert blue.hostname == "blue"
    with pytest.raises(InvalidInputError):
        red.hostname = "not a name"
    assert red.hostname == "web-1.example"
    assert red.run("hostname", "by-hand").ok
    assert red.hostname == "by-hand"


def test_iptables_rules_are_written_and_read(pair: tuple[Host, Host]) -> None:
    """What `iptables` appends shows in the snapshot with its counters, and works."""
    red, blue = pair
    red.iptables("-A", "INPUT", "-p", "icmp", "-m", "comment", "--comment", "no ping", "-j", "DROP")
    red.ip6tables("-A", "INPUT", "-p", "tcp", "-j", "REJECT")
    assert not blue.run("ping", "-c1", "-W1", "10.0.0.1").ok
    (rule,) = (rule for rule in red.state().rules if rule.tool == "iptables" and rule.text)
    assert (rule.table, rule.chain, rule.number, rule.packets, rule.bytes) == ("filter", "INPUT", 1, 1, 84)
    assert rule.text == '-p icmp -m comment --comment "no ping" -j DROP'
    assert texts(red, "ip6tables") == ["filter INPUT -p tcp -j REJECT --reject-with icmp6-port-unreachable"]
    policies = {(rule.tool, rule.chain): rule.policy for rule in red.state().rules if not rule.text}
    assert policies["iptables", "INPUT"] == policies["ip6tables", "OUTPUT"] == "ACCEPT"
    red.iptables("-D", "INPUT", "1")
    assert blue.run("ping", "-c1", "-W2", "10.0.0.1").ok


def test_iptables_refusals_are_errors(lab: Lab) -> None:
    """A rule that iptables refuses is an error with its words, and changes nothing."""
    red = lab.add_host("red")
    red.iptables("-A", "INPUT", "-j", "ACCEPT")
    with unchanged(lab), pytest.raises(CommandError, match=r"iptables -w -A NO-SUCH -j DROP failed in red .*[Cc]hain"):
        red.iptables("-A", "NO-SUCH", "-j", "DROP")


def test_a_rule_set_is_restored(lab: Lab) -> None:
    """`restore_iptables` loads several tables; with flush=False it adds to what is there."""
    red = lab.add_host("red")
    red.restore_iptables(RULES)
    expected = [
        "nat PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j WEB",
        "nat WEB -p tcp -j DNAT --to-destination 10.0.0.2:8080",
        "filter INPUT -i lo -j ACCEPT",
    ]
    assert sorted(texts(red)) == sorted(expected)
    red.restore_iptables("*filter\n-A INPUT -i eth0 -j ACCEPT\nCOMMIT", flush=False)
    assert "filter INPUT -i eth0 -j ACCEPT" in texts(red)
    red.restore_iptables("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT")
    assert not [text for text in texts(red) if text.startswith("filter")]
    red.restore_iptables("*filter\n-A INPUT -s fd00::/64 -j DROP\nCOMMIT", family="ipv6")
    assert texts(red, "ip6tables") == ["filter INPUT -s fd00::/64 -j DROP"]
    with pytest.raises(InvalidInputError, match='"ipv4" or "ipv6"'):
        red.restore_iptables("", family="inet")


def test_a_rule_set_with_an_error_changes_no_table(lab: Lab) -> None:
    """An error in the second table leaves the first as it was."""
    red = lab.add_host("red")
    red.restore_iptables(RULES)
    wrong = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n-A PREROUTING -j NO-SUCH-CHAIN\nCOMMIT\n"
    with unchanged(lab), pytest.raises(CommandError, match="iptables-restore"):
        red.restore_iptables(wrong)
    with unchanged(lab), pytest.raises(CommandError, match="iptables-restore"):
        red.restore_iptables("*filter\n-A INPUT --no-such-option\nCOMMIT\n", flush=False)


def test_nft_loads_all_or_nothing(lab: Lab) -> None:
    """An nft script is loaded whole, with its sets; one with an error at its end changes nothing."""
    red = lab.add_host("red")
    red.nft(
        "table inet web {\n"
        " set allowed { type ipv4_addr; flags interval; elements = { 10.0.0.0/24, 10.1.0.1 } }\n"
        " map ports { type inet_service : verdict; elements = { 80 : accept, 81 : drop } }\n"
        " chain input { type filter hook input priority 0; policy drop;\n"
        "  ip saddr @allowed tcp dport { 80, 443 } counter accept\n  tcp dport vmap @ports\n }\n"
        ' chain side { counter packets 7 bytes 8 comment "a # handle 9"\n }\n}'
    )
    rules = [rule for rule in red.state().rules if rule.tool == "nft"]
    assert [(rule.chain, rule.number, rule.text, rule.policy) for rule in rules] == [
        ("input", 0, "", "DROP"),
        ("input", 1, "ip saddr @allowed tcp dport { 80, 443 } counter accept", None),
        ("input", 2, "tcp dport vmap @ports", None),
        ("side", 1, 'counter comment "a # handle 9"', None),
    ]
    assert {(rule.family, rule.table) for rule in rules} == {("inet", "web")}
    assert [(rule.packets, rule.bytes) for rule in rules] == [(None, None), (0, 0), (None, None), (7, 8)]
    assert all(rule.handle for rule in rules)
    with unchanged(lab), pytest.raises(CommandError, match="nft -f - failed in red"):
        red.nft("delete table inet web\nadd rule inet no-such chain accept")


def test_tables_named_like_those_of_iptables_are_read_once(lab: Lab) -> None:
    """A table of nft with a name that iptables uses is told of by nft, and rules of both are there once."""
    red = lab.add_host("red")
    red.nft(
        "table ip filter {\n chain mine {\n tcp dport { 80, 443 } accept\n }\n}\n"
        "table inet nat {\n chain c {\n accept\n }\n}"
    )
    red.iptables("-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    found = [(rule.tool, rule.family, rule.table, rule.text) for rule in red.state().rules if rule.text]
    assert sorted(found) == [
        ("iptables", "ip", "nat", "-j MASQUERADE"),
        ("nft", "inet", "nat", "accept"),
        ("nft", "ip", "filter", "tcp dport { 80, 443 } accept"),
    ]


def test_legacy_iptables_is_seen(lab: Lab) -> None:
    """Rules of the old iptables are read too, and named as such."""
    red = lab.add_host("red")
    if shutil.which("iptables-legacy", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        pytest.skip("this machine has no iptables-legacy")
    made = red.run("iptables-legacy", "-A", "INPUT", "-p", "udp", "-j", "DROP")
    if not made.ok:
        pytest.skip(f"this kernel has no legacy iptables: {made.stderr.strip()}")
    assert texts(red, "iptables-legacy") == ["filter INPUT -p udp -j DROP"]


def test_a_listening_port_is_open_to_low_numbers(lab: Lab) -> None:
    """A command in a lab may bind a port below 1024, whoever started the lab."""
    red = lab.add_host("red")
    red.set_link("lo", up=True)
    with red.serve(1):
        assert red.run("curl", "-s", "127.0.0.1:1").ok


def test_a_host_reads_itself(pair: tuple[Host, Host]) -> None:
    """`state` is this host's part of a snapshot."""
    red, _ = pair
    state = red.state()
    assert state.name == "red"
    assert state.inode == red.lab.snapshot()["red"].inode
    assert [str(address.address) for address in state.addresses_of("eth0")][:2] == ["10.0.0.1/24", "fd00::1/64"]


def test_a_host_of_the_learners_own_making_is_real(lab: Lab) -> None:
    """What a learner does by hand with `ip` is what the snapshot shows."""
    red = lab.add_host("red")
    assert red.run("sh", "-ec", "ip link add br7 type bridge; ip addr add 10.7.0.1/24 dev br7; ip link set br7 up").ok
    link = red.state().interface("br7")
    assert (link.kind, link.up) == ("bridge", True)
    with pytest.raises(KernelError, match="EEXIST"):
        red.add_bridge("br7")
