"""The lab of one attempt: its hosts by their role, and the names and addresses that this attempt has."""

from __future__ import annotations

import random
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from netlab.errors import CommandError, InvalidInputError, NotFoundError
from netlab.kernel.read_links import read_interfaces
from netlab.kubernetes.commands import run_script
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netlab.course.values import Work
    from netlab.host import Host
    from netlab.kubernetes.cluster import Cluster

#: In a `Work`, what is done with kubectl and not in a host.
KUBECTL = "kubectl"
_NAMES = (
    "ada",
    "ben",
    "cleo",
    "dora",
    "emil",
    "finn",
    "gita",
    "hugo",
    "ines",
    "juri",
    "kaya",
    "leo",
    "mona",
    "nils",
    "olga",
)
#: Seconds that the commands of a solution or fault may take together in one host.
_PATIENCE = 20.0
_IPV4 = 4
#: Twice where the first ARP request was lost; whether the other side answers pings does not matter.
_PROBE = """
ping -c1 -W0.2 "$1" >/dev/null && exit
ip neigh show "$1" | grep -q lladdr || ping -c1 -W1.5 "$1" >/dev/null
"""


class Scene:
    """A lab whose hosts have roles; the seed decides what they and their networks are called.

    ``values`` holds what `fill` puts into texts: each role's host name, and what the setup adds.
    """

    def __init__(self, key: str, seed: str) -> None:
        """Make an empty lab; equal seeds give equal names and addresses."""
        # Not for secrets: the same attempt shall look the same after a restart.
        self.random = random.Random(f"{key} {seed}")  # noqa: S311
        self.key = key
        self._lab: Lab | None = None
        self._cluster: Cluster | None = None
        self.values: dict[str, str] = {}
        #: What the setup keeps for the check, such as a connection that is to stay open.
        self.kept: dict[str, Any] = {}
        self._answer: Callable[..., object] | None = None
        self._names = self.random.sample(_NAMES, len(_NAMES))
        self._networks = [
            IPv4Network((10 << 24 | second << 16 | third << 8, 24))
            for second, third in zip(
                self.random.sample(range(16, 120), 16), self.random.sample(range(1, 250), 16), strict=True
            )
        ]
        self._roles: dict[str, str] = {}

    @property
    def lab(self) -> Lab:
        """The lab; it is made when it is first asked for, unless a cluster brings its own."""
        if self._lab is None:
            self._lab = Lab(self.key)
        return self._lab

    def add_cluster(self, nodes: int = 3, **options: Any) -> Cluster:
        """Make a `Cluster`, whose lab is that of this scene; takes what `Cluster` takes."""
        from netlab.kubernetes.cluster import Cluster  # noqa: PLC0415 - most exercises have none

        if self._lab is not None:
            raise InvalidInputError("A scene has one lab: make the cluster before any host.")
        self._cluster = Cluster(nodes, name=self.key, **options)
        self._lab = self._cluster.lab
        return self._cluster

    @property
    def cluster(self) -> Cluster:
        """The cluster; raises NotFoundError where the scene has none."""
        if self._cluster is None:
            raise NotFoundError("There is no cluster in this exercise.")
        return self._cluster

    def name(self) -> str:
        """Return a name that this scene has not used yet."""
        return self._names.pop()

    def cast(self, role: str, host: str) -> None:
        """Give a role to a host that is there already, such as a pod of the cluster."""
        self._roles[role] = self.values[role] = host

    def add_hosts(self, *roles: str, names: Sequence[str] = ()) -> list[Host]:
        """Add a host for each role, called by ``names`` or by chance; ``lo`` is up, forwarding and rp_filter off."""
        hosts = []
        for role, name in zip(roles, names or [self.name() for _ in roles], strict=True):
            host = self.lab.add_host(name)
            host.set_link("lo", up=True)
            # A new namespace may inherit these from the machine.
            for key in ("ip_forward", "conf.all.rp_filter", "conf.default.rp_filter"):
                host.sysctl[f"net.ipv4.{key}"] = 0
            self.cast(role, host.name)
            hosts.append(host)
        return hosts

    def network(self) -> IPv4Network:
        """Return a /24 of 10.0.0.0/8 that this scene has not used yet."""
        return self._networks.pop()

    @property
    def roles(self) -> dict[str, str]:
        """The names of the hosts by their role."""
        return dict(self._roles)

    def host(self, role: str) -> Host:
        """Return the host that plays a role; raises NotFoundError, also when the reader has removed it."""
        if role not in self._roles:
            raise NotFoundError(f"There is no role {role!r} here. There are: {', '.join(self._roles)}.")
        return self.lab.host(self._roles[role])

    @property
    def answer(self) -> Callable[..., object]:
        """The reader's function, which the check looks at: see `Exercise.answer`. Raises NotFoundError without one."""
        if self._answer is None:
            raise NotFoundError("This exercise has no function of the reader's yet.")
        return self._answer

    @answer.setter
    def answer(self, function: Callable[..., object]) -> None:
        self._answer = function

    def fill(self, text: str) -> str:
        """Put this attempt's names and addresses in for ``{role}`` and ``{value}``; raises InvalidInputError."""
        try:
            return text.format_map(self.values)
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidInputError(f"{text!r} names what this scene has not: {error}.") from None

    def work(self, work: Work, *, checked: bool = True) -> None:
        """Run commands in the hosts, by their role, or with kubectl; raises at the first that fails if ``checked``."""
        for role, script in work.items():
            if role == KUBECTL:
                run_script(self.cluster, self.fill(script), checked=checked)
                continue
            options = "-ec" if checked else "-c"
            result = self.host(role).run("bash", options, self.fill(script), timeout=_PATIENCE)
            if checked and not result.ok:
                raise CommandError(
                    f"In {self.values[role]}: {result.stderr.strip() or result.stdout.strip()}",
                    returncode=result.returncode,
                )

    def settle(self) -> None:
        """Wait until each cable carries packets, by an echo request over it.

        An interface that is up drops what it sends until the kernel's link watch has seen its carrier
        (net/core/link_watch.c). Who sends earlier loses an ARP request, and the next one follows a second later.
        A cluster has waited for its own already.
        """
        if self._cluster is not None:
            return
        snapshot = self.lab.snapshot()
        seen: set[frozenset[tuple[str, str]]] = set()
        for state in snapshot.hosts:
            for link in state.interfaces:
                if link.peer is None or link.peer.host is None:
                    continue
                ends = frozenset({(state.name, link.name), (link.peer.host, link.peer.interface)})
                far = [one.address for one in snapshot[link.peer.host].addresses_of(link.peer.interface)]
                address = next((one.ip for one in far if one.version == _IPV4), None)
                if ends not in seen and address is not None:
                    self.lab.host(state.name).run("bash", "-c", _PROBE, "probe", str(address))
                seen.add(ends)

    def await_cables(self) -> None:
        """Wait until the kernel has switched through what was laid a moment ago; as `settle`, but without a packet."""
        if self._lab is None or self._cluster is not None:
            return
        for host in self._lab.hosts.values():
            for one in read_interfaces(host.namespace.route, lambda _: None):
                if one.up and one.carrier:
                    host.namespace.await_carrier(one.name)

    def close(self) -> None:
        """End the lab; may be called twice."""
        if self._cluster is not None:
            self._cluster.close()  # what works on it by itself is done then, or has not begun
        elif self._lab is not None:
            self._lab.close()
