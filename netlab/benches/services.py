"""Measure the Service proxy: how long syncs take, and what a connection pays, as the number of Services grows."""

from __future__ import annotations

import os
import re
import socket
import statistics
import time
import tracemalloc
from typing import TYPE_CHECKING

from netlab.benches.measure import Figure, at_most, clock, ratio
from netlab.benches.plot import Chart, Point
from netlab.kubernetes.arena import EVERYWHERE, NODE, Arena
from netlab.kubernetes.proxy import Family, Inventory, LocalDetector, Settings, as_document, iptables, nftables
from netlab.kubernetes.proxy.applier import Applier
from netlab.kubernetes.proxy.batches import split_iptables, split_nft
from netlab.kubernetes.proxy.loading import load
from netlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from netlab.host import Host
    from netlab.kubernetes.proxy import Field

MODES = ("iptables", "nftables")
SETTINGS = Settings(Family.IPV4, NODE, "192.168.0.2", detector=LocalDetector("source", "10.128.0.0/9"))
CLIENT = "10.127.0.2"
PODS = 3
_CONNECTIONS = 200
#: How often a first sync is measured, by the number of Services, else three times: the short ones vary most.
_ROUNDS = {100: 15, 1000: 7}
_FIRST = {("iptables", 5000): 6.0, ("iptables", 10000): 25.0}
_CHANGE = {1000: 0.1, 10000: 0.5}
_CONNECT = "{mode}: connect to the last of {size} Services"
_CONNECTS = re.compile(_CONNECT.format(mode=r"(\w+)", size=r"(\d+)"))
_TOOLS = {"iptables": ("iptables-restore", "--noflush", "-w"), "nftables": ("nft", "-f", "-")}


def sizes(*, quick: bool) -> tuple[int, ...]:
    """Return how many Services to measure with: an ordinary user's lab is too slow for the largest numbers."""
    if quick:
        return (100, 1000)
    return (100, 1000, 5000, 10000) if os.geteuid() == 0 else (100, 1000, 5000)


def service(number: int, pods: int = PODS) -> list[Field]:
    """Return a Service with its EndpointSlice; the addresses follow from its number."""
    name = f"s{number:05}"
    spec = {"clusterIP": f"10.96.{number >> 8}.{number & 255}", "ports": [{"port": 80}]}
    endpoints = [{"addresses": [address]} for address in addresses(number, pods)]
    metadata = {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}
    piece = {"kind": "EndpointSlice", "addressType": "IPv4", "metadata": metadata, "ports": [{"port": 8080}]}
    return [
        as_document({"kind": "Service", "metadata": {"name": name}, "spec": spec}),
        as_document({**piece, "endpoints": endpoints}),
    ]


def addresses(number: int, pods: int = PODS) -> list[str]:
    """Return the addresses of a Service's pods."""
    first = number * 8
    return [f"10.{128 + (place >> 16)}.{place >> 8 & 255}.{place & 255}" for place in range(first, first + pods)]


def services(count: int) -> Inventory:
    """Return that many Services with three endpoints each."""
    return Inventory.empty(SETTINGS).update(field for number in range(count) for field in service(number))


def measure(sizes: Sequence[int], rounds: int, told: Callable[[str], object]) -> Iterator[Figure]:
    """Yield all figures: syncs in both modes for each size, and connections to the last Service.

    As root the lab is a privileged one, in which a transaction may be of any size. ``told`` is told what is measured.
    """
    privileged = os.geteuid() == 0
    for size in sizes:
        told(f"{size} Services")
        inventory = services(size)
        for mode in MODES:
            told(f"{size} Services, {mode}")
            yield from _syncs(mode, inventory, rounds, privileged=privileged)
            yield _memory(mode, inventory, privileged=privileged)
    yield from measure_connections((10, *(size for size in sizes if size != 100)), told)  # noqa: PLR2004 - 10 tells more


def measure_connections(sizes: Sequence[int], told: Callable[[str], object] = str) -> Iterator[Figure]:
    """Yield what it takes to connect to the last of some numbers of Services, in both modes."""
    for size in sizes:
        told(f"connections through {size} Services")
        yield from _connections(size, privileged=os.geteuid() == 0)


def _syncs(mode: str, inventory: Inventory, rounds: int, *, privileged: bool) -> Iterator[Figure]:
    size = len(inventory.state.services)
    name = f"{mode}, {size} Services"
    tool = _TOOLS[mode][0]
    text = _text(mode, inventory)
    alone, first = [], []
    with Lab("bench", privileged=privileged) as lab:
        for number in range(_ROUNDS.get(size, 3)):
            # Each in a host that never had rules, and in which a command has run before.
            bare, host = lab.add_host(f"bare{number}"), lab.add_host(f"node{number}")
            for each in (bare, host):
                each.run("true", check=True)
            alone.append(_alone(bare, mode, text))
            applier = Applier(host, SETTINGS, mode)
            first.append(clock(lambda applier=applier: applier.sync(inventory)))  # type: ignore[misc]
            lab.remove_host(bare)
        figures = (
            Figure(f"{name}: {tool} alone", "s", tuple(alone)),
            _limited(f"{name}: first sync", first, _FIRST.get((mode, size))),
        )
        yield from figures
        yield ratio(f"{name}: first sync / {tool} alone", figures[1], figures[0], ("≤", 1.2))
        times = []
        for number in range(rounds):
            changed = service(size // 2, PODS + 1 + number % 2)

            def change(changed: list[Field] = changed) -> None:
                nonlocal inventory
                inventory = inventory.update(changed[1:])
                applier.sync(inventory)

            times.append(clock(change))
        yield _limited(f"{name}: one endpoint changed", times, _CHANGE.get(size))


def _limited(what: str, values: list[float], limit: float | None) -> Figure:
    return Figure(what, "s", tuple(values)) if limit is None else at_most(what, "s", values, limit)


def _text(mode: str, inventory: Inventory) -> str:
    if mode == "iptables":
        return iptables.first(iptables.build(inventory.state))
    return nftables.first(nftables.build(inventory.state))


def _alone(host: Host, mode: str, text: str) -> float:
    """Load a text as it is; in an ordinary user's lab in pieces, since it takes no large transactions."""
    parts = [text]
    if not host.namespace.sandbox.privileged:
        parts = [split_iptables(text)] if mode == "iptables" else split_nft(text)
    began = time.perf_counter()
    for part in parts:
        load(host, _TOOLS[mode], [part])
    return time.perf_counter() - began


def _memory(mode: str, inventory: Inventory, *, privileged: bool) -> Figure:
    """Measure what a first sync takes in our program at most, the rules it keeps included, against its text."""
    length = len(_text(mode, inventory))
    with Lab("bench", privileged=privileged) as lab:
        applier = Applier(lab.add_host(NODE), SETTINGS, mode)
        tracemalloc.start()
        applier.sync(inventory)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    what = f"{mode}, {len(inventory.state.services)} Services: memory of a first sync / its text"
    return Figure(what, "×", (peak / length,), "≤ 3 ×", peak <= 3 * length)


# -- what is shown besides the table of figures ------------------------------------------


def connection_times(figures: Sequence[Figure]) -> dict[str, dict[int, Figure]]:
    """Return what a connection to the last Service paid, by mode and number of Services."""
    found: dict[str, dict[int, Figure]] = {}
    for figure in figures:
        if match := _CONNECTS.fullmatch(figure.what):
            found.setdefault(match[1], {})[int(match[2])] = figure
    return found


def draw_connections(figures: Sequence[Figure]) -> str:
    """Return a plot of it, as an SVG: the median, and the range in which eight of ten connections were."""
    lines = {
        f"{mode} mode": [_point(size, figure) for size, figure in by_size.items()]
        for mode, by_size in connection_times(figures).items()
    }
    return Chart("What a connection to the last Service pays", "Services", "µs to connect", lines).svg()


def _point(size: int, figure: Figure) -> Point:
    tenths = statistics.quantiles(figure.values, n=10)
    return Point(size, tenths[0], statistics.median(figure.values), tenths[-1])


# -- connections -------------------------------------------------------------------


def _connections(size: int, *, privileged: bool) -> Iterator[Figure]:
    inventory, last = services(size), size - 1
    for mode in MODES:
        with Lab("bench", privileged=privileged) as lab, Arena(lab, [], [CLIENT, *addresses(last)]) as arena:
            for address in addresses(last):
                arena.connections.listen(arena.owner(address), "TCP", 8080, EVERYWHERE[4])
            Applier(arena.node, SETTINGS, mode).sync(inventory)
            times = [_connect(sock, last) for sock in _clients(arena)]
            # The first ones pay for neighbours that were not known yet.
            yield Figure(_CONNECT.format(mode=mode, size=size), "µs", tuple(times[10:]))


def _clients(arena: Arena) -> list[socket.socket]:
    kind = (socket.AF_INET, socket.SOCK_STREAM, 0)
    return arena.lab.sandbox.sockets([arena.owner(CLIENT)] * _CONNECTIONS, kind)


def _connect(sock: socket.socket, number: int) -> float:
    """Return how many microseconds connecting takes: the kernel answers for the server."""
    target = (f"10.96.{number >> 8}.{number & 255}", 80)
    with sock:
        return clock(lambda: sock.connect(target)) * 1e6
