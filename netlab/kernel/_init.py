"""The first process of a sandbox: makes namespaces, starts commands, and takes all of it with it when it ends.

Run as a script by `sandbox.py`, in isolated mode and with the standard library only, so that it starts in a few
milliseconds and cannot be broken by what is installed. It exits when its control socket closes or when its owner
dies; the kernel then ends every process in the PID namespace and frees every network namespace
(pid_namespaces(7), namespaces(7)). There is nothing to clean up, so nothing can be forgotten.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import selectors
import signal
import socket
import struct
import sys
from typing import Any, NamedTuple

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED, MNT_DETACH = 1 << 18, 1 << 19, 1 << 20, 2
PR_SET_PDEATHSIG = 1
NETNS_DIR, HOST_DIR = "/run/netns", "/run/netlab"
HOST_FILES = ("hosts", "resolv.conf", "hostname")
MESSAGE_LIMIT = 1 << 18
KINDS = ("user", "mnt", "pid", "uts", "ipc", "net")

Reply = tuple[dict[str, Any], list[int]]
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


def write(path: str, text: str) -> None:
    """Write a short text in one call, as files in /proc want it."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


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


class Host(NamedTuple):
    """One network namespace; the mount and UTS namespaces of its commands are made when the first one runs."""

    name: str
    net: int
    mnt: int = -1
    uts: int = -1


class Init:
    """The requests that PID 1 answers; each ``do_*`` method is one, and returns (reply, descriptors to send)."""

    def __init__(self, label: str, *, privileged: bool) -> None:
        self.label = label
        self.privileged = privileged
        self.hosts: dict[str, Host] = {}
        self.running: dict[int, tuple[str, int]] = {}
        self.base_net, self.base_mnt, self.base_uts = (open_namespace(kind) for kind in ("net", "mnt", "uts"))

    def answer(self, data: bytes, descriptors: list[int]) -> Reply:
        """Return the reply to one request; a failure becomes a reply too."""
        try:
            request: dict[str, Any] = json.loads(data)
            operation = getattr(self, "do_" + request.pop("op"))
            result: Reply = operation(descriptors, **request)
        except OSError as error:
            code = error.errno or errno.EIO
            return {"errno": code, "error": os.strerror(code), "call": str(error.filename or "")}, []
        except Exception as error:  # noqa: BLE001 - the owner waits for an answer, whatever went wrong
            return {"errno": errno.EINVAL, "error": f"{type(error).__name__}: {error}", "call": "sandbox"}, []
        return result

    # -- hosts ---------------------------------------------------------------

    def do_add_host(self, _: list[int], name: str, sysctls: dict[str, str], share: str | None = None) -> Reply:
        """Make a host: a network namespace with a name; reply with its descriptor and a route socket of it."""
        path, folder = f"{NETNS_DIR}/{name}", f"{HOST_DIR}/{name}"
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        net = -1
        try:
            if share is None:
                unshare(CLONE_NEWNET)
                for key, value in sysctls.items():
                    write(f"/proc/sys/{key}", value)
            else:
                setns(self.hosts[share].net, CLONE_NEWNET)
            net = open_namespace("net")
            mount("/proc/self/ns/net", path, None, MS_BIND)
            os.mkdir(folder)
            write(f"{folder}/hostname", name + "\n")
            write(f"{folder}/hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{name}\n")
            write(f"{folder}/resolv.conf", "# this host has no name server\n")
            route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except BaseException:
            if net >= 0:
                os.close(net)
            _libc.umount2(os.fsencode(path), MNT_DETACH)
            os.unlink(path)
            raise
        finally:
            setns(self.base_net, CLONE_NEWNET)
        self.hosts[name] = Host(name, net)
        return {"inode": os.fstat(net).st_ino}, [os.dup(net), route.detach()]

    def do_remove_host(self, _: list[int], name: str) -> Reply:
        """End a host's processes and give up its namespaces."""
        host = self.hosts.pop(name)
        inode = os.fstat(host.net).st_ino
        alone = all(os.fstat(other.net).st_ino != inode for other in self.hosts.values())
        for pid in self.members(host, include_net=alone):
            os.kill(pid, signal.SIGKILL)
        for descriptor in (host.net, host.mnt, host.uts):
            if descriptor >= 0:
                os.close(descriptor)
        _libc.umount2(os.fsencode(f"{NETNS_DIR}/{name}"), MNT_DETACH)
        os.unlink(f"{NETNS_DIR}/{name}")
        for file in HOST_FILES:
            os.unlink(f"{HOST_DIR}/{name}/{file}")
        os.rmdir(f"{HOST_DIR}/{name}")
        return {}, []

    def do_write_file(self, _: list[int], name: str, file: str, text: str) -> Reply:
        """Replace what the commands of a host see as /etc/hosts or /etc/resolv.conf."""
        if file not in HOST_FILES:
            raise FileNotFoundError(errno.ENOENT, "", file)
        write(f"{HOST_DIR}/{self.hosts[name].name}/{file}", text)
        return {}, []

    def do_read_file(self, _: list[int], name: str, file: str) -> Reply:
        """Return the text of such a file."""
        with open(f"{HOST_DIR}/{self.hosts[name].name}/{file}", encoding="utf-8") as source:
            return {"text": source.read()}, []

    def do_hostname(self, _: list[int], name: str, hostname: str) -> Reply:
        """Change the hostname that the commands of a host see."""
        host = self.furnish(name)
        setns(host.uts, CLONE_NEWUTS)
        try:
            socket.sethostname(hostname)
        finally:
            setns(self.base_uts, CLONE_NEWUTS)
        return {}, []

    def furnish(self, name: str) -> Host:
        """Give a host its mount and UTS namespaces if it has none yet: its own /etc/hosts, resolv.conf, hostname."""
        host = self.hosts[name]
        if host.mnt >= 0:
            return host
        setns(host.net, CLONE_NEWNET)
        try:
            unshare(CLONE_NEWNS | CLONE_NEWUTS)
            # A slave gets the names of hosts that are added later, and gives nothing back.
            mount("none", "/", None, MS_REC | MS_SLAVE)
            for file in HOST_FILES:
                target = os.path.realpath(f"/etc/{file}")
                if target.startswith("/run/") and not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    write(target, "")
                if os.path.exists(target):
                    mount(f"{HOST_DIR}/{name}/{file}", target, None, MS_BIND)
            socket.sethostname(name)
            host = self.hosts[name] = host._replace(mnt=open_namespace("mnt"), uts=open_namespace("uts"))
        finally:
            setns(self.base_net, CLONE_NEWNET)
            setns(self.base_uts, CLONE_NEWUTS)
            setns(self.base_mnt, CLONE_NEWNS)
        return host

    # -- what is read and written inside a network namespace --------------------

    def do_sysctl(
        self, _: list[int], name: str, values: dict[str, str] | None = None, keys: tuple[str, ...] = ()
    ) -> Reply:
        """Write and then read kernel settings of a host; a key is a path below /proc/sys."""
        setns(self.hosts[name].net, CLONE_NEWNET)
        try:
            for key, value in (values or {}).items():
                write(f"/proc/sys/{key}", value)
            return {"values": {key: read(f"/proc/sys/{key}") for key in keys}}, []
        finally:
            setns(self.base_net, CLONE_NEWNET)

    def do_peek(self, _: list[int], names: list[str], keys: list[str]) -> Reply:
        """Read files below /proc of many hosts; a file that is not there gives null."""
        found: dict[str, list[str | None]] = {}
        try:
            for name in names:
                setns(self.hosts[name].net, CLONE_NEWNET)
                found[name] = [read_if_there(f"/proc/{key}") for key in keys]
        finally:
            setns(self.base_net, CLONE_NEWNET)
        return {"values": found}, []

    def do_sockets(self, _: list[int], names: list[str | None], kind: tuple[int, int, int]) -> Reply:
        """Open one socket of a kind (family, type, protocol) in each host; null means the sandbox's own namespace."""
        opened: list[int] = []
        try:
            for name in names:
                setns(self.base_net if name is None else self.hosts[name].net, CLONE_NEWNET)
                opened.append(socket.socket(*kind).detach())
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        finally:
            setns(self.base_net, CLONE_NEWNET)
        return {}, opened

    # -- processes ---------------------------------------------------------------

    def do_spawn(self, stdio: list[int], name: str, argv: list[str], env: dict[str, str], cwd: str) -> Reply:
        """Start a command in a host; along come descriptors for stdin, stdout, stderr and its exit status."""
        host = self.furnish(name)
        failed, report = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self.become(host, stdio, report, (argv, env, cwd))
        os.close(report)
        with open(failed, "rb") as stream:
            problem = stream.read()
        if problem:
            os.waitpid(pid, 0)
            number, _, call = problem.decode().partition(" ")
            raise OSError(int(number), "", call)
        self.running[pid] = (name, os.dup(stdio[3]))
        return {"pid": pid}, []

    def become(self, host: Host, stdio: list[int], report: int, command: tuple[list[str], dict[str, str], str]) -> None:
        """Turn the forked child into the command, or report why not; never returns."""
        argv, env, cwd = command
        call = argv[0]
        try:
            os.setsid()
            setns(host.net, CLONE_NEWNET)
            setns(host.uts, CLONE_NEWUTS)
            setns(host.mnt, CLONE_NEWNS)
            call = f"cd {cwd}"
            os.chdir(cwd)
            call = argv[0]
            for number in range(3):
                os.dup2(stdio[number], number)
            # Python ignores these; a command expects the default (signal(7)).
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            os.write(report, f"{error.errno} {call}".encode())
        except BaseException as error:  # noqa: BLE001 - a child must never return into the loop
            os.write(report, f"{errno.EINVAL} {call}: {error}".encode())
        os._exit(127)

    def do_kill(self, _: list[int], pid: int, number: int) -> Reply:
        """Send a signal to a command and to all in its process group, unless it has ended."""
        if pid in self.running:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                return {"sent": False}, []
            return {"sent": True}, []
        return {"sent": False}, []

    def reap(self) -> None:
        """Collect the processes that ended and tell whoever waits for them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.running:
                _, descriptor = self.running.pop(pid)
                try:
                    os.write(descriptor, b"%d" % os.waitstatus_to_exitcode(status))
                except BrokenPipeError:
                    continue  # nobody waits for it any more
                finally:
                    os.close(descriptor)

    def members(self, host: Host, *, include_net: bool = True) -> list[int]:
        """Return the processes that run in a host, by their namespaces."""
        wanted = {("mnt", os.fstat(host.mnt).st_ino)} if host.mnt >= 0 else set()
        if include_net:
            wanted.add(("net", os.fstat(host.net).st_ino))
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or entry == "1":
                continue
            for kind, inode in wanted:
                try:
                    same = os.stat(f"/proc/{entry}/ns/{kind}").st_ino == inode
                except OSError:
                    continue  # it ended while we looked
                if same:
                    found.append(int(entry))
                    break
        return found

    def do_socket_owners(self, _: list[int]) -> Reply:
        """Tell which process holds which socket, by the socket's inode."""
        owners: dict[str, tuple[int, str]] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or entry == "1":
                continue
            try:
                targets = [os.readlink(f"/proc/{entry}/fd/{number}") for number in os.listdir(f"/proc/{entry}/fd")]
                process = read(f"/proc/{entry}/comm")
            except OSError:
                continue  # it ended while we looked
            for target in targets:
                if target.startswith("socket:["):
                    owners.setdefault(target[8:-1], (int(entry), process))
        return {"owners": owners}, []

    def do_info(self, _: list[int], *, processes: bool = False) -> Reply:
        """Describe the sandbox: its label, its hosts, and on request what runs in them."""
        hosts: dict[str, Any] = {name: {"inode": os.fstat(host.net).st_ino} for name, host in self.hosts.items()}
        if processes:
            for name, host in self.hosts.items():
                hosts[name]["processes"] = [[pid, command_line(pid)] for pid in self.members(host)]
        return {"label": self.label, "privileged": self.privileged, "hosts": hosts}, []

    def do_enter(self, _: list[int], name: str) -> Reply:
        """Reply with descriptors of all namespaces of a host, and their kinds (no user namespace if privileged)."""
        if name not in self.hosts:
            return {"errno": errno.ENOENT, "error": "no such host", "call": name, "hosts": list(self.hosts)}, []
        host = self.furnish(name)
        kinds = [kind for kind in KINDS if not (kind == "user" and self.privileged)]
        own = {"net": host.net, "mnt": host.mnt, "uts": host.uts}
        return {"kinds": kinds}, [os.dup(own[kind]) if kind in own else open_namespace(kind) for kind in kinds]


def command_line(pid: int) -> str:
    """Return a process's command line as one string; empty when it has ended."""
    try:
        return read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    except OSError:
        return ""


class Loop:
    """PID 1's event loop: the owner's requests, visitors of the same user, ended children."""

    def __init__(self, init: Init, control: socket.socket, listener: socket.socket, owner: int) -> None:
        self.init, self.control, self.listener = init, control, listener
        wake, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
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
            data, descriptors, _, _ = socket.recv_fds(visitor, 4096, 0)
            allowed = data and json.loads(data).get("op") in {"info", "enter"}
            if allowed:
                self.reply(visitor, data, descriptors)
                return
        except (OSError, ValueError):
            pass  # a visitor who breaks off or talks nonsense gets no answer
        self.selector.unregister(visitor)
        visitor.close()

    def serve(self, _: object) -> None:
        """Answer one request of the owner; exit when there is no owner any more."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.control, MESSAGE_LIMIT, 8)
            if not data:
                os._exit(0)
            self.reply(self.control, data, descriptors)
        except ConnectionError:
            os._exit(0)

    def reply(self, peer: socket.socket, data: bytes, descriptors: list[int]) -> None:
        """Send the answer to a request; close what came with it and our copies of what went."""
        answer, sent = self.init.answer(data, descriptors)
        try:
            socket.send_fds(peer, [json.dumps(answer).encode()], sent)
        finally:
            for descriptor in (*descriptors, *sent):
                os.close(descriptor)


def enter_user_namespace() -> None:
    """Become root of a new user namespace that maps this one user (user_namespaces(7))."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    # Without it, an ordinary user may not write gid_map: CVE-2014-8989.
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"0 {uid} 1")
    write("/proc/self/gid_map", f"0 {gid} 1")


def prepare_mounts() -> None:
    """Cut the mounts off from the machine; give the sandbox its own /proc and /run."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV)
    # The names of new hosts must reach the mount namespaces of the others.
    mount("none", "/run", None, MS_SHARED)
    for folder in (NETNS_DIR, HOST_DIR, "/run/lock"):
        os.mkdir(folder, 0o755)


def main(label: str, numbers: str, mode: str) -> None:
    """Make the namespaces, then be their first process."""
    control_number, listener_number, owner = (int(number) for number in numbers.split(","))
    control, listener = socket.socket(fileno=control_number), socket.socket(fileno=listener_number)
    try:
        if mode != "privileged":
            enter_user_namespace()
        unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
        child = os.fork()
        if child:
            for thing in (control, listener):
                thing.close()
            os.close(owner)
            os.waitpid(child, 0)
            os._exit(0)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prepare_mounts()
        init = Init(label, privileged=mode == "privileged")
        control.send(b'{"ready": true}')
    except OSError as error:
        problem = {"errno": error.errno, "error": error.strerror, "call": error.filename}
        control.send(json.dumps(problem).encode())
        os._exit(1)
    Loop(init, control, listener, owner).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
