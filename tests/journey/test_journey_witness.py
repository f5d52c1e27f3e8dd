"""Journeys against independent witnesses: tcpdump, tshark, and the rules' own counters, read apart from our code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from journey_labs import routed, tunnelled

from netlab.errors import LabError
from netlab.journey.values import Journey

if TYPE_CHECKING:
    from pathlib import Path

    from netlab import Host, Lab
    from netlab.kernel.process import Process

pytestmark = pytest.mark.kernel


def watch(host: Host, interface: str, expression: str) -> Process:
    """Start tcpdump on an interface, and wait until it listens; skip where it cannot run here."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump")
    # -Z root: it would change its user, which a user namespace of one user refuses.
    process = host.popen("tcpdump", "-Z", "root", "-n", "-l", "-tt", "--immediate-mode", "-i", interface, expression)
    assert process.stderr is not None
    said = b""
    while b"listening on" not in said:
        chunk = os.read(process.stderr.fileno(), 4096)
        if not chunk:
            pytest.skip(f"tcpdump in a lab: {said.decode()}")
        said += chunk
    return process


def seen(process: Process) -> str:
    """End tcpdump and return what it printed."""
    time.sleep(0.1)  # tcpdump itself offers no word that it has caught up
    process.terminate()
    assert process.stdout is not None
    text = process.stdout.read().decode()
    process.close()
    return str(text)


def test_tcpdump_saw_the_same_packets(lab: Lab) -> None:
    """On both sides of a router with NAT: the SYN has the addresses and ports that the journey names."""
    net = routed(lab)
    rule = ("-d", "10.96.0.10", "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", "10.0.2.2:80")
    net.router.iptables("-t", "nat", "-A", "PREROUTING", *rule)
    net.router.iptables("-t", "nat", "-A", "POSTROUTING", "-o", "eth1", "-j", "MASQUERADE")
    witnesses = {name: watch(net.router, name, "tcp[tcpflags] & tcp-syn != 0") for name in ("eth0", "eth1")}
    journey = net.client.trace("10.96.0.10", 80)
    assert journey.ok, journey
    for interface, witness in witnesses.items():
        lines = re.findall(r"IP (\S+) > (\S+): Flags \[(S|S\.)\]", seen(witness))
        steps = [step for step in journey.steps if (step.host, step.interface) == ("router", interface)]
        told = [
            (_dotted(step.after.from_text), _dotted(step.after.to_text), "S" if step.packet == "SYN" else "S.")
            for step in steps
            if step.after is not None
        ]
        assert told == lines


def _dotted(endpoint: str) -> str:
    """Return address and port as tcpdump writes them."""
    return endpoint.replace(":", ".")


def test_tcpdump_saw_the_tunnel(lab: Lab) -> None:
    """On the cable between two nodes: outer addresses, VXLAN number and inner addresses are the journey's."""
    net = tunnelled(lab)
    # The filter looks at the outer packet only; tcpdump takes what is in it apart by itself.
    witness = watch(net.nodes[0], "eth0", "udp port 8472")
    journey = net.pods[0].trace("10.244.2.2", 80)
    assert journey.ok, journey
    text = seen(witness)
    wrapped = [
        step for step in journey.steps if step.outer is not None and step.host == "node-1" and step.kind == "out"
    ]
    (step,) = wrapped
    assert step.outer is not None
    assert step.after is not None
    assert str(step.outer.header.source) == "172.18.0.1"
    assert step.outer.vni == 1
    assert re.search(rf"IP 172\.18\.0\.1\.{step.outer.header.source_port} > 172\.18\.0\.2\.8472: OTV|VXLAN", text)
    assert f"{_dotted(step.after.from_text)} > {_dotted(step.after.to_text)}: Flags [S]" in text
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
    journey = net.client.trace("10.0.2.2", 80, timeout=0.3)
    assert journey.drop is not None
    numbers = counters(net.router)
    sent = sum(message.packet == "SYN" for message in journey.messages)
    assert numbers[f"-A FORWARD {journey.drop.rule}"] == sent > 0
    assert numbers["-A FORWARD -j ACCEPT"] == 0


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
