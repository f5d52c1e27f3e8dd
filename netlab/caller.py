"""The other side of `netlab.server`: a connection that stays open, and many at once, to see who answers.

The sockets are opened inside the host and held by this program, so no process is needed for them.
"""

from __future__ import annotations

import errno
import json
import selectors
import socket
import struct
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from netlab.kernel import check

if TYPE_CHECKING:
    from netlab.host import Host

REFUSED, SILENCE, RESET, HUNG_UP = "refused", "silence", "reset", "hung up"
_REQUEST = b"GET / HTTP/1.1\r\nHost: netlab\r\n\r\n"
#: End a connection by a reset: of thousands, each would stay in TIME-WAIT for a minute, in the server or in the caller.
_AT_ONCE_GONE = struct.pack("ii", 1, 0)
_LONGEST = 1 << 16
_AT_ONCE = 100
_UNREACHABLE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}


class Call:
    """A TCP connection to an HTTP server that stays open; made by `Host.call`. Also a context manager.

    ``state`` is "open", or how it ended: "refused", "silence", "reset", "hung up" by the server, "closed" by us.
    """

    def __init__(self, host: Host, address: str, port: int, patience: float) -> None:
        """Connect, and wait no longer than ``patience`` seconds for that, and for each answer."""
        self.host, self.address, self.port = host, str(check.address(address)), check.port(port)
        self.patience = patience
        self._socket = _open(host, self.address, 1)[0]
        self._socket.settimeout(patience)
        # One that nobody holds any more ends without complaint.
        weakref.finalize(self, self._socket.close)
        self.state = "open"
        try:
            self._socket.connect((self.address, self.port))
        except OSError as error:
            self._end(_word(error))

    def ask(self) -> dict[str, Any] | None:
        """Send a request on it and return the answer, as `Server` gives it; None if there is none: see ``state``."""
        if self.state != "open":
            return None
        received = b""
        try:
            self._socket.sendall(_REQUEST)
            while (found := _body(received)) is None:
                if not (piece := self._socket.recv(_LONGEST)):
                    self._end(HUNG_UP)
                    return None
                received += piece
        except OSError as error:
            self._end(_word(error))
            return None
        return found

    def _end(self, state: str) -> None:
        self.state = state
        self._socket.close()

    def close(self) -> None:
        """End it; may be called twice."""
        if self.state == "open":
            self._end("closed")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def __repr__(self) -> str:
        """Say from where to where it goes, and how it is."""
        return f"<Call from {self.host.name} to {self.address} port {self.port}, {self.state}>"


@dataclass(slots=True)
class _Caller:
    """One of many connections: what came so far, and whether the request was sent."""

    received: bytes = b""
    sent: bool = False


def count_answers(host: Host, address: str, port: int, times: int, patience: float) -> Counter[str]:
    """Return how often each server answered; "refused", "silence", "reset" and "hung up" count where none did."""
    address, port = str(check.address(address)), check.port(port)
    counts: Counter[str] = Counter()
    for start in range(0, times, _AT_ONCE):
        counts += _together(host, (address, port), min(_AT_ONCE, times - start), patience)
    return counts


def _together(host: Host, target: tuple[str, int], number: int, patience: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    waiting = _open(host, target[0], number)
    with selectors.DefaultSelector() as selector:
        for sock in waiting:
            sock.settimeout(0)
            if sock.connect_ex(target) in {0, errno.EINPROGRESS}:
                selector.register(sock, selectors.EVENT_WRITE, _Caller())
            else:
                counts[REFUSED] += 1
        # Counted from the last answer: on a busy machine this program may have to wait itself.
        while selector.get_map() and (ready := selector.select(patience)):
            for key, _ in ready:
                if (outcome := _go_on(selector, key)) is not None:
                    counts[outcome] += 1
                    selector.unregister(key.fileobj)
        counts[SILENCE] += len(selector.get_map())
    for sock in waiting:
        sock.close()
    return +counts


def _go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> str | None:
    """Go on with a connection on which something happened; return who answered, or how it ended."""
    sock, caller = key.fileobj, key.data
    assert isinstance(sock, socket.socket)  # noqa: S101 - nothing else is registered
    try:
        if not caller.sent:
            # What came of the connection is asked before anything is sent: a send may say EPIPE instead.
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return _word(OSError(error, ""))
            sock.send(_REQUEST)
            caller.sent = True
            selector.modify(sock, selectors.EVENT_READ, caller)
            return None
        piece = sock.recv(_LONGEST)
    except OSError as error:
        return _word(error)
    caller.received += piece
    found = _body(caller.received)
    if found is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_GONE)
        return str(found.get("server"))
    return None if piece else HUNG_UP


def _open(host: Host, address: str, number: int) -> list[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return host.lab.sandbox.sockets([host.name] * number, (family, socket.SOCK_STREAM, 0))


def _body(received: bytes) -> dict[str, Any] | None:
    """Return the JSON of an answer, once all of it is there."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    lengths = [line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    if not lengths or len(body) < int(lengths[0]):
        return None
    found = json.loads(body[: int(lengths[0])])
    return found if isinstance(found, dict) else {}


def _word(error: OSError) -> str:
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return SILENCE
    return REFUSED if error.errno in _UNREACHABLE else RESET
