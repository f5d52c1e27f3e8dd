from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from netlab import InvalidInputError, LabError
from netlab.kernel.packets import read_pcapng

if TYPE_CHECKING:
    from pathlib import Path

    from netlab import Host

pytestmark = pytest.mark.kernel

Pair = tuple["Host", "Host"]


def test_a_capture_keeps_what_passed(pair: Pair) -> None:
    """All packets of a ping are there with their direction, host and interface, in the order of their times."""
    red, _ = pair
    with red.capture("eth0") as seen:
        assert red.run("ping", "-c2", "-i0.01", "-W2", "10.0.0.2").ok
    echoes = [packet for packet in seen if "ICMP" in packet]
    assert [packet.direction for packet in echoes] == ["out", "in", "out", "in"]
    assert {(packet.host, packet.interface) for packet in echoes} == {("red", "eth0")}
    assert [packet.layers["ICMP"].type for packet in echoes] == [8, 0, 8, 0]
    assert echoes == sorted(echoes, key=lambda packet: packet.time_ns)
    assert "10.0.0.1 > 10.0.0.2" in echoes[0].summary
    assert str(seen).count("\n") == len(seen) - 1
    assert repr(seen) == f"<Capture on eth0 of red: {len(seen)} packets>"
    assert seen.dropped == 0


def test_the_loopback_shows_each_packet_once(pair: Pair) -> None:
    """A ping to oneself is two packets on lo, not four."""
    red, _ = pair
    red.set_link("lo", up=True)
    with red.capture("lo", filter="icmp") as seen:
        assert red.run("ping", "-c1", "-W2", "127.0.0.1").ok
    assert [packet.layers["ICMP"].type for packet in seen] == [8, 0]


def test_a_filter_chooses(pair: Pair) -> None:
    """Only what the filter asks for is kept; IPv6 too."""
    red, _ = pair
    with red.capture("eth0", filter="icmp6 and ip6[40] == 128") as seen:
        assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
        assert red.run("ping", "-c1", "-W2", "fd00::2").ok
    assert len(seen) == 1
    assert "IPv6" in seen.packets[0]


def test_a_filter_that_is_none_is_refused(pair: Pair, tmp_path: Path) -> None:
    """A wrong filter, interface or folder is an error before anything is captured."""
    red, _ = pair
    with pytest.raises(InvalidInputError, match=r"not a capture filter \(pcap-filter\(7\)\)"):
        red.capture("eth0", filter="tcp prot 80")
    with pytest.raises(InvalidInputError, match="there is no such folder"):
        red.capture("eth0", path=tmp_path / "no" / "file.pcapng")
    with pytest.raises(InvalidInputError, match="The name of an interface"):
        red.capture("eth 0")


def test_a_packet_can_be_waited_for(pair: Pair) -> None:
    """`wait_for` returns as soon as the packets are there, and says how many were missing when they do not come."""
    red, blue = pair
    with red.capture("eth0") as seen:
        pinging = blue.popen("ping", "-i0.05", "10.0.0.1")
        assert len(seen.wait_for("ICMP", count=4, timeout=5)) == 4
        pinging.close()
        with pytest.raises(LabError, match=r"0 of 1 TCP packets passed eth0 of red in 0\.05 s"):
            seen.wait_for("TCP", timeout=0.05)
    with pytest.raises(LabError, match="has run already"), seen:
        pass


def test_an_interface_may_go_down_and_up(pair: Pair) -> None:
    """A capture goes on when its interface was down for a while."""
    red, blue = pair
    with red.capture("eth0", filter="icmp") as seen:
        red.set_link("eth0", up=False)
        red.set_link("eth0", up=True)
        assert blue.run("ping", "-c1", "-W2", "10.0.0.1").ok
        seen.wait_for("ICMP", count=2)


def test_the_file_is_what_wireshark_reads(pair: Pair, tmp_path: Path) -> None:
    """Wireshark's tshark opens the file without a warning and sees the same packets, interfaces and directions."""
    red, blue = pair
    path = tmp_path / "red.pcapng"
    with blue.serve(80), red.capture("eth0", path=path) as seen:
        assert red.run("curl", "-s", "10.0.0.2/hello").ok
    if shutil.which("tshark") is None:
        pytest.skip("this machine has no tshark")
    fields = (
        "-e",
        "frame.interface_name",
        "-e",
        "frame.packet_flags_direction",
        "-e",
        "http.request.uri",
        "-e",
        "frame.time_epoch",
    )
    done = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )
    warnings = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert not warnings
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(seen)
    assert {line[0] for line in lines} == {"red/eth0"}
    assert [int(line[1], 16) for line in lines] == [2 if packet.direction == "out" else 1 for packet in seen]
    assert "/hello" in {line[2] for line in lines}
    assert [line[3] for line in lines] == [f"{packet.time_ns // 10**9}.{packet.time_ns % 10**9:09}" for packet in seen]


def test_the_file_can_be_read_back(pair: Pair, tmp_path: Path) -> None:
    """What was written to a pcapng file comes back the same, an empty one too."""
    red, _ = pair
    with red.capture("any", filter="icmp") as seen:
        assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
    assert read_pcapng(seen.save(tmp_path / "some.pcapng")) == list(seen)
    with red.capture("eth0", filter="udp port 9", path=tmp_path / "none.pcapng"):
        pass
    assert read_pcapng(tmp_path / "none.pcapng") == []


def test_a_flood_is_counted(pair: Pair) -> None:
    """Ten thousand packets in a burst are kept, or counted as dropped; none is lost in silence."""
    red, blue = pair
    with blue.capture("eth0", filter="udp port 9") as seen:
        sender = "import socket; s = socket.socket(2, 2); [s.sendto(b'x', ('10.0.0.2', 9)) for _ in range(10000)]"
        assert red.run("python3", "-I", "-c", sender, timeout=20).ok
    assert len(seen) + seen.dropped == 10_000


def test_two_captures_see_the_same_packet(pair: Pair) -> None:
    """One packet passes red first and blue then, with the same bytes, and the kernel's clock tells the order."""
    red, blue = pair
    with red.capture("eth0", filter="icmp") as left, blue.capture("eth0", filter="icmp") as right:
        assert red.run("ping", "-c1", "-W2", "10.0.0.2").ok
    assert [packet.data for packet in left] == [packet.data for packet in right]
    assert left.packets[0].time_ns <= right.packets[0].time_ns
