"""What a Host can do with its interfaces: bridges, VXLAN, macvlan, ports, state, shaping."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from netlab.errors import InvalidInputError
from netlab.kernel import check, links
from netlab.kernel.namespace import decode_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.kernel.namespace import Namespace
    from netlab.kernel.netlink import Request

_MACVLAN_MODES = ("bridge", "private", "vepa", "passthru")
_PORT_OPTIONS = {"hairpin", "learning", "flood", "isolated"}
#: Seconds and bytes: the kernel's clock for packets has 32 bits of 64 ns, and its table of rates goes to 2 KB.
_LONGEST_BURST, _LARGE_PACKET = 270, 2048
_VXLAN_OPTIONS = {"port", "learning", "mtu"}


class Interfaces:
    """The part of a Host that adds, changes and removes interfaces."""

    name: str
    namespace: Namespace

    def add_bridge(self, name: str) -> None:
        """Add a bridge and set it up: a switch inside this host (ip-link(8))."""
        self._add(name, links.add_bridge(self.name, check.interface_name(name)), up=True)

    def add_dummy(self, name: str) -> None:
        """Add a dummy interface and set it up; where the kernel has none, put addresses on ``lo`` instead."""
        self._add(name, links.add_dummy(self.name, check.interface_name(name)), up=True)

    def add_vxlan(
        self,
        name: str,
        vni: int,
        *,
        local: str | None = None,
        remote: str | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        """Add a VXLAN interface and set it up (RFC 7348).

        ``options`` are ``port`` (4789 if not given), ``learning`` (True) and ``mtu``. Without ``remote`` it has no
        other end until `add_fdb` gives it some.
        """
        if unknown := set(options) - _VXLAN_OPTIONS:
            raise InvalidInputError(
                f"A VXLAN interface takes the options port, learning and mtu; not {', '.join(sorted(unknown))}."
            )
        vxlan = links.Vxlan(
            vni=check.number(vni, "A VXLAN network identifier", 0, check.LARGEST_VNI),
            local=check.address(local) if local is not None else None,
            remote=check.address(remote) if remote is not None else None,
            device=self._interface(device) if device is not None else None,
            port=check.port(options.get("port", 4789)),
            learning=bool(options.get("learning", True)),
            mtu=check.mtu(options.get("mtu")),
        )
        self._add(name, links.add_vxlan(self.name, check.interface_name(name), vxlan), up=True)

    def add_macvlan(self, name: str, parent: str, *, mode: str = "bridge", host: Interfaces | None = None) -> None:
        """Add a macvlan interface on a parent of this host and set it up; with ``host`` it is moved there."""
        check.interface_name(name)
        if mode not in _MACVLAN_MODES:
            raise InvalidInputError(
                f"The mode of a macvlan must be one of {', '.join(_MACVLAN_MODES)}; {mode!r} is not."
            )
        if host is None:
            self._add(name, links.add_macvlan(self.name, name, self._interface(parent), mode), up=True)
            return
        # Born here under a name of its own, since the wanted one may be taken here and free there.
        young = f"macv{secrets.token_hex(4)}"
        self.namespace.apply(links.add_macvlan(self.name, young, self._interface(parent), mode))
        with self._undo(lambda: self.delete_link(young)):
            target = links.VethEnd(young, host.namespace.netns, host.name)
            self.namespace.apply(links.move_link(self.name, young, self.namespace.index(young), target))
        index = host.namespace.index(young)
        with self._undo(lambda: host.namespace.apply(links.delete_link(host.name, young))):
            host.namespace.apply(links.set_link(host.name, young, index, new_name=name))
        with self._undo(lambda: host.delete_link(name)):
            host.set_link(name, up=True)

    def _add(self, name: str, request: Request, *, up: bool) -> None:
        self.namespace.apply(request)
        if up:
            with self._undo(lambda: self.delete_link(name)):
                self.namespace.apply(links.set_link(self.name, name, self.namespace.index(name), up=True))

    @contextlib.contextmanager
    def _undo(self, undo: Callable[[], object]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            undo()
            raise

    def delete_link(self, name: str) -> None:
        """Remove an interface; a veth takes its other end along."""
        self.namespace.index(check.interface_name(name))
        self.namespace.apply(links.delete_link(self.name, name))

    def set_link(
        self,
        interface: str,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        mac: str | None = None,
        new_name: str | None = None,
    ) -> None:
        """Change an interface: up or down, MTU in bytes, MAC address, name. All of it or nothing."""
        changes: dict[str, Any] = {"up": None if up is None else bool(up), "mtu": check.mtu(mtu)}
        changes["mac"] = None if mac is None else check.mac_address(mac)
        changes["new_name"] = None if new_name is None else check.interface_name(new_name)
        if all(value is None for value in changes.values()):
            raise InvalidInputError("Say what to change: up=, mtu=, mac= or new_name=.")
        index = self.namespace.index(check.interface_name(interface))
        before = self.namespace.find(interface)
        # One part at a time, those that are refused most often first: within one request the kernel would keep the
        # parts before the one it refuses, and not all can be taken back (IPv6 addresses go with an MTU below 1280).
        done: list[str] = []
        name = interface
        with self._undo(lambda: self._restore(done, before)):
            for key in ("new_name", "mac", "mtu", "up"):
                if changes[key] is not None:
                    self.namespace.apply(links.set_link(self.name, name, index, **{key: changes[key]}))
                    done.append(key)
                    name = changes["new_name"] or name

    def _restore(self, done: list[str], before: Any) -> None:
        old = {
            "up": bool(before["flags"] & links.IFF_UP),
            "mtu": before.get_attr("IFLA_MTU"),
            "mac": before.get_attr("IFLA_ADDRESS"),
            "new_name": before.get_attr("IFLA_IFNAME"),
        }
        for key in reversed(done):
            self.namespace.apply(links.set_link(self.name, old["new_name"], before["index"], **{key: old[key]}))

    def add_port(self, bridge: str, interface: str) -> None:
        """Make an interface a port of a bridge, and set it up."""
        _, index = self._interface(bridge)
        port = self._interface(interface)
        before = self.namespace.find_raw(interface)
        # The kernel takes a port off its old bridge before it finds that the new one refuses it.
        with self._undo(lambda: self._return_port(port, before)):
            # Two requests: in one the kernel would set it up first, and leave it so when it refuses the bridge.
            self.namespace.apply(
                links.set_link(self.name, *port, master=(bridge, index)), links.set_link(self.name, *port, up=True)
            )

    def _return_port(self, port: tuple[str, int], raw: tuple[bytes, int] | None) -> None:
        before = decode_link(raw)
        master = (before.get_attr("IFLA_MASTER") or 0) if before is not None else 0
        now = self.namespace.find(port[0])
        if now is not None and (now.get_attr("IFLA_MASTER") or 0) != master:
            old = self.namespace.names()[master] if master else ""
            self.namespace.apply(links.set_link(self.name, *port, master=(old, master)))

    def remove_port(self, interface: str) -> None:
        """Take an interface off its bridge."""
        self.namespace.apply(links.set_link(self.name, *self._interface(interface), master=("", 0)))

    def set_port(self, interface: str, **options: bool) -> None:
        """Change a bridge port: ``hairpin``, ``learning``, ``flood`` or ``isolated`` (bridge(8))."""
        if not options or set(options) - _PORT_OPTIONS:
            given = ", ".join(options) or "none was given"
            raise InvalidInputError(f"A bridge port has the options {', '.join(sorted(_PORT_OPTIONS))}; not: {given}.")
        self.namespace.apply(links.set_port(self.name, self._interface(interface), options))

    def shape(self, interface: str, rate: str, *, burst: int = 32_000, limit: int = 256_000) -> None:
        """Slow down what leaves by an interface with a token bucket (tc-tbf(8)).

        ``rate`` is a text such as "10mbit"; ``burst`` and ``limit``, the length of the queue, are in bytes.
        """
        sizes = (check.number(burst, "A burst", 1, 2**31), check.number(limit, "A queue's limit", 1, 2**31))
        bits = check.rate(rate)
        if max(burst, _LARGE_PACKET) * 8 > bits * _LONGEST_BURST:
            text = f"At {rate} a burst of {burst} bytes lasts longer than {_LONGEST_BURST} s, which tbf cannot measure."
            raise InvalidInputError(f"{text} Choose a smaller burst or a higher rate.")
        self.namespace.apply(links.shape(self.name, self._interface(interface), bits, *sizes))

    def unshape(self, interface: str) -> None:
        """Take the shaping of an interface away."""
        self.namespace.apply(links.unshape(self.name, self._interface(interface)))

    def _interface(self, name: str) -> tuple[str, int]:
        return check.interface_name(name), self.namespace.index(name)
