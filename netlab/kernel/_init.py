"""What the first process of a sandbox does when it is asked: makes namespaces, starts commands, reads files.

Imported by `_start.py`, in isolated mode and with the standard library only.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING or __package__:
    from netlab.kernel import _calls
    from netlab.kernel._calls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, setns, write
    from netlab.kernel._glances import Glances
else:  # the package around this file is not imported there: it would take ten times as long
    import _calls
    from _calls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, setns, write
    from _glances import Glances

NETNS_DIR, HOST_DIR = "/run/netns", "/run/netlab"
HOST_FILES = ("hosts", "resolv.conf", "hostname")
KINDS = ("user", "mnt", "pid", "uts", "ipc", "net")
#: How often the processes of a host are looked for again when it is removed: some may be forking.
KILL_ROUNDS = 50

Reply = tuple[dict[str, Any], list[int]]


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
        self.began = time.monotonic_ns()
        self.hosts: dict[str, Host] = {}
        self.running: dict[int, tuple[str, int]] = {}
        # Each host takes a few descriptors, and a large lab more than the usual 1024.
        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit[1], self.limit[1]))
        self.glances = Glances(self.limit[1] // 4)
        self.base_net, self.base_mnt, self.base_uts = (_calls.open_namespace(kind) for kind in ("net", "mnt", "uts"))

    def answer(self, request: dict[str, Any], descriptors: list[int]) -> Reply:
        """Return the reply to one request; a failure becomes a reply too."""
        try:
            operation = getattr(self, "do_" + request.pop("op"))
            result: Reply = operation(descriptors, **request)
        except OSError as error:
            code = error.errno or errno.EIO
            return {"errno": code, "error": os.strerror(code), "call": str(error.filename or "")}, []
        except KeyError as error:
            return {"errno": errno.ENOENT, "error": "no such host", "call": "", "missing": str(error.args[0])}, []
        except Exception as error:  # noqa: BLE001 - the owner waits for an answer, whatever went wrong
            return {"errno": errno.EINVAL, "error": f"{type(error).__name__}: {error}", "call": "sandbox"}, []
        return result

    # -- hosts ---------------------------------------------------------------

    def do_add_host(self, _: list[int], name: str, sysctls: dict[str, str], share: str | None = None) -> Reply:
        """Make a host: a network namespace with a name; reply with its descriptor and a route socket of it."""
        path = f"{NETNS_DIR}/{name}"
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        net = -1
        try:
            if share is None:
                _calls.unshare(CLONE_NEWNET)
                for key, value in sysctls.items():
                    try:
                        write(f"/proc/sys/{key}", value)
                    except FileNotFoundError:
                        continue  # a kernel may be started without IPv6
            else:
                setns(self.hosts[share].net, CLONE_NEWNET)
            net = _calls.open_namespace("net")
            _calls.mount("/proc/self/ns/net", path, None, _calls.MS_BIND)
            route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        except BaseException:
            if net >= 0:
                os.close(net)
            remove_names(name)
            raise
        finally:
            setns(self.base_net, CLONE_NEWNET)
        self.hosts[name] = Host(name, net)
        return {"inode": os.fstat(net).st_ino}, [os.dup(net), route.detach()]

    def do_remove_host(self, _: list[int], name: str) -> Reply:
        """End a host's processes and give up its namespaces."""
        host = self.hosts.pop(name)
        self.glances.forget(name)
        inode = os.fstat(host.net).st_ino
        alone = all(os.fstat(other.net).st_ino != inode for other in self.hosts.values())
        for _round in range(KILL_ROUNDS):
            found = self.members(host, include_net=alone)
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it ended by itself
            if not found:
                break
        for descriptor in (host.net, host.mnt, host.uts):
            if descriptor >= 0:
                os.close(descriptor)
        remove_names(name)
        return {}, []

    def do_write_file(self, _: list[int], name: str, file: str, text: str) -> Reply:
        """Replace what the commands of a host see as /etc/hosts or /etc/resolv.conf."""
        if file not in HOST_FILES:
            raise FileNotFoundError(errno.ENOENT, "", file)
        write(f"{host_files(self.hosts[name].name)}/{file}", text)
        return {}, []

    def do_read_file(self, _: list[int], name: str, file: str) -> Reply:
        """Return the text of such a file."""
        with open(f"{host_files(self.hosts[name].name)}/{file}", encoding="utf-8") as source:
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
            _calls.unshare(CLONE_NEWNS | CLONE_NEWUTS)
            # A slave gets the names of hosts that are added later, and gives nothing back.
            _calls.mount("none", "/", None, _calls.MS_REC | _calls.MS_SLAVE)
            for file in HOST_FILES:
                target = os.path.realpath(f"/etc/{file}")
                if target.startswith("/run/") and not os.path.exists(target):
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    write(target, "")
                if os.path.exists(target):
                    _calls.mount(f"{host_files(name)}/{file}", target, None, _calls.MS_BIND)
            socket.sethostname(name)
            host = self.hosts[name] = host._replace(mnt=_calls.open_namespace("mnt"), uts=_calls.open_namespace("uts"))
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
            return {"values": {key: _calls.read(f"/proc/sys/{key}") for key in keys}}, []
        finally:
            setns(self.base_net, CLONE_NEWNET)

    def do_peek(self, _: list[int], names: list[str], keys: list[str]) -> Reply:
        """Read files below /proc of many hosts; a file that is not there gives null."""
        found: dict[str, list[str | None]] = {}
        try:
            for name in names:
                setns(self.hosts[name].net, CLONE_NEWNET)
                found[name] = [_calls.read_if_there(f"/proc/{key}") for key in keys]
        finally:
            setns(self.base_net, CLONE_NEWNET)
        return {"values": found}, []

    def do_glance(self, _: list[int], names: list[str], since: int) -> Reply:
        """Reply which hosts have other numbers of sockets and connections than in the round ``since``."""
        try:
            return self.glances.look({name: self.hosts[name].net for name in names}, since), []
        finally:
            setns(self.base_net, CLONE_NEWNET)

    def do_sockets(self, _: list[int], names: list[str | None], kind: tuple[int, int, int]) -> Reply:
        """Open one socket of a kind (family, type, protocol) in each host; null means the sandbox's own namespace."""
        opened: list[int] = []
        try:
            for name in names:
                setns(self.base_net if name is None else self.hosts[name].net, CLONE_NEWNET)
                opened.append(socket.socket(*kind).detach())
        except BaseException:
            _calls.close_all(opened)
            raise
        finally:
            setns(self.base_net, CLONE_NEWNET)
        return {}, opened

    # -- processes ---------------------------------------------------------------

    def do_spawn(self, stdio: list[int], name: str, argv: list[str], env: dict[str, str], cwd: list[str]) -> Reply:
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

    def become(
        self, host: Host, stdio: list[int], report: int, command: tuple[list[str], dict[str, str], list[str]]
    ) -> None:
        """Turn the forked child into the command, or report why not; never returns."""
        argv, env, cwd = command
        call = argv[0]
        try:
            os.setsid()
            setns(host.net, CLONE_NEWNET)
            setns(host.uts, CLONE_NEWUTS)
            setns(host.mnt, CLONE_NEWNS)
            call = f"cd {cwd[0]}"
            change_directory(cwd)
            call = argv[0]
            for number in range(3):
                os.dup2(stdio[number], number)
            # What Python, or whoever started it, ignores; a command expects the default (signal(7)).
            for each in signal.valid_signals():
                if signal.getsignal(each) == signal.SIG_IGN:
                    signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            resource.setrlimit(resource.RLIMIT_NOFILE, self.limit)
            signal.set_wakeup_fd(-1)
            os.execve(find_program(argv[0], env.get("PATH", "")), argv, env)
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
                process = _calls.read(f"/proc/{entry}/comm")
            except OSError:
                continue  # it ended while we looked
            for target in targets:
                if target.startswith("socket:["):
                    owners.setdefault(target[8:-1], (int(entry), process))
        return {"owners": owners}, []

    def do_nothing(self, _: list[int]) -> Reply:
        """Answer, so that the owner sees that all before was answered."""
        return {}, []

    def do_info(self, _: list[int], *, processes: bool = False) -> Reply:
        """Describe the sandbox: its label, its hosts, and on request what runs in them."""
        hosts: dict[str, Any] = {name: {"inode": os.fstat(host.net).st_ino} for name, host in self.hosts.items()}
        if processes:
            for name, host in self.hosts.items():
                hosts[name]["processes"] = [[pid, command_line(pid)] for pid in self.members(host)]
        about = {"label": self.label, "privileged": self.privileged, "began": self.began}
        return {**about, "hosts": hosts}, []

    def do_enter(self, _: list[int], name: str) -> Reply:
        """Reply with descriptors of all namespaces of a host, and their kinds (no user namespace if privileged)."""
        if name not in self.hosts:
            return {"errno": errno.ENOENT, "error": "no such host", "call": name, "hosts": list(self.hosts)}, []
        host = self.furnish(name)
        kinds = [kind for kind in KINDS if not (kind == "user" and self.privileged)]
        own = {"net": host.net, "mnt": host.mnt, "uts": host.uts}
        return {"kinds": kinds}, [os.dup(own[kind]) if kind in own else _calls.open_namespace(kind) for kind in kinds]


def find_program(name: str, path: str) -> str:
    """Return the first program of this name on a path; execvpe(3) would blame a folder that it may not enter."""
    if "/" in name:
        return name
    for folder in path.split(":"):
        if os.access(f"{folder}/{name}", os.X_OK) and os.path.isfile(f"{folder}/{name}"):
            return f"{folder}/{name}"
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def change_directory(choices: list[str]) -> None:
    """Go to the first directory that can be entered; raises the OSError of the last."""
    for choice in choices[:-1]:
        try:
            return os.chdir(choice)
        except OSError:
            continue
    return os.chdir(choices[-1])


def host_files(name: str) -> str:
    """Return the folder of what the commands of a host see in /etc; most hosts of a large lab never need it."""
    folder = f"{HOST_DIR}/{name}"
    if os.path.exists(folder):
        return folder
    os.mkdir(folder)
    write(f"{folder}/hostname", name + "\n")
    write(f"{folder}/hosts", f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t{name}\n")
    write(f"{folder}/resolv.conf", "# this host has no name server\n")
    return folder


def remove_names(name: str) -> None:
    """Remove a host's files, and its name from `ip netns`."""
    path, folder = f"{NETNS_DIR}/{name}", f"{HOST_DIR}/{name}"
    _calls.detach_mount(path)
    os.unlink(path)
    if os.path.exists(folder):
        for file in os.listdir(folder):
            os.unlink(f"{folder}/{file}")
        os.rmdir(folder)


def command_line(pid: int) -> str:
    """Return a process's command line as one string; empty when it has ended."""
    try:
        return _calls.read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    except OSError:
        return ""
