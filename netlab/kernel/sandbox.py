"""The owner's side of a sandbox: start its first process, ask it for namespaces, sockets and commands."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol

from netlab.errors import ClosedError, KernelError, NotFoundError, SandboxError
from netlab.kernel import _calls

SOCKET_PREFIX = "netlab/"
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); import _start; _start.main(*sys.argv[1:])"
_START_TIMEOUT = 20.0


class Holder(Protocol):
    """What keeps a namespace alive until it is closed."""

    def close(self) -> None:
        """Let go."""


class Sandbox:
    """Own the namespaces and processes of one lab.

    They live exactly as long as this object, or as the process that made it: whatever ends that process ends them.
    Safe to use from several threads. Raises SandboxError where this machine does not allow it.
    """

    def __init__(self, label: str, *, privileged: bool = False) -> None:
        """Start the sandbox's first process; takes about 30 ms."""
        if privileged and os.geteuid() != 0:
            text = "A privileged lab needs root. Leave privileged=True out: an ordinary lab can do nearly the same."
            raise SandboxError(text)
        self.privileged = privileged
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.address, listener = _listen(label)
        owner = os.pidfd_open(os.getpid())
        passed = (theirs.fileno(), listener.fileno(), owner)
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *("-I", "-S", "-c", _START, str(Path(__file__).parent)),
                    *(label, ",".join(str(number) for number in passed)),
                    "privileged" if privileged else "user",
                ],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Jupyter's Interrupt goes to the whole process group: the sandbox must not be in it.
                start_new_session=True,
                cwd="/",
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            listener.close()
            os.close(owner)
        self._control = ours
        self._finalizer = weakref.finalize(self, _end, ours, process)
        #: How many requests were made; each answer carries the number of its request.
        self._numbers = 0
        self._held: weakref.WeakSet[Holder] = weakref.WeakSet()
        _living.add(self)
        self._await_start()

    def _await_start(self) -> None:
        self._control.settimeout(_START_TIMEOUT)
        try:
            reply, _ = _calls.receive(self._control)
        except TimeoutError:
            reply = None
        self._control.settimeout(None)
        if reply is None:
            reply = {"errno": errno.EIO, "error": "its first process did not start", "call": sys.executable}
        if "ready" not in reply:
            self.close()
            raise SandboxError(explain_refusal(reply["errno"], reply["error"], str(reply["call"] or "user namespace")))

    def request(
        self, operation: str, descriptors: tuple[int, ...] = (), /, **arguments: Any
    ) -> tuple[dict[str, Any], list[int]]:
        """Ask the first process for something; return its reply and the descriptors that came along.

        Raises ClosedError when the sandbox is gone, NotFoundError for a host that is not there, and KernelError with
        the failed call otherwise.
        """
        with self._lock:
            if not self._finalizer.alive:
                raise ClosedError("This lab is closed. Make a new one with Lab(...).")
            try:
                self._numbers += 1
                reply, received = self._ask(operation, descriptors, arguments)
            except OSError as error:
                if error.errno == errno.EMFILE:
                    advice = "This program has too many files open; raise the limit with: ulimit -n 65536"
                    raise KernelError(operation, errno.EMFILE, "", advice) from None
                raise ClosedError(
                    f"The sandbox of this lab has ended ({error}). Make a new one with Lab(...)."
                ) from None
            except KeyboardInterrupt:
                self._catch_up()
                raise
        if "missing" in reply:
            text = f"There is no host {reply['missing']!r} in this lab (any more): it was removed, or never added."
            raise NotFoundError(text)
        if "errno" in reply:
            raise KernelError(reply["call"] or operation, reply["errno"], reply["error"])
        return reply, received

    def _ask(
        self, operation: str, descriptors: tuple[int, ...], arguments: dict[str, Any]
    ) -> tuple[dict[str, Any], list[int]]:
        """Send one request and wait for its own answer; an answer that nobody waits for any more is undone."""
        _calls.send(self._control, {"op": operation, "id": self._numbers, **arguments}, list(descriptors))
        while True:
            reply, received = _calls.receive(self._control)
            if reply is None:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            number = reply.pop("id")
            if number == self._numbers:
                return reply, received
            _calls.close_all(received)
            if number and "pid" in reply:
                _calls.send(self._control, {"op": "kill", "pid": reply["pid"], "number": int(signal.SIGKILL)}, [])

    def _catch_up(self) -> None:
        """Take the answer to an interrupted request off the socket, and undo a command that it has started."""
        with contextlib.suppress(OSError):  # the sandbox has ended meanwhile, and all of it with it
            self._numbers += 1
            self._ask("nothing", (), {})

    def sockets(self, names: list[str | None], kind: tuple[int, int, int]) -> list[socket.socket]:
        """Open a socket of a kind (family, type, protocol) in each host named; None is the sandbox's own namespace."""
        opened: list[socket.socket] = []
        most = _calls.MAX_DESCRIPTORS
        for start in range(0, len(names), most):
            _, numbers = self.request("sockets", names=names[start : start + most], kind=kind)
            opened += [socket.socket(*kind, fileno=number) for number in numbers]
        for sock in opened:
            self.hold(sock)
        return opened

    def hold(self, thing: Holder) -> None:
        """Remember what holds a namespace of this sandbox: a forked child of ours must not hold it too."""
        self._held.add(thing)

    def forget(self) -> None:
        """Let go of the sandbox, in a forked child of the process that owns it."""
        self._finalizer.detach()
        self._control.close()
        for thing in list(self._held):
            thing.close()

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """End every process and namespace of the sandbox; may be called twice."""
        with self._lock:
            self._finalizer()


_living: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _forget_all() -> None:
    for sandbox in list(_living):
        sandbox.forget()


# A child that a program forks may outlive it: it must neither end the lab when it exits, nor keep it alive.
os.register_at_fork(after_in_child=_forget_all)


def _listen(label: str) -> tuple[str, socket.socket]:
    """Open the abstract socket at which a terminal finds the lab: it has no file that could be left behind."""
    address = f"{SOCKET_PREFIX}{os.getpid()}/{label}/{secrets.token_hex(4)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("\0" + address)
    listener.listen(16)
    return address, listener


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    # Shut down as well as close: a forked child of ours may hold a copy of the socket.
    with contextlib.suppress(OSError):
        control.shutdown(socket.SHUT_RDWR)
    control.close()
    process.wait()


def explain_refusal(number: int, words: str, call: str) -> str:
    """Say why a sandbox could not be made and what to do, from the call that failed (user_namespaces(7))."""
    text = f"The sandbox cannot be made: {call}: {words} ({errno.errorcode.get(number, number)})."
    if _switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" and number in {
        errno.EPERM,
        errno.EACCES,
    }:
        return (
            f"{text} AppArmor restricts user namespaces on this machine (Ubuntu 23.10 and later). "
            "Allow them until the next start with: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _switch("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
        return f"{text} User namespaces are switched off. Allow them with: {remedy}"
    if number == errno.ENOSPC or _switch("/proc/sys/user/max_user_namespaces") == "0":
        remedy = "sudo sysctl -w user.max_user_namespaces=15000"
        return f"{text} The limit of user namespaces is reached. Raise it with: {remedy}"
    if call.startswith("mount proc"):
        return f"{text} The container masks /proc. Start it with: --security-opt systempaths=unconfined"
    if call.startswith(("unshare", "mount", "setns")):
        return (
            f"{text} The container's seccomp or AppArmor profile forbids it. Start it with: "
            "--security-opt seccomp=containers/seccomp.json --security-opt systempaths=unconfined "
            "(where AppArmor is on also --security-opt apparmor=unconfined)"
        )
    return f"{text} Run `netlab doctor` for what this machine lacks."


def _switch(path: str) -> str:
    """Return a kernel switch's value, or an empty text where this kernel has no such switch."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
