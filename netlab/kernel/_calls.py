"""System calls and messages that a sandbox's first process needs, each a thin layer over the kernel's own.

Standard library only: `_init.py` imports this under an interpreter without packages.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import struct
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED, MNT_DETACH = 1 << 18, 1 << 19, 1 << 20, 2
MS_RDONLY, MS_REMOUNT = 1, 32
PR_SET_PDEATHSIG = 1
#: Files of the whole machine that its root may write, and its root is what a lab's root is when root started it.
MACHINE_FILES = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
#: A document of more bytes travels in a file in memory: a message must fit the socket's send buffer.
MESSAGE_LIMIT = 1 << 16
#: SCM_MAX_FD of the kernel, less one for such a file: more descriptors do not fit one message (unix(7)).
MAX_DESCRIPTORS = 252

_INT = struct.Struct("=i")
_libc = ctypes.CDLL(None, use_errno=True)


def _check(call: str, result: int) -> None:
    """Raise an OSError that names the call, as strace would."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)


def unshare(flags: int) -> None:
    """Leave namespaces for new ones: unshare(2)."""
    _check(f"unshare({flags:#x})", _libc.unshare(flags))


def setns(descriptor: int, flags: int) -> None:
    """Enter a namespace: setns(2)."""
    _check(f"setns({flags:#x})", _libc.setns(descriptor, flags))


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Mount a filesystem, or change one: mount(2)."""
    name = kind.encode() if kind else None
    result = _libc.mount(os.fsencode(source), os.fsencode(target), name, ctypes.c_ulong(flags), None)
    _check(f"mount {kind or source} on {target}", result)


def detach_mount(target: str) -> None:
    """Unmount what is there, if anything is: umount2(2)."""
    _libc.umount2(os.fsencode(target), MNT_DETACH)


def die_with_parent(number: int) -> None:
    """Ask for a signal when the process that forked us ends: prctl(2)."""
    _check("prctl(PR_SET_PDEATHSIG)", _libc.prctl(PR_SET_PDEATHSIG, number))


def write(path: str, text: str) -> None:
    """Write a short text in one call, as files in /proc want it."""
    # Like `read`, without the cost of open(): eight settings are written for each new host.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode(errors="surrogateescape")
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """Return a short file's text without the line's end."""
    # open() would take three times as long, and a snapshot of a large lab reads a thousand such files.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)
    return data.decode(errors="replace").rstrip("\n")


def read_if_there(path: str) -> str | None:
    """Return a short file's text, or None where there is no such file."""
    try:
        return read(path)
    except FileNotFoundError:
        return None


def open_namespace(kind: str) -> int:
    """Return a descriptor of one of our own namespaces."""
    return os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def send(peer: socket.socket, document: dict[str, Any], descriptors: list[int]) -> None:
    """Send a document and descriptors as one message."""
    data = json.dumps(document).encode()
    if len(data) <= MESSAGE_LIMIT:
        socket.send_fds(peer, [data], descriptors)
        return
    memory = os.memfd_create("netlab", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(memory, view) :]
        socket.send_fds(peer, [b'{"memory": true}'], [*descriptors, memory])
    finally:
        os.close(memory)


def receive(peer: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return what `send` sent, or None when the other side has hung up; the descriptors are ours to close.

    Raises OSError (EMFILE) when we have no room for the descriptors.
    """
    # Not socket.recv_fds: it forgets its flags, and commands would inherit the descriptors.
    room = socket.CMSG_LEN((MAX_DESCRIPTORS + 1) * _INT.size)
    data, ancillary, flags, _ = peer.recvmsg(MESSAGE_LIMIT, room, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors += [number for (number,) in _INT.iter_unpack(value[: len(value) // _INT.size * _INT.size])]
    if flags & socket.MSG_CTRUNC:
        close_all(descriptors)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    if not data:
        return None, []
    document: dict[str, Any] = json.loads(data)
    if document.get("memory"):
        with open(descriptors.pop(), "rb") as file:
            file.seek(0)
            document = json.load(file)
    return document, descriptors


def close_all(descriptors: list[int]) -> None:
    """Close descriptors that nobody will use."""
    for descriptor in descriptors:
        os.close(descriptor)


def enter_user_namespace() -> None:
    """Become root of a new user namespace that maps this one user (user_namespaces(7))."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    # Without it, an ordinary user may not write gid_map: CVE-2014-8989.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")


def guard_machine() -> None:
    """Make settings of the whole machine read-only, but not those of a network namespace.

    Needed only where root started the lab; below such mounts no sandbox can be made in the sandbox.
    """
    for path in MACHINE_FILES:
        if os.path.exists(path):
            mount(path, path, None, MS_BIND | MS_REC)
            mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("/proc/sys/net", "/proc/sys/net", None, MS_BIND)
    mount("none", "/proc/sys/net", None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC)


def prepare_mounts(folders: tuple[str, ...]) -> None:
    """Cut the mounts off from the machine; give the sandbox its own /proc and /run, with some folders in it."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
    # The names of new hosts must reach the mount namespaces of the others.
    mount("none", "/run", None, MS_SHARED)
    for folder in folders:
        os.mkdir(folder, 0o755)
