"""Journeys against independent witnesses: dumpcap, tshark, and the rules' own counters, read apart from our code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from journey_labs import routed, tunnelled

from netlab.errors import LabError
from netlab.journey.values import Count, Journey

if TYPE_CHECKING:
    from pathlib import Path

    from netlab import Host, Lab
    from netlab.journey.values import Step

pytestmark = pytest.mark.kernel


class Witness:
    """A capture by dumpcap on one interface of a host, decoded by tshark: nothing of it is ours.

    tcpdump itself cannot run as root of a lab: it changes its user, which a user namespace of one user refuses.
    """

    def __init__(self, host: Host, interface: str, folder: Path) -> None:
        """Start, and wait until it listens; skip where there is no Wireshark."""
        for tool in ("dumpcap", "tshark"):
            if shutil.which(tool) is None:
                pytest.skip(tool)
        self.path = folder / f"{host.name}-{interface}.pcapng"
        with self.path.open("wb") as file:
            self.process = host.popen("dumpcap", "-i", interface, "-w", "-", stdout=file)
        self.said = ""
        self.await_words(r"File: -")

    def await_words(self, pattern: str) -> str:
        """Wait until it has said something; return the last group that fits."""
        assert self.process.stderr is not None
        while not (found := re.findall(pattern, self.said)):
            chunk = os.read(self.process.stderr.fileno(), 4096)
            if not chunk:
                pytest.skip(f"dumpcap in a lab: {self.said}")
            self.said += chunk.decode()
        self.said = ""
        return str(found[-1])

    def await_packets(self, journey: Journey) -> None:
        """Wait until it has taken all that the journey says has passed: it reads the kernel in batches."""
        number = sum(f"{each.host}-{each.interface}.pcapng" == self.path.name for each in journey.packets)
        assert number > 0
        while int(self.await_words(r"Packets: (\d+) ")) < number:
            continue

    def fields(self, journey: Journey, expression: str, *names: str) -> list[list[str]]:
        """End it; return some fields of the packets that fit, in order; of nested headers the outer one first."""
        self.await_packets(journey)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=10)
        self.process.close()
        command = ["tshark", "-r", str(self.path), "-d", "udp.port==8472,vxlan", "-Y", expression, "-T", "fields"]
        for name in names:
            command += ["-e", name]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return [line.split("\t") for line in result.stdout.splitlines()]


_ENDS = ("ip.src", "tcp.srcport", "ip.dst", "tcp.dstport", "ip.ttl")


def test_a_capture_saw_the_same_packets(lab: Lab, tmp_path: Path) -> None:
    """On both sides of a router with NAT, SYN and SYN-ACK have the addresses, ports and TTL that the journey names."""
    net = routed(lab)
    rule = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "10.0.2.2:80")
    net.router.iptables("-t", "nat", "-A", "PREROUTING", *rule)
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    witnesses = {name: Witness(net.router, name, tmp_path) for name in ("eth0", "eth1")}
    journey = net.client.trace("10.96.0.10", 80)
    assert journey.ok, journey
    for interface, witness in witnesses.items():
        steps = [step for step in journey.steps if (step.host, step.interface) == ("router", interface)]
        told = [_ends(step) for step in steps]
        assert len(told) == 2
        assert told == witness.fields(journey, "tcp.flags.syn == 1", *_ENDS)


def _ends(step: Step) -> list[str]:
    header = step.after
    assert header is not None
    parts = (header.source, header.source_port, header.destination, header.destination_port, header.ttl)
    return [str(part) for part in parts]


def test_a_capture_saw_the_tunnel(lab: Lab, tmp_path: Path) -> None:
    """On the cable between two nodes: outer addresses, VXLAN number and inner addresses are the journey's."""
    net = tunnelled(lab)
    witness = Witness(net.nodes[0], "eth0", tmp_path)
    journey = net.pods[0].trace("10.244.2.2", 80)
    assert journey.ok, journey
    told = []
    for step in journey.steps:
        if step.host == "node-1" and step.interface == "eth0":
            assert step.outer is not None
            assert step.after is not None
            outer = step.outer.header
            pairs = ((outer.source, step.after.source), (outer.destination, step.after.destination))
            told.append([*(f"{one},{other}" for one, other in pairs), str(outer.source_port), str(step.outer.vni)])
    assert len(told) == 2
    assert told == witness.fields(journey, "tcp.flags.syn == 1", "ip.src", "ip.dst", "udp.srcport", "vxlan.vni")
    assert journey.path == ("pod-1", "node-1", "node-2", "pod-2")
    assert journey.way_back == ("pod-2", "node-2", "node-1", "pod-1")


def counters(host: Host) -> dict[str, int]:
    """Return the packets that each rule of the filter table has counted, as iptables-save prints them."""
    text = host.run("iptables-save", "-c", "-t", "filter", check=True).stdout
    return {rule: int(number) for number, rule in re.findall(r"^\[(\d+):\d+\] (-A .*)$", text, re.MULTILINE)}


def test_only_the_packets_of_the_trace_are_counted(lab: Lab) -> None:
    """A rule's counter grows by the packets of the trace that passed it, as captured at the interface, and no more."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "ACCEPT")
    net.router.iptables("-A", "FORWARD", "-p", "tcp", "--sport", "80", "-j", "ACCEPT")
    before = counters(net.router)
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    grown = [after - old for after, old in zip(counters(net.router).values(), before.values(), strict=True)]
    passed = [
        sum(
            packet.interface == name and packet.direction == "in" and "TCP" in packet
            for packet in journey.packets
            if packet.host == "router"
        )
        for name in ("eth0", "eth1")
    ]
    assert grown == passed


def test_a_drop_shows_in_the_counter_of_its_rule(lab: Lab) -> None:
    """The rule that a journey blames has counted its attempts, and the rule behind it nothing."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-d", "10.9.9.9", "-j", "ACCEPT")
    net.router.iptables("-A", "FORWARD", "-p", "tcp", "--dport", "80", "-j", "DROP")
    net.router.iptables("-A", "FORWARD", "-j", "ACCEPT")
    net.client.run("curl", "-s", "-m", "0.1", "10.0.2.2")
    before = counters(net.router)
    journey = net.client.trace("10.0.2.2", 80, timeout=0.3)
    assert journey.drop is not None
    numbers = counters(net.router)
    rule = f"-A FORWARD {journey.drop.rule}"
    sent = sum(message.packet == "SYN" for message in journey.messages)
    assert numbers[rule] - before[rule] == sent > 0
    assert numbers["-A FORWARD -j ACCEPT"] == 0
    assert journey.drop.counter == Count(before[rule], numbers[rule]) != Count(0, sent)
    assert f"its counter: {before[rule]} → {numbers[rule]}" in " ".join(str(journey).split())


def test_every_rule_tells_its_own_counter(lab: Lab) -> None:
    """The counters of iptables, of a policy and of nft are told before and after; a rule without one has none."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-s", "10.0.1.0/24", "-j", "ACCEPT")
    net.router.iptables("-P", "FORWARD", "DROP")
    chain = "chain in { type filter hook input priority 0; tcp dport 80 counter; tcp dport 80 accept; }"
    net.server.nft(f"table inet guard {{ {chain}; }}")
    journey = net.client.trace("10.0.2.2", 80, timeout=0.3)
    assert not journey.ok  # the answer is dropped by the policy
    found = {(step.host, step.position): step.counter for step in journey.steps if step.table}
    asked = sum(message.leg == "request" for message in journey.messages)
    answered = sum(message.leg == "reply" for message in journey.messages)
    listing = json.loads(net.server.run("nft", "-j", "list", "ruleset", check=True).stdout)["nftables"]
    (counter,) = [
        part["counter"] for each in listing for part in each.get("rule", {}).get("expr", []) if "counter" in part
    ]
    policy = re.search(r":FORWARD DROP \[(\d+):", net.router.run("iptables-save", "-c", check=True).stdout)
    assert policy is not None
    assert journey.drop is not None
    assert journey.drop.counter == found["router", None] == Count(0, int(policy[1])) == Count(0, answered)
    assert found["router", 1] == Count(0, counters(net.router)["-A FORWARD -s 10.0.1.0/24 -j ACCEPT"])
    assert found["server", 1] == Count(0, counter["packets"]) == Count(0, asked)
    assert found["server", 2] is None


@pytest.fixture
def saved(lab: Lab, tmp_path: Path) -> tuple[Journey, Path]:
    """Return a journey over a rule, and its pcapng file."""
    net = routed(lab)
    net.router.iptables("-A", "FORWARD", "-s", "10.0.1.0/24", "-j", "ACCEPT")
    journey = net.client.trace("10.0.2.2", 80)
    assert journey.ok, journey
    return journey, journey.pcap(tmp_path / "journey.pcapng")


def test_tshark_opens_the_file_without_a_warning(saved: tuple[Journey, Path]) -> None:
    """Packets, interfaces and the rules as comments are all there; nothing is on the error stream."""
    journey, path = saved
    if shutil.which("tshark") is None:
        pytest.skip("tshark")
    fields = ["frame.comment", "frame.interface_name", "frame.time_epoch", "tcp.flags.str"]
    command = ["tshark", "-r", str(path), "-T", "json", *(word for field in fields for word in ("-e", field))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    quiet = [line for line in result.stderr.splitlines() if "Running as user" not in line]
    assert quiet == []
    packets = [entry["_source"]["layers"] for entry in json.loads(result.stdout)]
    assert len(packets) == len(journey.packets)
    names = {packet["frame.interface_name"][0] for packet in packets}
    assert {"client/eth0", "router/eth0", "router/eth1", "server/eth0"} <= names
    comments = [line for packet in packets for line in packet["frame.comment"][0].splitlines()]
    assert "filter FORWARD rule 1: -s 10.0.1.0/24 -j ACCEPT" in comments
    assert "request: SYN" in comments


def test_json_there_and_back(saved: tuple[Journey, Path]) -> None:
    """A journey is read back equal, packets and snapshot too; a wrong document is refused with its place."""
    journey, _ = saved
    text = journey.to_json()
    assert Journey.from_json(text) == journey
    document = json.loads(text)
    document["steps"][0]["number"] = "one"
    with pytest.raises(LabError, match=r"steps\[0\]\.number"):
        Journey.from_json(json.dumps(document))
