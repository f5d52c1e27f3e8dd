"""Capture packets in a host through an AF_PACKET socket (packet(7)); needs no root and no tcpdump."""

from __future__ import annotations

import ctypes
import os
import selectors
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from netlab.errors import InvalidInputError, LabError, MissingFeatureError
from netlab.kernel import packet_socket
from netlab.kernel.packets import ETHERNET, Packet, write_pcapng

if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterator

    from netlab.kernel.namespace import Namespace


class Capture:
    """Packets seen on an interface while a ``with`` block ran.

    Inside the block `packets` grows; after it, it holds everything that passed until then. `wait_for` waits for a
    packet. Raises InvalidInputError for a filter that pcap-filter(7) does not know.
    """

    def __init__(
        self,
        namespace: Namespace,
        interface: tuple[str, int],
        filter: str | None = None,  # noqa: A002 - the word that every capture program uses
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Prepare to capture on an interface, given as (name, index); index 0 means any."""
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise InvalidInputError(f"The capture cannot be written to {os.fspath(path)!r}: there is no such folder.")
        self.host, self.interface = namespace.name, interface[0]
        self.path = path
        #: Packets that the kernel could not keep because we were too slow.
        self.dropped = 0
        self._namespace: Namespace | None = namespace
        self._index = interface[1]
        self._program = compile_filter(filter) if filter else None
        self._packets: list[Packet] = []
        self._arrived = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def packets(self) -> tuple[Packet, ...]:
        """The packets so far, in the order in which the kernel saw them."""
        return tuple(self._packets)

    def __iter__(self) -> Iterator[Packet]:
        """Go through the packets so far."""
        return iter(self.packets)

    def __len__(self) -> int:
        """Return how many packets there are so far."""
        return len(self._packets)

    def __enter__(self) -> Self:
        """Start: every packet from here on is kept."""
        namespace, self._namespace = self._namespace, None  # a table of packets must not keep a forgotten lab alive
        if namespace is None:
            raise LabError("This capture has run already; make a new one with host.capture(...).")
        (self._socket,) = namespace.sandbox.sockets([namespace.name], packet_socket.KIND)
        packet_socket.start(self._socket, self._index, program=self._program)
        self._stopping, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._collect, name=f"capture {self.host}/{self.interface}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, keep what has passed until now, and write the file if one was asked for."""
        self.stop()
        if self.path is not None:
            self.save(self.path)

    def stop(self) -> None:
        """Stop; may be called twice."""
        if self._thread is not None and self._thread.is_alive():
            os.write(self._stop, b"x")
            self._thread.join()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the packets so far to a pcapng file that Wireshark opens; return its path."""
        return write_pcapng(path, self._packets)

    def wait_for(self, layer: str | None = None, *, count: int = 1, timeout: float = 5.0) -> list[Packet]:
        """Wait until ``count`` packets (with a layer such as "ARP") have been seen; return them.

        Raises LabError when ``timeout`` seconds have passed.
        """
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                found = [packet for packet in self._packets if layer is None or layer in packet]
                if len(found) >= count:
                    return found[:count]
                if not self._arrived.wait(max(deadline - time.monotonic(), 0)) and time.monotonic() >= deadline:
                    what = f"{layer} packets" if layer else "packets"
                    raise LabError(
                        f"{len(found)} of {count} {what} passed {self.interface} of {self.host} in {timeout:g} s."
                    )

    def wait_past(self, count: int, timeout: float | None = None) -> bool:
        """Wait for more than ``count`` packets; return False when it was stopped, or after ``timeout`` seconds."""
        with self._arrived:
            while len(self._packets) <= count:
                if self._thread is None or not self._thread.is_alive() or self._stopped:
                    return False
                if not self._arrived.wait(timeout):
                    return False
        return True

    def _collect(self) -> None:
        with self._socket as sock, selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._stopping, selectors.EVENT_READ)
            running = True
            while running:
                running = all(key.fd != self._stopping for key, _ in selector.select())
                self._drain(sock)
            self.dropped = packet_socket.lost(sock)
        with self._arrived:
            self._stopped = True
            self._arrived.notify_all()
        os.close(self._stopping)
        os.close(self._stop)

    def _drain(self, sock: _socket.socket) -> None:
        for taken in packet_socket.drain(sock):
            packet = Packet(taken.time_ns, self.host, taken.interface, taken.direction, taken.data, taken.link)
            with self._arrived:
                self._packets.append(packet)
                self._arrived.notify_all()

    def __repr__(self) -> str:
        """Say where, and how many packets so far."""
        return f"<Capture on {self.interface} of {self.host}: {len(self)} packets>"

    def __str__(self) -> str:
        """Return a line for each packet, with the time since the first."""
        if not self._packets:
            return f"no packet passed {self.interface} of {self.host}"
        first = self._packets[0].time_ns
        return "\n".join(f"{(packet.time_ns - first) / 1e6:9.3f} ms  {packet}" for packet in self._packets)


def compile_filter(expression: str) -> bytes:
    """Compile a filter of pcap-filter(7) to what SO_ATTACH_FILTER takes, with libpcap.

    Raises InvalidInputError with libpcap's words, and MissingFeatureError where there is no libpcap.
    """
    from scapy.arch.common import compile_filter as compile_with_libpcap  # noqa: PLC0415 - slow to import
    from scapy.error import Scapy_Exception  # noqa: PLC0415

    try:
        program = compile_with_libpcap(expression, linktype=ETHERNET)
    except Scapy_Exception as error:
        raise InvalidInputError(f"This is not a capture filter (pcap-filter(7)): {error}") from None
    except ImportError:
        raise MissingFeatureError("A filter needs libpcap. Install it with: sudo apt-get install libpcap0.8") from None
    # The instructions must outlive the call: they are kept by the array that the pointer leads to.
    _KEPT.append(program)
    return struct.pack("HL", program.bf_len, ctypes.addressof(program.bf_insns.contents))


_KEPT: list[Any] = []
