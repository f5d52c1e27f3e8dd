"""Hold the reason that the kernel itself gave for a drop against what the evidence says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.journey.values import Drop
    from netlab.kernel.dropreasons import Reason

#: Which of the kernel's words (enum skb_drop_reason) say the same as a kind of ours.
SAYS = {
    "rule": {"NETFILTER_DROP"},
    "reject": {"NETFILTER_DROP"},
    "policy": {"NETFILTER_DROP"},
    "legacy": {"NETFILTER_DROP"},
    "no-route": {"IP_INNOROUTES", "IP_OUTNOROUTES"},
    "unreachable": {"IP_INADDRERRORS", "IP_INNOROUTES"},
    "rp-filter": {"IP_RPFILTER"},
    "martian": {"IP_INVALID_SOURCE", "IP_LOCAL_SOURCE", "IP_LOCALNET"},
    "no-listener": {"NO_SOCKET"},
    "listener-address": {"NO_SOCKET"},
    "backlog": {"TCP_LISTEN_OVERFLOW"},
    "neighbour": {"NEIGH_FAILED", "NEIGH_CREATEFAIL"},
    "too-big": {"PKT_TOO_BIG"},
    "ttl": {"IP_INHDR"},
    "interface-down": {"QDISC_DROP", "DEV_READY"},
    "ip-forward": {"IP_INADDRERRORS"},
    "bridge-port": {"BRIDGE_INGRESS_STP_STATE"},
    "no-fdb": {"NO_TX_TARGET"},
    "wrong-mac": {"OTHERHOST"},
    "no-tunnel": {"VXLAN_VNI_NOT_FOUND", "NO_SOCKET"},
}
#: Nanoseconds around the last sight of a packet in which a reason is about this packet.
BEFORE, AFTER = 20_000, 3_000_000


def confirm(drop: Drop, moment_ns: int, reasons: Iterable[Reason]) -> Drop:
    """Return the drop with the kernel's reason as evidence; it is no deduction where both say the same.

    ``moment_ns`` is when the packet was seen last, in nanoseconds since the epoch. A drop that the evidence does not
    explain gets the kernel's word for it.
    """
    near = [each.name for each in reasons if -BEFORE <= each.time_ns - moment_ns <= AFTER]
    same = [name for name in near if name in SAYS.get(drop.kind, ())]
    if same:
        said = f"the kernel's own reason: {same[0]}"
        return dataclasses.replace(drop, evidence=(*drop.evidence, said), deduced=False)
    if near and drop.kind == "unexplained":
        said = f"the kernel's own reason: {near[0]}"
        return dataclasses.replace(drop, reason=f"{drop.reason}; {said}", evidence=(*drop.evidence, said))
    return drop
