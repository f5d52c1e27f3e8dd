"""AF_PACKET sockets (packet(7)): how one is started, and how a packet with its kernel timestamp is taken from it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket as _socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from netlab.kernel.packets import ETHERNET, RAW_IP

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = (_socket.AF_PACKET, _socket.SOCK_RAW, 0)
ETH_P_ALL = 3
PACKET_OTHERHOST, PACKET_OUTGOING, ARPHRD_ETHER, ARPHRD_LOOPBACK = 3, 4, 1, 772
SO_TIMESTAMPNS, SO_ATTACH_FILTER, SO_RCVBUFFORCE = 35, 26, 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
_LARGEST = 1 << 18
_TIME = struct.Struct("=qq")


class Taken(NamedTuple):
    """What one packet of a socket was: nanoseconds since the epoch, interface, packet type, link type, bytes."""

    time_ns: int
    interface: str
    kind: int
    link: int
    data: bytes

    @property
    def direction(self) -> str:
        """Return "in" or "out", as the host sees it."""
        return "out" if self.kind == PACKET_OUTGOING else "in"


def stamp(sock: _socket.socket) -> None:
    """Have the kernel stamp packets with their time from about now on: it begins to when the first socket asks."""
    sock.setsockopt(_socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def start(sock: _socket.socket, index: int = 0, *, program: bytes | None = None, buffer: int = 1 << 24) -> None:
    """Let packets arrive, of the interface with this index or of all for 0, with a filter if one is given.

    The socket must have been opened for no protocol, so that nothing arrives before the filter is there.
    """
    stamp(sock)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
    except PermissionError:  # only root of the machine may pass the limit of net.core.rmem_max
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, buffer)
    if program is not None:
        sock.setsockopt(_socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    _bind(sock, index)


def drain(sock: _socket.socket) -> Iterator[Taken]:
    """Yield the packets that have arrived; of the two times that ``lo`` shows a packet, one, as tcpdump does."""
    while True:
        try:
            data, ancillary, _, sender = sock.recvmsg(_LARGEST, 64, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ENETDOWN:  # the interface went down; it may come up again
                continue
            raise
        name, _, kind, hardware, *_ = sender
        if hardware == ARPHRD_LOOPBACK and kind == PACKET_OUTGOING:
            continue
        stamp = time.time_ns()
        for level, option, value in ancillary:
            if level == _socket.SOL_SOCKET and option == SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIME.unpack(value[: _TIME.size])
                stamp = seconds * 10**9 + nanoseconds
        yield Taken(stamp, name, kind, ETHERNET if hardware in {ARPHRD_ETHER, ARPHRD_LOOPBACK} else RAW_IP, data)


def lost(sock: _socket.socket) -> int:
    """Return how many packets the kernel could not keep since this was last asked."""
    return int(struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])


def _bind(sock: _socket.socket, index: int) -> None:
    """Bind a packet socket to an interface by its index, or to all for 0: Python's own bind() wants a name."""
    # struct sockaddr_ll of packet(7): family, protocol, index, and twelve bytes that bind(2) does not read.
    address = struct.pack("=HHi12x", _socket.AF_PACKET, _socket.htons(ETH_P_ALL), index)
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, f"bind(packet socket, interface {index}): {os.strerror(number)}")
