"""What a trace returns: a Journey with its steps, rewrites and, where there was one, the drop."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netlab.kernel.headers import Header, Outer  # noqa: TC001 - reading JSON needs the types of the fields
from netlab.kernel.packets import Packet, write_pcapng
from netlab.kernel.serial import from_json, to_json
from netlab.kernel.values import Snapshot  # noqa: TC001 - as above

if TYPE_CHECKING:
    import os
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Count:
    """How many packets a rule, or a chain's policy, had counted before the trace and after it.

    It counts every packet that comes by: all of the trace (a connection has several), and other traffic too.
    """

    before: int
    after: int

    def __str__(self) -> str:
        """Return both numbers."""
        return f"{self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Step:
    """One place that the packet met.

    ``kind`` is "out" or "in" (it passed ``interface``), "rule" or "policy" (it met a rule, or the end of a chain),
    "route", "conntrack", "wrap" or "unwrap" (VXLAN), "socket" (it was delivered), "neighbour" (ARP or NDP) or "drop".
    ``packet`` names the packet ("SYN", "echo request"), ``leg`` is "request" or "reply". ``offset_ns`` counts from the
    first step. ``rule`` holds the words of the rule, route or entry that decided; ``handle`` and ``position`` are the
    rule's, ``counter`` what its own counter said, None where it has none. ``before`` and ``after`` are the packet's
    header; they differ where it was rewritten. ``observed`` is False for what follows from other evidence and was not
    seen of this packet itself.
    """

    number: int
    offset_ns: int
    leg: str
    packet: str
    host: str
    kind: str
    interface: str = ""
    hook: str = ""
    table: str = ""
    chain: str = ""
    rule: str = ""
    handle: int | None = None
    position: int | None = None
    verdict: str = ""
    before: Header | None = None
    after: Header | None = None
    outer: Outer | None = None
    conntrack: str = ""
    observed: bool = True
    counter: Count | None = None

    @property
    def rewritten(self) -> bool:
        """Tell whether an address or a port was changed here."""
        return self.before is not None and self.after is not None and self.before.flow != self.after.flow

    @property
    def place(self) -> str:
        """Return where in the host this is: an interface, or hook, table and chain."""
        if self.table:
            return f"{self.table} {self.chain}"
        return self.interface or self.hook


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One change of addresses or ports: by which host and what (``kind``: DNAT, SNAT, MASQUERADE, un-NAT, …)."""

    step: int
    host: str
    leg: str
    kind: str
    rule: str
    before: Header
    after: Header

    def __str__(self) -> str:
        """Return what became of what."""
        changes = []
        for side in ("from", "to"):
            old, new = getattr(self.before, f"{side}_text"), getattr(self.after, f"{side}_text")
            changes += [f"{side} {old} ⇒ {new}"] if old != new else []
        return f"{self.kind} in {self.host}: {', '.join(changes)}"


@dataclass(frozen=True, slots=True)
class Drop:
    """Where and why the packet ended.

    ``kind`` is a word for checks, such as "rule", "no-route", "rp-filter" (see `netlab.journey.drops.KINDS`);
    ``reason`` a sentence; ``evidence`` what it rests on; ``deduced`` is True where no single report of the kernel
    says so, but the evidence leaves nothing else. ``leg`` is "reply" where the request arrived and its answer did not.
    ``counter`` is that of the rule or the policy that dropped it, where it has one.
    """

    kind: str
    host: str
    where: str
    reason: str
    leg: str = "request"
    packet: str = ""
    evidence: tuple[str, ...] = ()
    deduced: bool = False
    rule: str = ""
    step: int | None = None
    counter: Count | None = None

    def __str__(self) -> str:
        """Return the sentence."""
        return self.reason


@dataclass(frozen=True, slots=True)
class Message:
    """One packet that was sent during the trace: ``attempt`` counts from 1, and retransmissions have higher ones.

    ``arrived`` tells whether it was seen to enter the host that it was meant for.
    """

    leg: str
    packet: str
    attempt: int
    offset_ns: int
    hosts: tuple[str, ...]
    arrived: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Who took requests, and how many (of ``count=``)."""

    host: str
    address: str
    count: int


@dataclass(frozen=True, slots=True)
class Journey:
    """What happened to one packet and to the answer to it, in order, as read from the kernel.

    ``path`` are the hosts that the request passed. ``nat`` are the rewrites of both directions, ``packets`` what was
    captured, ``answers`` who took the requests. ``ok`` is True when the answer reached the client. ``reply`` is the
    beginning of the answer, ``error`` the errno that the client's socket returned. ``legacy`` names hosts with rules
    of legacy iptables, which the kernel does not report; ``notes`` says what else the reader should know. ``snapshot``
    is the lab as it was right after the packet; a notebook draws the way over it.
    """

    lab: str
    client: str
    destination: str
    protocol: str
    port: int | None
    started_ns: int
    ok: bool
    steps: tuple[Step, ...] = ()
    nat: tuple[Rewrite, ...] = ()
    drop: Drop | None = None
    messages: tuple[Message, ...] = ()
    packets: tuple[Packet, ...] = ()
    answers: tuple[Answer, ...] = ()
    reply: str = ""
    error: str = ""
    legacy: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    snapshot: Snapshot | None = None

    @property
    def path(self) -> tuple[str, ...]:
        """Return the hosts that the request passed, in order."""
        return self._hosts("request")

    @property
    def way_back(self) -> tuple[str, ...]:
        """Return the hosts that the reply passed, in order."""
        return self._hosts("reply")

    def _hosts(self, leg: str) -> tuple[str, ...]:
        first = next((step.packet for step in self.steps if step.leg == leg), "")
        hosts: list[str] = []
        for step in self.steps:
            mine = step.leg == leg and step.packet == first and step.observed
            if mine and step.kind != "neighbour" and (not hosts or hosts[-1] != step.host):
                hosts.append(step.host)
        return tuple(hosts)

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the interfaces that the request passed, as ``host/interface``, in order."""
        first = next((step.packet for step in self.steps), "")
        seen = (
            f"{step.host}/{step.interface}"
            for step in self.steps
            if step.leg == "request" and step.packet == first and step.kind in {"in", "out"}
        )
        return tuple(seen)

    def rules(self, host: str | None = None) -> tuple[Step, ...]:
        """Return the steps at which a rule was met, of one host or of all."""
        return tuple(step for step in self.steps if step.kind == "rule" and host in {None, step.host})

    def __str__(self) -> str:
        """Return it as a table for a terminal, the drop as its last line."""
        from netlab.journey.text import render  # noqa: PLC0415 - the words build on these values

        return render(self)

    def __repr__(self) -> str:
        """Say in one line what came of it."""
        what = f"{self.protocol} to {self.destination}" + (f" port {self.port}" if self.port else "")
        end = self.drop.reason if self.drop else ("answered" if self.ok else "no answer")
        return f"<Journey from {self.client}, {what}, {len(self.steps)} steps: {end}>"

    def _ipython_display_(self, **options: Any) -> None:
        """Show it in a notebook: the way over the picture, and the table of its steps."""
        if self.snapshot is None:
            print(self)  # noqa: T201 - as IPython would print it
            return
        from netlab.view.journey import JourneyView  # noqa: PLC0415 - a journey without a notebook needs no widgets

        JourneyView(self)._ipython_display_(**options)

    def pcap(self, path: str | os.PathLike[str]) -> Path:
        """Write the captured packets to a pcapng file, the rules they met as comments; return its path.

        There is one interface description for each host and interface. Raises InvalidInputError where it cannot be
        written.
        """
        return write_pcapng(path, self.packets)

    def to_json(self) -> str:
        """Return it as JSON; `from_json` reads it back to an equal value."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Journey:
        """Read what `to_json` wrote; raises InvalidInputError with the place that is wrong."""
        return from_json(text, cls)


def renumber(steps: list[Step]) -> tuple[Step, ...]:
    """Return the steps numbered from 1."""
    return tuple(dataclasses.replace(step, number=number) for number, step in enumerate(steps, 1))
