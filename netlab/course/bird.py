"""Nodes that tell each other by BGP where their pods are, with the real BIRD, in the lab of an exercise."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from netlab.course.proof import find_route, main_routes, wait
from netlab.course.values import Verdict, failed, passed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlab.course.scene import Scene

#: Seconds that BIRD gets to be ready: a session takes one or two.
_PATIENCE = 5.0
#: Where the column Info begins in what ``birdc show protocols`` prints.
_INFO = 5
_CONF = """
router id {NAME_ip};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; }}
protocol kernel {{ scan time 1; ipv4 {{ import none; export where source != RTS_DEVICE; }}; }}
template bgp node {{
  local as {as_number};
  hold time 3; connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 {{ import all; export where net ~ {pods}; }};
}}
"""
#: Starts BIRD on NAME, which `for_role` fills in; it stays root, for it is so only inside the lab.
START = "bird -c /run/bird/{NAME}.conf -s /run/bird/{NAME}.ctl -P /run/bird/{NAME}.pid"


def build_nodes(scene: Scene, *roles: str) -> None:
    """Build nodes on one switch; each has a bridge for its pods, whose address stands for a pod.

    The values are {role}_ip, {role}_net (its range of pods) and {role}_pod; and ``pods``, ``spare_net``, ``spare_pod``.
    """
    switch, *nodes = scene.add_hosts("switch", *roles)
    switch.add_bridge("br0")
    network, pods = scene.network(), scene.network().supernet(new_prefix=16)
    numbers = scene.random.sample(range(10, 250), len(roles) + 1)
    ranges = [ip_network(f"{pods[number << 8]}/24") for number in numbers]
    for role, node, number, range_ in zip(roles, nodes, numbers, ranges, strict=False):
        scene.lab.connect(node, switch, f"{network[number]}/24", names=("eth0", node.name))
        switch.add_port("br0", node.name)
        node.sysctl["net.ipv4.ip_forward"] = 1
        node.add_bridge("cni0")
        node.add_address("cni0", f"{range_[1]}/24")
        scene.values |= {f"{role}_ip": str(network[number]), f"{role}_net": str(range_), f"{role}_pod": str(range_[1])}
    scene.values |= {"pods": str(pods), "spare_net": str(ranges[-1]), "spare_pod": str(ranges[-1][1])}
    # A private AS number (RFC 6996).
    scene.values["as_number"] = str(scene.random.randrange(64512, 65534))


def for_role(role: str, text: str) -> str:
    """Put a role in for NAME in a text that `Scene.fill` will fill."""
    return text.replace("{NAME", "{" + role)


def start_bird(scene: Scene, role: str, *peers: str, more: str = "") -> None:
    """Write a node's bird.conf, and start BIRD with a session to each of its peers; ``more`` is for each session."""
    sessions = "".join(
        f"protocol bgp {scene.values[peer]} from node {{{{ neighbor {{{peer}_ip}} as {{as_number}}; {more} }}}}\n"
        for peer in peers
    )
    text = scene.fill(for_role(role, _CONF) + sessions)
    script = 'mkdir -p /run/bird && cat >"$0"'
    scene.host(role).run("sh", "-c", script, f"/run/bird/{scene.values[role]}.conf", input=text, check=True)
    scene.work({role: for_role(role, START)})


def learned(scene: Scene, role: str, network: str, *, patience: float = _PATIENCE, gone: bool = False) -> bool:
    """Tell whether BIRD puts a route to this network into a node's kernel, or takes it away, within so many seconds."""

    def there() -> bool:
        route = find_route(scene, role, network)
        return route is not None and route.protocol == "bird"

    return wait(lambda: there() is not gone, patience)


def session(scene: Scene, role: str, peer: str) -> str:
    """Return what a node's BIRD says of its session with a peer: "Established", or what is in its way."""
    name = scene.values[peer]
    command = ("birdc", "-s", f"/run/bird/{scene.values[role]}.ctl", "show", "protocols", name)
    rows = [line.split(maxsplit=_INFO) for line in scene.host(role).run(*command).stdout.splitlines()]
    return next((" ".join(row[_INFO].split()) for row in rows if row[:1] == [name] and row[_INFO:]), "none")


def check_learned(
    scene: Scene, pairs: Iterable[tuple[str, str]], between: tuple[str, str], *, patience: float = _PATIENCE
) -> Verdict:
    """See that the first of each pair learned the second one's range by BGP, and no range else.

    ``between`` are the two roles whose session is looked at where something is missing.
    """
    values, pairs = scene.values, list(pairs)
    for one, other in pairs:
        network, here, peer = values[f"{other}_net"], values[one], values[between[1]]
        if learned(scene, one, network, patience=patience):
            continue
        expected = f"{here} has a route to {network} that BIRD keeps (proto bird)"
        if (route := find_route(scene, one, network)) is not None:
            text = f"{here} has {route}, with proto {route.protocol}: nobody takes it away when {values[other]} leaves"
            return failed(text, expected, "who wrote that route, and who should?")
        state = session(scene, *between)
        if not state.startswith("Established"):
            text = f"{values[between[0]]} says of its session with {peer}: {state}"
            return failed(text, "the session is Established", "`birdc show protocols all` on both sides.")
        look = f"`birdc show route` in {peer}: what does BIRD know, what may it tell, and whom?"
        return failed(f"the session is Established, and {here} has no route to {network}", expected, look)
    for one, other in pairs:
        told = [str(each.destination) for each in main_routes(scene.host(one)) if each.protocol == "bird"]
        if extra := set(told) - {values[f"{other}_net"]}:
            text = f"{values[one]} was told of {min(extra)} as well"
            return failed(text, "only the ranges of pods are announced", "what the channel of the session exports.")
    return passed("both sides learned each other's range, and nothing else")
