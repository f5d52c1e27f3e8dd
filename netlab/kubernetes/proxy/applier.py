"""Keep the rules of a host those of its Services: the one module of the proxy that touches a node.

An `Applier` writes everything once, then only what changes. It looks before each sync whether somebody else changed
the proxy's shared chains or canaries, and after a failure or such a change it writes everything again. What somebody
did to the chains of one Service stays, as with kube-proxy, until that Service changes, or an hour is over.
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netlab.errors import CommandError, InvalidInputError, KernelError
from netlab.kernel.conntrack import NETLINK_NETFILTER, forget, udp_entries
from netlab.kernel.generation import read_generation, read_uses
from netlab.kubernetes.proxy.answers import Answers, health_pages, own_pages
from netlab.kubernetes.proxy.backends import BACKENDS, Backend
from netlab.kubernetes.proxy.conntrack import UDP, Flow, needs_look, stale
from netlab.kubernetes.proxy.facts import sysctls
from netlab.kubernetes.proxy.metrics import Metrics
from netlab.kubernetes.proxy.model import Family, Settings, State
from netlab.kubernetes.proxy.tally import Tally

if TYPE_CHECKING:
    from netlab.host import Host
    from netlab.kubernetes.proxy.state import Inventory

_AF = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
#: Seconds after which everything is written again, whatever happened: FullSyncPeriod in kube-proxy.
FULL_SYNC_PERIOD = 3600.0
_PERIODIC = "an hour has passed since the last full sync"
#: The generation of a network namespace in which no rule was ever written.
_NEVER = 1
_ADVICE = "The rules of the last good sync are there; the next sync writes all of them again."


@dataclass(frozen=True, slots=True)
class Sync:
    """What a sync did: ``kind`` is ``full``, ``partial`` or ``nothing``; it took ``seconds``.

    ``why`` says why it had to be a full one, ``warnings`` what had to be left out, ``forgotten`` how many UDP
    connections the kernel was told to forget.
    """

    kind: str
    seconds: float
    why: str = ""
    warnings: tuple[str, ...] = ()
    forgotten: int = 0


class Applier:
    """The Service proxy of one host and one family. Safe to use from several threads.

    ``mode`` is ``iptables`` or ``nftables``, and may be set: the next sync writes the new rules, and then takes the
    old ones away. ``metrics`` may be shared by both families; with ``serve`` the host answers them, as kube-proxy does
    at port 10249.
    """

    def __init__(
        self,
        host: Host,
        settings: Settings,
        mode: str = "iptables",
        *,
        metrics: Metrics | None = None,
        serve: bool = False,
    ) -> None:
        """Change nothing yet: the first `sync` does."""
        self.host, self.family = host, settings.family
        self.metrics = metrics if metrics is not None else Metrics()
        self._labels = {"ip_family": settings.family.value}
        self._serve = serve
        self.mode = mode
        self._backend = self._make(mode)
        self._state = State(settings, {})
        self._why = "the first sync"
        self._last_full = 0.0
        self._seen: tuple[int, tuple[int | None, ...]] = (0, ())
        self._answers = Answers(host)
        self._tally = Tally()
        (self._socket,) = host.namespace.sandbox.sockets(
            [host.name], (socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        )
        weakref.finalize(self, self._socket.close)
        self._lock = threading.Lock()

    @property
    def mode(self) -> str:
        """Return the mode of the next sync."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in BACKENDS:
            raise InvalidInputError(f"The mode of the proxy must be one of {', '.join(BACKENDS)}; {mode!r} is not.")
        self._mode = mode

    def sync(self, inventory: Inventory) -> Sync:
        """Make the host's rules those of an inventory; costs less than a millisecond where nothing changed.

        Nothing is written before the inventory has heard of all objects. Call it again after a second or so: some
        deletions have to wait. Raises CommandError where the host refuses the rules; the next sync starts afresh then.
        """
        state = inventory.state
        if state.settings.family is not self.family:
            raise InvalidInputError(f"This is the proxy of {self.family.value}, not {state.settings.family.value}.")
        if inventory.unheard:
            return Sync("nothing", 0.0, f"it has not heard of every {' and '.join(sorted(inventory.unheard))} yet")
        with self._lock:
            began = time.perf_counter()
            self.metrics.set("sync_proxy_rules_last_queued_timestamp_seconds", time.time(), **self._labels)
            why = self._reason()
            warnings: list[str] = []
            kind = "full"
            if not why:
                kind, why = self._change(state)
            if why:
                warnings = self._full(state, periodic=why == _PERIODIC)
            self._sweep()
            if kind != "nothing":
                self._seen = self._look()
            self._tally.follow(self._state, state, self._backend.rules)
            forgotten = self._forget(state)
            self._state = state
            done = Sync(kind, time.perf_counter() - began, why, tuple(warnings), forgotten)
            self._count(done)
            return replace(done, warnings=(*warnings, *self._answer(state)))

    def clean(self) -> None:
        """Take away all that the proxy made, and answer no more; a later sync starts afresh."""
        with self._lock:
            self._backend.clean()
            self._answers.close()
            self._why = "the first sync after it was switched off"
            self._state = replace(self._state, services={})
            self._tally = Tally()

    # -- rules ----------------------------------------------------------------------

    def _make(self, mode: str) -> Backend:
        return BACKENDS[mode](self.host, self.family)

    def _look(self, backend: Backend | None = None) -> tuple[int, tuple[int | None, ...]]:
        places = (backend or self._backend).places
        # The generation first: a change between the two questions is then seen the next time.
        return read_generation(self._socket), read_uses(self._socket, _AF[self.family], places)

    def _reason(self) -> str:
        """Say why everything has to be written; nothing if changes are enough."""
        if self._why:
            return self._why
        if self.mode != self._backend.mode:
            return f"the mode changed from {self._backend.mode} to {self.mode}"
        generation, uses = self._seen
        if time.monotonic() - self._last_full > FULL_SYNC_PERIOD:
            return _PERIODIC
        now = read_generation(self._socket)
        if now == generation:
            return ""
        if read_uses(self._socket, _AF[self.family], self._backend.places) != uses:
            return "somebody changed the proxy's chains"
        self._seen = (now, uses)
        return ""

    def _full(self, state: State, *, periodic: bool) -> list[str]:
        first, old, self._why = self._why == "the first sync", self._backend, "the last sync failed"
        if self.mode != old.mode:
            self._backend = self._make(self.mode)
        try:
            for key, value in sysctls(state.settings, self.mode).items():
                self.host.sysctl[key] = value
            fresh = read_generation(self._socket) == _NEVER
            warnings = self._backend.renew(state) if periodic else self._backend.full(state, fresh=fresh)
        except CommandError as error:
            self._failed("iptables_restore_failures" if self.mode == "iptables" else "nftables_sync_failures")
            raise CommandError(f"{error} {_ADVICE}", returncode=error.returncode, stderr=error.stderr) from error
        # Only now, so that Services are served all the time.
        leftovers = [self._make(mode) for mode in BACKENDS if mode != self.mode] if first and not fresh else []
        for other in [old, *leftovers]:
            if other.mode != self.mode and any(use is not None for use in self._look(other)[1]):
                other.clean()
        self._why, self._last_full = "", time.monotonic()
        return warnings

    def _change(self, state: State) -> tuple[str, str]:
        """Write what changed; return which kind of sync that is, and why it has to be a full one, if it has."""
        try:
            changed = self._backend.change(state)
        except CommandError as error:
            self._failed("iptables_partial_restore_failures" if self.mode == "iptables" else "nftables_sync_failures")
            return "full", f"a partial sync failed: {error}"
        return ("partial" if changed else "nothing"), ""

    def _sweep(self) -> None:
        try:
            swept = self._backend.sweep()
        except CommandError:
            # Somebody's rule leads to one of the chains: they stay, empty, and are tried again with the next sync.
            self._failed("nftables_cleanup_failures")
            return
        if swept:
            self._seen = self._look()

    def _failed(self, name: str) -> None:
        self.metrics.add(f"sync_proxy_rules_{name}_total", 1, **self._labels)

    # -- what else a node owes its Services ---------------------------------------------

    def _answer(self, state: State) -> list[str]:
        places = health_pages(self._tally.health_checks.values(), state.settings)
        if self._serve:
            places |= own_pages(self.family, self.mode, self.metrics.text())
        return self._answers.update(places)

    def _forget(self, state: State) -> int:
        if not needs_look(self._state, state):
            return 0
        began = time.perf_counter()
        try:
            entries = udp_entries(self._socket, _AF[self.family])
        except KernelError:
            return 0  # this kernel does not track connections, so there is none to forget
        flows = {Flow(UDP, *entry.source, *entry.destination, *entry.answers): entry for entry in entries}
        gone = sum(forget(self._socket, _AF[self.family], flows[flow]) for flow in stale(state, flows))
        seconds = time.perf_counter() - began
        self.metrics.observe("conntrack_reconciler_sync_duration_seconds", seconds, **self._labels)
        return gone

    def _count(self, done: Sync) -> None:
        metrics, labels = self.metrics, self._labels
        if done.kind != "nothing":
            metrics.observe("sync_proxy_rules_duration_seconds", done.seconds, **labels)
            metrics.observe(f"sync_{done.kind}_proxy_rules_duration_seconds", done.seconds, **labels)
            written = self._backend.written
            for table in ("filter", "nat") if written else ():
                metrics.set("sync_proxy_rules_iptables_last", written.get(table, 0), table=table, **labels)
        metrics.set("sync_proxy_rules_last_timestamp_seconds", time.time(), **labels)
        metrics.add("conntrack_reconciler_deleted_entries_total", float(done.forgotten), **labels)
        self._tally.report(metrics, labels)
