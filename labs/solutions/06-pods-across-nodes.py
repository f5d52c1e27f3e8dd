"""Chapter 06: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.nodes import add_node, add_switch, check_pairs, lacks_way, plug_in, told
from netlab.course.proof import ask, next_hop
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

# -- full mesh ------------------------------------------------------------------------------


def setup_mesh(scene: Scene) -> None:
    """Build three nodes with a pod each, and no way between the pods."""
    add_switch(scene)
    for letter in "abc":
        add_node(scene, letter)


def check_mesh(scene: Scene) -> Verdict:
    """See all six ways between three pods, with the source address that arrives."""
    return check_pairs(scene, "abc")


def ways(script: str) -> dict[str, str]:
    """Return a script for each of the three nodes, in which ONE and TWO are the letters of the other two."""
    return {f"node_{mine}": script.replace("ONE", one).replace("TWO", two) for mine, one, two in ("abc", "bca", "cab")}


STRAIGHT = ways("ip route add {range_ONE} via {node_ONE_ip}\nip route add {range_TWO} via {node_TWO_ip}")

MESH = Exercise(
    key="06-full-mesh",
    title="Full mesh",
    goal=(
        "The hosts have the range {hosts_net}, the pods of this cluster {pods_net}.\n\n"
        + told("abc")
        + "\n\nMake each pod reach each other pod: straight from node to node, and seen by its own address. Each node has a cable to the switch "
        "and forwards; each pod sends everything to its node. What is missing is between the nodes."
    ),
    setup=setup_mesh,
    check=check_mesh,
    solution=STRAIGHT,
    why="Each node has one route for each other node, so with n nodes there are n times n minus 1 of them. Not one of them names a pod, so pods may come and go.",
    hints=(
        lacks_way("a", "b"),
        lacks_way("b", "a"),
        lacks_way("a", "c"),
        lacks_way("c", "a"),
        Hint(
            "{pod_b} and {pod_c} are still apart. Ask both of their nodes: `ip route get`.",
            lambda scene: any(
                next_hop(scene, f"node_{x}", scene.values[f"pod_{y}_ip"])[1] is None for x, y in ("bc", "cb")
            ),
        ),
        Hint(
            "A route that leads to eth0 has to say who takes the packet from there. Which host is that?",
            lambda scene: next_hop(scene, "node_a", scene.values["pod_b_ip"]) == (None, "eth0"),
        ),
        Hint(
            "There are six ways between three pods. Write them down, and try each one: `curl` in the pod, and `ip route get` in its node."
        ),
    ),
    others=(
        ways("ip route add {pod_ONE_ip}/32 via {node_ONE_ip}\nip route add {pod_TWO_ip}/32 via {node_TWO_ip}"),
        # No next hop: each node answers ARP for what is behind it.
        ways(
            "sysctl -w net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0\n"
            "ip route add {range_ONE} dev eth0\nip route add {range_TWO} dev eth0"
        ),
    ),
    mistakes=(
        Mistake(
            "one direction only",
            {"node_a": STRAIGHT["node_a"]},
            "the answer ended in {node_b}: no route to {pod_a_ip}",
        ),
        Mistake(
            "a route without a next hop",
            ways("ip route add {range_ONE} dev eth0\nip route add {range_TWO} dev eth0"),
            "did not answer ARP on eth0 of {node_a}",
        ),
        Mistake(
            "the next hop is in the pods' range",
            ways("ip route add {range_ONE} via {gateway_ONE}\nip route add {range_TWO} via {gateway_TWO}"),
            "no route to {pod_b_ip} in {node_a}",
        ),
        Mistake(
            "a rewritten source instead of a way back",
            {
                "node_a": STRAIGHT["node_a"] + "\niptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE",
                "node_b": "ip route add {range_c} via {node_c_ip}",
                "node_c": "ip route add {range_b} via {node_b_ip}",
            },
            "{pod_b} answers {pod_a}, but sees {node_a_ip} as the caller",
        ),
        Mistake(
            "all through one node",
            {
                "node_a": "ip route add {pods_net} via {node_b_ip}",
                "node_b": STRAIGHT["node_b"],
                "node_c": "ip route add {pods_net} via {node_b_ip}",
            },
            "the request went {pod_a} → {node_a} → {switch} → {node_b} → {switch} → {node_c} → {pod_c}, and not",
        ),
    ),
)

# -- a new node -----------------------------------------------------------------------------


def setup_new_node(scene: Scene) -> None:
    """Build two nodes whose pods reach each other, and a third one that has nothing but a host's address."""
    add_switch(scene)
    for letter in "ab":
        add_node(scene, letter)
    add_node(scene, "c", bare=True)
    scene.values["taken_ip"] = str(IPv4Network(scene.values["range_a"])[251])
    for one, other in ("ab", "ba"):
        scene.host(f"node_{one}").add_route(scene.values[f"range_{other}"], via=scene.values[f"node_{other}_ip"])


def check_new_node(scene: Scene) -> Verdict:
    """See that the new pod's address is one that nobody else hands out, and that it reaches the others and they it."""
    values = scene.values
    pod, node = values["pod_c"], values["node_c"]
    found = [one.address.ip for one in scene.host("pod_c").state().addresses_of("eth0") if one.address.version == 4]  # noqa: PLR2004 - IPv4
    if not found:
        return failed(
            f"eth0 of {pod} has no address",
            f"{pod} has an address of {values['pods_net']} that is in no other node's range",
            f"`ip address` in {pod}, and the list of ranges that are taken.",
        )
    address = found[0]
    if address not in IPv4Network(values["pods_net"]):
        return failed(
            f"{pod} has {address}, which is not in {values['pods_net']}",
            f"pods have addresses of {values['pods_net']}, and hosts those of {values['hosts_net']}",
            f"the range of pods of this cluster: what is left in it for {node}?",
        )
    owner = next((letter for letter in "ab" if address in IPv4Network(values[f"range_{letter}"])), None)
    if owner is not None:
        other = values[f"node_{owner}"]
        return failed(
            f"{pod} has {address}, which is in the range of {other}",
            f"{other} alone hands out addresses of {values[f'range_{owner}']}, and asks nobody before it does",
            f"a /24 of {values['pods_net']} that no node has.",
        )
    values["pod_c_ip"] = str(address)
    return check_pairs(scene, "abc")


#: What a node agent does on the node itself, and what everybody else has to learn.
ON_C = "ip address add {gateway_c}/24 dev veth0\nsysctl -w net.ipv4.ip_forward=1\n" + STRAIGHT["node_c"]
IN_C = "ip address add {pod_c_ip}/24 dev eth0\nip route add default via {gateway_c}"
TO_C = "ip route add {range_c} via {node_c_ip}"
JOIN = {"node_c": ON_C, "pod_c": IN_C, "node_a": TO_C, "node_b": TO_C}

JOINED = Exercise(
    key="06-a-new-node",
    title="A new node",
    goal=(
        "The hosts have the range {hosts_net}, the pods of this cluster {pods_net}: a /24 for each node.\n\n"
        + told("ab")
        + "\n\nBetween these two all is well. {node_c} ({node_c_ip}) is new, and bare: it has a cable from veth0 to eth0 of {pod_c}, and no range yet. "
        "Choose one, and bring {pod_c} into the cluster: each pod reaches each other pod, straight, and is seen by its own address."
    ),
    setup=setup_new_node,
    check=check_new_node,
    solution=JOIN,
    why="A range that nobody else has, a node that forwards, its routes to the others, and one new route on each of the others. In a cluster nobody types any of this.",
    hints=(
        Hint(
            "Begin with the pod: it needs an address, and its node another one in the same range. Which /24 of {pods_net} are taken?",
            lambda scene: not scene.host("pod_c").state().addresses_of("eth0"),
        ),
        Hint(
            "{pod_c} has an address. To whom does it send what is not for its own range?",
            lambda scene: next_hop(scene, "pod_c", scene.values["pod_a_ip"])[1] is None,
        ),
        Hint(
            "{node_c} was a host until now, and is to be a router. What makes one of it?",
            lambda scene: scene.host("node_c").sysctl["net.ipv4.ip_forward"] == "0",
        ),
        lacks_way("c", "a"),
        Hint("What do {node_a} and {node_b} have to know about the new range? Ask each of them with `ip route get`."),
    ),
    others=(
        # As Calico does it: the pod has a /32, and a gateway that nobody has; the node answers for it.
        {
            "pod_c": "ip address add {pod_c_ip}/32 dev eth0\nip route add 169.254.1.1 dev eth0\nip route add default via 169.254.1.1",
            "node_c": "sysctl -w net.ipv4.conf.veth0.proxy_arp=1 net.ipv4.neigh.veth0.proxy_delay=0 net.ipv4.ip_forward=1\n"
            "ip route add {pod_c_ip}/32 dev veth0\nip route add default via {node_a_ip}\nip route add {range_b} via {node_b_ip}",
            "node_a": "ip route add {pod_c_ip}/32 via {node_c_ip}",
            "node_b": "ip route add {pod_c_ip}/32 via {node_c_ip}",
        },
    ),
    mistakes=(
        Mistake(
            "a range that is taken",
            {
                "pod_c": "ip address add {taken_ip}/24 dev eth0\nip route add default via {gateway_c} onlink dev eth0",
                "node_c": ON_C + "\nip route add {taken_ip}/32 dev veth0",
                "node_a": "ip route add {taken_ip}/32 via {node_c_ip}",
                "node_b": "ip route add {taken_ip}/32 via {node_c_ip}",
            },
            "which is in the range of {node_a}",
        ),
        Mistake(
            "an address of the hosts",
            {**JOIN, "pod_c": "ip address add {node_c_ip}/24 dev eth0"},
            "{pod_c} has {node_c_ip}, which is not in {pods_net}",
        ),
        Mistake(
            "not a router",
            {**JOIN, "node_c": ON_C.replace("ip_forward=1", "ip_forward=0")},
            "ip_forward is 0 in {node_c}",
        ),
        Mistake(
            "the others are not told",
            {"node_c": ON_C, "pod_c": IN_C},
            "no route to {pod_c_ip} in {node_a}",
        ),
        Mistake(
            "no way out of the pod",
            {**JOIN, "pod_c": "ip address add {pod_c_ip}/24 dev eth0"},
            "the answer ended in {pod_c}: no route to {pod_a_ip}",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------


def setup_working(scene: Scene) -> None:
    """Build three nodes whose pods reach each other, and a server in the range of the hosts that knows no pods."""
    setup_mesh(scene)
    plug_in(scene, "archive", "archive").serve(80)
    for node, script in STRAIGHT.items():
        own = f"{{range_{node[-1]}}}"
        scene.work({node: f"{script}\niptables -t nat -A POSTROUTING -s {own} ! -d {{pods_net}} -j MASQUERADE"})


def check_working(scene: Scene) -> Verdict:
    """See all ways between pods, each with the caller's own address; and the way out, with that of the node."""
    values = scene.values
    verdict = check_pairs(scene, "abc", explain=False)
    if not verdict.passed:
        return verdict
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda x: ask(scene, f"pod_{x}", values["archive_ip"], 80), "abc"))
    for letter, answer in zip("abc", answers, strict=True):
        pod, node = values[f"pod_{letter}"], values[f"node_{letter}_ip"]
        seen = answer and answer["client_address"]
        if seen != node:
            return failed(
                f"between pods all is well, but {values['archive']} "
                + (f"sees {seen} when {pod} asks" if seen else f"does not answer {pod}"),
                f"{values['archive']} is no pod and has no route to any: it sees {node}, the address of the node, and answers",
                f"the nat table of the node of {pod}: which packets shall leave with another source, and which not?",
            )
    return passed("each pod reaches each other one by its own address, and the world outside by that of its node")


BROKEN = BreakFix(
    key="06-one-direction-only",
    title="One direction only",
    goal=(
        "Pods have {pods_net}, hosts {hosts_net}.\n\n"
        + told("abc")
        + "\n\n{archive} ({archive_ip}) is a host and no node; pods reach it with their node's address. All of this has worked. A user reports:"
    ),
    setup=setup_working,
    check=check_working,
    faults=(
        Fault(
            name="no-way-back",
            work={"node_b": "ip route del {range_a}"},
            symptom="“{pod_a} sends its measurements to {pod_b} by UDP, and they all arrive. But in {pod_a}, `curl http://{pod_b_ip}/` gets no answer.”",
            was="{node_b} had no route to {range_a}. What {pod_a} sent arrived; what {pod_b} answered ended in {node_b}.",
            found=(
                "UDP needs one direction, TCP needs both. A capture in {pod_b} shows requests that come in and answers that go out, one on eth0 of {node_b} only "
                "the requests. So {node_b} does not know where to send the answer: `ip route get {pod_a_ip}`."
            ),
            fix={"node_b": "ip route add {range_a} via {node_a_ip}"},
            others=({"node_b": "ip route add {pod_a_ip}/32 via {node_a_ip}"},),
            mistakes=(
                Mistake(
                    "another source instead of a way back",
                    {"node_a": "iptables -t nat -I POSTROUTING 1 -d {range_b} -j MASQUERADE"},
                    "{pod_b} answers {pod_a}, but sees {node_a_ip} as the caller",
                ),
                Mistake(
                    "the way there", {"node_a": "ip route add {pod_b_ip} via {node_b_ip}"}, "last seen in {node_b}"
                ),
            ),
        ),
        Fault(
            name="wrong-next-hop",
            work={"node_a": "ip route replace {range_b} via {node_c_ip}"},
            symptom="“Whenever {node_c} restarts, {pod_a} and {pod_b} lose each other. But neither of them runs there!”",
            was="On {node_a}, the route to {range_b} named {node_c} as next hop. {node_c} is a router too, and passed everything on.",
            found=(
                "`traceroute -n {pod_b_ip}` in {pod_a} shows three routers, and the other direction two. A TTL of 61 in {pod_b}, where 62 was due, says the same. "
                "`ip route` in {node_a} names the wrong neighbour."
            ),
            fix={"node_a": "ip route replace {range_b} via {node_b_ip}"},
            others=({"node_a": "ip route add {pod_b_ip}/32 via {node_b_ip}"},),
            mistakes=(
                Mistake(
                    "a second route with a higher metric",
                    {"node_a": "ip route add {range_b} via {node_b_ip} metric 100"},
                    "the request went {pod_a} → {node_a} → {switch} → {node_c}",
                ),
            ),
        ),
        Fault(
            name="masquerade",
            work={"node_a": "iptables -t nat -I POSTROUTING 1 -s {range_a} -o eth0 -j MASQUERADE"},
            symptom="“{pod_b} lets in nobody but pods, so {pods_net}. Since last night it turns {pod_a} away, and takes {pod_c} as before.”",
            was="A rule on {node_a} masqueraded everything that left by eth0, also what went to pods. {pod_b} saw {node_a_ip}, the address of a host.",
            found=(
                "Packets arrive and are answered, so no route is at fault. A capture in {pod_b} shows the source that it sees: {node_a_ip}. Who has that address "
                "rewrites: `iptables -t nat -S POSTROUTING` in {node_a}. The first rule matches more than the second."
            ),
            fix={"node_a": "iptables -t nat -D POSTROUTING 1"},
            others=({"node_a": "iptables -t nat -I POSTROUTING 1 -d {pods_net} -j ACCEPT"},),
            mistakes=(
                Mistake(
                    "an exception that comes too late",
                    {"node_a": "iptables -t nat -A POSTROUTING -d {pods_net} -j ACCEPT"},
                    "{pod_b} answers {pod_a}, but sees {node_a_ip} as the caller",
                ),
                Mistake(
                    "no masquerade for anybody",
                    {"node_a": "iptables -t nat -F POSTROUTING"},
                    "{archive} does not answer {pod_a}",
                ),
            ),
        ),
        Fault(
            name="forward-policy",
            work={
                "node_b": "iptables -P FORWARD DROP\niptables -A FORWARD -s {range_b} -j ACCEPT\n"
                "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
            },
            symptom="“Docker was installed on {node_b} today. {pod_b} reaches everybody, as ever. But nobody reaches {pod_b}.”",
            was="The policy of FORWARD on {node_b} was DROP. Connections from {range_b} and all answers had a rule; connections to {range_b} had none.",
            found=(
                "The one direction works, answers included, so the routes are right. A first packet to {pod_b} comes in by eth0 of {node_b} and does not go out by "
                "veth0. `iptables -L FORWARD -v -n` in {node_b}: with each try the policy counts one more."
            ),
            fix={"node_b": "iptables -A FORWARD -d {range_b} -j ACCEPT"},
            others=(
                {"node_b": "iptables -P FORWARD ACCEPT"},
                {"node_b": "iptables -I FORWARD -s {pods_net} -d {pods_net} -j ACCEPT"},
            ),
            mistakes=(
                Mistake(
                    "the wrong chain",
                    {"node_b": "iptables -A INPUT -d {range_b} -j ACCEPT"},
                    "the packet was last seen in {node_b}",
                ),
            ),
        ),
    ),
    hints=(
        Hint(
            "Try both directions, one after the other. In each of them: which host was the last that saw the packet? Capture on eth0 of both nodes."
        ),
        Hint(
            "The request arrives, and the answer does not. Who sends it on, and where would that host send a packet for {pod_a}?",
            lambda scene: next_hop(scene, "node_b", scene.values["pod_a_ip"])[1] is None,
        ),
        Hint(
            "It works, and takes a way that it should not. Count the routers in both directions: `traceroute -n -q 1` in {pod_a} and in {pod_b}.",
            lambda scene: next_hop(scene, "node_a", scene.values["pod_b_ip"])[0] != scene.values["node_b_ip"],
        ),
        Hint(
            "Is it the same packet that arrives? Compare its source in a capture in {pod_a} with that in a capture in {pod_b}.",
            lambda scene: (
                (ask(scene, "pod_a", scene.values["pod_b_ip"], 80) or {}).get("client_address")
                == scene.values["node_a_ip"]
            ),
        ),
        Hint(
            "First packets are lost, answers are not. What tells the two apart? Look at the counters: `iptables -L FORWARD -v -n`.",
            lambda scene: "-P FORWARD DROP" in scene.host("node_b").run("iptables", "-w", "-S", "FORWARD").stdout,
        ),
    ),
)

EXERCISES = (MESH, JOINED, BROKEN)
