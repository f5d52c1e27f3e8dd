"""A Host: one network namespace that a learner can give interfaces, addresses, routes, rules and processes."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from netlab.addressing import Addressing
from netlab.caller import Call, count_answers
from netlab.errors import CommandError, InvalidInputError
from netlab.firewall import restore
from netlab.interfaces import Interfaces
from netlab.kernel import check
from netlab.kernel.capture import Capture
from netlab.kernel.process import DEVNULL, PIPE, Place, Process, Result, Streams, describe_status, run
from netlab.kernel.sysctl import Sysctls
from netlab.server import Server

if TYPE_CHECKING:
    import os
    from collections import Counter
    from collections.abc import Mapping, Sequence
    from typing import IO

    from netlab.journey.values import Journey
    from netlab.kernel.namespace import Namespace
    from netlab.kernel.values import HostState
    from netlab.lab import Lab
    from netlab.view.rules import Rules


class Host(Interfaces, Addressing):
    """One network namespace with a name, a hostname, its own /etc/hosts and resolv.conf, and processes.

    Made by `Lab.add_host`. What the kernel refuses is raised as KernelError and changes nothing.
    """

    def __init__(self, lab: Lab, namespace: Namespace) -> None:
        """Wrap a namespace; use `Lab.add_host` instead."""
        self.lab = lab
        self.namespace = namespace
        self.name = namespace.name
        self.sysctl = Sysctls(namespace.sandbox, self.name)

    def __repr__(self) -> str:
        """Return the host's name and lab."""
        return f"<Host {self.name} in lab {self.lab.name}>"

    def state(self) -> HostState:
        """Read this host from the kernel, as it is now."""
        return self.lab.read([self])[self.name]

    # -- processes ------------------------------------------------------------

    def run(
        self,
        *argv: str,
        input: str | bytes = b"",  # noqa: A002 - the name that subprocess.run has
        timeout: float | None = None,
        check: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command in this host and wait for its end; ``timeout`` in seconds.

        Raises CommandTimeoutError when the time is up, and with ``check`` CommandError for an exit status other than
        0. An interrupt ends the command, not the lab.
        """
        data = input.encode() if isinstance(input, str) else input
        result = run(self.popen(*argv, stdin=PIPE if data else DEVNULL, env=env), data, timeout)
        if check and not result.ok:
            status = describe_status(result.returncode)
            raise CommandError(
                f"{shlex.join(argv)} failed in {self.name} ({status}): {result.stderr.strip()}",
                returncode=result.returncode,
                stdout=result.stdout,
                stderr=result.stderr,
            )
        return result

    def popen(
        self,
        *argv: str,
        stdin: IO[bytes] | int = DEVNULL,
        stdout: IO[bytes] | int = PIPE,
        stderr: IO[bytes] | int = PIPE,
        **options: Any,
    ) -> Process:
        """Start a command in this host and return at once; it ends with the lab at the latest.

        The streams are as for subprocess.Popen. ``options``: ``env`` (more environment variables), ``cwd``.
        """
        words: tuple[object, ...] = argv
        if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
            raise InvalidInputError(f'A command is given word by word, as in host.run("ip", "addr"); not as {argv!r}.')
        if unknown := set(options) - {"env", "cwd"}:
            raise InvalidInputError(f"popen takes the options env and cwd; not {', '.join(sorted(unknown))}.")
        streams = Streams(stdin, stdout, stderr)
        return Process(
            self.namespace.sandbox, self.name, argv, streams, Place(options.get("env") or {}, options.get("cwd"))
        )

    def serve(self, port: int, *, protocol: str = "tcp", address: str | None = None) -> Server:
        """Start a server that says who answered and who called: HTTP over TCP, or JSON datagrams with protocol="udp".

        It listens on all addresses of both families, or on one. Raises CommandError where the port is taken.
        """
        check.port(port)
        if protocol not in {"tcp", "udp"}:
            raise InvalidInputError(f'The protocol must be "tcp" or "udp"; {protocol!r} is not.')
        bind = str(check.address(address)) if address is not None else "::"
        return Server(self.popen(sys.executable, *Server.command(self.name, protocol, bind, port)), protocol, port)

    def call(self, address: str, port: int, *, patience: float = 1.0) -> Call:
        """Open a connection from this host to an HTTP server, which stays open until you close it.

        It waits ``patience`` seconds at most, now and for each answer; what became of it is in its ``state``.
        """
        return Call(self, address, port, patience)

    def count_answers(self, address: str, port: int, times: int, *, patience: float = 1.0) -> Counter[str]:
        """Ask an HTTP server many times, each over a connection that ends by a reset; return how often each answered.

        Servers are called as `serve` and pods call themselves. Where none answered, "refused", "silence" (no answer
        to any of them for ``patience`` seconds), "reset" or "hung up" is counted.
        """
        return count_answers(self, address, port, times, patience)

    # -- firewall ---------------------------------------------------------------

    def iptables(self, *arguments: str) -> Result:
        """Run iptables with these arguments; raises CommandError with its words where it refuses (iptables(8))."""
        return self.run("iptables", "-w", *arguments, check=True)

    def ip6tables(self, *arguments: str) -> Result:
        """Run ip6tables; as `iptables`."""
        return self.run("ip6tables", "-w", *arguments, check=True)

    def restore_iptables(self, text: str, *, family: str = "ipv4", flush: bool = True) -> Result:
        """Load a rule set in the form of iptables-save, all of it or nothing (iptables-restore(8)).

        ``flush=False`` leaves the chains alone that the text does not name.
        """
        return restore(self, text, family, flush=flush)

    def nft(self, text: str) -> Result:
        """Load an nftables script, all of it or nothing (nft(8))."""
        return self.run("nft", "-f", "-", input=text + "\n", check=True)

    def rules(self, journey: Journey | None = None) -> Rules:
        """Return this host's iptables and nftables rules as a walk: shown live in a notebook, printed as text.

        The rules that a ``journey`` met here (see `Lab.trace`) are marked.
        """
        from netlab.view.rules import Rules  # noqa: PLC0415 - a host without a notebook needs no widgets

        found = Rules(self)
        if journey is not None:
            found.mark_journey(journey)
        return found

    # -- packets -------------------------------------------------------------------

    def capture(
        self,
        interface: str = "any",
        *,
        filter: str | None = None,  # noqa: A002 - the word that every capture program uses
        path: str | os.PathLike[str] | None = None,
    ) -> Capture:
        """Capture packets on an interface, or on "any"; use it in a ``with`` block.

        ``filter`` is in the syntax of pcap-filter(7); ``path`` names a pcapng file to write when the block ends.
        """
        name = check.interface_name(interface)
        index = 0 if name == "any" else self.namespace.index(name)
        return Capture(self.namespace, (name, index), filter, path)

    def trace(self, destination: str, port: int | None = None, **options: Any) -> Journey:
        """Send a real packet from this host and return its journey; takes what `Lab.trace` takes."""
        return self.lab.trace(self, destination, port, **options)

    # -- what processes see -----------------------------------------------------------

    @property
    def hostname(self) -> str:
        """The hostname that commands of this host see (UTS namespace); may be set."""
        return self.run("uname", "-n", check=True).stdout.strip()

    @hostname.setter
    def hostname(self, name: str) -> None:
        self.namespace.sandbox.request("hostname", name=self.name, hostname=check.host_name(name))

    def add_hosts_entry(self, address: str, *names: str) -> None:
        """Add a line to the /etc/hosts that commands of this host see (hosts(5))."""
        if not names:
            raise InvalidInputError("A line of /etc/hosts needs at least one name.")
        line = f"{check.address(address)}\t{' '.join(check.host_name(name) for name in names)}\n"
        self._write("hosts", self.read_file("hosts") + line)

    def set_resolv_conf(
        self, nameservers: Sequence[str], *, search: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        """Write the /etc/resolv.conf that commands of this host see (resolv.conf(5))."""
        lines = [f"nameserver {check.address(server)}" for server in nameservers]
        lines += [f"search {' '.join(check.word(domain, 'A search domain') for domain in search)}"] if search else []
        lines += [f"options {' '.join(check.word(option, 'An option') for option in options)}"] if options else []
        self._write("resolv.conf", "\n".join(lines) + "\n")

    def read_file(self, name: str) -> str:
        """Return what commands of this host see in /etc/hosts or /etc/resolv.conf, by the file's last name."""
        if name not in {"hosts", "resolv.conf", "hostname"}:
            raise InvalidInputError(f"A host has its own hosts, resolv.conf and hostname; not {name!r}.")
        return str(self.namespace.sandbox.request("read_file", name=self.name, file=name)[0]["text"])

    def _write(self, name: str, text: str) -> None:
        self.namespace.sandbox.request("write_file", name=self.name, file=name, text=text)
