"""What a lab must leave as it found it: the machine's network, mounts and names, and the processes that we started."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netlab import Lab
    from netlab.kernel.difference import Change
    from netlab.kernel.values import Snapshot

Fingerprint = dict[str, tuple[str, ...]]

#: Words that change by themselves: how long what was learnt is still valid, and the timers of bridges.
_CLOCKS = re.compile(r"(valid_lft|preferred_lft|expires|\w+_timer) +\S+")
_WORD = re.compile(r"[\s/@:=]+")
#: The bridges and cables of container engines; the names of ours are longer, and never on the machine.
_ENGINE = re.compile(r"\b(?:docker\d+|podman\d+|cni-podman\d+|br-[0-9a-f]{12}|veth[0-9a-f]{7})\b")
_COMMANDS = {
    "links": ("ip", "-o", "-d", "link"),
    "addresses": ("ip", "-o", "addr"),
    "routes": ("ip", "route", "show", "table", "all"),
    "routes of IPv6": ("ip", "-6", "route", "show", "table", "all"),
    "rules": ("ip", "rule"),
    "rules of IPv6": ("ip", "-6", "rule"),
}
#: Numbers that the kernel counts, and keys that it draws when they are first used.
_COUNTED = {"nf_conntrack_count", "route/flush", "stat_refresh"}
_NAMES = ("/run/netns", "/var/run/netns")


def take() -> Fingerprint:
    """Return what the machine looks like now, as lines by topic."""
    lines: Fingerprint = {topic: _printed(command) for topic, command in _COMMANDS.items()}
    lines["sysctls"] = _sysctls()
    lines["mounts"] = tuple(sorted(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()))
    lines["names of namespaces"] = tuple(
        f"{folder}/{name}"
        for folder in _NAMES
        if Path(folder).is_dir()
        for name in sorted(each.name for each in Path(folder).iterdir())
    )
    lines["processes"] = tuple(sorted(_processes()))
    return lines


def differences(before: Fingerprint, after: Fingerprint) -> str:
    """Return what appeared (+) and vanished (-); empty if nothing did."""
    found = []
    foreign = _foreign(before) | _foreign(after)
    for topic, old in before.items():
        new = after[topic]
        if topic == "sysctls":
            # A module that the kernel loads for a lab brings settings of its own, which stay with it.
            known = {line.partition("=")[0] for line in old}
            new = tuple(line for line in new if line.partition("=")[0] in known)
        # A process that has ended is not left over; it may be one that the tests of another user have killed just now.
        gone = [] if topic == "processes" else old
        found += [f"{topic}: - {line}" for line in gone if line not in set(new)]
        found += [f"{topic}: + {line}" for line in new if line not in set(old)]
    return "\n".join(line for line in found if not foreign & set(_WORD.split(line)))


def _foreign(lines: Fingerprint) -> set[str]:
    """Return the interfaces and mounts of a container engine that works on this machine at the same time."""
    bridges = {name for topic in ("links", "sysctls") for line in lines[topic] for name in _ENGINE.findall(line)}
    ports = {_WORD.split(line)[1] for line in lines["links"] if bridges & set(_WORD.split(line))}
    return bridges | ports | {"docker", "containers"}


def wait_for_same(before: Fingerprint, timeout: float = 10.0) -> str:
    """Wait until the machine looks as before; return what still differs when the time is up."""
    found = differences(before, take())
    deadline = time.monotonic() + timeout
    while found and time.monotonic() < deadline:
        until(lambda: False, 0.05)
        found = differences(before, take())
    return found


def until(condition: Callable[[], object], timeout: float = 10.0) -> bool:
    """Poll for something that sends no event, until it is true or the time is up; tell which it was."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not (found := bool(condition())) and time.monotonic() < deadline:
        pause.wait(0.005)
    return found


def _printed(command: tuple[str, ...]) -> tuple[str, ...]:
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return tuple(sorted(_CLOCKS.sub("", line) for line in text.splitlines()))


def _sysctls() -> tuple[str, ...]:
    found = []
    for folder, _, files in os.walk("/proc/sys/net"):
        for file in files:
            path = Path(folder, file)
            key = str(path.relative_to("/proc/sys"))
            if any(key.endswith(ending) for ending in _COUNTED):
                continue
            try:
                found.append(f"{key}={path.read_text(encoding='utf-8', errors='replace').strip()}")
            except OSError:
                continue  # it may only be written, or only by root
    return tuple(sorted(found))


def _processes() -> list[str]:
    """Return our descendants, and the first processes of sandboxes that nobody owns any more."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in (each.name for each in Path("/proc").iterdir()):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
            command = Path(f"/proc/{entry}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended while we looked
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state not in {"Z", "X"}:
            parents[int(entry)] = int(parent)
            names[int(entry)] = command.replace("\0", " ")[:120].strip()
    ours = []
    for pid, name in names.items():
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        orphan = "_start.main(" in name and parents[pid] == 1
        if (above == os.getpid() and pid != above and not name.startswith("ip ")) or orphan:
            ours.append(f"{pid} {name}")
    return ours


def settle(lab: Lab) -> Snapshot:
    """Wait until the kernel has brought up what was asked for (it does so a little later), and return the picture."""
    pictures = [lab.snapshot()]

    def calm() -> bool:
        pictures.append(lab.snapshot())
        links = [link for host in pictures[-1].hosts for link in host.interfaces if link.kind == "veth" and link.up]
        return not pictures[-1] - pictures[-2] and all(link.state in {"UP", "LOWERLAYERDOWN"} for link in links)

    until(calm)
    return pictures[-1]


@contextlib.contextmanager
def unchanged(lab: Lab) -> Iterator[None]:
    """See that a block leaves every host as it was, apart from what comes by itself."""
    before = lab.snapshot()
    yield
    changes = [str(change) for change in lab.snapshot() - before if not _comes_by_itself(change)]
    assert not changes, "this has changed:\n" + "\n".join(changes)


def _comes_by_itself(change: Change) -> bool:
    """Tell of what hosts learn from each other, and of what the kernel does up to a second after a link came up."""
    if change.what in {"neighbour", "fdb", "connection"} or "fe80::" in change.name:
        return True
    return change.kind == "changed" and {field for field, _, _ in change.fields} <= {"state", "port state"}
