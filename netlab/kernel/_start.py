"""The first process of a sandbox: serves its owner, and takes all of the sandbox with it when it ends.

Started by `sandbox.py`, in isolated mode and with the standard library only, so that it starts in a few milliseconds
and cannot be broken by what is installed. It exits when its control socket closes or when its owner dies; the kernel
then ends every process in the PID namespace and frees every network namespace (pid_namespaces(7), namespaces(7)).
There is nothing to clean up, so nothing can be forgotten.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from netlab.kernel import _calls
    from netlab.kernel._init import HOST_DIR, NETNS_DIR, Init
else:  # the package around this file is not imported there: it would take ten times as long
    import _calls
    from _init import HOST_DIR, NETNS_DIR, Init

_NEW = _calls.CLONE_NEWNS | _calls.CLONE_NEWPID | _calls.CLONE_NEWUTS | _calls.CLONE_NEWIPC | _calls.CLONE_NEWNET


class Loop:
    """PID 1's event loop: the owner's requests, visitors of the same user, ended children."""

    def __init__(self, init: Init, control: socket.socket, listener: socket.socket, owner: int) -> None:
        self.init, self.control, self.listener = init, control, listener
        wake, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Python's own handler would let a command in the lab end it: without one, no signal from inside reaches us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.wake = wake
        self.selector = selectors.DefaultSelector()
        for source, action in ((control, self.serve), (listener, self.admit), (owner, self.end), (wake, self.woken)):
            self.selector.register(source, selectors.EVENT_READ, action)

    def run(self) -> None:
        """Serve until the owner is gone."""
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def end(self, _: object) -> None:
        """Exit; the kernel ends the rest."""
        os._exit(0)

    def woken(self, _: object) -> None:
        """Collect ended children."""
        os.read(self.wake, 4096)
        self.init.reap()

    def admit(self, _: object) -> None:
        """Take a visitor's connection if it is the same user (SO_PEERCRED, unix(7))."""
        visitor, _address = self.listener.accept()
        _, uid, _ = struct.unpack("3i", visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid == os.getuid():
            self.selector.register(visitor, selectors.EVENT_READ, self.visit)
        else:
            visitor.close()

    def visit(self, visitor: socket.socket) -> None:
        """Answer one request of a visitor, who may look and enter but not change."""
        try:
            request, descriptors = _calls.receive(visitor)
            if request is not None and request.get("op") in {"info", "enter"}:
                self.reply(visitor, request, descriptors)
                return
            _calls.close_all(descriptors)
        except (OSError, ValueError, AttributeError):
            pass  # a visitor who breaks off or talks nonsense gets no answer
        self.selector.unregister(visitor)
        visitor.close()

    def serve(self, _: object) -> None:
        """Answer one request of the owner; exit when there is no owner any more."""
        try:
            request, descriptors = _calls.receive(self.control)
            if request is None:
                os._exit(0)
            self.reply(self.control, request, descriptors)
        except ConnectionError:
            os._exit(0)

    def reply(self, peer: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
        """Send the answer to a request, with its number; close what came with it and our copies of what went."""
        number = request.pop("id", 0)
        answer, sent = self.init.answer(request, descriptors)
        try:
            _calls.send(peer, {**answer, "id": number}, sent)
        finally:
            _calls.close_all([*descriptors, *sent])


def main(label: str, numbers: str, mode: str) -> None:
    """Make the namespaces, then be their first process."""
    passed = [int(number) for number in numbers.split(",")]
    for number in passed:
        os.set_inheritable(number, False)  # noqa: FBT003 - the commands of the lab must not hold its controls
    control, listener = socket.socket(fileno=passed[0]), socket.socket(fileno=passed[1])
    owner = passed[2]
    guarded = mode != "privileged" and os.getuid() == 0
    try:
        if mode != "privileged":
            _calls.enter_user_namespace()
        _calls.unshare(_NEW)
        child = os.fork()
        if child:
            for thing in (control, listener):
                thing.close()
            os.close(owner)
            os.waitpid(child, 0)
            os._exit(0)
        _calls.die_with_parent(signal.SIGKILL)
        _calls.prepare_mounts((NETNS_DIR, HOST_DIR, "/run/lock"))
        if guarded:
            _calls.guard_machine()
        init = Init(label, privileged=mode == "privileged")
        _calls.send(control, {"ready": True}, [])
    except OSError as error:
        problem = {"errno": error.errno, "error": error.strerror, "call": error.filename}
        try:
            _calls.send(control, problem, [])
        except ConnectionError:
            os._exit(0)  # the owner has gone already
        os._exit(1)
    Loop(init, control, listener, owner).run()
