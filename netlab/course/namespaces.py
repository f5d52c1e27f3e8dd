"""Which process of a lab is in which namespaces, and who listens where: for checks of pods that were built by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netlab.host import Host

KINDS = ("net", "uts", "ipc", "pid", "mnt")
_LOOK = "ps -eo pid=,args=; stat -Lc '%n %i' /proc/[0-9]*/ns/{" + ",".join(KINDS) + "} 2>/dev/null"
_LISTENS = 'for pid; do nsenter --target "$pid" --net ss -Htln sport = ":$0" | grep -q . && echo "$pid"; done'


class Process(NamedTuple):
    """A process of a lab: its number, its command line, and the inodes of its namespaces by `KINDS`."""

    number: int
    command: str
    spaces: dict[str, str]


def processes(host: Host) -> list[Process]:
    """Return all that runs in the lab of a host, in the order of their numbers (namespaces(7))."""
    spaces: dict[int, dict[str, str]] = {}
    commands: dict[int, str] = {}
    for line in host.run("bash", "-c", _LOOK).stdout.splitlines():
        first, _, rest = line.strip().partition(" ")
        if first.startswith("/proc/"):
            _, _, number, _, kind = first.split("/")
            spaces.setdefault(int(number), {})[kind] = rest
        else:
            commands[int(first)] = rest.strip()
    # One that ended between the two looks has no namespaces any more.
    found = (Process(number, text, spaces.get(number, {})) for number, text in sorted(commands.items()))
    return [one for one in found if len(one.spaces) == len(KINDS)]


def listeners(host: Host, port: str) -> list[Process]:
    """Return one process of each network namespace in which a TCP port is open."""
    found = {one.spaces["net"]: one for one in reversed(processes(host))}
    answer = host.run("bash", "-c", _LISTENS, port, *(str(one.number) for one in found.values()))
    return [one for one in found.values() if str(one.number) in answer.stdout.split()]
