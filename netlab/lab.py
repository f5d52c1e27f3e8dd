"""A Lab: owns one sandbox with all hosts and processes of a topology, and dies with the program that made it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self

from netlab.errors import ClosedError, InvalidInputError, NotFoundError
from netlab.host import Host
from netlab.kernel import check, links
from netlab.kernel.namespace import Namespace
from netlab.kernel.sandbox import Sandbox
from netlab.kernel.survey import Surveyor, compose
from netlab.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from netlab.journey.values import Journey
    from netlab.kernel.values import HostState, Snapshot
    from netlab.view.history import History
    from netlab.view.packets import PacketTable
    from netlab.watch import Subscription

_living: weakref.WeakSet[Lab] = weakref.WeakSet()
_numbers = itertools.count()


def living_labs() -> list[Lab]:
    """Return the open labs of this program, newest first."""
    return sorted((lab for lab in _living if not lab.closed), key=lambda lab: -lab.number)


class Lab:
    """A sandbox with hosts. Everything in it is real, and nothing of it outlives it.

    Also a context manager. Raises SandboxError where this machine does not allow a sandbox, with what to do about it.

    >>> with Lab("two-hosts") as lab:
    ...     red, blue = lab.add_host("red"), lab.add_host("blue")
    ...     lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
    ...     red.run("ping", "-c1", "10.0.0.2").ok
    True
    """

    def __init__(self, name: str = "lab", *, privileged: bool = False) -> None:
        """Make an empty lab; ``privileged`` leaves out the user namespace and needs root."""
        self.name = check.host_name(name)
        self.sandbox = Sandbox(self.name, privileged=privileged)
        self.number = next(_numbers)
        self._lock = threading.RLock()
        self._hosts: dict[str, Host] = {}
        self._nsids = itertools.count()
        self._surveyor = Surveyor(self.sandbox)
        self._watcher: Watcher | None = None
        self._farewells: list[Callable[[], object]] = []
        _living.add(self)

    def __repr__(self) -> str:
        """Return the lab's name and hosts."""
        hosts = "closed" if self.closed else f"hosts: {', '.join(self._hosts) or 'none'}"
        return f"<Lab {self.name}, {hosts}>"

    # -- hosts --------------------------------------------------------------------

    @property
    def hosts(self) -> dict[str, Host]:
        """The hosts by their name, in the order in which they were added."""
        return dict(self._hosts)

    def host(self, name: str) -> Host:
        """Return a host by its name; raises NotFoundError."""
        try:
            return self._hosts[name]
        except KeyError:
            known = ", ".join(self._hosts) or "none"
            raise NotFoundError(f"Lab {self.name!r} has no host {name!r}. It has: {known}.") from None

    def add_host(self, name: str, *, joins: Host | str | None = None) -> Host:
        """Add a host: a new network namespace, in which ``lo`` is down and nothing else is there.

        With ``joins`` it enters another host's network namespace instead, as the containers of a pod do; hostname and
        /etc are its own.
        """
        check.host_name(name)
        with self._lock:
            if name in self._hosts:
                raise InvalidInputError(f"Lab {self.name!r} has a host {name!r} already; choose another name.")
            shared = self._own(joins) if joins is not None else None
            nsid = shared.namespace.nsid if shared else next(self._nsids)
            try:
                namespace = Namespace(self.sandbox, name, nsid, shared.name if shared else None)
                if shared is None:
                    self._surveyor.base.apply(links.name_namespace(namespace.netns, nsid))
                host = self._hosts[name] = Host(self, namespace)
            except BaseException:
                # It may have been made although we were interrupted before we heard of it.
                self._hosts.pop(name, None)
                with contextlib.suppress(NotFoundError, ClosedError):
                    self.sandbox.request("remove_host", name=name)
                raise
        self._changed([name])
        return host

    def remove_host(self, host: Host | str) -> None:
        """Remove a host with its processes, and with it the other ends of its cables."""
        with self._lock:
            found = self._own(host)
            self.sandbox.request("remove_host", name=found.name)
            del self._hosts[found.name]
            if all(host.namespace.inode != found.namespace.inode for host in self._hosts.values()):
                # The kernel would take the cables away a little later; now the names of their other ends are free.
                found.namespace.cut_cables()
            found.namespace.close()
        self._changed(list(self._hosts))

    def _own(self, host: Host | str) -> Host:
        found = self.host(host if isinstance(host, str) else host.name)
        if isinstance(host, Host) and found is not host:
            raise InvalidInputError(f"Host {host.name!r} belongs to another lab, or was removed.")
        return found

    # -- cables -------------------------------------------------------------------

    def connect(
        self,
        one: Host | str,
        other: Host | str,
        *addresses: str | Sequence[str] | None,
        names: tuple[str, str] | None = None,
        mtu: int | None = None,
    ) -> None:
        """Lay a cable between two hosts: a veth pair (veth(4)), both ends up.

        ``addresses`` are at most two: for the first and the second end, each with its prefix, a list of such, or None.
        ``names`` are those of the two ends; without them each is the first free of eth0, eth1, … ``mtu`` is in bytes.
        """
        ends = [self._own(one), self._own(other)]
        if len(addresses) > len(ends):
            raise InvalidInputError(f"A cable has two ends; {len(addresses)} addresses were given.")
        wanted = [_addresses(given) for given in (*addresses, None, None)[:2]]
        check.mtu(mtu)
        with self._lock:
            first, second = self._veth_ends(ends, names)
            ends[0].namespace.apply(links.add_veth(first, second, mtu))
            try:
                for host, end, each in zip(ends, (first, second), wanted, strict=True):
                    namespace = host.namespace
                    device = (end.name, namespace.index(end.name))
                    # Up first: an address on a down interface would get its route later, and IPv6 loses it.
                    namespace.apply(
                        links.set_link(host.name, *device, up=True),
                        *(links.address(host.name, device, address) for address in each),
                    )
            except BaseException:
                ends[0].namespace.apply(links.delete_link(ends[0].name, first.name))
                raise
        # The second end was switched through when it came up; the first has to hear of it.
        ends[0].namespace.await_carrier(first.name)

    def _veth_ends(self, ends: list[Host], names: tuple[str, str] | None) -> tuple[links.VethEnd, links.VethEnd]:
        if names is None:
            taken = {host.namespace.inode: set(host.namespace.names().values()) for host in ends}
            chosen = []
            for host in ends:
                name = next(
                    f"eth{number}" for number in itertools.count() if f"eth{number}" not in taken[host.namespace.inode]
                )
                taken[host.namespace.inode].add(name)
                chosen.append(name)
        elif len(names) == len(ends):
            chosen = [check.interface_name(name) for name in names]
        else:
            raise InvalidInputError(f'The names of a cable\'s ends are two, such as ("p1", "eth0"); not {names!r}.')
        first, second = (
            links.VethEnd(name, host.namespace.netns, host.name) for name, host in zip(chosen, ends, strict=True)
        )
        return first, second

    # -- looking ------------------------------------------------------------------

    def read(self, hosts: Iterable[Host]) -> dict[str, HostState]:
        """Read some hosts from the kernel, by their name."""
        with self._lock:
            everyone = [host.namespace for host in self._hosts.values()]
            return self._surveyor.read([host.namespace for host in hosts], everyone)

    def snapshot(self) -> Snapshot:
        """Read the whole lab from the kernel in one pass."""
        with self._lock:
            states = self.read(self._hosts.values())
        return compose(self.name, states)

    @property
    def watcher(self) -> Watcher:
        """What follows the kernel for this lab; started when it is first asked for."""
        with self._lock:
            if self._watcher is None:
                self._watcher = Watcher(self)
            return self._watcher

    def watch(self, callback: Callable[[Snapshot], object]) -> Subscription:
        """Call back with the present Snapshot, and from another thread with each new one, until it is closed."""
        return self.watcher.subscribe(callback)

    def diagram(self, **options: Any) -> Any:
        """Return a live picture of the lab that follows the kernel, to be shown in a notebook."""
        from netlab.view.diagram import Diagram  # noqa: PLC0415 - a lab without a notebook needs no widgets

        return Diagram(self, **options)

    def history(self) -> History:
        """Return all moments of the lab since it was first watched, with a slider and what changed in words.

        A lab is watched from its first `diagram`, `watcher` or `history` on, as long as one of them is there.
        """
        from netlab.view.history import History  # noqa: PLC0415 - as above

        return History(self)

    def watch_packets(self, place: str, *, filter: str | None = None) -> PacketTable:  # noqa: A002 - as in Capture
        """Return a live table of the packets that pass a place: "eth0 of web", or "web" for all of its interfaces.

        ``filter`` is in the syntax of pcap-filter(7).
        """
        from netlab.view.packets import watch  # noqa: PLC0415 - as above

        return watch(self, place, filter)

    def trace(
        self, client: Host | str, destination: str, port: int | None = None, *, protocol: str = "tcp", **options: Any
    ) -> Journey:
        """Send a real packet from one host to an address, or to a host by its name; return what it met on its way.

        ``protocol`` is "tcp" (a connection and a request on it), "udp" or "icmp". ``options``: ``source`` (the address
        to send from), ``payload`` (text or bytes; an HTTP request if not given), ``count`` (how many are sent, to see
        who answers), ``timeout`` (seconds to wait for the answer; 1).

        In a host with nftables or iptables-nft rules the packet is traced by a table of our own, which goes when the
        trace ends, whatever ends it. The packets of the trace are real: they count in the rules' counters, and open
        connections in conntrack; nothing else of ours does. Raises InvalidInputError and KernelError.
        """
        from netlab.journey.trace import Options, trace  # noqa: PLC0415 - a lab that traces nothing needs none of it

        try:
            chosen = Options(port, protocol, **options)
        except TypeError:
            known = "port, protocol, source, payload, count, timeout"
            raise InvalidInputError(f"A trace takes the options {known}; not {', '.join(sorted(options))}.") from None
        return trace(self, self._own(client).name, destination, chosen)

    def _changed(self, names: list[str]) -> None:
        if self._watcher is not None:
            self._watcher.poke(names)

    # -- the end ------------------------------------------------------------------

    def on_close(self, farewell: Callable[[], object]) -> None:
        """Call something when the lab is closed by hand."""
        self._farewells.append(farewell)

    @property
    def closed(self) -> bool:
        """Tell whether the lab was closed."""
        return self.sandbox.closed

    def close(self) -> None:
        """End all of it: processes, namespaces, cables. May be called twice."""
        if self.closed:
            return
        if self._watcher is not None:
            self._watcher.stop()
        with self._lock:
            self.sandbox.close()
            for host in self._hosts.values():
                host.namespace.close()
            self._surveyor.close()
        for farewell in self._farewells:
            farewell()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it."""
        self.close()


def _addresses(given: str | Sequence[str] | None) -> list[Any]:
    if given is None:
        return []
    return [check.interface_address(address) for address in ([given] if isinstance(given, str) else given)]
