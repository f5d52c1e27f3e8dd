"""Three pods on the bridge of a node, and the commands that give them one address: what a Service is, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course.proof import ask, follow
from netlab.course.services import Wanted, failures, holder, rewriters, said, spread
from netlab.course.values import Verdict, failed, passed

if TYPE_CHECKING:
    from collections import Counter

    from netlab.course.scene import Scene

#: The roles of the pods.
PODS = ("one", "two", "three")
#: Connections to make in a round, the smallest share below which it is not fair, and from which on it is.
_ROUNDS = ((300, 0.234, 0.31), (360, 0.263, 0.284), (480, 0.278, 0.278))
#: What kube-proxy adds for a pod that is sent to itself.
HAIRPIN = """
for number in 1 2 3; do bridge link set dev veth$number hairpin on; done
iptables -t nat -I SEP-1 1 -s {one_ip} -j MARK --or-mark 0x4000
iptables -t nat -I SEP-2 1 -s {two_ip} -j MARK --or-mark 0x4000
iptables -t nat -I SEP-3 1 -s {three_ip} -j MARK --or-mark 0x4000
iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
"""


def build(scene: Scene) -> None:
    """Build three pods on the bridge of a node, and a client that sends everything to that node."""
    client, node, gateway, *pods = scene.add_hosts("client", "node", "gateway", *PODS)
    far, near, out = scene.network(), scene.network(), scene.network()
    scene.lab.connect(client, node, f"{far[9]}/24", f"{far[1]}/24", names=("eth0", "eth0"))
    client.add_route("default", via=str(far[1]))
    # As in a cluster: without any route to it, the node itself could not even begin to send to the common address.
    scene.lab.connect(node, gateway, f"{out[11]}/24", f"{out[1]}/24", names=("eth1", "eth0"))
    node.add_route("default", via=str(out[1]))
    for network in (far, near):
        gateway.add_route(network, via=str(out[11]))
    gateway.sysctl["net.ipv4.ip_forward"] = 1
    node.sysctl["net.ipv4.ip_forward"] = 1
    node.add_bridge("cni0")
    node.add_address("cni0", f"{near[1]}/24")
    node.sysctl["net.bridge.bridge-nf-call-iptables"] = 1
    target, last = scene.random.randrange(8000, 8900), scene.random.randrange(20, 60)
    for number, (role, pod) in enumerate(zip(PODS, pods, strict=True), 1):
        address = near[last + number]
        scene.lab.connect(node, pod, None, f"{address}/24", names=(f"veth{number}", "eth0"))
        node.add_port("cni0", f"veth{number}")
        pod.add_route("default", via=str(near[1]))
        pod.serve(target)
        scene.values[f"{role}_ip"] = str(address)
    vip = f"10.96.{scene.random.randrange(1, 250)}.{scene.random.randrange(1, 250)}"
    scene.values |= {"vip": vip, "port": str(scene.random.randrange(1000, 2000)), "target": str(target)}
    scene.values |= {"client_ip": str(far[9]), "node_inside": str(near[1]), "pods_net": str(near)}
    scene.values |= {"new_ip": str(near[last + 40])}


def hand_made(first: str = "0.33333333349", second: str = "0.5", third: str = "") -> str:
    """Return commands that give the pods one address, with these probabilities."""
    chances = [f"-m statistic --mode random --probability {chance} " if chance else "" for chance in (first, second)]
    chances.append(f"-m statistic --mode random --probability {third} " if third else "")
    lines = [f"iptables -t nat -N {chain}" for chain in ("SERVICES", "SVC", "SEP-1", "SEP-2", "SEP-3")]
    lines += [f"iptables -t nat -A {hook} -j SERVICES" for hook in ("PREROUTING", "OUTPUT")]
    lines.append("iptables -t nat -A SERVICES -d {vip} -p tcp --dport {port} -j SVC")
    for number, (role, chance) in enumerate(zip(PODS, chances, strict=True), 1):
        lines.append(f"iptables -t nat -A SVC {chance}-j SEP-{number}")
        lines.append(f"iptables -t nat -A SEP-{number} -p tcp -j DNAT --to-destination {{{role}_ip}}:{{target}}")
    return "\n".join(lines)


def build_served(scene: Scene) -> None:
    """Build the pods with their common address, all of it working, for the pods as well."""
    build(scene)
    scene.work({"node": hand_made() + HAIRPIN})


def check_even(scene: Scene) -> Verdict:
    """See who answers whom, how evenly, whose address the pods see, and that nobody holds the address."""
    values, wanted = scene.values, Wanted.of(scene, PODS)
    if (found := holder(scene, values["vip"])) is not None:
        return failed(
            f"{found} holds {values['vip']} on an interface",
            f"{values['vip']} is on no interface: it exists in rules only",
            f"`ip address` in {found}.",
        )
    counts = spread(scene, "client", wanted, 60)
    if not counts.total() - failures(counts, wanted):
        return follow(scene, "client", f"{values['vip']}:{values['port']}", by=("node", "one"))
    if failures(counts, wanted):
        return lost(scene, "client", said(counts), "the rule that comes last: which packets does it let pass?")
    where = rewriters(scene, wanted)
    if where != {values["node"]}:
        return failed(
            f"{values['vip']} is rewritten in {', '.join(sorted(where)) or 'no host'}",
            f"{values['node']} rewrites it, for whoever sends there",
            "the nat tables of both: would another client have to be told of the address, too?",
        )
    return uneven(scene, wanted, counts) or first_look(scene, wanted)


def uneven(scene: Scene, wanted: Wanted, counts: Counter[str]) -> Verdict | None:
    """Return the verdict on shares that differ, or None; ``counts`` is what 60 connections found."""
    expected = f"{', '.join(wanted.pods)} get a third each, or nearly so"
    if missing := [pod for pod in wanted.pods if pod not in counts]:
        return failed(
            f"of 60 new connections {said(counts)}, and none got to {' or '.join(missing)}",
            expected,
            "the rule that decides first: which packets does it leave for the others?",
        )
    if not fair(scene, wanted, counts):
        return failed(
            f"of {counts.total()} new connections {said(counts)}",
            expected,
            "the counters of your rules: how many connections does the second rule get to see at all?",
        )
    return None


def fair(scene: Scene, wanted: Wanted, counts: Counter[str]) -> bool:
    """Tell whether the pods get equal shares; adds to ``counts`` the connections that it takes to be sure.

    Who gets least has 1/3, or 2/9 where two rules take a third each. In each round it is sure where the share is four
    standard deviations from one of them; the last one decides at the middle.
    """
    for more, unfair, even in _ROUNDS:
        counts.update(spread(scene, "client", wanted, more))
        least = min(counts[pod] for pod in wanted.pods) / counts.total()
        if least < unfair:
            return False
        if least >= even:
            return True
    return False


def first_look(scene: Scene, wanted: Wanted) -> Verdict:
    """See whom the pods see as the caller, and whether the node itself is served."""
    values = scene.values
    told = ask(scene, "client", wanted.address, wanted.port)
    seen = told and told["client_address"]
    if seen != values["client_ip"]:
        return failed(
            f"the pods answer {values['client']}, but see {seen} as the caller",
            f"they see {values['client_ip']}, the address of {values['client']}",
            f"what rewrites sources in {values['node']}, and of which packets?",
        )
    counts = spread(scene, "node", wanted, 60)
    if failures(counts, wanted):
        return lost(scene, "node", said(counts), "at which hook does a packet begin that a host sends itself?")
    return passed(f"{', '.join(wanted.pods)} answer at {values['vip']}, port {values['port']}, each about as often")


def lost(scene: Scene, role: str, counted: str, look: str) -> Verdict:
    """Return the verdict on connections of a role that got no answer from a pod."""
    values = scene.values
    who = f"{values['node']} itself" if role == "node" else values[role]
    return failed(
        f"of 60 connections from {who} to {values['vip']}, port {values['port']}: {counted}",
        "each of them is answered by one of the pods",
        look,
    )


def check_everybody(scene: Scene) -> Verdict:
    """Ask as each user would, and see that the pods still see who calls."""
    wanted = Wanted.of(scene, PODS)
    for role in ("client", "node", *PODS):
        counts = spread(scene, role, wanted, 60)
        if failures(counts, wanted):
            return lost(scene, role, said(counts), "who can call and who cannot: where do their ways part?")
        if len(counts) < len(PODS):
            return lost(scene, role, f"only {said(counts)}", "who answers nobody any more, and is it one of the three?")
    return first_look(scene, wanted)
