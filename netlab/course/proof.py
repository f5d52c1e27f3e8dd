"""What checks ask of a lab: real packets, and the way that they took."""

from __future__ import annotations

import json
import time
from itertools import takewhile
from typing import TYPE_CHECKING

from netlab.course.values import Verdict, failed, passed
from netlab.kernel import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netlab.course.scene import Scene
    from netlab.host import Host
    from netlab.journey.values import Drop, Journey
    from netlab.kernel.values import Route

#: Seconds to wait for an answer that does not come: a check shall be over within two.
_PATIENCE = 0.5
#: Where to look when a packet ends, by `Drop.kind`; ``{host}`` is where it ended.
_LOOK = {
    "no-route": "`ip route get` in {host}, with that address: which destinations does {host} know?",
    "neighbour": "the route in {host}: does it name a next hop, and does somebody on that cable have its address?",
    "ip-forward": "the sysctl of {host} that makes a host pass on what is not for itself.",
    "blackhole": "`ip route` in {host}, all of it: which route matches best?",
    "unreachable": "`ip route` in {host}, all of it: which route matches best?",
    "rp-filter": "which way {host} itself would take to the source of that packet, and its rp_filter.",
    "too-big": "the MTU of both ends of that cable, with `ip link`.",
    "no-fdb": "`bridge fdb show` in {host}: it is the map from MAC addresses to where they are.",
    "wrong-mac": "the neighbour entry and the FDB of whoever sent that frame: which MAC address, and where is it?",
    "no-tunnel": "`ip -d link show type vxlan` on both ends: what must be the same?",
    "no-listener": "`ss -tln` in {host}: who listens, and on which address and port?",
    "reject": "the rule that refused it, in {host}: is it in the right chain, and at the right place in it?",
    "rule": "the rule that dropped it, in {host}: is it in the right chain, and at the right place in it?",
    "policy": "what {host} does with packets that no rule of that chain matches.",
}


def follow(scene: Scene, client: str, destination: str, *, by: Sequence[str], explain: bool = True) -> Verdict:
    """Send a packet from a role to an address; it must take the way ``by`` (roles after the client), and back.

    It is TCP to ``address:port``, or an echo request to an address alone. A working answer by another way does not
    pass. ``explain=False`` says where the packet ended but not why: for faults that the reader is to find.
    """
    start = scene.host(client)
    address, _, port = destination.partition(":")
    journey = _trace(scene, start.name, address, int(port) if port else None)
    wanted = (start.name, *(scene.values[role] for role in by))
    what = f"{address}, port {port}," if port else address
    expected = f"{what} answers {start.name}, and the packets go {_way(wanted)} and the same way back"
    if not explain and not journey.ok:
        return failed(
            _last_seen(journey, start.name), expected, "a capture where it was last seen, and one step further."
        )
    if journey.drop is not None:
        return failed(_ended(journey, journey.drop), expected, _look(journey.drop), str(journey))
    if not journey.ok:
        return failed(
            f"no answer from {what} came back to {start.name}",
            expected,
            "where the last packet was seen.",
            str(journey),
        )
    for words, way, right in (
        ("request", journey.path, wanted),
        ("answer", journey.way_back, tuple(reversed(wanted))),
    ):
        if way != right:
            return failed(
                f"there is an answer, but the {words} went {_way(way)}, and not {_way(right)}",
                expected,
                f"`ip route get` in {_fork(journey, way, right)}: it says which way a packet takes from there.",
                str(journey),
            )
    return passed(f"{what} answered {start.name}, and the packets went {_way(wanted)} and back")


def _trace(scene: Scene, client: str, destination: str, port: int | None) -> Journey:
    protocol = "tcp" if port else "icmp"
    begin = time.monotonic()
    journey = scene.lab.trace(client, destination, port, protocol=protocol, timeout=_PATIENCE)
    late = time.monotonic() - begin > _PATIENCE
    if journey.drop is not None and journey.drop.kind == "unexplained" and not late:
        # A late packet of an earlier connection may have crossed it.
        journey = scene.lab.trace(client, destination, port, protocol=protocol, timeout=_PATIENCE)
    return journey


def _fork(journey: Journey, way: Sequence[str], right: Sequence[str]) -> str:
    """Return the host that chose another way than the right one: the last that both have and that routes."""
    routers = {step.host for step in journey.steps if step.kind == "route"}
    common = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], zip(way, right, strict=False))]
    return next((host for host in reversed(common) if host in routers), right[0])


def _way(hosts: Sequence[str]) -> str:
    return " → ".join(hosts) or "nowhere"


def _ended(journey: Journey, drop: Drop) -> str:
    packet = "the answer" if drop.leg == "reply" else "the packet"
    text = f"{packet} ended in {drop.host}: {drop.reason}"
    if drop.kind in {"rule", "reject", "policy"}:
        # A filter sees other addresses than a user typed, once NAT has been at work.
        here = [step.after for step in journey.steps if step.host == drop.host and step.leg == drop.leg and step.after]
        text += f". There it went from {here[-1].from_text} to {here[-1].to_text}" if here else ""
    return text


def _last_seen(journey: Journey, client: str) -> str:
    if journey.drop is None:
        return f"no answer came back to {client}"
    packet = "the answer" if journey.drop.leg == "reply" else "the packet"
    return f"{packet} was last seen in {journey.drop.host}"


def _look(drop: Drop) -> str:
    return _LOOK.get(drop.kind, "the last step of its journey, in {host}.").format(host=drop.host)


def ping(scene: Scene, role: str, destination: str, *options: str) -> bool:
    """Tell whether one echo request from a role is answered within half a second; ``options`` are ping's."""
    return scene.host(role).run("ping", "-n", "-c1", "-W0.5", *options, destination, timeout=3).ok


def next_hop(scene: Scene, role: str, destination: str) -> tuple[str | None, str | None]:
    """Return (gateway, interface) that a role would use for an address, each None where there is none."""
    words = scene.host(role).run("ip", "route", "get", destination).stdout.split()
    gateway, device = (words[words.index(key) + 1] if key in words else None for key in ("via", "dev"))
    return gateway, device


def first_failure(*verdicts: Verdict) -> Verdict:
    """Return the first verdict that did not pass, or the last one; they were all asked for already."""
    return next((verdict for verdict in verdicts if not verdict.passed), verdicts[-1])


def ask(scene: Scene, role: str, address: str, port: int | str, *, patience: float = 0.8) -> dict[str, object] | None:
    """Return what the server at a port told a role over HTTP, or None if nothing came; ``patience`` in seconds."""
    url = f"http://{address}:{port}/"
    result = scene.host(role).run("curl", "-sS", "-m", str(patience), url, timeout=3)
    try:
        told = json.loads(result.stdout)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def main_routes(host: Host) -> list[Route]:
    """Return the routes of a host's table main, as the kernel has them now."""
    routes = read.read_routes(host.namespace.route, host.namespace.names())
    return [route for route in routes if route.table == "main"]


def find_route(scene: Scene, role: str, network: str) -> Route | None:
    """Return a role's route to exactly this network, the one that the kernel prefers, or None."""
    return next((one for one in main_routes(scene.host(role)) if str(one.destination) == network), None)


def wait(true: Callable[[], bool], seconds: float) -> bool:
    """Tell whether something comes true within so many seconds; for what a daemon does by itself."""
    deadline = time.monotonic() + seconds
    while not (now := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return now
