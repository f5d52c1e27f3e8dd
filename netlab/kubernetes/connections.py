"""Ask and answer in any host of a lab: the sockets live in the hosts, and are held by this program."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from netlab.kernel.sandbox import Sandbox

_KINDS = {
    "TCP": (socket.SOCK_STREAM, 0),
    "UDP": (socket.SOCK_DGRAM, 0),
    "SCTP": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
#: How many connections are under way at a time: each takes two descriptors.
_AT_ONCE = 150
_ANSWER = 256


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection to make, and for how many seconds to wait for an answer.

    ``request`` is what to say first to a server that is not one of the arena's own.
    """

    source: str
    protocol: str
    destination: str
    port: int
    patience: float = 5.0
    request: bytes = b""

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return ip_address(self.destination).version


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt.

    ``verdict`` is ``answer``, ``refused`` or ``silence``. Of an answer: ``host`` is who gave it, ``local`` the address
    and port that it was reached at, ``peer`` the address that it saw.
    """

    verdict: str
    host: str = ""
    local: tuple[str, int] = ("", 0)
    peer: str = ""


@dataclass(slots=True)
class _Client:
    attempt: Attempt
    place: int
    deadline: float
    sent: bool = False


@dataclass(slots=True)
class _Listener:
    host: str
    port: int
    stream: bool


class Connections:
    """Listeners and clients in the hosts of a lab; ``owner`` names the host that an attempt is made from."""

    def __init__(self, sandbox: Sandbox, owner: Callable[[Attempt], str]) -> None:
        """Begin without listeners."""
        self._sandbox, self._owner = sandbox, owner
        self._selector = selectors.DefaultSelector()
        self._listeners: dict[tuple[str, str, int, str], socket.socket] = {}

    def listen(self, host: str, protocol: str, port: int, address: str) -> None:
        """Answer at a port of a host, at one address, or at all for "0.0.0.0" or "::"; may be asked for twice.

        A UDP server that listens at all answers from the host's first address.
        """
        key = (host, protocol, port, address)
        version = ip_address(address).version
        if key in self._listeners:
            return
        sock = self._open([host], protocol, version)[0]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:  # noqa: PLR2004
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        stream = protocol != "UDP"
        if stream:
            sock.listen(512)
        sock.settimeout(0)
        self._listeners[key] = sock
        self._selector.register(sock, selectors.EVENT_READ, _Listener(host, port, stream))

    def _open(self, hosts: list[str], protocol: str, version: int) -> list[socket.socket]:
        family = socket.AF_INET if version == 4 else socket.AF_INET6  # noqa: PLR2004
        return self._sandbox.sockets(list(hosts), (family, *_KINDS[protocol]))

    @staticmethod
    def _reply(sock: socket.socket, listener: _Listener) -> None:
        if listener.stream:
            connection, peer = sock.accept()
            with connection:
                address, port = connection.getsockname()[:2]
                connection.send(f"{listener.host} {address} {port} {peer[0]}".encode())
            return
        # A UDP server is not told which of its addresses was asked; it is enough to know whose it is.
        _, peer = sock.recvfrom(_ANSWER)
        sock.sendto(f"{listener.host} - {listener.port} {peer[0]}".encode(), peer)

    # -- connecting ------------------------------------------------------------------

    def try_all(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        """Make connections side by side; return what came of each."""
        outcomes: list[Outcome] = []
        for start in range(0, len(attempts), _AT_ONCE):
            outcomes += self._try(attempts[start : start + _AT_ONCE])
        return outcomes

    def _try(self, attempts: Sequence[Attempt]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        waiting = self._start(attempts, found)
        while waiting:
            now = time.monotonic()
            for late in [sock for sock, client in waiting.items() if client.deadline <= now]:
                self._finish(waiting, late, found, Outcome("silence"))
            nearest = min((client.deadline for client in waiting.values()), default=now)
            for key, _ in self._selector.select(max(nearest - now, 0)):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)  # noqa: S101 - nothing else is registered
                if isinstance(key.data, _Listener):
                    self._reply(sock, key.data)
                elif (outcome := self._continue(sock, key.data)) is not None:
                    self._finish(waiting, sock, found, outcome)
        return [found[place] for place in range(len(attempts))]

    def _start(self, attempts: Sequence[Attempt], found: dict[int, Outcome]) -> dict[socket.socket, _Client]:
        waiting: dict[socket.socket, _Client] = {}
        for places, protocol, version in _groups(attempts):
            owners = [self._owner(attempts[place]) for place in places]
            for place, sock in zip(places, self._open(owners, protocol, version), strict=True):
                attempt = attempts[place]
                client = _Client(attempt, place, time.monotonic() + attempt.patience)
                sock.settimeout(0)
                sock.bind((attempt.source, 0))
                error = sock.connect_ex((attempt.destination, attempt.port))
                if error not in {0, errno.EINPROGRESS}:
                    found[place] = _refusal(error)
                    sock.close()
                    continue
                waiting[sock] = client
                self._selector.register(sock, selectors.EVENT_WRITE, client)
        return waiting

    def _continue(self, sock: socket.socket, client: _Client) -> Outcome | None:
        """Go on with a connection on which something happened; return its outcome when that is known."""
        try:
            if not client.sent:
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    return _refusal(error)
                client.sent = True
                if client.attempt.protocol == "UDP" or client.attempt.request:
                    sock.send(client.attempt.request or b"who?")
                self._selector.modify(sock, selectors.EVENT_READ, client)
                return None
            data = sock.recv(_ANSWER)
            if client.attempt.request:
                asked = (client.attempt.destination, client.attempt.port)
                return Outcome("answer" if data else "hang-up", "", asked, client.attempt.source)
            host, local, port, peer = data.decode().split()
        except OSError as error:
            return _refusal(error.errno or errno.EIO)
        return Outcome("answer", host, (client.attempt.destination if local == "-" else local, int(port)), peer)

    def _finish(
        self, waiting: dict[socket.socket, _Client], sock: socket.socket, found: dict[int, Outcome], outcome: Outcome
    ) -> None:
        found[waiting.pop(sock).place] = outcome
        self._selector.unregister(sock)
        sock.close()

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._listeners.values():
            sock.close()
        self._selector.close()


def _refusal(error: int) -> Outcome:
    refused = error in {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES}
    return Outcome("refused" if refused else errno.errorcode.get(error, str(error)))


def _groups(attempts: Sequence[Attempt]) -> Iterator[tuple[list[int], str, int]]:
    """Yield the places of attempts of one protocol and family: their sockets are opened with one request."""
    found: dict[tuple[str, int], list[int]] = {}
    for place, attempt in enumerate(attempts):
        found.setdefault((attempt.protocol, attempt.version), []).append(place)
    for (protocol, version), places in found.items():
        yield places, protocol, version
