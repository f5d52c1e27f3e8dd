"""The kernel's own counts of why it dropped packets, one set for each network namespace (nstat(8))."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.kernel.sandbox import Sandbox

#: Files below /proc: SNMP's counters, Linux's own, those of IPv6, and conntrack's (a line for each processor).
_FILES = ["net/snmp", "net/netstat", "net/snmp6", "net/stat/nf_conntrack"]
_SETTINGS = ["sys/net/netfilter/nf_conntrack_count", "sys/net/netfilter/nf_conntrack_max"]
Counts = dict[str, int]


def read_texts(sandbox: Sandbox, hosts: list[str]) -> dict[str, list[str | None]]:
    """Read the counters of some hosts, undecoded: most of them nobody will ask for."""
    if not hosts:
        return {}
    found: dict[str, list[str | None]] = sandbox.request("peek", names=hosts, keys=[*_FILES, *_SETTINGS])[0]["values"]
    return found


def parse(texts: list[str | None]) -> Counts:
    """Return counters by their names, such as ``IpInNoRoutes``, ``Ip6InTooBigErrors``, ``TcpExtListenDrops``."""
    found: Counts = {}
    for text in texts[:2]:
        lines = (text or "").splitlines()
        for names, numbers in zip(lines[::2], lines[1::2], strict=False):
            prefix = names.partition(":")[0]
            pairs = zip(names.split()[1:], numbers.split()[1:], strict=False)
            found.update((prefix + name, int(number)) for name, number in pairs)
    for line in (texts[2] or "").splitlines():
        name, number = line.split()
        found[name] = int(number)
    # The numbers are hexadecimal, and the first column of each processor's line counts the same entries.
    columns, *rows = [line.split() for line in (texts[3] or "").splitlines()] or [[]]
    for row in rows:
        for name, number in zip(columns[1:], row[1:], strict=False):
            found["Conntrack_" + name] = found.get("Conntrack_" + name, 0) + int(number, 16)
    for key, text in zip(("Conntrack_count", "Conntrack_max"), texts[4:], strict=False):
        if text is not None:
            found[key] = int(text)
    return found


def increases(before: list[str | None], after: list[str | None]) -> Counts:
    """Return which counters have grown between two readings, and by how much."""
    old = parse(before)
    return {name: number - old.get(name, 0) for name, number in parse(after).items() if number > old.get(name, 0)}
