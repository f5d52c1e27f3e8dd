"""The BGP network: the real BIRD 2 on each node tells the others which pods are there, and learns where theirs are.

Nodes speak internal BGP (RFC 4271) with each other in a full mesh, or with one node that reflects (RFC 4456). BIRD puts
the routes into the kernel, marks them as its own (``proto bird``), and repairs them within a second. Between racks the
router takes part: it passes on to each rack what it hears from the others, with itself as the next hop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netlab.errors import CommandError, MissingFeatureError
from netlab.kernel import read
from netlab.kernel.process import DEVNULL
from netlab.kubernetes.networks.base import Network, repair_routes
from netlab.kubernetes.underlay import rack_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netlab.kernel.process import Process
    from netlab.kernel.values import IPNetwork
    from netlab.kubernetes.networks.base import Member

#: A private AS number (RFC 6996), as Calico uses.
AS_NUMBER = 64512
#: Seconds until BIRD answers after its start.
_PATIENCE = 5.0

_HEAD = """\
# {name}: written by netlab; birdc -s {folder}/bird.ctl talks to it.
router id {router_id};
log stderr all;
protocol device {{ scan time 1; }}
# How next hops are reached: they are neighbours on the underlay.
protocol direct {{ ipv4; ipv6; interface "eth*"; }}
"""
_FAMILY = """\
protocol static pods{version} {{
    {channel};
{statics}}}
protocol kernel kernel{version} {{
    scan time 1;
    {channel} {{ import none; export where source = RTS_BGP; }};
}}
"""
_PEER = """\
protocol bgp {name}_{version} {{
    description "{peer}";
    local {local} as {number};
    neighbor {remote} as {number};
    connect retry time 1;
    connect delay time 1;
    error wait time 1, 2;
    hold time 3;
    keepalive time 1;
{reflect}    {channel} {{ import all; export where {told}; next hop self; }};
}}
"""


_CLIENT = "    rr client;\n"


class Bgp(Network):
    """BIRD on each node; ``reflector`` names a node that the others speak to, instead of a full mesh."""

    name = "bgp"

    def __init__(self, pod_networks: Sequence[IPNetwork], reflector: str | None = None) -> None:
        """Serve the pods of a cluster."""
        super().__init__(pod_networks)
        self.reflector = reflector
        self._birds: dict[str, Process] = {}
        self._configs: dict[str, str] = {}

    def prepare(self, node: Member) -> None:
        """Start BIRD, with nobody to speak to yet; it stays the user it is, for it is root only inside the lab."""
        host, folder = node.host, folder_of(node)
        self._write(node, self.config(node, []))
        try:
            bird = host.popen(
                "bird", "-f", "-c", f"{folder}/bird.conf", "-s", f"{folder}/bird.ctl", stdout=DEVNULL, stderr=DEVNULL
            )
        except CommandError:
            text = "BGP needs BIRD 2, which is not installed; on Debian it is in the package bird2."
            raise MissingFeatureError(text) from None
        self._birds[node.name] = bird
        deadline = time.monotonic() + _PATIENCE
        while not host.run("birdc", "-s", f"{folder}/bird.ctl", "show", "status").ok:
            if bird.poll() is not None or time.monotonic() > deadline:
                problem = host.run("bird", "-p", "-c", f"{folder}/bird.conf").stderr
                raise CommandError(f"BIRD does not start on {node.name}: {problem.strip()}")
            time.sleep(0.01)  # its control socket appears without a word

    def reconcile(self, node: Member, others: Iterable[Member]) -> list[str]:
        """Keep BIRD running, with the sessions that the node should have; the routes are BIRD's own work."""
        others = list(others)
        if self._birds[node.name].poll() is not None:
            self.prepare(node)
        wanted = self.config(node, others)
        strangers = repair_routes(node, [], self.pod_networks, others="bird")
        if self._configs[node.name] == wanted:
            return strangers
        self._write(node, wanted)
        command = ("birdc", "-s", f"{folder_of(node)}/bird.ctl", "configure")
        result = node.host.run(*command, check=True)
        if "Reconfigur" not in result.stdout:
            raise CommandError(f"BIRD on {node.name} does not take its configuration: {result.stdout.strip()}")
        return [*strangers, f"ip netns exec {node.name} {' '.join(command)}"]

    def join(self, router: Member, nodes: Iterable[Member]) -> list[str]:
        """Run BIRD on the router, with a session to each node."""
        if router.name not in self._birds:
            self.prepare(router)
        return self.reconcile(router, nodes)

    def connected(self, node: Member, others: Iterable[Member]) -> bool:
        """Tell whether BIRD has put the routes to all others into the kernel: that takes a second or two."""
        routes = read.read_routes(node.host.namespace.route, node.host.namespace.names())
        known = {route.destination for route in routes if route.protocol == "bird" and route.via is not None}
        return all(range_ in known for other in others for range_ in other.pod_ranges)

    def leave(self, node: Member) -> None:
        """End BIRD."""
        bird = self._birds.pop(node.name, None)
        if bird is not None:
            bird.close()

    def _write(self, node: Member, text: str) -> None:
        script = 'mkdir -p "$0" && cat >"$0/bird.conf"'
        node.host.run("sh", "-c", script, folder_of(node), input=text, check=True)
        self._configs[node.name] = text

    # -- the configuration: pure ------------------------------------------------------

    def config(self, node: Member, others: Iterable[Member]) -> str:
        """Return the bird.conf of a node."""
        ipv4 = node.addresses.get(4)
        router_id = ipv4 if ipv4 is not None else f"0.0.{node.number >> 8}.{node.number & 255}"
        parts = [_HEAD.format(name=node.name, folder=folder_of(node), router_id=router_id)]
        for version in node.addresses:
            statics = "".join(f"    route {r} unreachable;\n" for r in node.pod_ranges if r.version == version)
            parts.append(_FAMILY.format(version=version, channel=f"ipv{version}", statics=statics))
        for other in self._peers(node, others):
            parts += [self._session(node, other, version) for version in node.addresses]
        if node.gateways:
            parts += [self._uplink(node, version) for version in node.addresses]
        return "".join(parts)

    def _peers(self, node: Member, others: Iterable[Member]) -> list[Member]:
        near = (other for other in others if node.rack in {0, other.rack})
        others = sorted(near, key=lambda other: other.number)
        reflector = self._reflector([node, *others])
        if reflector is None or reflector == node.name:
            return others
        return [other for other in others if other.name == reflector]

    def _reflector(self, members: Iterable[Member]) -> str | None:
        return self.reflector if self.reflector in {member.name for member in members} else None

    def _session(self, node: Member, other: Member, version: int) -> str:
        fields = {"name": f"to_node_{other.number}", "version": version, "peer": other.name, "number": AS_NUMBER}
        fields |= {"local": node.addresses[version], "remote": other.addresses[version], "channel": f"ipv{version}"}
        if node.rack == 0:
            # What it heard in this rack its nodes tell each other.
            told = f"source = RTS_BGP && !(from ~ {rack_network(version, other.rack)})"
            return _PEER.format(**{**fields, "local": other.gateways[version]}, reflect=_CLIENT, told=told)
        if self._reflector([node]) is not None:
            # A reflector passes on what it was told, and leaves the next hop to be the node that said it.
            told = f'proto = "pods{version}" || source = RTS_BGP'
            return _PEER.format(**fields, reflect=_CLIENT, told=told).replace("next hop self; ", "")
        return _PEER.format(**fields, reflect="", told=f'proto = "pods{version}"')

    @staticmethod
    def _uplink(node: Member, version: int) -> str:
        fields = {"name": "to_router", "version": version, "peer": "router", "number": AS_NUMBER, "reflect": ""}
        fields |= {"local": node.addresses[version], "remote": node.gateways[version], "channel": f"ipv{version}"}
        return _PEER.format(**fields, told=f'proto = "pods{version}"')


def folder_of(node: Member) -> str:
    """Return the folder of a node's BIRD inside the lab."""
    return f"/run/bird/{node.name}"
