"""Send the packets of a trace: through sockets that were opened in the client host, as a program there would.

No process is needed for this: a socket stays in the network namespace in which it was opened.
"""

from __future__ import annotations

import errno
import os
import select
import socket as _socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.errors import KernelError

if TYPE_CHECKING:
    from netlab.journey.identity import Identity
    from netlab.kernel.sandbox import Sandbox
    from netlab.kernel.values import IPAddress

#: TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ (linux/tcp.h), and TCP_SEND_QUEUE.
_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ, _SEND_QUEUE = 19, 20, 21, 2
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """Where the packets go, and from which address if one was asked for."""

    host: str
    address: IPAddress
    port: int
    protocol: str
    source: IPAddress | None = None

    @property
    def family(self) -> _socket.AddressFamily:
        """Return AF_INET or AF_INET6."""
        return _socket.AF_INET if self.address.version == 4 else _socket.AF_INET6

    @property
    def kind(self) -> tuple[int, int, int]:
        """Return the arguments of socket(2)."""
        if self.protocol == "icmp":
            number = _socket.IPPROTO_ICMP if self.address.version == 4 else _socket.IPPROTO_ICMPV6
            return self.family, _socket.SOCK_RAW, number
        return self.family, _socket.SOCK_STREAM if self.protocol == "tcp" else _socket.SOCK_DGRAM, 0


@dataclass(slots=True)
class Outcome:
    """What one probe's socket experienced: ``error`` is an errno, 0 for none; ``local`` its own address and port."""

    error: int = 0
    reply: bytes = b""
    connected: bool = False
    timed_out: bool = False
    local: tuple[str, int] | None = None

    @property
    def answered(self) -> bool:
        """Tell whether anything but an error came back."""
        return bool(self.reply) or self.connected

    @property
    def words(self) -> str:
        """Return the error as a program would see it, or nothing."""
        if self.error:
            return f"{errno.errorcode.get(self.error, self.error)}: {os.strerror(self.error)}"
        return "no answer within the time" if self.timed_out and not self.answered else ""


class Prober:
    """Sends the probes of one trace, one after the other; close it to close the sockets."""

    def __init__(self, sandbox: Sandbox, target: Target, count: int) -> None:
        """Open the sockets in the client host."""
        self._target = target
        self.sockets = sandbox.sockets([target.host] * count, target.kind)
        #: False where the kernel does not let us choose a connection's first sequence number.
        self.chosen = True

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()

    def prepare(self, number: int, probe: Identity) -> None:
        """Bind a probe's socket, and give a TCP connection the sequence number by which it is known.

        Raises KernelError where the source address is not one of this host's.
        """
        sock, target = self.sockets[number], self._target
        sock.setblocking(False)  # noqa: FBT003 - the library takes no keyword
        level, option = (_socket.IPPROTO_IP, _IP_RECVERR)
        if target.family == _socket.AF_INET6:
            level, option = _socket.IPPROTO_IPV6, _IPV6_RECVERR
        if target.protocol != "tcp":
            # Errors that ICMP brings reach an unconnected socket only when it asks for them (ip(7)).
            sock.setsockopt(level, option, 1)
        else:
            try:
                choose_sequence(sock, probe.first)
            except OSError:  # no CAP_NET_ADMIN over the host, or a kernel without TCP_REPAIR
                self.chosen = False
        if target.source is not None:
            try:
                sock.bind((str(target.source), 0))
            except OSError as error:
                advice = f"A source must be an address of the host itself; see: ip -n {target.host} addr"
                raise KernelError(f"bind({target.source})", error.errno or 0, "", advice) from None

    def send(self, number: int, probe: Identity, payload: bytes, timeout: float) -> Outcome:
        """Send one probe and wait for its answer, for ``timeout`` seconds at most."""
        outcome = Outcome()
        sock = self.sockets[number]
        deadline = time.monotonic() + timeout
        try:
            if self._target.protocol == "icmp":
                self._echo(sock, probe, payload, deadline, outcome)
            else:
                self._talk(sock, probe, payload, deadline, outcome)
        except TimeoutError:
            outcome.timed_out = True
        except OSError as error:
            outcome.error = error.errno or errno.EIO
        return outcome

    def _talk(self, sock: _socket.socket, probe: Identity, payload: bytes, deadline: float, outcome: Outcome) -> None:
        remote = (self._target.address, self._target.port)
        number = sock.connect_ex((str(remote[0]), remote[1]))
        outcome.local = (sock.getsockname()[0], sock.getsockname()[1])
        probe.flows.add((type(remote[0])(outcome.local[0].partition("%")[0]), outcome.local[1], *remote))
        if number == errno.EINPROGRESS:
            _wait(sock, select.POLLOUT, deadline)
            number = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        if self._target.protocol == "tcp":
            outcome.connected = True
            if not payload:
                return
        sock.send(payload)
        _wait(sock, select.POLLIN, deadline)
        outcome.reply = sock.recv(_LARGEST)

    def _echo(self, sock: _socket.socket, probe: Identity, payload: bytes, deadline: float, outcome: Outcome) -> None:
        kind = 8 if self._target.address.version == 4 else 128
        request = struct.pack("!BBHHH", kind, 0, 0, probe.identifier, 1) + payload
        if kind == 8:
            request = request[:2] + struct.pack("!H", _checksum(request)) + request[4:]
        sock.connect((str(self._target.address), 0))
        outcome.local = (sock.getsockname()[0], 0)
        sock.send(request)
        while True:
            _wait(sock, select.POLLIN, deadline)
            data = sock.recv(_LARGEST)
            body = data[(data[0] & 15) * 4 :] if kind == 8 else data
            if body[:1] in {b"\0", b"\x81"} and body[8:].startswith(probe.token):
                outcome.reply = body[8:]
                return


def choose_sequence(sock: _socket.socket, first: int) -> None:
    """Give a TCP connection its first sequence number; whoever may do this is root in the host's user namespace.

    Raises OSError where this is not so.
    """
    sock.setsockopt(_socket.IPPROTO_TCP, _REPAIR, 1)
    sock.setsockopt(_socket.IPPROTO_TCP, _REPAIR_QUEUE, _SEND_QUEUE)
    sock.setsockopt(_socket.IPPROTO_TCP, _QUEUE_SEQ, struct.pack("=I", first))
    sock.setsockopt(_socket.IPPROTO_TCP, _REPAIR, 0)


def _wait(sock: _socket.socket, event: int, deadline: float) -> None:
    """Wait for an event; raises TimeoutError, and the error that an ICMP message brought."""
    poll = select.poll()
    poll.register(sock, event)
    ready = poll.poll(max(deadline - time.monotonic(), 0) * 1000)
    if not ready:
        raise TimeoutError
    if ready[0][1] & select.POLLERR and event == select.POLLIN:
        number = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
