"""Chapter 05: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.bridges import BRIDGE, claimants, forget, has_address, node_end, setup_node
from netlab.course.proof import ask, follow, next_hop, ping
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

#: The gateway of all routed pods: a link-local address that no host has.
NOBODY = "169.254.1.1"


# -- a third pod ----------------------------------------------------------------------------------


def setup_third(scene: Scene) -> None:
    """Build two pods on a bridge, and a third one that is a namespace and nothing else."""
    setup_node(scene, "first", "second", spare=("third",))


def check_third(scene: Scene) -> Verdict:
    """See that the third pod is on the bridge, reaches the first one there, and the outside through the node."""
    values, end = scene.values, node_end(scene, "third")
    if end is None:
        return failed(
            f"no cable leads from {values['third']} to {values['node']}",
            f"a veth pair: one end is eth0 in {values['third']}, the other one is in {values['node']}",
            "`ip link` in both: what is there that `lo` is not?",
        )
    for client, target, way in (("first", "third", "third"), ("third", "outside", "outside")):
        verdict = follow(scene, client, values[f"{target}_ip"], by=("node", way))
        if not verdict.passed:
            return verdict
    if end.master != BRIDGE:
        return failed(
            f"{values['third']} is reached, but {end.name} is no port of {BRIDGE}: {values['node']} routes the packets",
            f"{values['third']} is on the bridge, as the two others are",
            f"`bridge link` in {values['node']}.",
        )
    return follow(scene, "outside", values["third_ip"], by=("node", "third"))


CABLE = "ip link add veth-{third} type veth peer name eth0 netns {third}\n"
ADDRESS = "ip address add {third_ip}/24 dev eth0\nip link set eth0 up\n"
THIRD = Exercise(
    key="05-third-pod",
    title="A third pod",
    goal=(
        "{node} has two pods on its bridge cni0: {first} ({first_ip}) and {second} ({second_ip}). {third} is a namespace without a cable.\n\n"
        "Make it the third pod, as the two others are: a port of cni0, with the address {third_ip}/24 on its eth0 and the gateway {gateway}. {first} and "
        "{outside} ({outside_ip}) reach it, and it reaches them."
    ),
    setup=setup_third,
    check=check_third,
    solution={
        "node": CABLE + "ip link set veth-{third} master cni0 up",
        "third": ADDRESS + "ip route add default via {gateway}",
    },
    why="A cable with one end in the pod, the other end a port of the bridge, an address, a route. It is what the plugin `bridge` does at each ADD.",
    hints=(
        Hint(
            "What has {first} that {third} has not? Compare `ip link` and `ip route` in both.",
            lambda scene: node_end(scene, "third") is None,
        ),
        Hint(
            "There is a cable. Is its end in {node} a port of the bridge, and up? `bridge link` in {node}.",
            lambda scene: (end := node_end(scene, "third")) is not None and not (end.master == BRIDGE and end.up),
        ),
        Hint(
            "{first} is on the same cable, in a way. {outside} is not: which way does {third} know to it?",
            lambda scene: not scene.host("third").run("ip", "route", "get", scene.values["outside_ip"]).ok,
        ),
        Hint(
            "Capture `arp` in {node} while {first} pings {third_ip}. Who asks, who answers, and who does not hear the question?"
        ),
    ),
    others=(
        {
            "third": "ip link add eth0 type veth peer name p3 netns {node}\n" + ADDRESS,
            "node": "ip link set p3 up master cni0\nip netns exec {third} ip route add 0.0.0.0/0 via {gateway}",
        },
    ),
    mistakes=(
        Mistake(
            "nothing on the bridge",
            {"node": CABLE + "ip link set veth-{third} up", "third": ADDRESS + "ip route add default via {gateway}"},
            "did not answer ARP",
        ),
        Mistake(
            "one end is down",
            {"node": CABLE + "ip link set veth-{third} master cni0", "third": ADDRESS},
            "did not answer ARP",
        ),
        Mistake(
            "no gateway",
            {"node": CABLE + "ip link set veth-{third} master cni0 up", "third": ADDRESS},
            "no route to {outside_ip}",
        ),
        Mistake(
            "the address of another pod",
            {
                "node": CABLE + "ip link set veth-{third} master cni0 up",
                "third": ADDRESS.replace("third", "second") + "ip route add default via {gateway}",
            },
            "neighbour {third_ip} did not answer ARP",
        ),
        Mistake(
            "routed past the bridge",
            {
                "node": CABLE + "ip link set veth-{third} up\nip route add {third_ip}/32 dev veth-{third}\n"
                "sysctl -w net.ipv4.conf.cni0.proxy_arp=1 net.ipv4.conf.veth-{third}.proxy_arp=1\n"
                "sysctl -w net.ipv4.neigh.cni0.proxy_delay=0 net.ipv4.neigh.veth-{third}.proxy_delay=0",
                "third": ADDRESS + "ip route add default via {gateway}",
            },
            "is no port of cni0",
        ),
    ),
)

# -- a pod on a route ------------------------------------------------------------------------------


def setup_routed(scene: Scene) -> None:
    """Build a node without a bridge, and a pod with a bare cable to it."""
    outside, node, pod = scene.add_hosts("outside", "node", "pod")
    uplink, network = scene.network(), scene.network()
    scene.lab.connect(outside, node, f"{uplink[33]}/24", f"{uplink[1]}/24")
    outside.add_route(network, via=str(uplink[1]))
    node.add_route("default", via=str(uplink[33]))
    node.run("ip", "route", "add", "blackhole", str(network), check=True)
    node.sysctl["net.ipv4.ip_forward"] = 1
    scene.lab.connect(node, pod, names=(f"veth-{pod.name}", "eth0"))
    # By default the kernel waits up to 0.8 s before it answers for somebody else (neigh/default/proxy_delay).
    node.sysctl[f"net.ipv4.neigh.veth-{pod.name}.proxy_delay"] = 0
    address = network[scene.random.randrange(2, 250)]
    scene.values |= {"outside_ip": str(uplink[33]), "pod_ip": str(address), "pods_net": str(network), "nobody": NOBODY}


def check_routed(scene: Scene) -> Verdict:
    """See that the pod is reached by a route of its own, with a gateway that no host has."""
    values = scene.values
    for client, target in (("pod", "outside"), ("outside", "pod")):
        verdict = follow(scene, client, values[f"{target}_ip"], by=("node", target))
        if not verdict.passed:
            return verdict
    given = [each.address for each in scene.host("pod").state().addresses_of("eth0") if not each.is_link_local]
    wide = [address for address in given if address.network.num_addresses > 1]
    if wide:
        return failed(
            f"{values['pod']} is reached, and has the address {wide[0]}: it takes all of that network for neighbours on its cable",
            f"the address {values['pod_ip']}/32: nobody else is on this cable",
            f"`ip route` in {values['pod']}: which destinations have no `via`?",
        )
    for role in ("node", "pod", "outside"):
        if has_address(scene, role, NOBODY):
            return failed(
                f"{NOBODY} is an address of {values[role]}",
                f"no host has {NOBODY}, and {values['node']} answers ARP for it all the same",
                f"the sysctl settings of {values['node']} for the end of that cable.",
            )
    gateway, _ = next_hop(scene, "pod", values["outside_ip"])
    if gateway != NOBODY:
        return failed(
            f"{values['pod']} sends by way of {gateway or 'nobody'}",
            f"its gateway is {NOBODY}",
            f"`ip route get {values['outside_ip']}` in {values['pod']}.",
        )
    return passed(
        f"{values['pod']} ({values['pod_ip']}/32) is reached by a route of its own, and its gateway {NOBODY} is no host's address"
    )


POD_SIDE = "ip address add {pod_ip}/32 dev eth0\nip route add {nobody} dev eth0\nip route add default via {nobody}\n"
NODE_ROUTE = "ip route add {pod_ip}/32 dev veth-{pod}\n"
PROXY = "sysctl -w net.ipv4.conf.veth-{pod}.proxy_arp=1"
ROUTED = Exercise(
    key="05-on-a-route",
    title="A pod on a route of its own",
    goal=(
        "{pod} has a cable to {node}: eth0 here, veth-{pod} there, both up. There is no bridge. {node} forwards, and throws away what goes to a pod that it does not know "
        "({pods_net} is a blackhole).\n\n"
        "Give {pod} the address {pod_ip}/32 and the gateway {nobody}, so that {pod} and {outside} ({outside_ip}) reach each other. No host gets the address "
        "{nobody}: {node} answers ARP for it without having it."
    ),
    setup=setup_routed,
    check=check_routed,
    solution={"pod": POD_SIDE, "node": NODE_ROUTE + PROXY},
    why=(
        "With proxy_arp, {node} answers for each address to which it has a route by another interface: here the default route. So every pod can have one and the same gateway, and the "
        "node needs one route for each pod. It is how Calico does it."
    ),
    hints=(
        Hint(
            "A /32 brings no route along. Before there can be a route via {nobody}, one has to say on which cable {nobody} is.",
            lambda scene: next_hop(scene, "pod", scene.values["outside_ip"])[1] is None,
        ),
        Hint(
            "Capture `arp` in {node}. {pod} asks for {nobody}. Which sysctl lets {node} answer, and on which of its interfaces?",
            lambda scene: scene.host("node").sysctl[f"net.ipv4.conf.veth-{scene.values['pod']}.proxy_arp"] == "0",
        ),
        Hint(
            "How would {node} send something to {pod_ip}? `ip route get {pod_ip}`.",
            lambda scene: not scene.host("node").run("ip", "route", "get", scene.values["pod_ip"]).ok,
        ),
        Hint(
            "Follow one packet: `{nobody}` in the neighbour table of {pod}, then the route in {node}, then the way back."
        ),
    ),
    others=(
        {
            "pod": "ip address add {pod_ip} dev eth0\nip route add default via {nobody} dev eth0 onlink",
            "node": NODE_ROUTE + "sysctl -w net.ipv4.conf.all.proxy_arp=1",
        },
        {"pod": POD_SIDE, "node": NODE_ROUTE + "ip neigh add proxy {nobody} dev veth-{pod}"},
    ),
    mistakes=(
        Mistake("nobody answers ARP", {"pod": POD_SIDE, "node": NODE_ROUTE}, "did not answer ARP"),
        Mistake(
            "the wrong end",
            {"pod": POD_SIDE, "node": NODE_ROUTE + "sysctl -w net.ipv4.conf.eth0.proxy_arp=1"},
            "did not answer ARP",
        ),
        Mistake("no way back", {"pod": POD_SIDE, "node": PROXY}, "the answer ended in {node}"),
        Mistake(
            "a gateway that nobody can place",
            {
                "pod": "ip address add {pod_ip}/32 dev eth0\nip route add default via {nobody}",
                "node": NODE_ROUTE + PROXY,
            },
            "no route to {outside_ip}",
        ),
        Mistake(
            "a network on the cable",
            {"pod": POD_SIDE.replace("/32", "/24"), "node": NODE_ROUTE + PROXY},
            "it takes all of that network for neighbours",
        ),
        Mistake(
            "the node has the address",
            {"pod": POD_SIDE, "node": NODE_ROUTE + "ip address add {nobody}/32 dev veth-{pod}"},
            "{nobody} is an address of {node}",
        ),
    ),
)

# -- break-fix ---------------------------------------------------------------------------------------


def setup_service(scene: Scene) -> None:
    """Build three pods on a bridge; two of them are web servers."""
    setup_node(scene, "client", "server", "other")
    for role in ("server", "other"):
        scene.host(role).serve(80)


def check_service(scene: Scene) -> Verdict:
    """See who answers for each address, from inside and from outside, also when both pods are at work."""
    values = scene.values
    forget(scene)
    for client in ("client", "outside"):
        for role, busy in (("server", "other"), ("other", "server")):
            # The bridge believes who spoke last: so somebody else speaks before the question.
            ping(scene, busy, values["gateway"])
            told = ask(scene, client, values[f"{role}_ip"], 80, patience=0.4)
            if told is None or told["server"] != values[role]:
                who = f"{told['server']} answers" if told else "nobody answers"
                return failed(
                    f"{values[client]} asks {values[f'{role}_ip']}, port 80, and {who}",
                    f"{values[role]} answers on {values[f'{role}_ip']}, {values['other' if role == 'server' else 'server']} on its own address",
                    f"`ip neigh` in {values[client]}, `bridge fdb show br cni0` in {values['node']}: who is where?",
                )
    for asker, address, whose in (
        ("node", values["server_ip"], values["server"]),
        ("client", values["server_ip"], values["server"]),
        ("server", values["gateway"], values["node"]),
    ):
        if len(claimants(scene, asker, address)) != 1:
            return failed(
                f"it works now. When {values[asker]} asks the whole bridge for {address}, there is more than one answer, or none",
                f"{whose} answers for {address}, and nobody else",
                f"a capture of `arp` in {values[asker]}, after `ip neigh flush all`.",
            )
    way = follow(scene, "server", values["outside_ip"], by=("node", "outside"), explain=False)
    return (
        passed(f"{values['server']} and {values['other']} answer, each on its own address, and nobody else does")
        if way.passed
        else way
    )


DUPLICATE = BreakFix(
    key="05-two-of-one",
    title="Two of one",
    goal=(
        "Three pods on the bridge cni0 of {node}: {client} ({client_ip}), {server} ({server_ip}) and {other} ({other_ip}). Their gateway is {gateway}, an address of cni0. "
        "{server} and {other} are web servers on port 80, for {client} and for {outside}, which is not on this node. So it was. A user reports:"
    ),
    setup=setup_service,
    check=check_service,
    faults=(
        Fault(
            name="twin",
            work={"other": "ip address add {server_ip}/24 dev eth0"},
            symptom="“Some who ask {server_ip} get pages of {other}. It changes from hour to hour, and it differs from caller to caller.”",
            was="{other} had the address {server_ip} too. Both answered ARP, and each caller believed one of them until its entry grew old.",
            found="Capture `arp` in {client} after `ip neigh flush all`: one question, two answers with different MAC addresses. `bridge fdb` in {node} says behind which port the wrong one is.",
            fix={"other": "ip address del {server_ip}/24 dev eth0"},
            others=(
                {
                    "other": "ip address flush dev eth0\nip address add {other_ip}/24 dev eth0\nip route add default via {gateway}"
                },
            ),
            mistakes=(
                Mistake(
                    "the callers are told whom to believe",
                    {
                        "client": "ip neigh replace {server_ip} lladdr {server_mac} dev eth0 nud permanent",
                        "node": "ip neigh replace {server_ip} lladdr {server_mac} dev cni0 nud permanent",
                    },
                    "more than one answer, or none",
                ),
                Mistake("the twin is switched off", {"other": "ip link set eth0 down"}, "nobody answers"),
            ),
        ),
        Fault(
            name="second-gateway",
            work={"other": "ip address add {gateway}/24 dev eth0"},
            symptom="“{server} and {client} see each other without fault. To {outside} the connections hang, now and then, from one pod or the other. On {node} all is well.”",
            was="{other} had the address of the gateway. Pods that believed its answer to ARP sent their packets for the outside there, and it does not forward.",
            found="What stays on the bridge works, what leaves it does not: so look at the gateway. In {server}, `ip neigh flush all`, ping {gateway} and capture `arp`: two answers, one of them not from cni0.",
            fix={"other": "ip address del {gateway}/24 dev eth0"},
            others=(
                {
                    "other": "ip address flush dev eth0\nip address add {other_ip}/24 dev eth0\nip route add default via {gateway}"
                },
            ),
            mistakes=(
                Mistake("the wrong one gives way", {"node": "ip address del {gateway}/24 dev cni0"}, "nobody answers"),
            ),
        ),
        Fault(
            name="one-mac",
            work={"other": "ip link set dev eth0 address {server_mac}"},
            symptom="“{server} and {other} were made from one template. Each is fine alone. When both have work to do, connections to both break off.”",
            was="{other} had the MAC address of {server}. A bridge knows one port for each MAC address: that of whoever spoke last. What was for the other one went there.",
            found="Two IP addresses in `ip neigh` of {client} have one MAC address. `bridge fdb show br cni0` in {node}, asked a few times, shows it behind one port, then behind the other.",
            fix={"other": "ip link set dev eth0 address {other_mac}"},
            others=({"server": "ip link set dev eth0 address 02:00:00:ab:cd:ef"},),
            mistakes=(
                Mistake(
                    "the bridge is told where it is",
                    {"node": "bridge fdb replace {server_mac} dev veth-{other} master static"},
                    "and nobody answers",
                ),
                Mistake("other neighbours are forgotten", {"client": "ip neigh flush all"}, "and nobody answers"),
            ),
        ),
        Fault(
            name="left-on-the-node",
            work={"node": "ip address add {server_ip}/32 dev lo"},
            symptom="“{outside} gets `connection refused` from {server_ip}. In {server}, `curl http://127.0.0.1/` works, and {server_ip} is on its eth0.”",
            was="{node} had the address {server_ip} itself, on its `lo`. What came from outside was for {node} then, where nobody listens, and {node} answered ARP for it as well.",
            found="A refusal is an answer: somebody with that address sent it. `ip route get {server_ip}` in {node} begins with `local`. So the packet never gets to the bridge.",
            fix={"node": "ip address del {server_ip}/32 dev lo"},
            others=({"node": "ip address flush dev lo label lo scope global\nip address replace 127.0.0.1/8 dev lo"},),
            mistakes=(
                Mistake(
                    "a rule for a door that is open",
                    {"node": "iptables -I INPUT -p tcp --dport 80 -j ACCEPT\niptables -I FORWARD -j ACCEPT"},
                    "and nobody answers",
                ),
                Mistake("a route beside it", {"node": "ip route add {server_ip}/32 dev cni0"}, "and nobody answers"),
            ),
        ),
    ),
    hints=(
        Hint(
            "Take one caller. Which MAC address does it have for {server_ip}, and which for {gateway}? `ip neigh` in {client}; and what are the real ones? `ip link` in the pods."
        ),
        Hint(
            "An entry in a neighbour table hides a dispute for a while. `ip neigh flush all`, then ask again, with a capture of `arp`. How many answer?"
        ),
        Hint(
            "One MAC address is behind one port of a bridge. `bridge fdb show br cni0 dynamic` in {node}, before and after each pod has sent something."
        ),
        Hint(
            "Ask {node} what it would do with a packet for {server_ip}: `ip route get {server_ip}`.",
            lambda scene: has_address(scene, "node", scene.values["server_ip"]),
        ),
    ),
)

EXERCISES = (THIRD, ROUTED, DUPLICATE)
