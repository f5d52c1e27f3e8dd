"""What following the kernel costs when nothing happens, and whether it keeps up when very much does."""

from __future__ import annotations

import os
import queue
import time
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.benches.crowds import raise_crowd
from netlab.benches.measure import Figure, at_most
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.benches.crowds import Crowd
    from netlab.host import Host
    from netlab.kernel.values import Interface
    from netlab.watch import Watcher

#: Seconds: how long nothing happens at least, how long the flaps take, how long we wait for what must come.
_STILL, _STORM, _PATIENCE = 10.0, 5.0, 180.0
#: Seconds without a read after which nothing happens.
_SETTLED = 3.0
FLAPS = 1000
#: The MTU numbers the flaps: each picture tells which was the last one when it was taken.
_FIRST_MTU = 2000
_TICKS = os.sysconf("SC_CLK_TCK")


def idle(size: Crowd) -> Figure:
    """Return which share of one core a lab with an open diagram takes while nothing happens in it.

    Counted are this process and all below it, the lab's own helper among them, from the end of one full read of the
    lab to that of another: between them the watcher only looks whether anything is new.
    """
    with raise_crowd(size) as lab:
        diagram = lab.diagram()
        _await_quiet(lab.watcher)
        _await_full_read(lab.watcher)
        began, used = time.perf_counter(), _processor_time()
        while time.perf_counter() - began < _STILL:
            _await_full_read(lab.watcher)
        seconds, used = time.perf_counter() - began, _processor_time() - used
        diagram.close()
    what = f"watching {size.hosts} hosts with an open diagram while nothing happens, for {seconds:.0f} s: of one core"
    return at_most(what, "%", [used / seconds * 100], 2.0)


def _await_quiet(watcher: Watcher) -> None:
    """Wait until a new lab has settled: IPv6 looks for routers and neighbours at first."""
    deadline, reads = time.monotonic() + _PATIENCE, -1
    while reads != watcher.reads and time.monotonic() < deadline:
        reads = watcher.reads
        time.sleep(_SETTLED)


def _await_full_read(watcher: Watcher) -> None:
    before, deadline = watcher.full_reads, time.monotonic() + _PATIENCE
    while watcher.full_reads == before:
        if time.monotonic() > deadline:
            raise LabError(f"The watcher has not read the whole lab for {_PATIENCE:g} s.")
        time.sleep(0.05)


def _processor_time() -> float:
    """Return the seconds that this process, all below it, and those of them that have ended, took of a processor."""
    parents, times = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        # The second field is the program's name in brackets, with whatever is in it (proc_pid_stat(5)).
        fields = text.rpartition(")")[2].split()
        pid = int(path.parent.name)
        parents[pid], times[pid] = int(fields[1]), sum(int(field) for field in fields[11:15])
    ours = {os.getpid()}
    for _ in range(8):
        ours |= {pid for pid, parent in parents.items() if parent in ours}
    return sum(times.get(pid, 0) for pid in ours) / _TICKS


def storm(size: Crowd) -> Iterator[Figure]:
    """Yield how far behind the truth the picture was while a link went down and up, and how long the end took."""
    with raise_crowd(size) as lab:
        pictures: queue.Queue[tuple[float, int, bool]] = queue.Queue()
        diagram = lab.diagram()
        subscription = lab.watch(
            lambda snapshot: pictures.put((time.perf_counter(), *_shown(snapshot[size.victim].interface("eth0"))))
        )
        pictures.get(timeout=_PATIENCE)
        made = _flap(lab.host(size.victim))
        # The number of a flap, and when the next one made it old.
        old = dict(zip(range(_FIRST_MTU, _FIRST_MTU + FLAPS - 1), made[1:], strict=True))
        behind, shown, at = [0.0], _FIRST_MTU, made[0]
        while shown != _FIRST_MTU + FLAPS - 1:
            at, number, up = pictures.get(timeout=_PATIENCE)
            if shown in old:
                behind.append(at - old[shown])
            shown = max(number, _FIRST_MTU)
        truth = lab.snapshot()[size.victim].interface("eth0")
        if not _shown(truth) == (shown, up) == (_FIRST_MTU + FLAPS - 1, True):
            raise LabError(f"The last picture is not the true one: {truth}")
        subscription.close()
        diagram.close()
    pace = f"{FLAPS} flaps in {made[-1] - made[0]:.1f} s, {size.hosts} hosts"
    yield at_most(f"{pace}: from the last one to the true picture", "s", [max(at - made[-1], 0.0)], 1.0)
    yield at_most(f"{pace}: a picture behind the truth at most", "s", [max(behind)], 1.0)


def _shown(interface: Interface) -> tuple[int, bool]:
    return interface.mtu, interface.up


def _flap(host: Host) -> list[float]:
    """Have `ip` take a link down and up again and again, evenly; return when each order was given."""
    made = []
    process = host.popen("ip", "-batch", "-", stdin=-1)
    assert process.stdin is not None  # noqa: S101 - popen opens it
    began = time.perf_counter()
    for number in range(FLAPS):
        time.sleep(max(began + number * _STORM / FLAPS - time.perf_counter(), 0))
        made.append(time.perf_counter())
        line = f"link set eth0 mtu {_FIRST_MTU + number} {'up' if number % 2 else 'down'}\n"
        process.stdin.write(line.encode())
        process.stdin.flush()
    process.stdin.close()
    process.wait(timeout=_PATIENCE)
    process.close()
    return made
