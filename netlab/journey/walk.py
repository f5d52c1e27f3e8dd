"""From sightings to steps: what a packet met in each host, in order, with its header before and after."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netlab.journey.evidence import RouteQuestion
from netlab.journey.values import Step
from netlab.kernel.chains import ChainFacts, target_of
from netlab.kernel.lookups import describe_connection
from netlab.kernel.read_rules import NFT_FAMILIES, TRACE_PREFIX

if TYPE_CHECKING:
    from netlab.journey.evidence import Evidence
    from netlab.journey.tracks import Sighting, Track
    from netlab.kernel.headers import Header
    from netlab.kernel.ruletrace import RuleEvent

#: What rules do that changes addresses or ports.
NAT_TARGETS = frozenset({"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY"})
#: Marks what a rule did to the packet around ours.
TUNNEL = " (the tunnel's packet)"
_BEFORE_ROUTING = frozenset({"ingress", "prerouting"})


@dataclass(slots=True)
class Visit:
    """One packet's stay in one host: by where it came in, by where it left, and what it met between."""

    host: str
    sightings: list[Sighting]
    steps: list[Step] = field(default_factory=list)
    header: Header | None = None
    #: The header with which it came in, or began: conntrack knows the packet by that one.
    first: Header | None = None
    mark: int = 0
    #: Whether the header was seen in this host, and not only in the one before.
    seen: bool = False

    @property
    def captured(self) -> list[Sighting]:
        """Return the sightings at interfaces."""
        return [each for each in self.sightings if each.taken is not None]

    def entry(self, evidence: Evidence) -> Sighting | None:
        """Return where it came up to the host's own network stack: not at a bridge's port. None if it began here."""
        inward = [each for each in self.captured if each.direction == "in"]
        plain = [each for each in inward if not _is_port(evidence, each)]
        inner = [each for each in plain if each.decoded is not None and each.decoded.outer is None]
        return (inner or plain or [None])[-1]  # type: ignore[list-item]

    @property
    def starts_here(self) -> bool:
        """Tell whether the first thing seen is not that it came in."""
        return not self.captured or self.captured[0].direction != "in"


def visits(track: Track) -> list[Visit]:
    """Part a packet's sightings by the hosts it visited."""
    return [Visit(host, list(found)) for host, found in itertools.groupby(track.sightings, key=lambda each: each.host)]


def _is_port(evidence: Evidence, sighting: Sighting) -> bool:
    found = evidence.interface(sighting.host, sighting.interface)
    if found is None or found.master is None:
        return False
    master = evidence.interface(sighting.host, found.master)
    return master is not None and master.kind == "bridge"


class Walker:
    """Writes the steps of the packets of one trace; ``started`` is the time that offsets count from."""

    def __init__(self, evidence: Evidence, started: int) -> None:
        """Prepare; `walk` does it."""
        self._evidence, self._started = evidence, started

    def walk(self, track: Track) -> list[Visit]:
        """Return the visits of a packet with their steps."""
        found = visits(track)
        header: Header | None = None
        for visit in found:
            self._walk(track, visit, header)
            header = visit.header
        return found

    def _walk(self, track: Track, visit: Visit, header: Header | None) -> None:
        visit.header = header
        base = ChainFacts()
        for sighting in visit.sightings:
            offset = sighting.at[0] - self._started
            step = Step(0, offset, track.key.leg, track.key.packet, visit.host, "in", before=visit.header)
            if sighting.decoded is not None:
                self._see_header(visit, sighting, step)
                step = dataclasses.replace(step, before=_same_flow(step.before, visit.header))
            if sighting.taken is not None:
                visit.steps.append(self._capture(sighting, step, visit.header))
            elif sighting.event is not None:
                if sighting.event.network:
                    base = self._evidence.chain(visit.host, sighting.event)
                rule = self._rule(sighting, step, base, visit)
                visit.steps += [rule] if rule is not None else []
        self._see_delivery(track, visit)
        self._add_route(track, visit)

    def _see_delivery(self, track: Track, visit: Visit) -> None:
        """Take in how a packet that ends in this host reaches its socket, by the conntrack entry.

        Nothing shows the packet after the last translation: the socket gets it as conntrack has it.
        """
        if visit.first is None or visit.header is None or not visit.captured or visit.captured[-1].direction != "in":
            return
        found = self._evidence.connection(visit.host, visit.first)
        if found is None or not found.is_translated:
            return
        way = found.reply if track.key.leg == "request" else found.original
        new = dataclasses.replace(
            visit.header,
            source=way.destination,
            source_port=way.destination_port,
            destination=way.source,
            destination_port=way.source_port,
        )
        if new.flow == visit.header.flow or not self._evidence.owns(visit.host, new.destination):
            return
        last = visit.sightings[-1].at[0] - self._started
        blank = Step(0, last, track.key.leg, track.key.packet, visit.host, "conntrack", observed=False)
        self._explain(visit, visit.header, new, blank)
        visit.header = new

    # -- one kind of step each ------------------------------------------------------------

    def _see_header(self, visit: Visit, sighting: Sighting, blank: Step) -> None:
        """Take in the header at this place; where it differs from the last one in this host, say what changed it."""
        assert sighting.decoded is not None  # noqa: S101 - the caller has looked
        new = sighting.decoded.header
        old = visit.header
        visit.first = visit.first or new
        if old is not None and visit.seen and old.flow != new.flow:
            self._explain(visit, old, new, blank)
        if old is not None and not new.source_mac:
            new = dataclasses.replace(new, source_mac=old.source_mac, destination_mac=old.destination_mac)
        visit.header, visit.seen = dataclasses.replace(new, mark=visit.mark), True

    def _explain(self, visit: Visit, old: Header, new: Header, blank: Step) -> None:
        for place in range(len(visit.steps) - 1, -1, -1):
            step = visit.steps[place]
            if step.kind in {"in", "out"}:
                break
            if step.kind == "rule" and target_of(step.rule) in NAT_TARGETS and not step.rewritten:
                after = _same_flow(old, new)
                assert after is not None  # noqa: S101 - both were given
                entry = self._connection(visit)
                visit.steps[place] = dataclasses.replace(step, after=after, conntrack=entry)
                for later in range(place + 1, len(visit.steps)):
                    visit.steps[later] = dataclasses.replace(visit.steps[later], before=after, after=after)
                return
        self._untranslate(visit, old, new, blank)

    def _untranslate(self, visit: Visit, old: Header, new: Header, blank: Step) -> None:
        """No rule was read: conntrack changed the packet by what it remembers of the connection's first one.

        A changed destination comes before the route is chosen, a changed source after it.
        """
        halves = []
        middle = dataclasses.replace(old, destination=new.destination, destination_port=new.destination_port)
        if middle.flow != old.flow:
            halves.append((old, middle, "prerouting"))
        if middle.flow != new.flow:
            last = dataclasses.replace(middle, source=new.source, source_port=new.source_port)
            halves.append((middle, last, "postrouting"))
        for before, after, hook in halves:
            visit.steps.append(
                dataclasses.replace(
                    blank,
                    kind="conntrack",
                    hook=hook,
                    verdict="un-NAT" if blank.leg == "reply" else "NAT",
                    before=before,
                    after=after,
                    conntrack=self._connection(visit),
                )
            )

    def _connection(self, visit: Visit) -> str:
        """Return the conntrack entry behind a rewrite, or nothing where there is none (any more)."""
        found = self._evidence.connection(visit.host, visit.first) if visit.first is not None else None
        return describe_connection(found) if found is not None else ""

    def _capture(self, sighting: Sighting, step: Step, header: Header | None) -> Step:
        evidence, taken = self._evidence, sighting.taken
        assert taken is not None  # noqa: S101 - the caller has looked
        assert sighting.decoded is not None  # noqa: S101 - only what was decoded is a sighting
        interface = evidence.interface(sighting.host, taken.interface)
        kind, verdict = taken.direction, "sent" if taken.direction == "out" else "received"
        rule = ""
        outer = sighting.decoded.outer
        if interface is not None and outer is None:
            if interface.kind == "vxlan":
                kind = "wrap" if taken.direction == "out" else "unwrap"
                verdict = "put into VXLAN" if kind == "wrap" else "taken out of VXLAN"
                rule = f"VNI {interface.detail('id')}"
            elif interface.kind == "bridge":
                verdict = "sent by the host into the bridge" if taken.direction == "out" else "up to the host"
            elif interface.master is not None:
                verdict = "from the bridge" if taken.direction == "out" else f"to bridge {interface.master}"
        if sighting.pieces:
            sizes = [sighting.decoded.header.length, *(piece.decoded.header.length for piece in sighting.pieces)]
            verdict += f" in {len(sizes)} fragments ({', '.join(map(str, sizes))} bytes)"
        return dataclasses.replace(
            step, kind=kind, interface=taken.interface, rule=rule, verdict=verdict, after=header, outer=outer
        )

    def _rule(self, sighting: Sighting, step: Step, base: ChainFacts, visit: Visit) -> Step | None:
        event = sighting.event
        assert event is not None  # noqa: S101 - the caller has looked
        ours = event.table.startswith(TRACE_PREFIX)
        if event.mark != visit.mark and not ours and sighting.outer is None:
            visit.mark = event.mark
        header = dataclasses.replace(visit.header, mark=visit.mark) if visit.header is not None else None
        visit.header = header if sighting.outer is None else visit.header
        # Our own table shows that the packet reached the host's stack; but it is no rule of the reader's.
        if ours or event.kind == "return" or (event.kind == "rule" and not event.handle):
            return None
        family = NFT_FAMILIES.get(event.family, "")
        rules = self._evidence.rules.get(sighting.host, {})
        found = rules.get((family, event.table, event.handle))
        position, words = (found.number, found.text) if found is not None else (None, "")
        verdict = _verdict(event, words)
        outer = None
        if sighting.outer is not None:
            verdict += TUNNEL
        return dataclasses.replace(
            step,
            kind="policy" if event.kind == "policy" else "rule",
            hook=base.hook,
            interface="",
            table=event.table if family in {"ip", "ip6"} else f"{family} {event.table}",
            chain=event.chain,
            rule=words if event.kind == "rule" else "the chain's end: its policy",
            handle=event.handle or None,
            position=position,
            verdict=verdict,
            after=header,
            outer=outer,
            counter=self._evidence.counter(sighting.host, event),
        )

    # -- the route ---------------------------------------------------------------------------

    def _add_route(self, track: Track, visit: Visit) -> None:
        """Add the route that was chosen in this host, where one had to be."""
        evidence = self._evidence
        entry = visit.entry(evidence)
        if entry is None and not visit.starts_here:
            return  # only a bridge saw it
        if visit.header is None or (entry is not None and entry.decoded is not None and entry.decoded.outer):
            return  # the host saw the tunnel's packet only, not the one inside
        place = 0
        if entry is not None:
            place = next(
                (
                    n + 1
                    for n, step in enumerate(visit.steps)
                    if step.interface == entry.interface and step.kind != "out"
                ),
                1,
            )
            while place < len(visit.steps) and visit.steps[place].hook in _BEFORE_ROUTING:
                place += 1
            if place == len(visit.steps) and "DROP" in visit.steps[-1].verdict:
                return  # it did not come so far
        header, mark = self._at(visit, place)
        if header is None:
            return
        iif = evidence.index(visit.host, entry.interface) if entry is not None else 0
        answer = evidence.route(visit.host, RouteQuestion(header, iif, mark))
        leaving = [each.interface for each in visit.captured if each.direction == "out"]
        expected = answer.route.interface if answer.route else None
        step = Step(
            0,
            visit.steps[max(place - 1, 0)].offset_ns if visit.steps else track.began - self._started,
            track.key.leg,
            track.key.packet,
            visit.host,
            "route",
            hook="route lookup",
            rule=str(answer.route) if answer.route else f"{answer.command}: {answer.reason}",
            verdict=self._route_verdict(visit, answer.route.type if answer.route else "", header),
            before=header,
            after=header,
            # The kernel was asked afterwards: it counts as seen where the packet did go that way.
            observed=expected in leaving or (answer.route is not None and answer.route.type == "local"),
        )
        visit.steps.insert(place, step)

    def _at(self, visit: Visit, place: int) -> tuple[Header | None, int]:
        """Return the header and the mark of a packet between two steps."""
        before = visit.steps[:place]
        if before and before[-1].after is not None:
            return before[-1].after, before[-1].after.mark
        after = next((step.before or step.after for step in visit.steps[place:] if step.before or step.after), None)
        return after or visit.header, 0

    @staticmethod
    def _route_verdict(visit: Visit, kind: str, header: Header) -> str:
        if not kind:
            return "no route"
        if kind == "local":
            return "for this host"
        return {"unicast": "forward" if not visit.starts_here else "send"}.get(kind, f"{kind} {header.destination}")


def _verdict(event: RuleEvent, words: str) -> str:
    if event.kind == "policy":
        return f"policy {event.verdict}"
    target = target_of(words)
    if event.verdict in {"JUMP", "GOTO"}:
        return f"{event.verdict.lower()} {event.target}"
    if target and target not in {event.verdict, event.target}:
        return target
    return event.verdict if event.verdict != "CONTINUE" else "go on"


def _same_flow(old: Header | None, new: Header | None) -> Header | None:
    """Return the header before a place with the addresses of that place: what changed them is a step of its own."""
    if old is None or new is None or old.flow == new.flow:
        return old
    return dataclasses.replace(
        old,
        source=new.source,
        source_port=new.source_port,
        destination=new.destination,
        destination_port=new.destination_port,
    )
