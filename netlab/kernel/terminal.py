"""Run a command on this terminal, inside the namespaces of a host.

Three processes take part. The *caller* stays outside and in the terminal's foreground group. The *keeper* has a group
of its own, enters the namespaces and starts the command as its child, since a PID namespace counts for children
only. The *command* is put into the caller's group: Ctrl-C and Ctrl-Z reach it, and a shell can take the terminal.

Why a keeper: a PID namespace cannot end before the parent of each process that was put into it has collected that
process. The caller may be stopped for hours with Ctrl-Z; the keeper never is, so closing the lab never waits.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, NoReturn

from netlab.kernel import _calls

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLAGS = {
    "user": _calls.CLONE_NEWUSER,
    "mnt": _calls.CLONE_NEWNS,
    "pid": _calls.CLONE_NEWPID,
    "uts": _calls.CLONE_NEWUTS,
    "ipc": _calls.CLONE_NEWIPC,
    "net": _calls.CLONE_NEWNET,
}
#: Python's own choices that a command must not inherit (signal(7)), and those the caller ignores meanwhile.
_TO_DEFAULT = (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU)


def run(namespaces: Mapping[str, int], command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command in namespaces, given as descriptors by kind, and return its exit status (128 + N for signal N).

    The descriptors are closed. Raises OSError, with the call that failed as its filename.
    """
    ours, theirs = socket.socketpair()
    ignored = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)]
    group = os.getpgrp()
    keeper = os.fork()
    if keeper == 0:
        ours.close()
        _keep(theirs, namespaces, (command, dict(environment)), group)
    theirs.close()
    for descriptor in namespaces.values():
        os.close(descriptor)
    try:
        with ours, ours.makefile("rb") as stream:
            answer = json.loads(stream.read() or b'{"errno": 5, "call": "the keeper of the terminal"}')
        os.waitpid(keeper, 0)
    finally:
        _take_terminal(group)
        signal.signal(signal.SIGINT, ignored[0])
        signal.signal(signal.SIGQUIT, ignored[1])
    if "errno" in answer:
        raise OSError(answer["errno"], os.strerror(answer["errno"]), answer["call"])
    return int(answer["status"])


def _take_terminal(group: int) -> None:
    """Bring our group to the foreground again: a shell in another PID namespace cannot name it to do so."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # stdin is no terminal, or not ours
        os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, before)


def _keep(
    link: socket.socket, namespaces: Mapping[str, int], command: tuple[list[str], dict[str, str]], group: int
) -> NoReturn:
    """Be the keeper: enter, start the command, report how it ended; never returns."""
    call = "setpgid"
    try:
        # From here on neither Ctrl-Z nor Ctrl-C of the terminal reaches us.
        os.setpgid(0, 0)
        cwd = os.getcwd()  # noqa: PTH109 - the path is needed as text, after the root has changed
        for kind, descriptor in namespaces.items():
            call = f"enter the {kind} namespace"
            _calls.setns(descriptor, _FLAGS[kind])
            os.close(descriptor)
        call = command[0][0]
        child = _start(command, cwd, group)
        _report(link, {"status": _wait(child, link)})
    except OSError as error:
        _report(link, {"errno": error.errno or errno.EIO, "call": call})
    finally:
        os._exit(0)


def _report(link: socket.socket, answer: dict[str, int | str | None]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the caller was killed
        link.sendall(json.dumps(answer).encode())


def _start(command: tuple[list[str], dict[str, str]], cwd: str, group: int) -> int:
    """Start the command in the caller's process group and return its process id; raises the OSError of exec."""
    argv, environment = command
    ready, go = os.pipe2(os.O_CLOEXEC)
    failed, report = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(go)
            os.read(ready, 1)
            for number in _TO_DEFAULT:
                signal.signal(number, signal.SIG_DFL)
            try:
                os.chdir(cwd)
            except OSError:
                os.chdir("/")  # a directory that the sandbox replaced, such as one below /run
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - the learner's own command
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(report)
    # From here, since inside its PID namespace the group has no number; and before exec, as setpgid(2) asks.
    os.setpgid(child, group)
    os.close(go)
    os.close(ready)
    with open(failed, "rb") as stream:  # noqa: PTH123 - a descriptor
        problem = stream.read()
    if problem:
        os.waitpid(child, 0)
        raise OSError(int(problem), "")
    return child


def _wait(child: int, link: socket.socket) -> int:
    """Return how the command ended; if the caller goes first, the command is told as by a closed terminal."""
    handle = os.pidfd_open(child)
    sources: list[int | socket.socket] = [handle, link]
    while True:
        readable, _, _ = select.select(sources, [], [])
        if handle in readable:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            return code if code >= 0 else 128 - code
        for number in (signal.SIGHUP, signal.SIGCONT):
            os.kill(child, number)
        sources.remove(link)
