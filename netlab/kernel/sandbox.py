"""The owner's side of a sandbox: start its first process, ask it for namespaces, sockets and commands."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from netlab.errors import ClosedError, KernelError, SandboxError
from netlab.kernel import _init

SOCKET_PREFIX = "netlab/"
#: SCM_MAX_FD of the kernel: more descriptors than this do not fit one message (unix(7)).
MAX_DESCRIPTORS = 253
_START_TIMEOUT = 20.0


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
                    *("-I", "-S", _init.__file__, label, ",".join(str(number) for number in passed)),
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
        self._await_start()

    def _await_start(self) -> None:
        self._control.settimeout(_START_TIMEOUT)
        try:
            data = self._control.recv(1 << 16)
        except TimeoutError:
            data = b""
        self._control.settimeout(None)
        reply = (
            json.loads(data)
            if data
            else {"errno": errno.EIO, "error": "its first process did not start", "call": sys.executable}
        )
        if "ready" not in reply:
            self.close()
            raise SandboxError(explain_refusal(reply["errno"], reply["error"], reply["call"]))

    def request(
        self, operation: str, descriptors: tuple[int, ...] = (), /, **arguments: Any
    ) -> tuple[dict[str, Any], list[int]]:
        """Ask the first process for something; return its reply and the descriptors that came along.

        Raises ClosedError when the sandbox is gone and KernelError with the failed call otherwise.
        """
        message = json.dumps({"op": operation, **arguments}).encode()
        if len(message) > _init.MESSAGE_LIMIT - 4096:
            raise KernelError(operation, errno.E2BIG, "the command line and environment are too long for one message")
        with self._lock:
            if not self._finalizer.alive:
                raise ClosedError("This lab is closed. Make a new one with Lab(...).")
            try:
                socket.send_fds(self._control, [message], descriptors)
                data, received, _, _ = socket.recv_fds(self._control, 1 << 22, MAX_DESCRIPTORS)
            except OSError as error:
                raise ClosedError(
                    f"The sandbox of this lab has ended ({error}). Make a new one with Lab(...)."
                ) from None
        if not data:
            raise ClosedError("The sandbox of this lab has ended. Make a new one with Lab(...).")
        reply: dict[str, Any] = json.loads(data)
        if "errno" in reply:
            raise KernelError(reply["call"] or operation, reply["errno"], reply["error"])
        return reply, received

    def sockets(self, names: list[str | None], kind: tuple[int, int, int]) -> list[socket.socket]:
        """Open a socket of a kind (family, type, protocol) in each host named; None is the sandbox's own namespace."""
        opened: list[socket.socket] = []
        for start in range(0, len(names), MAX_DESCRIPTORS):
            _, numbers = self.request("sockets", names=names[start : start + MAX_DESCRIPTORS], kind=kind)
            opened += [socket.socket(*kind, fileno=number) for number in numbers]
        return opened

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called."""
        return not self._finalizer.alive

    def close(self) -> None:
        """End every process and namespace of the sandbox; may be called twice."""
        with self._lock:
            self._finalizer()


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
