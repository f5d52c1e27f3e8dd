"""Build, read and close a hundred hosts on one bridge, against what a person would use instead."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.benches.measure import Figure, at_most, clock, ratio
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab.host import Host
    from netlab.kernel.values import Snapshot

_MININET = """
import time
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo
from mininet.log import setLogLevel
setLogLevel("error")
began = time.perf_counter()
net = Mininet(SingleSwitchTopo(k={count}), switch=LinuxBridge, controller=None, ipBase="10.9.0.0/16")
net.start()
built = time.perf_counter()
net.stop()
print(built - began, time.perf_counter() - built)
"""


def build(count: int) -> Lab:
    """Return a lab with hosts on one bridge: addressed, routed, up."""
    lab = Lab("bench")
    hub = lab.add_host("hub")
    hub.add_bridge("br0")
    hub.add_address("br0", "10.9.0.1/16")
    for number in range(count):
        host = lab.add_host(f"h{number}")
        lab.connect(hub, host, None, _address(number), names=(f"p{number}", "eth0"))
        hub.add_port("br0", f"p{number}")
        host.add_route("default", via="10.9.0.1")
    return lab


def _address(number: int) -> str:
    return f"10.9.{number // 200 + 1}.{number % 200 + 1}/16"


def measure(count: int, rounds: int, progress: Callable[[str], None]) -> Iterator[Figure]:
    """Yield the figures, each when it is there."""
    progress("the kernel's floor")
    sent = [_floor(count) for _ in range(rounds)]
    floor = _per_host("the same requests, encoded beforehand (the floor)", sent, count)
    yield floor
    progress("netlab")
    ours, reads, closes, memory = [], [], [], []
    for _ in range(rounds):
        before = _own_memory()
        began = time.perf_counter()
        lab = build(count)
        ours.append(time.perf_counter() - began)
        memory.append((_own_memory() - before) / 1024 / count)
        reads.append(clock(lab.snapshot) * 1000)
        closes.append(clock(lab.close))
    built = _per_host("netlab", ours, count)
    yield built
    progress("ip -batch")
    typed = _per_host("ip -batch, one process a host", [_ip_batch(count) for _ in range(rounds)], count)
    yield typed
    progress("Mininet")
    mininet, stopping = _mininet(count)
    yield mininet
    yield stopping
    yield ratio("netlab : floor", built, floor, ("≤", 2.5))
    yield ratio("ip -batch : netlab", typed, built, ("≥", 1.0))
    lives = _per_host("netlab, built and closed", [one + two for one, two in zip(ours, closes, strict=True)], count)
    theirs = Figure("Mininet, built and stopped", "ms", (), note=mininet.note)
    if mininet.median is not None and stopping.median is not None:
        theirs = Figure("Mininet, built and stopped", "ms", (mininet.median + stopping.median,))
    yield ratio("Mininet : netlab, built and ended", theirs, lives, ("≥", 8.0))
    yield at_most(f"close {count} hosts", "s", closes, 1.0)
    yield at_most(f"Snapshot of {count} hosts", "ms", reads, 150.0)
    yield at_most("memory of this process a host", "MB", memory, 0.5)
    progress("kernel change to picture")
    yield from _watch(30, max(rounds * 4, 10))


def _per_host(what: str, seconds: list[float], count: int) -> Figure:
    return Figure(f"{what}, a host", "ms", tuple(value * 1000 / count for value in seconds))


def _floor(count: int) -> float:
    result = subprocess.run(
        [sys.executable, "-m", "netlab.benches._floor", str(count)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def _own_memory() -> float:
    """Return this process's resident memory in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _ip_batch(count: int) -> float:
    """Return the seconds in which `ip` builds the same from files: one for the hub, one for each host."""
    hub = ["link add br0 type bridge", "link set br0 up", "addr add 10.9.0.1/16 dev br0"]
    for number in range(count):
        hub += [
            f"netns add n{number}",
            f"link add p{number} type veth peer name eth0 netns n{number}",
            f"link set p{number} master br0 up",
        ]
    script = ["set -e", "ip -batch - <<'.'", *hub, "."]
    for number in range(count):
        own = [f"addr add {_address(number)} dev eth0", "link set eth0 up", "route add default via 10.9.0.1"]
        script += [f"ip -n n{number} -batch - <<'.'", *own, "."]
    with Lab("bench") as lab:
        host = lab.add_host("hub")
        return clock(lambda: host.run("sh", input="\n".join(script), timeout=120, check=True))


def _mininet(count: int) -> tuple[Figure, Figure]:
    """Run Mininet once, inside a host: all that it makes, or leaves behind, ends with the lab."""
    names = ("Mininet with its LinuxBridge, a host", "Mininet, to stop, a host")
    python = "/usr/bin/python3"
    found = shutil.which("mnexec") and not subprocess.run([python, "-c", "import mininet"], check=False).returncode
    if not found:
        note = "not installed (Debian package mininet)"
        return Figure(names[0], "ms", note=note), Figure(names[1], "ms", note=note)
    with Lab("bench") as lab:
        host: Host = lab.add_host("hub")
        result = host.run(python, "-c", _MININET.format(count=count), timeout=300)
    if not result.ok:
        note = (result.stderr.strip().splitlines() or ["it failed"])[-1]
        return Figure(names[0], "ms", note=note), Figure(names[1], "ms", note=note)
    start, stop = (float(word) * 1000 / count for word in result.stdout.split()[-2:])
    return Figure(names[0], "ms", (start,)), Figure(names[1], "ms", (stop,))


def _watch(count: int, rounds: int) -> Iterator[Figure]:
    """Change a link with `ip` in a host, and wait for the snapshot and the picture that show it."""
    with build(count) as lab:
        diagram = lab.diagram()
        seen = threading.Condition()
        latest: list[Snapshot] = []

        def keep(snapshot: Snapshot) -> None:
            with seen:
                latest[:] = [snapshot]
                seen.notify_all()

        subscription = lab.watcher.subscribe(keep)
        host = lab.host("h1")
        times = []
        for number in range(rounds):
            mtu = 1400 + number

            def shown(mtu: int = mtu) -> bool:
                return bool(latest) and latest[0]["h1"].interface("eth0").mtu == mtu

            began = time.perf_counter()
            host.run("ip", "link", "set", "eth0", "mtu", str(mtu), check=True)
            with seen:
                seen.wait_for(shown, timeout=5)
            times.append((time.perf_counter() - began) * 1000)
        subscription.close()
        diagram.close()
        yield at_most(f"`ip link set` to a new Snapshot and picture, {count} hosts", "ms", times, 250.0)
