"""Overlays in a scene: how the nodes of `netlab.course.nodes` get one by hand, and whether it does what it should."""

from __future__ import annotations

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING

from netlab.course.nodes import check_pairs
from netlab.course.values import Verdict, failed, passed

if TYPE_CHECKING:
    from netlab.course.scene import Scene
    from netlab.kernel.packets import Packet

#: What VXLAN puts before a packet: outer IP, UDP, VXLAN, inner Ethernet (RFC 7348), in bytes.
OVERHEAD = 50
#: Before its data, an echo request has an IP and an ICMP header; pods send this much at most.
_PING, _POD_MTU = 28, 1500
#: What is sent there and comes back, in bytes; and the seconds for it.
_LARGE, _PATIENCE = 30_000, 0.6


def name_ends(scene: Scene, letters: str, port: int = 8472) -> None:
    """Choose VNI and MAC addresses: the values ``vni``, ``other_vni``, ``port``, and ``mac_a``, ``end_a`` of each node.

    ``end_a`` is the first address of the node's range, which flannel gives to its end, and to no pod.
    """
    vni, other = scene.random.sample(range(2, 4000), 2)
    scene.values |= {"vni": str(vni), "other_vni": str(other), "port": str(port)}
    for letter in letters:
        digits = ":".join(f"{scene.random.randrange(256):02x}" for _ in range(5))
        scene.values |= {f"mac_{letter}": f"02:{digits}", f"end_{letter}": scene.values[f"range_{letter}"][:-3]}
        # The kernel hands large packets through a veth pair in one piece; a wire would not.
        scene.host(f"node_{letter}").run("ip", "link", "set", "eth0", "gso_max_segs", "1", check=True)


def end(letter: str, vni: str = "{vni}") -> str:
    """Return the script that makes a node's end, as flannel makes it; with placeholders."""
    return (
        f"ip link add vxlan0 address {{mac_{letter}}} type vxlan id {vni} dstport {{port}} "
        f"local {{node_{letter}_ip}} dev eth0 nolearning\n"
        f"ip address add {{end_{letter}}}/32 dev vxlan0\nip link set vxlan0 up"
    )


def entries(*letters: str) -> str:
    """Return the script with what a node must know of others: their pods, their MAC addresses, where these are."""
    return "\n".join(
        f"ip neigh replace {{end_{x}}} lladdr {{mac_{x}}} dev vxlan0 nud permanent\n"
        f"bridge fdb append {{mac_{x}}} dev vxlan0 dst {{node_{x}_ip}}\n"
        f"ip route add {{range_{x}}} via {{end_{x}}} dev vxlan0 onlink"
        for x in letters
    )


def whole(letters: str) -> dict[str, str]:
    """Return the scripts that make an overlay of these nodes."""
    return {f"node_{x}": f"{end(x)}\n{entries(*letters.replace(x, ''))}" for x in letters}


def check_overlay(scene: Scene, letters: str, *, explain: bool = True) -> Verdict:
    """See that pods reach each other by the overlay, that large packets pass, and who sends too large ones is told."""
    verdict = check_pairs(scene, letters, explain=explain)
    if "no route to" in verdict.saw and verdict.saw.endswith("in underlay"):
        look = (
            "the underlay is not to know any pod. Which route of the node before it led there, and not into a tunnel?"
        )
        verdict = dataclasses.replace(verdict, look=look)
    if verdict.passed:
        verdict = check_large(scene, letters)
    if not verdict.passed:
        return verdict
    # Each pod sends one, at once: where an error comes back, ping waits all the same.
    pairs = list(zip(letters, letters[1:] + letters[0], strict=True))
    with ThreadPoolExecutor(len(pairs)) as pool:
        told = list(pool.map(lambda pair: _is_told(scene, *pair), pairs))
    for (one, other), heard in zip(pairs, told, strict=True):
        if not heard:
            pod = scene.values[f"pod_{one}"]
            return failed(
                f"large echo requests from {pod} to {scene.values[f'pod_{other}']}, which may not be cut, get lost, "
                f"and nobody tells {pod} so",
                "a packet of any size either arrives, or its sender is told how large it may be",
                f"where that packet is seen last, and the MTU of each interface that it has to pass, from {pod} on.",
            )
    return passed("pods reach each other inside of UDP; large packets pass, and who sends too large ones is told")


def check_large(scene: Scene, letters: str) -> Verdict:
    """Send much there and back, and look at what the underlay carried meanwhile: VXLAN, whole, and nothing else."""
    values = scene.values
    vxlan = f"udp dst port {values['port']} and udp[12:4] & 0xffffff00 = {int(values['vni']) << 8:#x}"
    pairs = list(combinations(letters, 2))
    with (
        scene.host("underlay").capture(filter=f"ip and not ({vxlan})") as strangers,
        ThreadPoolExecutor(len(pairs)) as pool,
    ):
        sizes = list(pool.map(lambda pair: _exchange(scene, *pair), pairs))
    for (one, other), size in zip(pairs, sizes, strict=True):
        if size < _LARGE:
            return failed(
                f"small requests of {values[f'pod_{one}']} to {values[f'pod_{other}']} are answered, one with "
                f"{_LARGE:,} bytes hangs",
                "what is large is cut into packets that get through",
                "how large a packet may be: `ping -M do -s SIZE`. Which is the largest that arrives?",
            )
    if not strangers.packets:
        return passed("large packets passed, inside of UDP")
    return failed(
        f"it works, but the underlay saw {_describe(strangers.packets)}",
        f"the underlay sees UDP between nodes only, uncut, to port {values['port']}, with the VNI {values['vni']}",
        "a capture in the underlay while you ask, and what has made its packets so.",
    )


def _exchange(scene: Scene, one: str, other: str) -> int:
    """Send a large request, which comes back in the answer; return how many bytes came."""
    url = f"http://{scene.values[f'pod_{other}_ip']}/"
    command = ("curl", "-sS", "-m", str(_PATIENCE), "-H", "Expect:", "--data-binary", "@-", url)
    return len(scene.host(f"pod_{one}").run(*command, input="x" * _LARGE, timeout=3).stdout)


def _describe(strangers: tuple[Packet, ...]) -> str:
    """Say what was there that should not be."""
    first = strangers[0].layers["IP"]
    if first.flags.MF or first.frag:
        return "fragments: packets of nodes that were too large for it, and were cut"
    if "VXLAN" in strangers[0]:
        return f"UDP to port {first.dport}, with the VNI {first.vni}"
    return f"packets from {first.src} to {first.dst} that are not VXLAN of this network"


def check_full_size(scene: Scene, one: str, other: str) -> Verdict:
    """See that the overlay uses what the underlay can carry: the largest packet that fits gets through."""
    fits = int(scene.values["underlay_mtu"]) - OVERHEAD
    result = _ping(scene, one, other, fits)
    if "1 received" in result:
        return passed("the largest packet that fits gets through")
    return failed(
        f"a packet of {fits} bytes does not get from {scene.values[f'pod_{one}']} to {scene.values[f'pod_{other}']}",
        f"the underlay carries {scene.values['underlay_mtu']} bytes: room for {fits}, and what VXLAN puts before them",
        "the MTU of the interface that wraps, on both nodes.",
    )


def _is_told(scene: Scene, one: str, other: str) -> bool:
    """Tell whether a packet of the pods' own MTU arrives, or its sender hears of a size that does (RFC 1191)."""
    size, result = _POD_MTU + 1, f"mtu = {_POD_MTU}"
    while (said := re.search(r"mtu ?= ?(\d+)", result)) and int(said[1]) < size:
        size = int(said[1])
        result = _ping(scene, one, other, size)
    return "1 received" in result


def _ping(scene: Scene, one: str, other: str, size: int) -> str:
    options = ("-n", "-c1", "-W0.2", "-M", "do", "-s", str(size - _PING))
    result = scene.host(f"pod_{one}").run("ping", *options, scene.values[f"pod_{other}_ip"], timeout=3)
    return result.stdout + result.stderr
