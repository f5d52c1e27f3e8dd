"""Captured packets as values, and the pcapng files that Wireshark opens (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

#: LINKTYPE_ETHERNET and LINKTYPE_RAW of the pcap registry.
ETHERNET, RAW_IP = 1, 101
_NANOSECONDS, _SNAPLEN = b"\x09", 262144


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it passed an interface.

    ``time_ns`` counts nanoseconds since the epoch (the kernel's stamp); ``direction`` is "in" or "out", as the host
    sees it; ``data`` starts with the link header that ``link`` names; ``comment`` goes into a pcapng file.
    """

    time_ns: int
    host: str
    interface: str
    direction: str
    data: bytes
    link: int = ETHERNET
    comment: str = ""

    @property
    def time(self) -> float:
        """The time in seconds since the epoch."""
        return self.time_ns / 1e9

    @property
    def layers(self) -> Any:
        """The packet decoded by scapy: ``packet.layers["TCP"].dport``, ``"ARP" in packet.layers``."""
        # scapy takes a fifth of a second to import, and most captures are only counted.
        from scapy.layers import inet, inet6, l2, vxlan  # noqa: F401, PLC0415

        if self.link == ETHERNET:
            return l2.Ether(self.data)
        return inet6.IPv6(self.data) if self.data[:1] and self.data[0] >> 4 == 6 else inet.IP(self.data)

    @property
    def summary(self) -> str:
        """One line that names the layers, addresses and ports."""
        return str(self.layers.summary())

    def __contains__(self, layer: str) -> bool:
        """Tell whether a layer is in the packet, by scapy's name: "ARP", "TCP", "ICMP" and so on."""
        return layer in self.layers

    def __str__(self) -> str:
        """Return where it passed, and its summary."""
        arrow = "→" if self.direction == "out" else "←"
        return f"{self.host} {self.interface} {arrow} {self.summary}"


def write_pcapng(path: str | os.PathLike[str], packets: Iterable[Packet]) -> Path:
    """Write packets to a pcapng file, with one interface description for each host and interface; return its path."""
    target = Path(path)
    try:
        target.write_bytes(to_pcapng(packets))
    except OSError as error:
        raise InvalidInputError(f"The capture cannot be written to {str(target)!r}: {error.strerror}.") from None
    return target


def to_pcapng(packets: Iterable[Packet]) -> bytes:
    """Return packets as the bytes of a pcapng file, with times in nanoseconds."""
    from pcapng import FileWriter, blocks  # noqa: PLC0415 - needed only when a file is written

    section = blocks.SectionHeader(options={"shb_userappl": "netlab"})
    kept = sorted(packets, key=lambda packet: packet.time_ns)
    interfaces: dict[tuple[str, str, int], Any] = {}
    for packet in kept:
        key = (packet.host, packet.interface, packet.link)
        if key not in interfaces:
            about = {"if_name": f"{packet.host}/{packet.interface}", "if_tsresol": _NANOSECONDS}
            interfaces[key] = section.new_member(
                blocks.InterfaceDescription, link_type=packet.link, snaplen=_SNAPLEN, options=about
            )
    stream = io.BytesIO()
    with _quiet():
        writer = FileWriter(stream, section)
    for packet in kept:
        options: dict[str, Any] = {"epb_flags": 2 if packet.direction == "out" else 1}
        if packet.comment:
            options["opt_comment"] = packet.comment
        block = section.new_member(
            blocks.EnhancedPacket,
            interface_id=interfaces[packet.host, packet.interface, packet.link].interface_id,
            timestamp_high=packet.time_ns >> 32,
            timestamp_low=packet.time_ns & 0xFFFFFFFF,
            packet_len=len(packet.data),
            packet_data=packet.data,
            options=options,
        )
        writer.write_block(block)
    return stream.getvalue()


def read_pcapng(path: str | os.PathLike[str]) -> list[Packet]:
    """Read the packets of a pcapng file that `write_pcapng` wrote."""
    from pcapng import FileScanner, blocks  # noqa: PLC0415 - as above

    found = []
    with Path(path).open("rb") as stream, _quiet():
        for block in FileScanner(stream):
            if not isinstance(block, blocks.EnhancedPacket):
                continue
            host, _, interface = block.interface.options["if_name"].partition("/")
            flags = block.options.get("epb_flags", 1)
            found.append(
                Packet(
                    time_ns=block.timestamp_high << 32 | block.timestamp_low,
                    host=host,
                    interface=interface,
                    direction="out" if int(getattr(flags, "inout", 0) == "outbound" or flags == 2) else "in",
                    data=block.packet_data,
                    link=block.interface.link_type,
                    comment=block.options.get("opt_comment", ""),
                )
            )
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package from warning of its own description of if_tsresol, which has no type yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
