"""Keep the networks of a live cluster repaired: a thread that hears of changes from the kernel and reconciles.

Only what the network owns is looked at and changed; the rest of a node is the learner's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING

from netlab.errors import ClosedError, LabError
from netlab.kernel.netlink import NETLINK_ADD_MEMBERSHIP, SOL_NETLINK

if TYPE_CHECKING:
    from netlab.kubernetes.cluster import Cluster

_log = logging.getLogger(__name__)
#: RTNLGRP_* of links, neighbours and routes of both families (linux/rtnetlink.h).
_GROUPS = (1, 3, 7, 11)
#: Seconds: a change often comes as several events; and a look is taken now and then even without any.
QUIET, GLANCE = 0.02, 0.5


class NetworkController:
    """The thread of one cluster; it ends with the cluster, which it does not keep alive."""

    def __init__(self, cluster: Cluster) -> None:
        """Start it."""
        self._cluster = weakref.ref(cluster, lambda _: self.stop())
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        weakref.finalize(self, _close, self._reader, self._writer)
        self._stopped = threading.Event()
        #: What was repaired: (time, node, command). The newest is last.
        self.repairs: list[tuple[float, str, str]] = []
        cluster.lab.on_close(self.stop)
        self._thread = threading.Thread(target=self._run, name=f"networks of {cluster.lab.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        with contextlib.suppress(OSError):  # it is full or closed: then the thread is awake, or gone
            os.write(self._writer, b"x")

    def _run(self) -> None:
        watched: dict[str, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            try:
                while not self._stopped.is_set():
                    dirty = self._hear(selector, watched)
                    if self._stopped.is_set() or not self._repair(selector, watched, dirty):
                        return
            except ClosedError:
                return
            finally:
                for sock in watched.values():
                    sock.close()

    def _hear(self, selector: selectors.BaseSelector, watched: dict[str, socket.socket]) -> set[str]:
        """Wait for events, and then for a quiet moment; return the nodes that they are about."""
        dirty: set[str] = set()
        names = {id(sock): name for name, sock in watched.items()}
        ready = selector.select(GLANCE)
        deadline = time.monotonic() + 5 * QUIET
        while ready and not self._stopped.is_set():
            for key, _ in ready:
                if isinstance(key.fileobj, socket.socket):
                    dirty.add(names[id(key.fileobj)])
                    _drain(key.fileobj)
            if time.monotonic() > deadline:
                break
            ready = selector.select(QUIET)
        return dirty

    def _repair(self, selector: selectors.BaseSelector, watched: dict[str, socket.socket], dirty: set[str]) -> bool:
        """Reconcile the nodes that changed, and all of them where none did; return whether to go on."""
        cluster = self._cluster()
        if cluster is None or cluster.lab.closed:
            return False
        with cluster.lock:
            hosts = cluster.watched_hosts()
            for name in watched.keys() - hosts.keys():
                sock = watched.pop(name)
                selector.unregister(sock)
                sock.close()
            for name in hosts.keys() - watched.keys():
                watched[name] = _listen(cluster, name)
                selector.register(watched[name], selectors.EVENT_READ)
            try:
                for name, commands in cluster.reconcile_network(dirty & hosts.keys() or set(hosts)).items():
                    self.repairs += [(time.time(), name, command) for command in commands]
            except ClosedError:
                return False
            except LabError:
                if not cluster.lab.closed:
                    # Somebody changes the same thing at the same time; the next round sees what is left to do.
                    _log.warning("a repair of network %s failed", cluster.settings.network, exc_info=True)
        return True


def _listen(cluster: Cluster, name: str) -> socket.socket:
    (sock,) = cluster.lab.sandbox.sockets([name], (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
    # Bound first: a socket that has no number yet would get no events.
    sock.bind((0, 0))
    for group in _GROUPS:
        sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    return sock


def _drain(sock: socket.socket) -> None:
    """Take the events off a socket: that there were some is all that counts, even that some were lost."""
    with contextlib.suppress(OSError):
        while True:
            sock.recv(16, socket.MSG_DONTWAIT)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
