"""Count what the proxy does, under kube-proxy's own names, in the text format of Prometheus.

Source: pkg/proxy/metrics/metrics.go; https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = tuple(0.001 * 2**power for power in range(15))
#: What follows ``kubeproxy_`` in each name: its type and what it says.
_NAMES = {
    "sync_proxy_rules_duration_seconds": ("histogram", "How long syncs took, in seconds"),
    "sync_full_proxy_rules_duration_seconds": ("histogram", "How long full syncs took, in seconds"),
    "sync_partial_proxy_rules_duration_seconds": ("histogram", "How long partial syncs took, in seconds"),
    "sync_proxy_rules_last_timestamp_seconds": ("gauge", "When rules were last synced"),
    "sync_proxy_rules_last_queued_timestamp_seconds": ("gauge", "When a sync was last asked for"),
    "sync_proxy_rules_endpoint_changes_total": ("counter", "How many changes of endpoints were seen"),
    "sync_proxy_rules_endpoint_changes_pending": ("gauge", "How many changes of endpoints wait for a sync"),
    "sync_proxy_rules_service_changes_pending": ("gauge", "How many changes of Services wait for a sync"),
    "conntrack_reconciler_sync_duration_seconds": ("histogram", "How long a look at conntrack took, in seconds"),
    "sync_proxy_rules_service_changes_total": ("counter", "How many changes of Services were seen"),
    "sync_proxy_rules_iptables_total": ("gauge", "How many iptables rules the proxy owns"),
    "sync_proxy_rules_iptables_last": ("gauge", "How many iptables rules the last sync wrote"),
    "sync_proxy_rules_iptables_restore_failures_total": ("counter", "How often iptables-restore failed"),
    "sync_proxy_rules_iptables_partial_restore_failures_total": ("counter", "How often a partial restore failed"),
    "sync_proxy_rules_nftables_sync_failures_total": ("counter", "How often nft failed"),
    "sync_proxy_rules_nftables_cleanup_failures_total": ("counter", "How often nft failed to delete old chains"),
    "sync_proxy_rules_no_local_endpoints_total": ("gauge", "Ports that keep traffic here, without endpoints here"),
    "conntrack_reconciler_deleted_entries_total": ("counter", "How many conntrack entries were deleted"),
}


@dataclass(slots=True)
class _Histogram:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0

    def lines(self, name: str, labels: str) -> Iterator[str]:
        count = 0
        for limit, here in zip((*map("{:g}".format, _SECONDS), "+Inf"), self.buckets, strict=True):
            count += here
            yield f'{name}_bucket{{{labels},le="{limit}"}} {count}'
        yield f"{name}_sum{{{labels}}} {self.total:.9g}"
        yield f"{name}_count{{{labels}}} {count}"


class Metrics:
    """The numbers of one node's proxy; both families may share one. Names are given without ``kubeproxy_``."""

    def __init__(self) -> None:
        """Begin with no numbers."""
        self._numbers: dict[str, dict[str, float]] = {}
        self._histograms: dict[str, dict[str, _Histogram]] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._numbers.setdefault(name, {})[_words(labels)] = value

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Raise a counter; by 0 makes it known."""
        with self._lock:
            numbers = self._numbers.setdefault(name, {})
            numbers[_words(labels)] = numbers.get(_words(labels), 0) + value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Note how long something took."""
        with self._lock:
            found = self._histograms.setdefault(name, {}).setdefault(_words(labels), _Histogram())
            found.buckets[bisect.bisect_left(_SECONDS, seconds)] += 1
            found.total += seconds

    def value(self, name: str, **labels: str) -> float:
        """Return a number; 0 if it was never set."""
        with self._lock:
            return self._numbers.get(name, {}).get(_words(labels), 0)

    def text(self) -> str:
        """Return all numbers as ``/metrics`` shows them."""
        lines: list[str] = []
        with self._lock:
            for name, (kind, words) in sorted(_NAMES.items()):
                full = f"kubeproxy_{name}"
                body = [
                    f"{full}{{{labels}}} {value:.15g}" if labels else f"{full} {value:.15g}"
                    for labels, value in sorted(self._numbers.get(name, {}).items())
                ]
                for labels, histogram in sorted(self._histograms.get(name, {}).items()):
                    body += histogram.lines(full, labels)
                if body:
                    lines += [f"# HELP {full} [ALPHA] {words}", f"# TYPE {full} {kind}", *body]
        return "\n".join(lines) + "\n"


def _words(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
