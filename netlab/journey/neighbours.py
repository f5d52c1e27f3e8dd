"""Explain packets that found no next hop: nobody said which MAC address it has."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from netlab.journey.entry import refused_source
from netlab.journey.evidence import RouteQuestion

if TYPE_CHECKING:
    from netlab.journey.drops import Ended
    from netlab.journey.evidence import Evidence
    from netlab.journey.values import Drop
    from netlab.kernel.values import IPAddress


def is_a_drop(name: str) -> bool:
    """Tell whether a counter of the kernel is about something that went wrong, by its name."""
    return any(word in name for word in ("Drop", "Discard", "Error", "NoRoute", "Fail", "Overflow"))


def neighbour_fault(evidence: Evidence, ended: Ended, interface: str | None, address: IPAddress) -> Drop:
    """Return the drop because the next hop did not say its MAC address; or that nothing explains it."""
    host = ended.host
    entry = evidence.neighbour(host, interface, address)
    asked = [
        each
        for each in ended.questions
        if each.host == host and each.question.target == address and not each.question.answer
    ]
    answered = any(
        each.question.target == address and each.question.answer and each.host == host and each.direction == "in"
        for each in ended.questions
    )
    protocol = "ARP" if address.version == 4 else "NDP"
    if (entry is not None and entry.state in {"FAILED", "INCOMPLETE"}) or (asked and not answered):
        silent = _why_silent(evidence, ended, address)
        if silent is not None:
            return silent
        where = interface or ""
        reason = f"neighbour {address} did not answer {protocol} on {where} of {host}"
        facts = [f"{len({each.at for each in asked})} questions, no answer"] if asked else []
        facts += [f"neighbour entry {entry.state}"] if entry else []
        return ended.drop("neighbour", where, reason, *facts, deduced=not asked)
    words = [f"{name} +{number}" for name, number in sorted(evidence.increases(host).items()) if is_a_drop(name)]
    return ended.drop("unexplained", interface or "", f"the packet did not leave {host}", *words)


def _why_silent(evidence: Evidence, ended: Ended, address: IPAddress) -> Drop | None:
    """Return why the host with an address did not answer the question for it, where the question reached that host.

    ARP asks the routing table whether the asker may be where it asks from: rp_filter silences it too.
    """
    for each in ended.questions:
        question = each.question
        if question.answer or question.target != address or each.direction != "in" or question.sender is None:
            continue
        if not evidence.owns(each.host, address):
            continue
        header = dataclasses.replace(
            ended.header, source=question.sender, destination=address, source_port=None, destination_port=None
        )
        iif = evidence.index(each.host, each.interface)
        answer = evidence.route(each.host, RouteQuestion(header, iif))
        there = dataclasses.replace(ended, host=each.host, header=header)
        found = refused_source(evidence, there, each.interface, answer) if answer.error else None
        if found is not None:
            return dataclasses.replace(found, reason=f"{found.reason}; so it does not even answer ARP from there")
    return None
