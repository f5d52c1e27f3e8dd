"""Put a journey together: from sightings and evidence to steps, rewrites, the drop, and who answered."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from netlab.journey.confirm import confirm
from netlab.journey.drops import Ended, find_drop, not_taken_in
from netlab.journey.evidence import counter_of
from netlab.journey.recording import record
from netlab.journey.refusals import explain, is_refusal
from netlab.journey.sightings import Sorter
from netlab.journey.values import Answer, Drop, Journey, Message, Rewrite, Step, renumber
from netlab.journey.walk import Walker, visits
from netlab.kernel.chains import target_of
from netlab.kernel.headers import Header, endpoint
from netlab.kernel.packet_socket import PACKET_OTHERHOST
from netlab.kernel.read_rules import TRACE_PREFIX

if TYPE_CHECKING:
    from netlab.journey.evidence import Evidence
    from netlab.journey.identity import Family
    from netlab.journey.probe import Outcome, Target
    from netlab.journey.tracks import Sighting, Track
    from netlab.journey.walk import Visit
    from netlab.kernel.chains import Place
    from netlab.kernel.rulecounters import CounterKey
    from netlab.kernel.values import IPAddress, Socket
    from netlab.kernel.wiretap import Wiretap


class Assembler:
    """Puts the parts of one trace together."""

    def __init__(self, evidence: Evidence, tap: Wiretap, family: Family) -> None:
        """Sort what was heard, and find the rules that were met."""
        self._evidence, self._tap, self._family = evidence, tap, family
        sorter = Sorter(family, evidence)
        self.tracks = sorter.sort(tap.packets, tap.events)
        self.questions = tuple(sorter.questions)
        self._find_rules()

    def _find_rules(self) -> None:
        """Look up the rules that the packets met, and their counters."""
        places: dict[str, set[Place]] = {}
        met: dict[str, set[CounterKey]] = {}
        for track in self.tracks:
            for sighting in track.sightings:
                event = sighting.event
                if event is not None and not event.table.startswith(TRACE_PREFIX):
                    key = counter_of(event)
                    met.setdefault(sighting.host, set()).add(key)
                    places.setdefault(sighting.host, set()).add(key[:3])
        self._evidence.compare_counters(met)
        self._evidence.find_rules(places)

    # -- which packets --------------------------------------------------------------------

    def _of(self, leg: str, probe: int = 0) -> list[Track]:
        return [track for track in self.tracks if track.probe == probe and track.key.leg == leg]

    def _reply(self, probe: int = 0) -> Track | None:
        """Return the first packet that came back."""
        found = self._of("reply", probe)
        real = [track for track in found if not is_refusal(track)]
        return (real or found or [None])[0]  # type: ignore[list-item]

    def arrived(self, track: Track) -> bool:
        """Tell whether a packet was seen to enter the host that it was for."""
        last = track.sightings[-1]
        if any(visit.captured for visit in visits(track)) and self._dropped_by_rule(track):
            return False
        if track.key.leg == "reply":
            began = self._of("request", track.probe)
            home = began[0].hosts[0] if began else ""
            came = last.host == home and track.captured != [] and self._is_taken_in(track.captured[-1])
            return came or self._came_otherwise(track, home)
        reply = self._reply(track.probe)
        if reply is not None and not is_refusal(reply):
            return last.host == reply.hosts[0] or self._came_otherwise(track, reply.hosts[0])
        header = next((each.decoded.header for each in reversed(track.sightings) if each.decoded), None)
        captured = track.captured[-1] if track.captured else None
        inside = captured is not None and captured.host == last.host and captured.direction == "in"
        return inside and header is not None and self._evidence.owns(last.host, header.destination)

    def _came_otherwise(self, track: Track, host: str) -> bool:
        """Tell whether the bytes of a TCP segment came into a host in other segments than the sender made of them.

        The kernel joins segments on the way and parts them again (GRO and GSO, segmentation-offloads.rst).
        """
        legs = self._of(track.key.leg, track.probe)
        # What its sender sent again did not come; of what was parted on the way the parts are no attempts.
        again = any(other.key == track.key and other.attempt > track.attempt for other in legs)
        lost = again and track.hosts[0] == legs[0].hosts[0]
        if self._family.protocol != "tcp" or not track.key.packet.startswith("data") or lost:
            return False
        reached, _, size = track.key.detail
        end = reached + size
        for other in sorted(legs, key=lambda each: each.key.detail):
            made_there = other.hosts[0] == track.hosts[0]
            if made_there or not other.key.packet.startswith("data") or self._dropped_by_rule(other):
                continue
            if any(each.host == host and self._is_taken_in(each) for each in other.captured):
                begin, _, length = other.key.detail
                reached = max(reached, begin + length) if begin <= reached else reached
        return reached >= end

    @staticmethod
    def _is_taken_in(sighting: Sighting) -> bool:
        """Tell whether a frame came in, and for this host."""
        taken = sighting.taken
        return sighting.direction == "in" and (taken is None or taken.kind != PACKET_OTHERHOST)

    @staticmethod
    def _dropped_by_rule(track: Track) -> bool:
        last = track.sightings[-1].event
        return last is not None and last.verdict == "DROP"

    # -- the whole ------------------------------------------------------------------------

    def assemble(self, lab: str, target: Target, outcomes: list[Outcome], started: int) -> Journey:
        """Return the journey of the first probe, and who answered all of them."""
        outcome = outcomes[0]
        first = self.tracks[0].began if self.tracks else started
        walker = Walker(self._evidence, first)
        shown = self._shown(outcome)
        walked = [(track, walker.walk(track)) for track in shown]
        drop = self._drop(target, outcome, walked)
        steps = self._steps(walked, outcome, drop)
        hosts = {sighting.host for track in self.tracks for sighting in track.sightings} | {target.host}
        legacy = self._evidence.legacy(sorted(hosts))
        if drop is not None and drop.kind == "unexplained" and drop.host in legacy:
            # Nothing else speaks against the packet, and these rules can neither be traced nor asked.
            hint = f"{drop.reason}; a rule of legacy iptables may have dropped it, which the kernel does not report"
            drop = dataclasses.replace(drop, kind="legacy", reason=hint)
        if drop is not None:
            steps, drop = _with_drop(steps, confirm(drop, first + _last_offset(steps, drop), self._evidence.reasons))
        numbered = renumber(steps)
        if drop is not None:
            drop = dataclasses.replace(drop, step=len(numbered))
        return Journey(
            lab=lab,
            client=target.host,
            destination=str(target.address),
            protocol=target.protocol,
            port=target.port or None,
            started_ns=first,
            ok=drop is None and outcome.answered,
            steps=numbered,
            nat=_rewrites(numbered),
            drop=drop,
            messages=tuple(self._message(track, first) for track in self.tracks if track.probe == 0),
            packets=record(self._evidence, self.tracks, self.questions),
            answers=self._answers(),
            reply=outcome.reply.decode(errors="replace"),
            error=outcome.words,
            legacy=legacy,
            notes=self._notes(outcome, drop, legacy),
            snapshot=self._evidence.snapshot,
        )

    def _shown(self, outcome: Outcome) -> list[Track]:
        """Return the packets whose steps are told: the first one, its answer, and a later one that was lost."""
        requests = self._of("request")
        shown = requests[:1]
        reply = self._reply()
        if reply is None:
            shown += [track for track in requests[1:] if track.key.detail and "fragment" in track.key.packet][:1]
        shown += [reply] if reply is not None else []
        if reply is not None and not is_refusal(reply) and not outcome.reply and (outcome.timed_out or outcome.error):
            refused = next((track for track in self._of("reply") if track.key.packet.startswith("ICMP")), None)
            lost = next((track for track in self._later() if not self.arrived(track)), None)
            shown += [track for track in (lost, refused) if track is not None and track not in shown]
        return shown

    def _later(self) -> list[Track]:
        """Return the packets after the first exchange that carry data, the first attempt of each."""
        return [
            track
            for track in self.tracks
            if track.probe == 0 and track.attempt == 1 and track.key.packet.startswith("data")
        ]

    def _drop(self, target: Target, outcome: Outcome, walked: list[tuple[Track, list[Visit]]]) -> Drop | None:
        if not walked:
            return self._drop_at_home(target, outcome) if not outcome.answered else None
        refusals = [(track, found) for track, found in walked if is_refusal(track)]
        for track, found in walked:
            if is_refusal(track) or (track.key.leg == "reply" and self.arrived(track)):
                continue
            refusal = next((each for each, _ in refusals if each.key.leg != track.key.leg), None)
            if refusal is not None and not self._answered_before(track):
                return explain(self._evidence, self._ended(track, found, refusal.hosts[0]), refusal)
            if not self.arrived(track) or (track.torn and track is walked[-1][0]):
                return find_drop(self._evidence, self._ended(track, found))
        return None if outcome.answered else self._no_reply(walked)

    def _drop_at_home(self, target: Target, outcome: Outcome) -> Drop:
        """Explain a packet that was seen nowhere; the errno that the socket got is the kernel's own word."""
        drop = find_drop(self._evidence, self._at_home(target, outcome))
        if not outcome.error:
            return drop
        said = drop.kind in {"no-route", "blackhole", "unreachable", "prohibit"}
        return dataclasses.replace(drop, evidence=(outcome.words, *drop.evidence), deduced=drop.deduced and not said)

    def _answered_before(self, track: Track) -> bool:
        """Tell whether a packet's kind was answered: the refusal is about a later one."""
        reply = self._reply(track.probe)
        return reply is not None and not is_refusal(reply) and not track.key.packet.startswith("data")

    def _ended(self, track: Track, found: list[Visit], host: str | None = None) -> Ended:
        visit = found[-1]
        if host is not None:
            visit = next((each for each in reversed(found) if each.host == host), visit)
        header = visit.header or next(each.decoded.header for each in track.sightings if each.decoded)
        return Ended(track.key.leg, track.key.packet, visit.host, visit, header, self.questions)

    def _at_home(self, target: Target, outcome: Outcome) -> Ended:
        """Return the packet that was not seen anywhere: it did not leave the client."""
        local = outcome.local or (str(target.source or target.address), 0)
        source = type(target.address)(local[0].partition("%")[0])
        if source.is_unspecified:
            source = self._own_address(target)
        ports: tuple[int | None, int | None] = (local[1], target.port) if target.port else (None, None)
        size = len(self._family.payloads[0]) + (20 if target.address.version == 4 else 40) + 8
        protocol = self._family.probes[0].protocol
        header = Header(source, target.address, protocol, ports[0], ports[1], 64, size)
        names = {"tcp": "SYN", "udp": "datagram"}
        return Ended("request", names.get(target.protocol, "echo request"), target.host, None, header, self.questions)

    def _own_address(self, target: Target) -> IPAddress:
        for each in self._evidence.layout[target.host].addresses:
            if each.address.version == target.address.version:
                return each.address.ip
        return target.address

    def _no_reply(self, walked: list[tuple[Track, list[Visit]]]) -> Drop | None:
        """Explain an answer that never began: the request arrived, and nothing left the server."""
        track, found = walked[0]
        visit = found[-1]
        header = visit.header
        if header is None:
            return None
        refused = not_taken_in(self._evidence, self._ended(track, found))
        if refused is not None:
            return refused
        taking, _ = self._evidence.listeners(visit.host, header)
        if track.key.packet == "datagram" and not taking:
            return find_drop(self._evidence, self._ended(track, found))
        back = dataclasses.replace(
            header,
            source=header.destination,
            destination=header.source,
            source_port=header.destination_port,
            destination_port=header.source_port,
            ttl=64,
        )
        names = {"SYN": "SYN-ACK", "echo request": "echo reply"}
        reply = Ended("reply", names.get(track.key.packet, "answer"), visit.host, None, back, self.questions)
        drop = find_drop(self._evidence, reply)
        if drop.kind == "unexplained" and track.key.packet == "datagram" and taking:
            return None  # it was delivered; that nobody answers a datagram is no drop
        return self._ended_drop(track, found) if drop.kind == "unexplained" else drop

    def _ended_drop(self, track: Track, found: list[Visit]) -> Drop:
        return find_drop(self._evidence, self._ended(track, found))

    # -- the parts ------------------------------------------------------------------------

    def _steps(self, walked: list[tuple[Track, list[Visit]]], outcome: Outcome, drop: Drop | None) -> list[Step]:
        steps: list[Step] = []
        for track, found in walked:
            steps += [step for visit in found for step in visit.steps]
            lost = drop is not None and (drop.leg, drop.packet) == (track.key.leg, track.key.packet)
            if not lost and self.arrived(track) and not track.torn:
                steps.append(self._delivered(track, found[-1], steps[-1], outcome))
        return steps

    def _delivered(self, track: Track, visit: Visit, last: Step, outcome: Outcome) -> Step:
        header = visit.header
        words = "the client's socket"
        if track.key.leg == "request" and header is not None:
            taking, _ = self._evidence.listeners(visit.host, header)
            words = _socket_words(taking[0]) if taking else "the kernel itself answers"
        elif track.key.leg == "reply" and outcome.error and is_refusal(track):
            words = f"the client's socket: {outcome.words}"
        return dataclasses.replace(
            last,
            kind="socket",
            interface="",
            hook="socket",
            table="",
            chain="",
            rule=words,
            handle=None,
            position=None,
            verdict="delivered",
            before=header,
            after=header,
            outer=None,
            conntrack="",
            observed=True,
            counter=None,
        )

    def _message(self, track: Track, first: int) -> Message:
        key, arrived = track.key, not track.torn and self.arrived(track)
        return Message(key.leg, key.packet, track.attempt, track.began - first, track.hosts, arrived)

    def _answers(self) -> tuple[Answer, ...]:
        """Return which hosts sent the answers to the probes."""
        found: Counter[tuple[str, str]] = Counter()
        for probe in range(len(self._family.probes)):
            reply = self._reply(probe)
            if reply is None or is_refusal(reply):
                continue
            header = next((each.decoded.header for each in reply.sightings if each.decoded is not None), None)
            found[reply.hosts[0], header.from_text if header else ""] += 1
        return tuple(Answer(host, address, count) for (host, address), count in found.most_common())

    def _notes(self, outcome: Outcome, drop: Drop | None, legacy: tuple[str, ...]) -> tuple[str, ...]:
        notes = []
        if legacy:
            which = ", ".join(legacy)
            notes.append(
                f"{which}: rules of legacy iptables are in place, which the kernel does not report; none is shown"
            )
        if self._tap.lost:
            notes.append(f"{self._tap.lost} packets or reports were lost: the lab was too busy")
        again = max((track.attempt for track in self._of("request")), default=1)
        if again > 1:
            notes.append(f"the request was sent {again} times; the first one is shown")
        if drop is None and not outcome.answered and self.tracks:
            notes.append("the request arrived, and no answer was sent")
        return tuple(notes)


def _socket_words(found: Socket) -> str:
    who = f"{found.process} listens on " if found.process else "listens on "
    return who + endpoint(found.local, found.local_port)


def _with_drop(steps: list[Step], drop: Drop) -> tuple[list[Step], Drop]:
    """Put the drop behind the last step of the packet that ended; a rule's own step becomes the drop."""
    mine = [step for step in steps if (step.leg, step.packet) == (drop.leg, drop.packet)]
    last = mine[-1] if mine else None
    step = Step(
        0,
        _last_offset(steps, drop),
        drop.leg,
        drop.packet,
        drop.host,
        "drop",
        hook=drop.where,
        rule=drop.reason,
        verdict="DROPPED",
        before=last.after if last else None,
        observed=not drop.deduced,
    )
    return [*steps, step], drop


def _last_offset(steps: list[Step], drop: Drop) -> int:
    """Return when the packet that was dropped was seen last; where it never was, when anything was."""
    mine = [step.offset_ns for step in steps if (step.leg, step.packet) == (drop.leg, drop.packet)]
    return max(mine or [step.offset_ns for step in steps], default=0)


def _rewrites(steps: tuple[Step, ...]) -> tuple[Rewrite, ...]:
    found = []
    for step in steps:
        if not step.rewritten or step.kind not in {"rule", "conntrack"}:
            continue
        assert step.before is not None  # noqa: S101 - for the type checker
        assert step.after is not None  # noqa: S101
        kind = target_of(step.rule) if step.kind == "rule" else step.verdict
        found.append(Rewrite(step.number, step.host, step.leg, kind, step.rule, step.before, step.after))
    return tuple(found)
