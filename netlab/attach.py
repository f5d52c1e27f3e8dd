"""Find the labs that run on this machine, and open a shell or a command in one of their hosts.

A lab listens at an abstract socket, ``@netlab/PID/LABEL/ID``, which ``/proc/net/unix`` lists. It answers the user who
made it and nobody else (SO_PEERCRED, unix(7)); to the others it says nothing at all.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.errors import ClosedError, CommandError, LabError, NotFoundError
from netlab.kernel import _calls, terminal
from netlab.kernel.process import inherited
from netlab.kernel.sandbox import SOCKET_PREFIX

_SOCKETS = Path("/proc/net/unix")
_LISTENING = "00010000"  # __SO_ACCEPTCON
_ANSWER_TIMEOUT = 10.0
#: Where Debian keeps `ip` and `iptables`, which the PATH of an ordinary user leaves out.
TOOL_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_HOW_TO_START = 'Make one in Python, and keep it open:  from netlab import Lab; lab = Lab("x"); lab.add_host("red")'


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab that runs now in some process of this machine, with its hosts as it told them.

    ``began`` is when it was made, in nanoseconds of the monotonic clock (clock_gettime(2)).
    """

    label: str
    pid: int
    ident: str
    hosts: dict[str, dict[str, Any]]
    privileged: bool = False
    began: int = 0

    @property
    def address(self) -> str:
        """Return the name of its abstract socket, without the leading zero byte."""
        return f"{SOCKET_PREFIX}{self.pid}/{self.label}/{self.ident}"

    def answers_to(self, name: str) -> bool:
        """Tell whether a user means this lab: by its label, its owner's process id, or its id."""
        return name in {self.label, str(self.pid), self.ident}


def running_labs(*, processes: bool = False) -> tuple[list[RunningLab], list[RunningLab]]:
    """Return this user's labs, and those that would not talk to this user (their hosts unknown).

    With ``processes`` each host tells ``[pid, command line]`` of all that runs in it.
    """
    ours, others = [], []
    for address in _listening():
        pid, _, rest = address.removeprefix(SOCKET_PREFIX).partition("/")
        label, _, ident = rest.rpartition("/")
        if not (pid.isdigit() and ident):
            continue
        try:
            with _connect(address) as visitor:
                reply, _ = _ask(visitor, "info", processes=processes)
        except ConnectionRefusedError:
            continue  # it ended since the list was read
        except (ClosedError, OSError):
            others.append(RunningLab(label, int(pid), ident, {}))
        else:
            began = reply.get("began", 0)  # a lab that was made before netlab was updated does not tell
            ours.append(RunningLab(label, int(pid), ident, reply["hosts"], reply["privileged"], began))
    return ours, others


def find_host(name: str, ours: list[RunningLab], others: list[RunningLab]) -> tuple[RunningLab, str]:
    """Return the lab and the host that ``HOST`` or ``LAB/HOST`` names; raises NotFoundError with what there is.

    Of labs that one process made under one name the newest is meant, as with ``%host``: a cell was run again.
    """
    wanted, _, host = name.rpartition("/")
    if not ours and not others:
        raise NotFoundError(_no_lab())
    labs = [lab for lab in ours if not wanted or lab.answers_to(wanted)]
    if not labs:
        raise NotFoundError(_no_such_lab(wanted, ours, others))
    newest = {(lab.pid, lab.label): lab for lab in sorted(labs, key=lambda lab: lab.began) if host in lab.hosts}
    found = list(newest.values())
    if len(found) == 1:
        return found[0], host
    if not found:
        known = ", ".join(f"{lab.label}/{one}" for lab in labs for one in lab.hosts) or "none"
        raise NotFoundError(f"There is no host {host!r}. Hosts of your running labs: {known}.")
    labels = [lab.label for lab in found]
    names = [lab.label if labels.count(lab.label) == 1 else lab.ident for lab in found]
    choices = ", ".join(f"{one}/{host} (of process {lab.pid})" for one, lab in zip(names, found, strict=True))
    raise NotFoundError(f"{len(found)} labs have a host {host!r}. Say which one: {choices}.")


def still_here() -> str:
    """Return where the reader's next line will be carried out, for when no shell was opened; bold, as it matters."""
    if host := os.environ.get("NETLAB_HOST"):
        where = f"You are still in host {host!r}"
    elif os.geteuid() == 0:
        where = "You are still in this machine's own shell, as root: what you type next changes this machine"
    else:
        where = "You are still in this machine's own shell, and in no lab"
    return f"\x1b[1m{where}.\x1b[0m"


def _no_lab() -> str:
    if here := os.environ.get("NETLAB_HOST"):
        return f"You are in host {here!r} of a lab, which sees no other lab. Use `ip -n HOST …`, or leave first: exit"
    return f"No lab of yours is running. {_HOW_TO_START}"


def _no_such_lab(wanted: str, ours: list[RunningLab], others: list[RunningLab]) -> str:
    refusing = [lab for lab in others if not wanted or lab.answers_to(wanted)]
    if refusing:
        lab = refusing[0]
        owner = _owner(lab.pid)
        text = f"The lab {lab.label!r} (process {lab.pid}) belongs to {owner or 'another user'}; only they may enter."
        return f"{text} Become that user first: sudo -u {owner} netlab shell …" if owner else text
    known = ", ".join(lab.label for lab in ours) or "none"
    return f"There is no lab {wanted!r}. Your running labs: {known}."


def _owner(pid: int) -> str:
    """Return the name of the user who runs a process; empty where that cannot be seen."""
    try:
        return Path(f"/proc/{pid}").owner()
    except (OSError, KeyError):
        return ""


def host_names(labs: list[RunningLab]) -> list[str]:
    """Return how each host can be named: ``HOST`` where that is enough, and ``LAB/HOST``."""
    # Labs that one process made under one name count as one: see `find_host`.
    known = list(dict.fromkeys((lab.pid, lab.label, host) for lab in labs for host in lab.hosts))
    bare = [host for _, _, host in known]
    full = [f"{label}/{host}" for _, label, host in known]
    return [name for names in (bare, full) for name in dict.fromkeys(names) if names.count(name) == 1]


def attach(lab: RunningLab, host: str, command: list[str]) -> int:
    """Run a command, or the user's shell if it is empty, in a host on this terminal; return its exit status.

    A command that was ended by signal N gives 128 + N, as in a shell. Raises ClosedError if the lab ended meanwhile.
    """
    with _connect(lab.address) as visitor:
        reply, descriptors = _ask(visitor, "enter", name=host)
        namespaces = dict(zip(reply["kinds"], descriptors, strict=True))
        path = f"{os.environ.get('PATH', '')}:{TOOL_PATH}".lstrip(":")
        environment = inherited() | {"PATH": path, "NETLAB_LAB": lab.label, "NETLAB_HOST": host}
        rc = -1
        if not command:
            command, rc = _shell(host, lab.label, environment)
        try:
            status = terminal.run(namespaces, command, environment)
        except OSError as error:
            # The statuses that a shell gives for a command it cannot find, or cannot start.
            status = 127 if error.errno == errno.ENOENT else 126
            text = f"{error.filename}: {error.strerror}. It was to run in host {host!r}."
            raise CommandError(text, returncode=status) from None
        finally:
            if rc >= 0:
                os.close(rc)
        if status == 128 + signal.SIGKILL:
            _explain_end(visitor, lab, host)
    return status


def _explain_end(visitor: socket.socket, lab: RunningLab, host: str) -> None:
    """Say so if a command was killed because its lab or its host is gone."""
    gone = f"The lab {lab.label!r} has ended, and what ran in it with it."
    readable, _, _ = select.select([visitor], [], [], 0)
    if readable:  # a lab says nothing unasked: this is its end
        raise ClosedError(gone)
    try:
        reply, _ = _ask(visitor, "info")
    except (ClosedError, OSError):
        raise ClosedError(gone) from None
    if host not in reply["hosts"]:
        raise ClosedError(
            f"The host {host!r} was removed from the lab {lab.label!r}, and what ran in it ended with it."
        )


def _shell(host: str, label: str, environment: dict[str, str]) -> tuple[list[str], int]:
    """Return the user's shell with a prompt that says where it is, and a descriptor of bash's start file or -1.

    The start file lives in memory: it reads the user's own files first, and changes none of them.
    """
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in label)
    shell = environment.get("SHELL") or "/bin/bash"
    if os.path.basename(shell) not in {"bash", "sh", "dash"}:  # noqa: PTH119 - a name, not a file
        print(f"Host {host} of lab {label}. Leave with: exit")  # noqa: T201 - this shell's prompt is its own
        return [shell], -1
    bash = next(
        (path for path in (shell, "/bin/bash", "/usr/bin/bash") if path.endswith("bash") and os.access(path, os.X_OK)),
        "",
    )
    if not bash:
        environment["PS1"] = f"{host}@{safe}:$PWD# "
        return [shell], -1
    rc = os.memfd_create("netlab-bashrc", 0)
    start = (
        "[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc\n"
        "[ -r ~/.bashrc ] && . ~/.bashrc\n"
        rf"NETLAB_PS1='\[\e[1;36m\]{host}@{safe}\[\e[0m\]:\w\$ '" + "\n"
        # Last, since some prompts set themselves anew before each line.
        "PROMPT_COMMAND+=('PS1=$NETLAB_PS1')\n"
        "PS1=$NETLAB_PS1\n"
        f"exec {rc}<&-\n"
    )
    os.write(rc, start.encode())
    return [bash, "--rcfile", f"/proc/self/fd/{rc}", "-i"], rc


def _listening() -> list[str]:
    """Return the names of the labs' sockets, in a fixed order."""
    try:
        lines = _SOCKETS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []  # not Linux, so no lab
    names = []
    for line in lines:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[3] == _LISTENING and fields[7].startswith("@" + SOCKET_PREFIX):  # noqa: PLR2004
            names.append(fields[7][1:])
    return sorted(names)


def _connect(address: str) -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    visitor.settimeout(_ANSWER_TIMEOUT)
    try:
        visitor.connect(b"\0" + os.fsencode(address))
    except BaseException:
        visitor.close()
        raise
    return visitor


def _ask(visitor: socket.socket, operation: str, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
    """Ask a lab one thing; raises ClosedError if it hangs up instead of answering."""
    try:
        _calls.send(visitor, {"op": operation, **arguments}, [])
        reply, descriptors = _calls.receive(visitor)
    except (BrokenPipeError, ConnectionResetError):
        reply, descriptors = None, []
    if reply is None:
        raise ClosedError("The lab has ended, or it belongs to another user.")
    if "errno" in reply:
        raise LabError(f"{reply['call']}: {reply['error']}.")
    return reply, descriptors


def as_document(lab: RunningLab) -> dict[str, Any]:
    """Return a running lab as `netlab ps --json` prints it."""
    hosts = {
        name: {
            "inode": host["inode"],
            "processes": [{"pid": pid, "command": command} for pid, command in host.get("processes", [])],
        }
        for name, host in lab.hosts.items()
    }
    return {"lab": lab.label, "id": lab.ident, "pid": lab.pid, "privileged": lab.privileged, "hosts": hosts}


def print_labs(ours: list[RunningLab], others: list[RunningLab]) -> None:
    """Print running labs as a table, a row a host; process ids are those inside of the lab."""
    from rich.console import Console  # noqa: PLC0415 - `netlab shell` shall not wait for it
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("lab", "id", "owner", "host", "processes", box=None, pad_edge=False)
    for lab in ours:
        # A lab without hosts has a row too.
        rows = lab.hosts or {"": {}}
        for number, (host, facts) in enumerate(rows.items()):
            running = "\n".join(f"{pid} {command}" for pid, command in facts.get("processes", []))
            first = (lab.label, lab.ident, f"process {lab.pid}") if number == 0 else ("", "", "")
            table.add_row(*(escape(text) for text in (*first, host, running)))
    console.print(table if ours else _no_lab(), markup=bool(ours))
    for lab in others:
        owner = _owner(lab.pid) or "another user"
        console.print(
            f"The lab {lab.label} (process {lab.pid}) belongs to {owner}; only they can look into it.", markup=False
        )
