"""Netlink requests and dumps over plain blocking sockets, with pyroute2's message classes as the codec.

pyroute2's own sockets run an event loop that clashes with Jupyter's, and fork the caller to enter a namespace; its
codec does neither. The sockets come from the sandbox, opened in the network namespace they speak for.
See netlink(7), rtnetlink(7) and Documentation/userspace-api/netlink/intro.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import socket as _socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlab.errors import ClosedError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_ACK_TLVS = 0x1, 0x4, 0x10, 0x200
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND, NLM_F_DUMP = 0x100, 0x200, 0x400, 0x800, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
#: How often an interrupted dump is read again before we give up; each try races anew with whoever changes things.
DUMP_TRIES = 20
HEADER = struct.Struct("=IHHII")
_SEQUENCE_OFFSET = 8
_BUFFER = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """One change to ask the kernel for, with the command a person would type for it.

    ``advice`` says what to do about an errno that is likely here.
    """

    command: str
    type: int
    message: Any
    flags: int = 0
    advice: Mapping[int, str] = field(default_factory=dict)


class Query:
    """A question, encoded once: snapshots ask the same few thousands of times.

    ``flags`` is 0 where it is for one object, and else for a list; ``codec`` is the answers' class where it is not
    the question's.
    """

    def __init__(
        self, command: str, kind: int, message: Any, codec: type | None = None, flags: int = NLM_F_DUMP
    ) -> None:
        """Encode the question; ``command`` is what a person would type for it."""
        message["header"]["type"] = kind
        message["header"]["flags"] = NLM_F_REQUEST | flags
        message.encode()
        self.command = command
        self.codec = codec or type(message)
        self.data = bytes(message.data)


class DumpInterrupted(Exception):  # noqa: N818 - a signal inside this module, not an error
    """Say that what was listed changed while the kernel listed it (NLM_F_DUMP_INTR)."""


class NetlinkSocket:
    """One netlink socket in one network namespace; safe to use from several threads."""

    def __init__(self, sock: _socket.socket) -> None:
        """Take over a socket and ask for full error messages and strict requests."""
        self._socket = sock
        self._sequence = 0
        self._lock = threading.Lock()
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            try:
                sock.setsockopt(SOL_NETLINK, option, 1)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:  # a kernel without the option works, with fewer words
                    raise

    def apply(self, *requests: Request) -> None:
        """Ask for changes one after the other; raises KernelError at the first that is refused."""
        with self._lock:
            for request in requests:
                self._send(request.message, request.type, NLM_F_REQUEST | NLM_F_ACK | request.flags)
                for kind, _, data, start in self._answers():
                    if kind == NLMSG_ERROR:
                        number, words = _read_error(data, start)
                        if number:
                            raise KernelError(request.command, number, words, request.advice.get(number, ""))
                        break

    def get(self, query: Query) -> Any:
        """Ask for one object; raises KernelError where there is none."""
        return _decode(query.codec, *self.get_raw(query))

    def get_raw(self, query: Query) -> tuple[bytes, int]:
        """Ask for one object, undecoded as (data, offset of its message); otherwise as `get`."""
        with self._lock:
            self._ask(query)
            answer, _, data, start = next(self._answers())
            if answer == NLMSG_ERROR:
                number, words = _read_error(data, start)
                raise KernelError(query.command, number, words)
            return data, start

    def dump(self, query: Query, wanted: Callable[[bytes, int], bool] | None = None) -> list[Any]:
        """List objects; read again when the kernel says that they changed meanwhile.

        ``wanted(data, offset)`` may look at the undecoded body to leave out what costs time to decode.
        """
        return [_decode(query.codec, data, start) for data, start in self.dump_raw(query, wanted)]

    def dump_raw(self, query: Query, wanted: Callable[[bytes, int], bool] | None = None) -> list[tuple[bytes, int]]:
        """List objects undecoded, each as (data, offset of its message); otherwise as `dump`."""
        with self._lock:
            for _ in range(DUMP_TRIES):
                self._ask(query)
                try:
                    return self._collect(query.command, wanted)
                except DumpInterrupted:
                    continue
                except KernelError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    self._drain()  # a list that an interrupt of this program left half read
        raise KernelError(
            query.command, errno.EINTR, "the list changed each time it was read", "Try again when less is going on."
        )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(self, query: Query) -> None:
        self._sequence += 1
        data = bytearray(query.data)
        struct.pack_into("=I", data, _SEQUENCE_OFFSET, self._sequence)
        self._deliver(data)

    def _send(self, message: Any, kind: int, flags: int) -> None:
        self._sequence += 1
        header = message["header"]
        header["type"], header["flags"], header["sequence_number"] = kind, flags, self._sequence
        message.reset()
        message.encode()
        self._deliver(message.data)

    def _deliver(self, data: bytes | bytearray) -> None:
        if self._socket.fileno() < 0:
            raise ClosedError("This host was removed, or its lab is closed.")
        self._socket.send(data)

    def _drain(self) -> None:
        """Take the rest of a list off the socket: until then the kernel refuses to begin another (EBUSY)."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(_BUFFER, _socket.MSG_DONTWAIT)

    def _answers(self) -> Iterator[tuple[int, int, bytes, int]]:
        """Yield (type, flags, data, offset) of each message that answers the last request."""
        while True:
            data = self._socket.recv(_BUFFER)
            for kind, flags, sequence, start in walk(data):
                if sequence == self._sequence:
                    yield kind, flags, data, start

    def _collect(self, command: str, wanted: Callable[[bytes, int], bool] | None) -> list[tuple[bytes, int]]:
        interrupted = False
        found = []
        for kind, flags, data, start in self._answers():
            interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_ERROR:
                number, words = _read_error(data, start)
                raise KernelError(command, number, words)
            if kind == NLMSG_DONE:
                break
            if wanted is None or wanted(data, start + HEADER.size):
                found.append((data, start))
        if interrupted:
            raise DumpInterrupted
        return found


def walk(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (type, flags, sequence, offset) of each message in what one recv returned."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, offset
        offset += (max(length, HEADER.size) + 3) & ~3


def length(data: bytes, start: int) -> int:
    """Return the length of the message at an offset, header included."""
    return int(HEADER.unpack_from(data, start)[0])


def _decode(codec: type, data: bytes, start: int) -> Any:
    message = codec(data, offset=start)
    message.decode()
    return message


def _read_error(data: bytes, start: int) -> tuple[int, str]:
    """Return (errno, the kernel's words) of an acknowledgement; the words may be missing."""
    length, _, flags, _, _ = HEADER.unpack_from(data, start)
    (code,) = struct.unpack_from("=i", data, start + HEADER.size)
    words = ""
    if flags & NLM_F_ACK_TLVS:
        # With NETLINK_CAP_ACK only the header of our request is echoed before the attributes.
        offset, end = start + HEADER.size + 4 + HEADER.size, start + length
        while offset + 4 <= end:
            size, kind = struct.unpack_from("=HH", data, offset)
            if kind & 0x3FFF == NLMSGERR_ATTR_MSG:
                words = data[offset + 4 : offset + size].rstrip(b"\0").decode(errors="replace")
            offset += (max(size, 4) + 3) & ~3
    return -code, words
