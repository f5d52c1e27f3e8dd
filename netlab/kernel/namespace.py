"""One network namespace of a sandbox, with the route socket that speaks for it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as _socket
import struct
import time
import weakref
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from netlab.errors import KernelError, NotFoundError
from netlab.kernel import links
from netlab.kernel.netlink import HEADER, NetlinkSocket, length
from netlab.kernel.read_links import OPERSTATE, attributes, read_interfaces

if TYPE_CHECKING:
    from netlab.kernel.netlink import Request
    from netlab.kernel.sandbox import Sandbox

#: Settings of every new namespace. Some are inherited from the machine (net.core.devconf_inherit_init_net), so that
#: each one that matters is written: forwarding off, no router advertisements, addresses usable at once.
FIRST_SYSCTLS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}

#: struct ifinfomsg (rtnetlink(7)), of which only the index is wanted.
_INFO = struct.Struct("=4xi")
_INFO_SIZE = 16
#: Values of IFLA_OPERSTATE (RFC 2863), and seconds between two looks at it.
_OPER_DOWN, _OPER_LOWER_DOWN = 2, 3
_CARRIER_PATIENCE, _CARRIER_PACE = 1.0, 0.0003


class Namespace:
    """A network namespace: its name, inode, descriptor and route socket.

    ``nsid`` is the id that the sandbox's own namespace has for it.
    """

    def __init__(self, sandbox: Sandbox, name: str, nsid: int, share: str | None = None) -> None:
        """Make the namespace, or with ``share`` enter that of another host."""
        self.sandbox, self.name, self.nsid = sandbox, name, nsid
        reply, (self.netns, route) = sandbox.request("add_host", name=name, sysctls=FIRST_SYSCTLS, share=share)
        self.inode: int = reply["inode"]
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, 0, fileno=route)
        self.route = NetlinkSocket(sock)
        # An open descriptor keeps the namespace alive: it must go when a forgotten lab goes.
        self._finalizer = weakref.finalize(self, _close, sock, self.netns)
        sandbox.hold(self)

    def apply(self, *requests: Request) -> None:
        """Ask for changes, one after the other."""
        self.route.apply(*requests)

    def find(self, interface: str) -> Any | None:
        """Return an interface's message, or None if there is none of that name."""
        return decode_link(self.find_raw(interface))

    def find_raw(self, interface: str) -> tuple[bytes, int] | None:
        """Return an interface's message undecoded, as (data, offset), or None if there is none of that name."""
        try:
            return self.route.get_raw(links.get_link(interface))
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def index(self, interface: str) -> int:
        """Return an interface's index; raises NotFoundError with the names that there are."""
        found = self.find_raw(interface)
        if found is None:
            known = ", ".join(self.names().values()) or "none"
            raise NotFoundError(f"Host {self.name!r} has no interface {interface!r}. It has: {known}.")
        data, start = found
        return int(_INFO.unpack_from(data, start + HEADER.size)[0])

    def await_carrier(self, interface: str) -> None:
        """Wait until the kernel has switched an interface through, for a second at most.

        It does so a moment after both ends of a cable are up, and throws away what is sent before that.
        """
        deadline = time.monotonic() + _CARRIER_PATIENCE
        while (found := self.find_raw(interface)) is not None:
            data, start = found
            body, end = start + HEADER.size + _INFO_SIZE, start + length(data, start)
            states = [data[low] for kind, low, _ in attributes(data, body, end) if kind == OPERSTATE]
            if states not in ([_OPER_DOWN], [_OPER_LOWER_DOWN]) or time.monotonic() > deadline:
                return
            time.sleep(_CARRIER_PACE)

    def names(self) -> dict[int, str]:
        """Return the names of all interfaces by their index."""
        return {interface.index: interface.name for interface in read_interfaces(self.route, lambda _: None)}

    def cut_cables(self) -> None:
        """Remove all veth ends here, and with them those in other namespaces."""
        for interface in read_interfaces(self.route, lambda _: None):
            if interface.kind == "veth":
                with contextlib.suppress(KernelError):  # both ends were here, and this one went with the other
                    self.apply(links.delete_link(self.name, interface.name))

    def close(self) -> None:
        """Close the descriptors; the namespace lives on as long as the sandbox holds it."""
        self._finalizer()


def decode_link(raw: tuple[bytes, int] | None) -> Any | None:
    """Decode what `Namespace.find_raw` returned."""
    if raw is None:
        return None
    message = ifinfmsg(raw[0], offset=raw[1])
    message.decode()
    return message


def _close(sock: _socket.socket, descriptor: int) -> None:
    sock.close()
    os.close(descriptor)
