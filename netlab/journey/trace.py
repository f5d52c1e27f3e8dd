"""Trace one packet: listen everywhere, send it, collect what the kernel tells, and put it together."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError
from netlab.journey.assemble import Assembler
from netlab.journey.evidence import Evidence
from netlab.journey.identity import Family
from netlab.journey.probe import Outcome, Prober, Target
from netlab.kernel import check
from netlab.kernel.dropreasons import DropReasons
from netlab.kernel.wiretap import Wiretap

if TYPE_CHECKING:
    from netlab.journey.values import Journey
    from netlab.kernel.values import IPAddress
    from netlab.lab import Lab

PROTOCOLS = ("tcp", "udp", "icmp")
#: Seconds: how long it must be quiet before we stop to listen, and how long we wait for that.
QUIET, PATIENCE = 0.012, 0.2
_MOST_PROBES, _AT_ONCE, _LARGEST_PAYLOAD = 1000, 8, 60_000


@dataclass(frozen=True, slots=True)
class Options:
    """What to send: see `netlab.lab.Lab.trace`."""

    port: int | None = None
    protocol: str = "tcp"
    source: str | None = None
    payload: str | bytes | None = None
    count: int = 1
    timeout: float = 1.0


def trace(lab: Lab, client: str, destination: str, options: Options) -> Journey:
    """Send a packet from a host of a lab to an address, or to a host by its name; return its journey."""
    target = _target(lab, client, destination, options)
    count = check.number(options.count, "The number of packets to trace", 1, _MOST_PROBES)
    payload = _payload(options, target)
    family = Family(options.protocol, target.address.version, payload, count)
    with ExitStack() as stack:
        evidence = Evidence(lab, client)
        stack.callback(evidence.close)
        prober = Prober(lab.sandbox, target, count)
        stack.callback(prober.close)
        for number, probe in enumerate(family.probes):
            prober.prepare(number, probe)
        if not prober.chosen:
            family.leave_unchosen()
        tap = Wiretap(lab.sandbox, evidence.hosts, family.keep)
        started = time.time_ns()
        with tap.start(family.matches(), secrets.token_hex(4)):
            evidence.count_rules(tap.traced)
            with DropReasons() as told:
                outcomes = _send(prober, family, options.timeout)
            _settle(tap)
        evidence.reasons = told.reasons
        evidence.collect()
        return Assembler(evidence, tap, family).assemble(lab.name, target, outcomes, started)


def _target(lab: Lab, client: str, destination: str, options: Options) -> Target:
    lab.host(client)
    if options.protocol not in PROTOCOLS:
        raise InvalidInputError(f'The protocol must be "tcp", "udp" or "icmp"; {options.protocol!r} is not.')
    if options.protocol == "icmp" and options.port is not None:
        raise InvalidInputError("ICMP has no ports; leave port= out.")
    if options.protocol != "icmp" and options.port is None:
        raise InvalidInputError(f"Say which {options.protocol} port: port=80.")
    if not 0 < options.timeout <= 60:
        raise InvalidInputError(f"The time to wait must be between 0 and 60 seconds; not {options.timeout!r}.")
    address = _address(lab, destination)
    source = check.address(options.source, "The source") if options.source is not None else None
    if source is not None and source.version != address.version:
        raise InvalidInputError(f"Source and destination must be of one family; {source} and {address} are not.")
    port = check.port(options.port) if options.port is not None else 0
    return Target(client, address, port, options.protocol, source)


def _address(lab: Lab, destination: str) -> IPAddress:
    """Return an address; a host's name gives the first global address that it has."""
    if destination in lab.hosts:
        for each in lab.host(destination).state().addresses:
            if not each.is_link_local and not each.address.ip.is_loopback:
                return each.address.ip
        raise InvalidInputError(f"Host {destination!r} has no address to send to; give it one with add_address.")
    return check.address(destination, "The destination of a trace")


def _payload(options: Options, target: Target) -> bytes | None:
    given = options.payload
    if given is None and options.protocol == "tcp":
        host = f"[{target.address}]" if target.address.version == 6 else str(target.address)
        return f"GET / HTTP/1.0\r\nHost: {host}\r\nUser-Agent: netlab-trace\r\n\r\n".encode()
    data = given.encode() if isinstance(given, str) else given
    if data is not None and len(data) > _LARGEST_PAYLOAD:
        raise InvalidInputError(f"The payload may have {_LARGEST_PAYLOAD} bytes; it has {len(data)}.")
    return data


def _send(prober: Prober, family: Family, timeout: float) -> list[Outcome]:
    def send(number: int) -> Outcome:
        return prober.send(number, family.probes[number], family.payloads[number], timeout)

    # The first one is sent by this thread, to which the kernel tells why it drops its packets.
    outcomes = [send(0)]
    if len(family.probes) > 1:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            outcomes += pool.map(send, range(1, len(family.probes)))
    if family.protocol == "tcp":
        prober.close()  # the ends of the connections belong to the trace
    return outcomes


def _settle(tap: Wiretap) -> None:
    """Wait until nothing more arrives."""
    deadline = time.monotonic() + PATIENCE
    heard = -1
    while time.monotonic() < deadline and heard != len(tap.packets) + len(tap.events):
        heard = len(tap.packets) + len(tap.events)
        time.sleep(QUIET)
