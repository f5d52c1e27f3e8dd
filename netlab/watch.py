"""Follow the kernel: from its events to new Snapshots of a lab, without asking it all the time."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket as _socket
import struct
import threading
import time
import weakref
from typing import TYPE_CHECKING

from netlab.errors import LabError, NotFoundError
from netlab.kernel.netlink import NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID, SOL_NETLINK
from netlab.kernel.survey import compose
from netlab.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netlab.kernel.values import HostState, Snapshot
    from netlab.lab import Lab

_log = logging.getLogger(__name__)

#: RTNLGRP_* of links, neighbours, addresses, routes, rules and settings (linux/rtnetlink.h).
ROUTE_GROUPS = (1, 3, 5, 7, 8, 9, 11, 19, 24, 25)
#: NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h): iptables-nft changes arrive here too.
NETFILTER_GROUPS = (7,)
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
#: Seconds: a change often comes as a dozen events; wait for a quiet moment, but not for long.
QUIET, PATIENCE = 0.02, 0.05
#: Seconds between looks at what sends no events: how many sockets and tracked connections there are; at least this,
#: and so rarely that they cost at most 1/GLANCE_SHARE of a core.
GLANCE, GLANCE_SHARE = 0.2, 150
#: Seconds between full reads for counters: at least this, and so rarely that they cost this part of a core at most:
#: 1/SHARE while they find something new, 1/STILL_SHARE where nothing moves. It is our thread's time; the kernel and the
#: sandbox's helper take a third of that again.
REFRESH, SHARE, STILL_SHARE = 1.0, 80, 200
#: How many hosts are read at a time for that, and how many beside those that have something new.
PART, FEW = 30, 4


class Subscription:
    """One who gets the snapshots; `close` ends it and may be called twice."""

    def __init__(self, watcher: Watcher, callback: Callable[[Snapshot], object]) -> None:
        """Keep who to tell; use `Watcher.subscribe`."""
        self._watcher, self.callback = watcher, callback

    def close(self) -> None:
        """Get no more snapshots."""
        self._watcher.unsubscribe(self)


class Watcher:
    """Tells subscribers of each new Snapshot of a lab, from a thread of its own.

    It runs while there are subscribers and ends with the lab, which it does not keep alive.
    """

    def __init__(self, lab: Lab) -> None:
        """Prepare to follow a lab; use `Lab.watcher` instead."""
        self._lab = weakref.ref(lab)
        self._lock = threading.RLock()
        self._subscriptions: list[Subscription] = []
        self._thread: threading.Thread | None = None
        self._poked: set[str] = set()
        self._alarm = _Alarm()
        self.timeline = Timeline()
        #: How often the lab was read, and how often all of it; for the tests and the bench.
        self.reads = self.full_reads = 0
        weakref.finalize(lab, self._alarm.ring)

    def subscribe(self, callback: Callable[[Snapshot], object]) -> Subscription:
        """Call back with the present snapshot at once, and then, from another thread, with each new one."""
        lab = self._lab()
        subscription = Subscription(self, callback)
        with self._lock:
            begin = None
            try:
                if lab is not None and not lab.closed:
                    # What happens from now on is heard, so that the thread need not read again what is read here.
                    begin = _Beginning(lab) if self._thread is None else None
                    snapshot = lab.snapshot() if begin is None else compose(lab.name, begin.states)
                    # The others have not heard of it yet if it is new.
                    if self.timeline.record(snapshot):
                        self._tell(snapshot)
                    callback(snapshot)
                self._subscriptions.append(subscription)
                if begin is not None and self._thread is None and lab is not None and not lab.closed:
                    self._start(begin, f"watch {lab.name}")
                    begin = None
            finally:
                if begin is not None:
                    begin.close()
        return subscription

    def _start(self, begin: _Beginning, name: str) -> None:
        self._alarm.reset()
        self._thread = threading.Thread(target=self._run, args=(begin,), name=name, daemon=True)
        self._thread.start()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; the last one ends the thread."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)
            if not self._subscriptions:
                self._alarm.ring()

    def poke(self, hosts: Iterable[str]) -> None:
        """Have some hosts read again, as after an event of theirs."""
        self._poked.update(hosts)
        self._alarm.ring()

    def stop(self) -> None:
        """End the thread and all subscriptions."""
        with self._lock:
            self._subscriptions.clear()
        self._alarm.ring()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # -- the thread --------------------------------------------------------------

    def _run(self, begin: _Beginning) -> None:
        with selectors.DefaultSelector() as selector:
            try:
                for sock in begin.sockets:
                    selector.register(sock, selectors.EVENT_READ)
                selector.register(self._alarm.reader, selectors.EVENT_READ)
                self._follow(selector, begin)
            except LabError:
                if (lab := self._lab()) is not None and not lab.closed:
                    _log.exception("following lab %s ended", lab.name)
            finally:
                begin.close()
                with self._lock:
                    if self._thread is threading.current_thread():
                        self._thread = None

    def _follow(self, selector: selectors.BaseSelector, begin: _Beginning) -> None:
        states = told = begin.states
        survey = _Survey()
        round_, next_glance = begin.glance, time.monotonic()
        while True:
            due = next_glance if not survey.left else 0.0
            nsids, lost = self._events(selector, max(min(due, survey.due) - time.monotonic(), 0))
            lab = self._lab()
            if lab is None or lab.closed or self._nobody_listens():
                return
            poked, self._poked = self._poked, set()
            hosts = lab.hosts
            dirty = {
                name
                for name, host in hosts.items()
                if name in poked or name not in states or host.namespace.nsid in nsids
            }
            now = time.monotonic()
            if now >= next_glance:
                round_, changed = _glance(lab, list(hosts), round_)
                dirty |= changed
                next_glance = now + max(GLANCE, GLANCE_SHARE * (time.monotonic() - now))
            part = survey.part(hosts, lost=lost, most=FEW if dirty else PART)
            if dirty or part or set(hosts) != set(states):
                began = time.thread_time()
                states = self._read(lab, [name for name in hosts if name in dirty or name in part], states)
                moved = states != told
                if moved and (dirty or not survey.left or set(states) != set(told)):
                    self._tell(compose(lab.name, states))
                    told = states
                if part and survey.done(time.thread_time() - began, moved=moved):
                    self.full_reads += 1
            del lab, hosts

    def _nobody_listens(self) -> bool:
        """Tell whether the thread may end; whoever subscribes after that starts another."""
        with self._lock:
            if not self._subscriptions:
                self._thread = None
            return not self._subscriptions

    def _events(self, selector: selectors.BaseSelector, timeout: float) -> tuple[set[int], bool]:
        """Wait for events until it is quiet; return whose they were, and whether some were lost."""
        nsids: set[int] = set()
        lost = False
        ready = selector.select(timeout)
        deadline = time.monotonic() + PATIENCE
        while ready:
            for key, _ in ready:
                if key.fileobj is self._alarm.reader:
                    self._alarm.reset()
                else:
                    lost = _drain(key.fileobj, nsids) or lost  # type: ignore[arg-type]
            if not self._subscriptions or time.monotonic() >= deadline:
                break
            ready = selector.select(QUIET)
        return nsids, lost

    def _read(self, lab: Lab, names: list[str], states: dict[str, HostState]) -> dict[str, HostState]:
        """Return the states of all hosts, those of some of them read again."""
        hosts = lab.hosts
        try:
            fresh = lab.read([hosts[name] for name in names if name in hosts])
        except (LabError, LookupError, OSError):
            if lab.closed:
                return states
            # A host may have been removed while it was read; the next round sees the hosts that are left.
            _log.debug("a read of lab %s met a change", lab.name, exc_info=True)
            self._poked.update(names)
            return states
        self.reads += 1
        merged = {name: fresh.get(name, states.get(name)) for name in lab.hosts}
        return {name: state for name, state in merged.items() if state is not None}

    def _tell(self, snapshot: Snapshot) -> None:
        with self._lock:
            self.timeline.record(snapshot)
            for subscription in list(self._subscriptions):
                try:
                    subscription.callback(snapshot)
                except Exception:  # noqa: BLE001 - one failing subscriber must not stop the others
                    _log.exception("a subscriber of lab %s failed", snapshot.lab)


class _Beginning:
    """Where a thread begins: the sockets at which events arrive, and the lab as it was read after they were opened."""

    def __init__(self, lab: Lab) -> None:
        self.sockets = _event_sockets(lab)
        try:
            hosts = lab.hosts
            self.glance, _ = _glance(lab, list(hosts), 0)
            self.states = lab.read(hosts.values())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()


class _Survey:
    """A read of the whole lab, a part at a time: between two parts what is new comes first."""

    def __init__(self) -> None:
        self.left: list[str] = []
        #: When the next one begins; all hosts are new, and read, at first.
        self.due = time.monotonic() + REFRESH
        self._spent, self._moved = 0.0, False

    def part(self, hosts: Iterable[str], *, lost: bool, most: int) -> set[str]:
        """Return who is to be read now, some of them at most; all begin anew if events were lost."""
        if lost or (not self.left and time.monotonic() >= self.due):
            self.left = list(hosts)
            self._spent, self._moved = 0.0, False
        part, self.left = self.left[:most], self.left[most:]
        return set(part)

    def done(self, seconds: float, *, moved: bool) -> bool:
        """Note what a part took, and whether anything was new; tell whether that was the last part."""
        self._spent += seconds
        self._moved |= moved
        if not self.left:
            self.due = time.monotonic() + max(REFRESH, (SHARE if self._moved else STILL_SHARE) * self._spent)
        return not self.left


class _Alarm:
    """A pipe that wakes a selector; its descriptors go when it is forgotten."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # At the end of the program widgets still ring it, after finalizers ran; the kernel closes it then.
        weakref.finalize(self, _close_both, self.reader, self._writer).atexit = False

    def ring(self) -> None:
        """Wake whoever waits."""
        try:
            os.write(self._writer, b"x")
        except BlockingIOError:
            return  # it rings already

    def reset(self) -> None:
        """Fall silent."""
        try:
            while os.read(self.reader, 4096):
                continue
        except BlockingIOError:
            return


def _close_both(reader: int, writer: int) -> None:
    os.close(reader)
    os.close(writer)


def _event_sockets(lab: Lab) -> list[_socket.socket]:
    """Open the sockets at which the events of every host arrive: the kernel marks each with its host's id."""
    opened = []
    for protocol, groups in ((NETLINK_ROUTE, ROUTE_GROUPS), (NETLINK_NETFILTER, NETFILTER_GROUPS)):
        (sock,) = lab.sandbox.sockets([None], (_socket.AF_NETLINK, _socket.SOCK_RAW, protocol))
        # An unbound socket has the port 0, which is the kernel's own, and nobody hears their own events. This comes
        # before the groups: bind() sets the first 32 of them anew.
        sock.bind((0, 0))
        sock.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, 1 << 22)
        for group in groups:
            sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        opened.append(sock)
    return opened


def _glance(lab: Lab, names: list[str], since: int) -> tuple[int, set[str]]:
    """Look at what sends no events; return the number of this look, and who has changed since an earlier one."""
    try:
        seen = lab.sandbox.request("glance", names=names, since=since)[0]
    except NotFoundError:  # a host was removed meanwhile: the next look tells
        return since, set()
    return int(seen["round"]), set(seen["changed"])


def _drain(sock: _socket.socket, nsids: set[int]) -> bool:
    """Read events until there are none, collect whose they were; return whether some were lost."""
    lost = False
    while True:
        try:
            # Only the mark counts; a truncated body is as good as a whole one.
            _, ancillary, _, _ = sock.recvmsg(16, 32, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return lost
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            lost = True
            continue
        for level, kind, value in ancillary:
            if level == SOL_NETLINK and kind == NETLINK_LISTEN_ALL_NSID:
                nsids.add(struct.unpack("i", value)[0])
