"""Chapter 07: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.nodes import add_node, add_underlay, told
from netlab.course.overlays import check_full_size, check_overlay, end, entries, name_ends, whole
from netlab.course.proof import first_failure, ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.course import Scene


def prints(role: str, command: str, word: str) -> Callable[[Scene], bool]:
    """Return a condition: a command in a host prints a word."""
    return lambda scene: scene.fill(word) in scene.host(role).run("bash", "-c", scene.fill(command)).stdout


def lacks(role: str, command: str, word: str) -> Callable[[Scene], bool]:
    """Return the opposite condition."""
    return lambda scene: not prints(role, command, word)(scene)


# -- an overlay -----------------------------------------------------------------------------


def setup_overlay(scene: Scene) -> None:
    """Build two nodes with a pod each on an underlay that knows no pods, and carries less than pods send."""
    add_underlay(scene, mtu=scene.random.choice((1380, 1400, 1420, 1440, 1460, 1480)))
    for letter in "ab":
        add_node(scene, letter)
    name_ends(scene, "ab", port=scene.random.choice((4789, 8472)))
    scene.values["other_port"] = {"4789": "8472", "8472": "4789"}[scene.values["port"]]


def check_built(scene: Scene) -> Verdict:
    """See what passes between the pods, what the underlay sees of it, and whether its room is used."""
    found = check_overlay(scene, "ab")
    if not found.passed:
        return found
    return first_failure(check_full_size(scene, "a", "b"), check_full_size(scene, "b", "a"), found)


BY_HAND = whole("ab")
#: A tunnel with two fixed ends, which share a network of their own: no table to fill in.
TUNNEL = """\
ip link add tunnel type vxlan id {{vni}} dstport {{port}} local {{node_{mine}_ip}} remote {{node_{theirs}_ip}} dev eth0
ip address add 172.31.0.{number}/30 dev tunnel
ip link set tunnel up
ip route add {{range_{theirs}}} via 172.31.0.{next_hop}"""
#: Where a MAC address is not known, the frame goes to the entry of zeros, and who has it learns from the answer.
FLOOD = """\
ip link add flood type vxlan id {{vni}} dstport {{port}} local {{node_{mine}_ip}} dev eth0
ip address add 172.31.0.{number}/24 dev flood
bridge fdb append 00:00:00:00:00:00 dev flood dst {{node_{theirs}_ip}}
ip link set flood up
ip route add {{range_{theirs}}} via 172.31.0.{next_hop}"""


def both(script: str) -> dict[str, str]:
    """Return a script for each of the two nodes, with its letter and number, and those of the other one."""
    ends = (("a", "b", 1, 2), ("b", "a", 2, 1))
    return {f"node_{a}": script.format(mine=a, theirs=b, number=n, next_hop=m) for a, b, n, m in ends}


def changed(role: str, old: str, new: str) -> dict[str, str]:
    """Return the solution with something else in one node."""
    return {**BY_HAND, role: BY_HAND[role].replace(old, new)}


def everywhere(old: str, new: str) -> dict[str, str]:
    """Return the solution with something else in both nodes."""
    return {role: script.replace(old, new) for role, script in BY_HAND.items()}


OVERLAY = Exercise(
    key="07-an-overlay",
    title="An overlay with the right MTU",
    goal=(
        "The pods of this cluster have {pods_net}.\n\n"
        + told("ab")
        + "\n\nThe two nodes are in two networks, with {underlay} between them. It belongs to somebody else, and will never know a pod. Its cables carry packets "
        "of {underlay_mtu} bytes at most; pods send up to 1500.\n\n"
        "Join the pods by VXLAN, with VNI {vni} and UDP port {port}. Each pod sees the other one's own address, large transfers work in both directions, and the "
        "underlay never has to carry fragments. And do not waste its room: the largest packet that fits shall pass."
    ),
    setup=setup_overlay,
    check=check_built,
    solution=BY_HAND,
    why=(
        "The interface that wraps has an MTU of {underlay_mtu} less 50. What is larger is stopped by the pod's own node, which tells the pod so. Had the interface "
        "not been bound to eth0, it would have 1500, and each large packet would be cut in two on the way."
    ),
    hints=(
        Hint(
            "Begin with an interface on each node that wraps: `ip link add NAME type vxlan …`. `ip link help vxlan` lists what it takes.",
            lacks("node_a", "ip -d link show type vxlan", "vxlan id"),
        ),
        Hint(
            "Who shall take packets for {range_b} from {node_a}? A route names a next hop and the interface that wraps.",
            lacks("node_a", "ip route get {pod_b_ip}", "vxlan"),
        ),
        Hint(
            "An end has a MAC address and is at a node. Compare `ip neigh`, `bridge fdb` and `ip route` of both nodes: what one has, the other needs in reverse.",
            lambda scene: not ping(scene, "pod_a", scene.values["pod_b_ip"]),
        ),
        Hint(
            "Small packets pass. Which MTU has the interface that wraps, and how much is put before a packet? Is the MTU that number exactly?"
        ),
    ),
    others=(
        both(TUNNEL),
        both(FLOOD),
        everywhere("dev eth0 nolearning", "nolearning\nip link set vxlan0 mtu $(({underlay_mtu} - 50))"),
    ),
    mistakes=(
        Mistake("not bound to eth0", everywhere("dev eth0 nolearning", "nolearning"), "the underlay saw fragments"),
        Mistake("less, for safety", everywhere("nolearning", "nolearning\nip link set vxlan0 mtu 1200"), "room for"),
        Mistake(
            "two networks",
            changed("node_b", "{vni}", "{other_vni}"),
            "has no VXLAN interface with VNI {vni} and port {port}",
        ),
        Mistake(
            "the usual port",
            everywhere("dstport {port}", "dstport {other_port}"),
            "the underlay saw UDP to port {other_port}, with the VNI {vni}",
        ),
        Mistake("no line in the map", changed("node_a", "bridge fdb append", "true"), "has no FDB entry for {mac_b}"),
        Mistake("nobody has a MAC", changed("node_a", "ip neigh replace", "true"), "neighbour {end_b} did not answer"),
        Mistake("one direction", {"node_a": BY_HAND["node_a"], "node_b": end("b")}, "the answer ended in"),
        Mistake(
            "the underlay learns of pods",
            {"underlay": "ip route add {range_a} via {node_a_ip}\nip route add {range_b} via {node_b_ip}"},
            "that are not VXLAN of this network",
        ),
    ),
)

# -- a third node ---------------------------------------------------------------------------


def setup_third(scene: Scene) -> None:
    """Build an overlay of two nodes, and a third one that has its end and knows nobody, and that nobody knows."""
    add_underlay(scene)
    for letter in "abc":
        add_node(scene, letter)
    name_ends(scene, "abc")
    scene.values["eth0_c"] = scene.host("node_c").state().interface("eth0").mac
    scene.work(whole("ab") | {"node_c": end("c")})


def check_third(scene: Scene) -> Verdict:
    """See all three pods reach each other, by the overlay and straight."""
    return check_overlay(scene, "abc")


JOIN = {"node_a": entries("c"), "node_b": entries("c"), "node_c": entries("a", "b")}

THIRD = Exercise(
    key="07-a-third-node",
    title="A third node",
    goal=(
        "The pods of this cluster have {pods_net}; nodes are joined by VXLAN, by an interface vxlan0 on each.\n\n"
        + told("abc")
        + "\n\nBetween the pods of {node_a} and {node_b} all is well. {node_c} is new: its vxlan0 is up, with the same VNI and port. It knows nobody yet, and nobody "
        "knows it. Bring {pod_c} into the cluster, straight from node to node."
    ),
    setup=setup_third,
    check=check_third,
    solution=JOIN,
    why="Three entries for each other node, on each node: which pods (route), which MAC address (neighbour), and where that is (FDB). That is all that flannel does when a node joins.",
    hints=(
        Hint(
            "Look at what {node_a} knows of {node_b}: `ip route`, `ip neigh show dev vxlan0`, `bridge fdb show dev vxlan0`. The same three are missing for {node_c}."
        ),
        Hint(
            "{node_a} has no route for the pods of {node_c} yet. The next hop is the address of vxlan0 over there, and it is no neighbour on any cable: see `onlink` in `ip route help`.",
            lacks("node_a", "ip route get {pod_c_ip}", "vxlan0"),
        ),
        Hint(
            "The next hop has to have a MAC address: that of vxlan0 on {node_c}, not that of its eth0.",
            lacks("node_a", "ip neigh show dev vxlan0", "{mac_c}"),
        ),
        Hint(
            "Where is that MAC address? The answer is an address that the underlay knows.",
            lacks("node_a", "bridge fdb show dev vxlan0", "dst {node_c_ip}"),
        ),
        Hint(
            "{node_a} knows {node_c}. Does {node_b}? And does {node_c} know both?",
            prints("node_a", "bridge fdb show dev vxlan0", "{mac_c}"),
        ),
    ),
    others=(
        # Nobody is asked for MAC addresses beforehand: what is unknown goes to all, and ARP finds out.
        {
            "node_a": "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst {node_c_ip}\nip route add {range_c} via {end_c} dev vxlan0 onlink",
            "node_b": "bridge fdb append 00:00:00:00:00:00 dev vxlan0 dst {node_c_ip}\nip route add {range_c} via {end_c} dev vxlan0 onlink",
            "node_c": entries("a", "b"),
        },
    ),
    mistakes=(
        Mistake("the others are not told", {"node_c": JOIN["node_c"]}, "no route to {pod_c_ip} in underlay"),
        Mistake(
            "the map leads to a pod",
            {**JOIN, "node_a": JOIN["node_a"].replace("dst {node_c_ip}", "dst {pod_c_ip}")},
            "the packet ended in {node_a}",
        ),
        Mistake(
            "the MAC address of eth0",
            {**JOIN, "node_a": JOIN["node_a"].replace("{mac_c}", "{eth0_c}")},
            "the frame was for MAC {eth0_c}, but vxlan0 of {node_c} has {mac_c}",
        ),
        Mistake(
            "the wrong node",
            {**JOIN, "node_a": JOIN["node_a"].replace("dst {node_c_ip}", "dst {node_b_ip}")},
            "the frame was for MAC {mac_c}, but vxlan0 of {node_b} has",
        ),
        Mistake(
            "by way of another node",
            {
                "node_a": "ip route add {range_c} via {end_b} dev vxlan0 onlink",
                "node_b": JOIN["node_b"],
                "node_c": entries("b") + "\nip route add {range_a} via {end_b} dev vxlan0 onlink",
            },
            "{node_a} → {underlay} → {node_b} → {underlay} → {node_c}",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------


def setup_working(scene: Scene) -> None:
    """Build an overlay of three nodes, all of it working."""
    setup_third(scene)
    scene.work(JOIN)


def check_working(scene: Scene) -> Verdict:
    """See the same as for the third node, without saying why a packet ended."""
    return check_overlay(scene, "abc", explain=False)


NARROW = "for port in $(ip -br link show type veth | cut -d@ -f1); do ip link set $port mtu {size}; done"
#: The VNI of an interface cannot be changed: it is made anew, with all that was written down for it.
KNOWN = "\n" + entries("a", "b")
ANEW = "ip link del vxlan0\n"
NODES, PODS = ("node_a", "node_b", "node_c"), ("pod_a", "pod_b", "pod_c")
CLAMP = "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300"

BROKEN = BreakFix(
    key="07-ping-works",
    title="Ping works, large transfers hang",
    goal=(
        "Three nodes are joined by VXLAN: vxlan0 on each, VNI {vni}, UDP port {port}. Pods send up to 1500 bytes.\n\n"
        + told("abc")
        + "\n\n{underlay} between the nodes belongs to somebody else. All of this has worked. A user reports:"
    ),
    setup=setup_working,
    check=check_working,
    faults=(
        Fault(
            name="narrow-underlay",
            work={"underlay": NARROW.replace("{size}", "1400")},
            symptom="“ping works between all pods. But whoever copies something from one node to another waits for ever. It began when our provider moved us.”",
            was="{underlay} carries 1400 bytes since then, and the nodes still believed in 1500. What they sent with more than 1400 was lost without a word.",
            found=(
                "Small passes and large does not, so it is a matter of size. `ping -M do -s SIZE` in {pod_a}, with the address of {pod_b}, finds the limit. It is near 1350, and what is larger gets "
                "no answer and no error. Between the nodes it is near 1400. So nodes may send 1400 bytes, and vxlan0 has to have 50 less than that."
            ),
            fix=dict.fromkeys(NODES, "ip link set vxlan0 mtu 1350"),
            others=(
                dict.fromkeys(NODES, "ip link set eth0 mtu 1400\nip link set vxlan0 mtu 1350"),
                {"underlay": NARROW.replace("{size}", "1500")},
                dict.fromkeys(PODS, "ip link set eth0 mtu 1350"),
            ),
            mistakes=(
                Mistake("no room for 50", dict.fromkeys(NODES, "ip link set vxlan0 mtu 1400"), "hangs"),
                Mistake("TCP only", dict.fromkeys(NODES, CLAMP), "nobody tells {pod_a} so"),
                Mistake("one node only", {"node_a": "ip link set vxlan0 mtu 1350"}, "hangs"),
            ),
        ),
        Fault(
            name="silenced-router",
            work={"node_b": "iptables -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"},
            symptom="“Uploads to {pod_b} are fine, small answers too. But every download from {pod_b} to another node hangs. Security has hardened {node_b}.”",
            was="{node_b} dropped the ICMP message “fragmentation needed”. {pod_b} sent 1500 bytes, vxlan0 takes 1450, and {node_b} could not tell {pod_b} so.",
            found=(
                "A capture in {pod_b} shows the same packet of 1500 bytes again and again, and no complaint. It comes into {node_b} by veth0 and does not go out. Whoever "
                "cannot pass on a packet has to say so: `iptables -L OUTPUT -v -n` in {node_b} counts what is kept from saying it."
            ),
            fix={"node_b": "iptables -D OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"},
            others=(
                {"node_b": "iptables -I OUTPUT 1 -p icmp -j ACCEPT"},
                # What a CNI plugin does: then nobody has to be told.
                {"pod_b": "ip link set eth0 mtu 1450"},
            ),
            mistakes=(
                Mistake("still less", {"node_b": "ip link set vxlan0 mtu 1400"}, "hangs"),
                Mistake("TCP only", {"node_b": CLAMP}, "nobody tells {pod_b} so"),
            ),
        ),
        Fault(
            name="wrong-map",
            work={"node_a": "bridge fdb replace {mac_b} dev vxlan0 dst {node_c_ip}"},
            symptom="“{pod_a} and {pod_b} do not see each other any more. Both see {pod_c}. In {node_a}, `ping {node_b_ip}` works.”",
            was="In {node_a}, the FDB had the MAC address of {node_b} at {node_c_ip}. {node_c} unwrapped frames that were not for it, and threw them away.",
            found=(
                "The packet leaves {node_a} inside of UDP. A capture of UDP in {underlay} shows to whom: to {node_c}. The outer destination comes from the FDB: "
                "`bridge fdb show dev vxlan0` in {node_a}."
            ),
            fix={"node_a": "bridge fdb replace {mac_b} dev vxlan0 dst {node_b_ip}"},
            others=(
                {"node_a": "bridge fdb del {mac_b} dev vxlan0\nbridge fdb append {mac_b} dev vxlan0 dst {node_b_ip}"},
            ),
            mistakes=(
                Mistake(
                    "one more",
                    {"node_a": "bridge fdb append {mac_b} dev vxlan0 dst {node_b_ip}"},
                    "last seen in {node_c}",
                ),
            ),
        ),
        Fault(
            name="two-networks",
            work={"node_c": ANEW + end("c", "{other_vni}") + KNOWN},
            symptom="“{node_c} was set up anew, and {pod_c} is alone since then. In {node_c}, ping reaches both other nodes. And we compared routes, neighbours and FDB, line by line!”",
            was="vxlan0 of {node_c} had the VNI {other_vni}, the others have {vni}. What arrives with a VNI that no interface has is dropped.",
            found=(
                "A capture on eth0 of {node_c} shows UDP that comes in; one on vxlan0 shows nothing. So the packets are not for this interface. `ip -d link show vxlan0` has the "
                "rest of what must agree: id and dstport."
            ),
            fix={"node_c": ANEW + end("c") + KNOWN},
            others=({"node_c": ANEW + (end("c") + KNOWN).replace("vxlan0", "again0")},),
            mistakes=(
                Mistake(
                    "off and on",
                    {"node_c": "ip link set vxlan0 down; ip link set vxlan0 up" + KNOWN},
                    "last seen in {node_c}",
                ),
            ),
        ),
        Fault(
            name="closed-port",
            work={"node_b": "iptables -A INPUT -p udp --dport {port} -j DROP"},
            symptom="“The pods of {node_b} are cut off. It cannot be the network: in {node_a}, `ping {node_b_ip}` works. Only some ports were closed last night.”",
            was="{node_b} dropped UDP to port {port}. To {node_b}, what its pods get are packets for itself, so they meet INPUT.",
            found=(
                "A capture on eth0 of {node_b} shows UDP to port {port} that comes in, and one on vxlan0 shows nothing. Between the two is the firewall: `iptables -L INPUT -v -n` "
                "counts one more with each try. The outer packet is for the node, so FORWARD has no part in it."
            ),
            fix={"node_b": "iptables -D INPUT -p udp --dport {port} -j DROP"},
            others=({"node_b": "iptables -I INPUT 1 -p udp --dport {port} -j ACCEPT"},),
            mistakes=(
                Mistake(
                    "the number of the RFC",
                    {"node_b": "iptables -I INPUT 1 -p udp --dport 4789 -j ACCEPT"},
                    "the packet was last seen in {node_b}",
                ),
            ),
        ),
    ),
    hints=(
        Hint(
            "Is it all packets, or only large ones? `ping -M do -s 1400` beside `ping`. And in which directions, between which nodes?"
        ),
        Hint(
            "Small passes, large is lost, and nobody complains. Find the limit by trying sizes: between pods, then between nodes. By how much do the two differ?",
            lambda scene: (
                ping(scene, "pod_a", scene.values["pod_b_ip"])
                and not ping(scene, "node_a", scene.values["node_b_ip"], "-M", "do", "-s", "1472")
            ),
        ),
        Hint(
            "Nodes reach each other with 1500 bytes, so the underlay is well. Who should tell {pod_b} that its packet is too large? Does it?",
            prints("node_b", "iptables -w -S OUTPUT", "DROP"),
        ),
        Hint(
            "A packet inside of a packet has two destinations. Where does the outer one come from? Capture UDP in {underlay}, and look to whom it goes.",
            prints("node_a", "bridge fdb show dev vxlan0", "{mac_b} dst {node_c_ip}"),
        ),
        Hint(
            "UDP arrives on eth0 and nothing on vxlan0. What must be the same on both ends? `ip -d link show vxlan0` on two nodes.",
            lacks("node_c", "ip -d link show vxlan0", "id {vni} "),
        ),
        Hint(
            "UDP arrives on eth0 and nothing on vxlan0. For whom is the outer packet, and which chain does it meet there?",
            prints("node_b", "iptables -w -S INPUT", "DROP"),
        ),
    ),
)

EXERCISES = (OVERLAY, THIRD, BROKEN)
