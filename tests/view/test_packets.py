from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from netlab import InvalidInputError, Lab, LabError, NotFoundError
from netlab.kernel.packets import read_pcapng
from netlab.view import packets
from netlab.view.packets import parse_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netlab.view.packets import PacketTable


def test_a_place_is_an_interface_of_a_host_or_a_host() -> None:
    """The words are those in which one speaks of it."""
    assert parse_place("eth0 of web") == ("eth0", "web")
    assert parse_place("web") == ("any", "web")


@pytest.mark.parametrize("place", ["", "eth0 at web", "eth0 of", "a b c d"])
def test_another_place_is_explained(place: str) -> None:
    """The message says how to write it."""
    with pytest.raises(InvalidInputError, match="eth0 of web"):
        parse_place(place)


@pytest.fixture
def pair() -> Iterator[Lab]:
    """Give two hosts on a cable, and a web server."""
    with Lab("pair") as lab:
        red, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        blue.serve(80)
        yield lab


def see(table: PacketTable, what: str) -> dict[str, object]:
    """Wait for a row that tells of something; fail with what there is."""
    for _ in range(500):
        for row in table.rows:
            if what in row["what"]:
                return row  # type: ignore[no-any-return]
        if not table._capture.wait_past(table._shown, timeout=5):
            break
        table._take()
    pytest.fail(f"no {what} among {[row['what'] for row in table.rows]}")


@pytest.mark.kernel
def test_the_table_tells_who_does_what(pair: Lab) -> None:
    """ARP and the handshake are told in words, with addresses, ports and flags."""
    table = pair.watch_packets("eth0 of red", filter="arp or tcp port 80")
    try:
        pair.host("red").run("curl", "-s", "http://10.0.0.2/", check=True)
        assert see(table, "who has 10.0.0.2")["source"] == "10.0.0.1"
        handshake = see(table, "SYN ACK")
        assert handshake["source"] == "10.0.0.2:80"
        assert handshake["direction"] == "in"
        tcp = next(layer for layer in handshake["layers"] if layer["name"] == "TCP")  # type: ignore[attr-defined]
        flags = next(field for field in tcp["fields"] if field["name"] == "flags")
        assert (flags["matters"], flags["note"]) == (True, "SYN, ACK")
    finally:
        table.close()


@pytest.mark.kernel
def test_after_stop_nothing_is_added(pair: Lab, tmp_path: Path) -> None:
    """What was seen stays, can be saved, and the file holds the same packets."""
    table = pair.watch_packets("red", filter="icmp")
    pair.host("red").run("ping", "-c1", "10.0.0.2", check=True)
    table.stop()
    seen = len(table.packets)
    pair.host("red").run("ping", "-c1", "10.0.0.2", check=True)
    assert (len(table.packets), table.running, table.total) == (seen, False, seen)
    assert [packet.data for packet in read_pcapng(table.save(tmp_path / "x.pcapng"))] == [
        packet.data for packet in table.packets
    ]
    table.close()


@pytest.mark.kernel
def test_the_table_keeps_the_last_packets_only(pair: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long capture does not grow the page, but all of it can be saved."""
    monkeypatch.setattr(packets, "LIMIT", 5)
    table = pair.watch_packets("eth0 of red", filter="icmp")
    pair.host("red").run("ping", "-c10", "-i0.01", "10.0.0.2", check=True)
    table.stop()
    assert [row["number"] for row in table.rows] == [16, 17, 18, 19, 20]
    assert (table.total, len(table.packets)) == (20, 20)
    table.close()


@pytest.mark.kernel
def test_an_unknown_place_or_filter_is_explained(pair: Lab) -> None:
    """Nothing is started then."""
    with pytest.raises(NotFoundError, match="eth0"):
        pair.watch_packets("eth7 of red")
    with pytest.raises(NotFoundError, match="blue"):
        pair.watch_packets("eth0 of green")
    with pytest.raises(InvalidInputError, match="pcap-filter"):
        pair.watch_packets("eth0 of red", filter="tcp prot 80")


@pytest.mark.kernel
def test_a_closed_lab_ends_the_table(pair: Lab) -> None:
    """The rows stay."""
    table = pair.watch_packets("eth0 of red", filter="icmp")
    pair.host("red").run("ping", "-c1", "10.0.0.2", check=True)
    see(table, "echo")
    pair.close()
    assert table.running is False
    assert table.rows
    table.close()


@pytest.mark.kernel
def test_a_table_does_not_keep_a_forgotten_lab_alive() -> None:
    """The sandbox ends although the table is still there."""
    lab = Lab("forgotten")
    lab.add_host("red")
    table = lab.watch_packets("red")
    sandbox = weakref.ref(lab.sandbox)
    del lab
    gc.collect()
    assert sandbox() is None
    table.close()


@pytest.mark.kernel
def test_a_capture_runs_once(pair: Lab) -> None:
    """The second time is refused in words."""
    capture = pair.host("red").capture("eth0")
    with capture:
        pass
    with pytest.raises(LabError, match="run already"), capture:
        pass
