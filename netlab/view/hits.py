"""Which of a host's rules a journey met. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.journey.values import Journey, Step
    from netlab.kernel.values import FirewallRule, HostState

#: What tells a rule from all others: tool, family, table, chain, number.
Hit = tuple[str, str, str, str, int]


def to_hits(journey: Journey, host: HostState) -> tuple[Hit, ...]:
    """Return the host's rules that a journey met, in the order in which it met them first.

    A rule is known by its words and place: one that has since moved is found where it is now, one that was deleted is
    left out.
    """
    rules = [rule for rule in host.rules if rule.policy is None]
    found: dict[Hit, None] = {}
    for step in journey.rules(host.name):
        rule = min((rule for rule in rules if _same(rule, step)), key=lambda rule: _far(rule, step), default=None)
        if rule is not None:
            found[rule.tool, rule.family, rule.table, rule.chain, rule.number] = None
    return tuple(found)


def _same(rule: FirewallRule, step: Step) -> bool:
    table = rule.table if rule.family in {"ip", "ip6"} else f"{rule.family} {rule.table}"
    return (table, rule.chain, rule.text) == (step.table, step.chain, step.rule)


def _far(rule: FirewallRule, step: Step) -> tuple[bool, int]:
    """Return how unlike two places are: IPv4 and IPv6 have tables of the same names, and a rule may stand twice."""
    header = step.before or step.after
    family = {4: "ip", 6: "ip6"}.get(header.source.version, "") if header is not None else ""
    return rule.family in {"ip", "ip6"} and rule.family != family, abs(rule.number - (step.position or rule.number))
