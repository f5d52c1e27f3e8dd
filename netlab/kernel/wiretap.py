"""Listen on every interface of every host at once, and to the reports of rules, from one thread."""

from __future__ import annotations

import os
import selectors
import socket as _socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from netlab.errors import KernelError
from netlab.kernel import chains, packet_socket, read_sockets, ruletrace
from netlab.kernel.netlink import NetlinkSocket
from netlab.kernel.read_links import read_interfaces
from netlab.kernel.read_rules import TRACE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.kernel.packet_socket import Taken
    from netlab.kernel.ruletrace import Match, RuleEvent
    from netlab.kernel.sandbox import Sandbox

NETFILTER = (_socket.AF_NETLINK, _socket.SOCK_RAW, 12)
#: More than this is not kept: a lab in full traffic for seconds must not fill the memory.
MOST = 200_000
_BUFFER = 1 << 22
_CLOSERS = 32


@dataclass(frozen=True, slots=True)
class Heard:
    """One packet at one interface of one host; ``order`` counts those of one host."""

    host: str
    order: int
    taken: Taken


class Wiretap:
    """Collects packets and rule reports while a ``with`` block runs; afterwards nothing of it is left in any host.

    ``keep`` looks at a frame's bytes and says whether it may be of interest: it is called for every packet of the lab.
    `packets` and `events` grow meanwhile; `wait` sleeps until something new arrived.
    """

    def __init__(self, sandbox: Sandbox, hosts: list[str], keep: Callable[[bytes], bool]) -> None:
        """Prepare to listen in some hosts, one for each network namespace."""
        self._sandbox, self._hosts, self._keep = sandbox, hosts, keep
        self.packets: list[Heard] = []
        self.events: list[RuleEvent] = []
        #: Hosts whose rules report, and the nftables tables (family, name) of every host.
        self.traced: tuple[str, ...] = ()
        self.tables: dict[str, tuple[tuple[int, str], ...]] = {}
        #: Packets or reports that were lost because we were too slow.
        self.lost = 0
        self._taps: dict[_socket.socket, str] = {}
        self._traces: dict[_socket.socket, ruletrace.RuleTrace] = {}
        self._news = threading.Condition()
        self._stack = ExitStack()

    def start(self, matches: list[Match], label: str) -> Self:
        """Begin; raises KernelError where the kernel refuses. `close` takes all away again."""
        try:
            self._open(matches, label)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _open(self, matches: list[Match], label: str) -> None:
        names: list[str | None] = list(self._hosts)
        self._stack.callback(self._close_sockets)
        # First of all, since the kernel takes a moment before it stamps packets.
        for host, sock in zip(self._hosts, self._sandbox.sockets(names, packet_socket.KIND), strict=True):
            self._taps[sock] = host
            packet_socket.stamp(sock)
        for host, sock in zip(self._hosts, self._sandbox.sockets(names, NETFILTER), strict=True):
            trace = ruletrace.RuleTrace(host, sock, label)
            self._traces[sock] = trace
            self.tables[host] = read_sockets.read_tables(NetlinkSocket(sock))
        for sock, trace in list(self._traces.items()):
            if not self.tables[trace.host]:
                del self._traces[sock]
                trace.close()
                continue
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _BUFFER)
            bridge = any(family == ruletrace.BRIDGE for family, _ in self.tables[trace.host])
            trace.start(matches, bridge=bridge, devices=self._ingress(trace.host, sock))
        for sock in self._taps:
            packet_socket.start(sock, buffer=_BUFFER)
        self.traced = tuple(trace.host for trace in self._traces.values())
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self._stack.callback(os.close, reader)
        thread = threading.Thread(target=self._listen, args=(reader,), name="wiretap", daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(os.close, writer)  # what the thread waits for; the last thing in is the first one done

    def _ingress(self, host: str, sock: _socket.socket) -> list[str]:
        """Return the interfaces of a host where it has rules that read packets before all others."""
        families = {family for family, _ in self.tables[host]}
        # Of the families only these two know the hook; to ask for all chains takes a while where there are many.
        if not families & {ruletrace.NETDEV, ruletrace.INET}:
            return []
        if not any(facts.hook == "ingress" for facts in chains.read_chains(sock).values()):
            return []
        (route,) = self._sandbox.sockets([host], (_socket.AF_NETLINK, _socket.SOCK_RAW, _socket.NETLINK_ROUTE))
        with route:
            return [each.name for each in read_interfaces(NetlinkSocket(route), lambda _: None)]

    def __enter__(self) -> Self:
        """Return itself; `start` has been called."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """Stop listening, and take the tables of the trace away; may be called twice."""
        self._stack.close()

    def _close_sockets(self) -> None:
        closing = [*(sock.close for sock in self._taps), *(trace.close for trace in self._traces.values())]
        # The kernel waits for all processors at each end (synchronize_net), some 10 ms: all can wait together.
        with ThreadPoolExecutor(max_workers=min(len(closing), _CLOSERS) or 1) as pool:
            for done in [pool.submit(close) for close in closing]:
                done.result()

    def wait(self, timeout: float) -> None:
        """Wait until something new has arrived, or for ``timeout`` seconds."""
        with self._news:
            self._news.wait(timeout)

    # -- the thread --------------------------------------------------------------

    def _listen(self, stop: int) -> None:
        orders = dict.fromkeys(self._hosts, 0)
        with selectors.DefaultSelector() as selector:
            for sock in (*self._taps, *self._traces):
                selector.register(sock, selectors.EVENT_READ)
            selector.register(stop, selectors.EVENT_READ)
            running = True
            while running:
                ready = selector.select()
                running = all(key.fileobj != stop for key, _ in ready)
                for key, _ in ready:
                    if key.fileobj in self._taps:
                        self._take(key.fileobj, orders)
                    elif key.fileobj in self._traces:
                        self._report(key.fileobj)
                with self._news:
                    self._news.notify_all()
            for sock in self._taps:  # what arrived while the last round was worked off
                self._take(sock, orders)
                self.lost += packet_socket.lost(sock)
            for sock in self._traces:
                self._report(sock)

    def _take(self, sock: _socket.socket, orders: dict[str, int]) -> None:
        host = self._taps[sock]
        for taken in packet_socket.drain(sock):
            orders[host] += 1
            if self._keep(taken.data):
                if len(self.packets) < MOST:
                    self.packets.append(Heard(host, orders[host], taken))
                else:
                    self.lost += 1

    def _report(self, sock: _socket.socket) -> None:
        trace = self._traces[sock]
        while True:
            try:
                data = sock.recv(1 << 16, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != _ENOBUFS:
                    raise KernelError("nft monitor trace", error.errno or 0) from None
                self.lost += 1
                continue
            for event in ruletrace.decode(data, trace.host, time.time_ns()):
                foreign = event.table.startswith(TRACE_PREFIX) and event.table != trace.table
                if not foreign and len(self.events) < MOST:
                    self.events.append(event)


_ENOBUFS = 105
