"""Keep sums over all Services up to date by looking only at those that changed: for health checks and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.facts import HealthCheck, health_checks, rule_counts, without_local_endpoints
from netlab.kubernetes.proxy.iptables_text import Ruleset
from netlab.kubernetes.proxy.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netlab.kubernetes.proxy.metrics import Metrics
    from netlab.kubernetes.proxy.model import ServiceView


class Tally:
    """Health checks by Service, and counts of rules, of Services without local endpoints, and of changes."""

    def __init__(self) -> None:
        """Begin without Services."""
        self.health_checks: dict[str, HealthCheck] = {}
        self.no_local = {"internal": 0, "external": 0}
        self.rules: dict[str, int] = {}
        self.changes = {"service": 0, "endpoint": 0}
        self._ruleset: Ruleset | None = None

    def follow(self, old: State, new: State, rules: object) -> None:
        """Take note of what changed between two states, and between the last ruleset and this one."""
        before, after = old.services, new.services
        # Settings such as the zone decide about every Service.
        every = old.settings != new.settings
        names = [name for name, view in after.items() if every or before.get(name) is not view]
        names += [name for name in before if name not in after]
        gone = State(old.settings, {name: before[name] for name in names if name in before})
        come = State(new.settings, {name: after[name] for name in names if name in after})
        for name in gone.services:
            self.health_checks.pop(name, None)
        self.health_checks |= health_checks(come)
        _add(self.no_local, without_local_endpoints(come), 1)
        _add(self.no_local, without_local_endpoints(gone), -1)
        self.changes["service"] += sum(_ports(before.get(name)) != _ports(after.get(name)) for name in names)
        self.changes["endpoint"] += sum(_endpoints(before.get(name)) != _endpoints(after.get(name)) for name in names)
        self._count_rules(rules if isinstance(rules, Ruleset) else None)

    def _count_rules(self, rules: Ruleset | None) -> None:
        last, self._ruleset = self._ruleset, rules
        if rules is None:
            self.rules = {}
            return
        if last is None or last.state.settings != rules.state.settings:
            self.rules = rule_counts(rules)
            return
        was, now = last.fragments, rules.fragments
        names = [name for name, fragment in now.items() if was.get(name) is not fragment]
        _add(self.rules, _of(rules, names), 1)
        _add(self.rules, _of(last, [*names, *(name for name in was if name not in now)]), -1)

    def report(self, metrics: Metrics, labels: Mapping[str, str]) -> None:
        """Write the sums into the metrics."""
        for policy, count in self.no_local.items():
            metrics.set("sync_proxy_rules_no_local_endpoints_total", count, traffic_policy=policy, **labels)
        for table, count in self.rules.items():
            metrics.set("sync_proxy_rules_iptables_total", count, table=table, **labels)
        for kind in self.changes:
            metrics.add(f"sync_proxy_rules_{kind}_changes_total", self.changes[kind])
            self.changes[kind] = 0
            metrics.set(f"sync_proxy_rules_{kind}_changes_pending", 0)


def _of(rules: Ruleset, names: Iterable[str]) -> dict[str, int]:
    """Count the rules that some Services have, without the fixed ones."""
    counts = {"filter": 0, "nat": 0}
    for name in names:
        fragment = rules.fragments.get(name)
        if fragment is not None:
            counts["filter"] += sum(lines.count("\n") for lines in fragment.filter.values())
            counts["nat"] += sum(lines.count("\n") for lines in (*fragment.nat.values(), *fragment.chains.values()))
    return counts


def _add(sums: dict[str, int], more: Mapping[str, int], sign: int) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0) + sign * value


def _ports(view: ServiceView | None) -> list[object]:
    return [] if view is None else [backend.port for backend in view.backends]


def _endpoints(view: ServiceView | None) -> list[object]:
    return [] if view is None else [backend.endpoints for backend in view.backends]
