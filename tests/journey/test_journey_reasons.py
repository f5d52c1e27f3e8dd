"""The reason that the kernel itself gives for a drop, held against what the evidence says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.journey.confirm import SAYS, confirm
from netlab.journey.drops import KINDS
from netlab.journey.values import Drop
from netlab.kernel.dropreasons import Reason

SEEN = 1_000_000_000_000
#: Follows a packet into a router that does not forward, and into one whose rule drops it.
PROGRAM = """
import json
from journey_labs import routed
from netlab import Lab
found = []
for fault in ("forward", "rule"):
    with Lab("reasons") as lab:
        net = routed(lab)
        if fault == "forward":
            net.router.sysctl["net.ipv4.ip_forward"] = 0
        else:
            net.router.iptables("-A", "FORWARD", "-j", "DROP")
        drop = net.client.trace("10.0.2.2", 80, timeout=0.3).drop
        found.append([drop.kind, drop.deduced, list(drop.evidence)])
print(json.dumps(found))
"""


def drop(kind: str) -> Drop:
    """Return a drop that was deduced."""
    return Drop(kind, "router", "eth0", "because of something", evidence=("seen",), deduced=True)


def test_every_kind_in_the_table_has_a_name() -> None:
    """What the kernel's words are held against are kinds that there are."""
    assert set(SAYS) <= set(KINDS)


def test_the_same_reason_makes_a_deduction_certain() -> None:
    """A reason of the right moment that says the same is evidence, and the drop is no deduction any more."""
    found = confirm(drop("rp-filter"), SEEN, [Reason(SEEN + 5_000, "IP_RPFILTER")])
    assert not found.deduced
    assert found.evidence == ("seen", "the kernel's own reason: IP_RPFILTER")


@pytest.mark.parametrize(
    "reason",
    [Reason(SEEN + 5_000, "NO_SOCKET"), Reason(SEEN + 10**9, "IP_RPFILTER"), Reason(SEEN - 10**6, "IP_RPFILTER")],
)
def test_another_reason_or_another_moment_proves_nothing(reason: Reason) -> None:
    """A drop stays a deduction where the kernel spoke of something else, or at another time."""
    assert confirm(drop("rp-filter"), SEEN, [reason]) == drop("rp-filter")


def test_an_unexplained_drop_gets_the_kernels_word() -> None:
    """Where the evidence says nothing, the kernel's reason is told as it is."""
    found = confirm(drop("unexplained"), SEEN, [Reason(SEEN, "TCP_CSUM")])
    assert found.reason == "because of something; the kernel's own reason: TCP_CSUM"


@pytest.mark.kernel
def test_the_kernel_confirms_what_was_deduced() -> None:
    """As root, with tracefs in a mount namespace of the test's own, the kernel's reasons stand in the evidence."""
    if os.geteuid() != 0:
        pytest.skip("root of the machine: the kfree_skb event is for root only")
    script = 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$0" -c "$1"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, PROGRAM]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    if "mount" in result.stderr:
        pytest.skip(f"tracefs: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    (forward, rule) = json.loads(result.stdout)
    assert forward == ["ip-forward", False, ["net.ipv4.ip_forward = 0", "the kernel's own reason: IP_INADDRERRORS"]]
    assert rule[:2] == ["rule", False]
    assert rule[2][-1] == "the kernel's own reason: NETFILTER_DROP"
