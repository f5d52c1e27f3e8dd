"""What became of a host's routes while something ran: each single change, also one that was undone at once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self

from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netlab.course.answers import call
from netlab.course.proof import main_routes
from netlab.course.values import Verdict, failed, passed
from netlab.kernel import links
from netlab.kernel.netlink import NETLINK_ADD_MEMBERSHIP, SOL_NETLINK, walk
from netlab.kernel.read import to_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.host import Host
    from netlab.kernel.values import Route

#: RTNLGRP_IPV4_ROUTE and RTNLGRP_IPV6_ROUTE (linux/rtnetlink.h).
_GROUPS = (7, 11)
_ROOM = 1 << 20
_WORDS = "{count} with proto {proto}, those that are wanted, and all others as they were"


class RouteChanges:
    """Hears of all changes to a host's routes in a ``with`` block; after it ``added`` and ``removed`` hold them.

    The kernel queues the event of a change before it answers who asked for it, so none comes late. A route that is
    replaced is in ``added`` alone. Those of the table local are left out: they are the kernel's own.
    """

    def __init__(self, host: Host) -> None:
        """Prepare to hear of a host."""
        self._host = host
        self.added: list[Route] = []
        self.removed: list[Route] = []

    def __enter__(self) -> Self:
        """Begin to listen."""
        kind = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        (self._socket,) = self._host.lab.sandbox.sockets([self._host.name], kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        # Bound first: a socket that has no number yet would get no events.
        self._socket.bind((0, 0))
        for group in _GROUPS:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        return self

    def __exit__(self, *exception: object) -> None:
        """Take what was heard, and cease to listen."""
        names = self._host.namespace.names()
        with self._socket as sock:
            while data := _receive(sock):
                for kind, _, _, start in walk(data):
                    message = rtmsg(data, offset=start)
                    message.decode()
                    route = to_route(message, names)
                    if route.table != "local":
                        (self.removed if kind == links.RTM_DELROUTE else self.added).append(route)


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_ROOM, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def look_at_reconcile(
    function: Callable[..., object], host: Host, wanted: dict[str, str], *, proto: str, when: str
) -> Verdict:
    """Call a reconcile function once, and see what it made of the routes with its mark, and of all others.

    ``wanted`` leads from destinations to next hops; ``when`` is for the verdict. Where all is right already, it may
    delete nothing.
    """
    expected = _WORDS.format(count=f"{len(wanted)} routes" if wanted else "no route", proto=proto)
    before = main_routes(host)
    idle = _compare("", "", wanted, before, (proto, "")).passed
    with RouteChanges(host) as changes:
        problem = call(function, host, dict(wanted))
    if problem:
        return failed(
            f"{when}, {problem}", "one pass that ends without an error", "that line: what does it meet there?"
        )
    now = main_routes(host)
    touched = [one for one in changes.removed if one.protocol != proto]
    touched += [one for one in before if one.protocol != proto and one not in now]
    if touched:
        return failed(
            f"{when}, it took away {touched[0]} (proto {touched[0].protocol}), which is somebody else's",
            expected,
            f"which routes it looks at: `ip route show proto {proto}` lists its own, and no other.",
        )
    if idle and changes.removed:
        return failed(
            f"{when}, it took away {changes.removed[0]}: for a moment those pods had no way",
            "a call that finds everything right deletes nothing",
            "what it does before it has looked at the table.",
        )
    return _compare(host.name, f"{when}, {host.name}", wanted, now, (proto, expected))


def _compare(name: str, who: str, wanted: dict[str, str], now: list[Route], words: tuple[str, str]) -> Verdict:
    """Compare the routes that carry the mark with those that are wanted."""
    proto, expected = words
    for network, via in wanted.items():
        here = [route for route in now if str(route.destination) == network]
        own = [route for route in here if route.protocol == proto]
        if not own:
            saw = f"has {here[0]}, but with proto {here[0].protocol}" if here else f"has no route to {network}"
            return failed(f"{who} {saw}", expected, "the command that adds it, as you would type it.")
        if [str(route.via) for route in own] != [via]:
            text = f"{who} has {' and '.join(map(str, own))}; wanted is the next hop {via}"
            return failed(text, expected, "whether it compares destinations alone, or next hops too.")
    stale = [route for route in now if route.protocol == proto and str(route.destination) not in wanted]
    if stale:
        text = f"{who} still has {stale[0]}, which nobody wants any more"
        return failed(text, expected, "who takes away what is in the table, and not in `wanted`?")
    return passed(f"{name} has what is wanted")
