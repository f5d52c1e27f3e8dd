"""Chapter 02: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.proof import follow, next_hop, ping
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

# -- through the middle ---------------------------------------------------------------------


def setup_middle(scene: Scene) -> None:
    """Build client, router and server in a row, and a cable for management between the two ends."""
    client, router, server = scene.add_hosts("client", "router", "server")
    left, right, side = scene.network(), scene.network(), scene.network()
    scene.lab.connect(client, router, f"{left[11]}/24", f"{left[1]}/24")
    scene.lab.connect(router, server, f"{right[1]}/24", f"{right[22]}/24")
    scene.lab.connect(client, server, f"{side[11]}/24", f"{side[22]}/24")
    scene.values |= {"client_net": str(left), "server_net": str(right), "side_net": str(side)}
    scene.values |= {"client_ip": str(left[11]), "router_left": str(left[1]), "router_right": str(right[1])}
    scene.values |= {"server_ip": str(right[22]), "server_side": str(side[22]), "client_side": str(side[11])}


def check_middle(scene: Scene) -> Verdict:
    """See that an echo request goes through the router, and the answer comes back through it."""
    return follow(scene, "client", scene.values["server_ip"], by=("router", "server"))


def has_no_route(role: str, value: str) -> Hint:
    """Return the hint for a host that does not know the way to an address."""
    text = f"Ask the kernel of {{{role}}}: `ip route get {{{value}}}`. Which neighbour of {{{role}}} could pass it on?"
    return Hint(text, lambda scene: next_hop(scene, role, scene.values[value])[1] is None)


def does_not_forward(scene: Scene) -> bool:
    """Tell whether the router is one in name only."""
    return scene.host("router").sysctl["net.ipv4.ip_forward"] == "0"


MIDDLE = Exercise(
    key="02-through-the-middle",
    title="Through the middle",
    goal=(
        "`ping {server_ip}` in {client} gets an answer. {client} and {server} each have a cable to {router}. The packets go "
        "through {router}, there and back.\n\n"
        "The cable that joins {client} and {server} directly ({side_net}) is for management, and is not to be used for this."
    ),
    setup=setup_middle,
    check=check_middle,
    solution={
        "client": "ip route add {server_net} via {router_left}",
        "router": "sysctl -w net.ipv4.ip_forward=1",
        "server": "ip route add {client_net} via {router_right}",
    },
    why="Three things had to be right: a route there, a host that passes packets on, and a route back.",
    hints=(
        has_no_route("client", "server_ip"),
        Hint(
            "Capture on both cables of {router} while you ping. What comes in by one, and does not go out by the other? "
            "Chapter 02 shows the sysctl that decides it.",
            does_not_forward,
        ),
        has_no_route("server", "client_ip"),
        Hint("A packet that arrives is half of the work. Who answers it, and which route does the answer take?"),
    ),
    others=(
        {
            "client": "ip route add default via {router_left}",
            "router": "echo 1 > /proc/sys/net/ipv4/conf/all/forwarding",
            "server": "ip route add default via {router_right}",
        },
        {
            "client": "ip route add {server_ip}/32 via {router_left}",
            "router": "sysctl -w net.ipv4.conf.eth0.forwarding=1 net.ipv4.conf.eth1.forwarding=1",
            "server": "ip route add {client_ip}/32 via {router_right}",
        },
    ),
    mistakes=(
        Mistake(
            "only the way there",
            {"client": "ip route add {server_net} via {router_left}"},
            "ip_forward is 0 in {router}",
        ),
        Mistake(
            "no way back",
            {
                "client": "ip route add {server_net} via {router_left}",
                "router": "sysctl -w net.ipv4.ip_forward=1",
            },
            "the answer ended in {server}: no route to {client_ip}",
        ),
        Mistake(
            "a route without a next hop",
            {"client": "ip route add {server_net} dev eth0", "router": "sysctl -w net.ipv4.ip_forward=1"},
            "did not answer ARP on eth0 of {client}",
        ),
        Mistake(
            "the other cable",
            {"client": "ip route add {server_net} via {server_side}"},
            "the request went {client} → {server}, and not {client} → {router} → {server}",
        ),
        Mistake(
            "the answer takes the other cable",
            {
                "client": "ip route add {server_net} via {router_left}",
                "router": "sysctl -w net.ipv4.ip_forward=1",
                "server": "ip route add {client_net} via {client_side}",
            },
            "the answer went {server} → {client}, and not {server} → {router} → {client}",
        ),
        Mistake(
            "somebody else has the address",
            {
                "client": "ip route add {server_net} via {router_left}",
                "router": "ip address add {server_ip}/32 dev lo",
            },
            "the request went {client} → {router}, and not {client} → {router} → {server}",
        ),
    ),
)

# -- the detour -----------------------------------------------------------------------------


def setup_detour(scene: Scene) -> None:
    """Build two routers between a client and a server that has two addresses; all goes through the first."""
    client, near, far, server = scene.add_hosts("client", "first", "second", "server")
    networks = [scene.network() for _ in range(5)]
    a, b, c, d, service = networks
    scene.lab.connect(client, near, f"{a[11]}/24", f"{a[1]}/24")
    scene.lab.connect(client, far, f"{b[11]}/24", f"{b[1]}/24")
    scene.lab.connect(near, server, f"{c[1]}/24", f"{c[22]}/24")
    scene.lab.connect(far, server, f"{d[1]}/24", f"{d[22]}/24")
    low, high = sorted(scene.random.sample(range(10, 250), 2))
    scene.values |= {"service_net": str(service), "stays": str(service[low]), "moves": str(service[high])}
    scene.values |= {"first_ip": str(a[1]), "second_ip": str(b[1])}
    for router, via in ((near, c[22]), (far, d[22])):
        router.sysctl["net.ipv4.ip_forward"] = 1
        router.add_route(service, via=str(via))
    for address in (scene.values["stays"], scene.values["moves"]):
        server.add_address("lo", f"{address}/32")
    server.add_route(a, via=str(c[1]))
    server.add_route(b, via=str(d[1]))
    client.add_route(service, via=str(a[1]))


def check_detour(scene: Scene) -> Verdict:
    """See that one address is reached through the second router, and the other still through the first."""
    moved = follow(scene, "client", scene.values["moves"], by=("second", "server"))
    return follow(scene, "client", scene.values["stays"], by=("first", "server")) if moved.passed else moved


DETOUR = Exercise(
    key="02-detour",
    title="A detour for one address",
    goal=(
        "{server} has the addresses {stays} and {moves}. {client} reaches both through {first} ({first_ip}), by one route.\n\n"
        "Send what goes to {moves} through {second} ({second_ip}) instead. Nothing changes for {stays}."
    ),
    setup=setup_detour,
    check=check_detour,
    solution={"client": "ip route add {moves}/32 via {second_ip}"},
    why="Both routes match {moves}. The kernel took the one with the longer prefix, whatever order they were added in.",
    hints=(
        Hint("Which routes does {client} have now? `ip route`. Does one of them match both addresses?"),
        Hint(
            "You need no change to the route that is there. Which prefix matches {moves} and no other address?",
            lambda scene: next_hop(scene, "client", scene.values["moves"])[0] == scene.values["first_ip"],
        ),
        Hint(
            "{stays} has no way any more, or another one. What did the route for {service_net} say?",
            lambda scene: next_hop(scene, "client", scene.values["stays"])[0] != scene.values["first_ip"],
        ),
    ),
    others=(
        {"client": "ip route add {moves} via {second_ip} dev eth1 metric 900"},
        {"client": "ip rule add to {moves} lookup 100\nip route add default via {second_ip} table 100"},
    ),
    mistakes=(
        Mistake(
            "all of it moves",
            {"client": "ip route replace {service_net} via {second_ip}"},
            "the request went {client} → {second} → {server}, and not {client} → {first} → {server}",
        ),
        Mistake(
            "a second route with the same prefix",
            {"client": "ip route add {service_net} via {second_ip} metric 50"},
            "the request went {client} → {first} → {server}, and not {client} → {second} → {server}",
        ),
        Mistake(
            "the old route is gone",
            {"client": "ip route del {service_net}\nip route add {moves}/32 via {second_ip}"},
            "no route to {stays} in {client}",
        ),
        Mistake("no next hop", {"client": "ip route add {moves}/32 dev eth1"}, "neighbour {moves} did not answer ARP"),
    ),
)

# -- break-fix --------------------------------------------------------------------------------


def setup_chain(scene: Scene) -> None:
    """Build a router between two hosts, all of it working."""
    setup_middle_without_side(scene)
    scene.work(MIDDLE.solution)


def setup_middle_without_side(scene: Scene) -> None:
    """Build client, router and server in a row."""
    client, router, server = scene.add_hosts("client", "router", "server")
    left, right = scene.network(), scene.network()
    scene.lab.connect(client, router, f"{left[11]}/24", f"{left[1]}/24")
    scene.lab.connect(router, server, f"{right[1]}/24", f"{right[22]}/24")
    scene.values |= {"client_net": str(left), "server_net": str(right), "server_ip": str(right[22])}
    scene.values |= {"client_ip": str(left[11]), "router_left": str(left[1]), "router_right": str(right[1])}


def check_chain(scene: Scene) -> Verdict:
    """See that small and large packets pass in both directions, and that others than the client are served too."""
    values = scene.values
    there = follow(scene, "client", values["server_ip"], by=("router", "server"), explain=False)
    if not there.passed:
        return there
    for role, address in (("client", values["server_ip"]), ("router", values["server_ip"])):
        # Without "don't fragment": a smaller MTU is not a fault, as long as both ends of a cable agree.
        if not ping(scene, role, address, "-M", "dont", "-s", "1400"):
            return failed(
                f"small packets from {values[role]} to {address} are answered, an echo request with 1400 bytes is not",
                "packets of all sizes get through, from whoever sends them",
                "other sizes: which is the largest that gets through, and on which cable is a larger one last seen?",
            )
    back = follow(scene, "server", values["client_ip"], by=("router", "client"), explain=False)
    said = f"small and large packets pass in both directions, by way of {values['router']}"
    return passed(said) if back.passed else back


BROKEN = BreakFix(
    key="02-it-worked-yesterday",
    title="It worked yesterday",
    goal="{client} – {router} – {server}: a router in the middle, as you have built it. A user reports:",
    setup=setup_chain,
    check=check_chain,
    faults=(
        Fault(
            name="no-way-back",
            work={"server": "ip route del {client_net}"},
            symptom="“In {client}, `ping {server_ip}` gets no answer. Nobody has touched {client} or {router}.”",
            was="{server} had no route to {client_net}: each request arrived, and no answer could leave.",
            found=(
                "Capture on the last cable: requests go in, and nothing comes out. So the way there is fine, and `ip route get "
                "{client_ip}` in {server} says why nothing comes out."
            ),
            fix={"server": "ip route add {client_net} via {router_right}"},
            others=({"server": "ip route add default via {router_right}"},),
            mistakes=(
                Mistake(
                    "the one who complains is not the one who is ill",
                    {"client": "ip route add {server_ip}/32 via {router_left}"},
                    "the answer was last seen in {server}",
                ),
            ),
        ),
        Fault(
            name="not-a-router",
            work={"router": "sysctl -w net.ipv4.ip_forward=0"},
            symptom="“{router} was restarted in the night. Since then {client} and {server} do not see each other.”",
            was="ip_forward was 0 in {router}: set by hand once, and kept in no file, so the restart lost it.",
            found=(
                "{client} reaches {router}, so the first cable is fine. A capture on both cables of {router} shows a request that comes "
                "in and does not go out. There is a route for it, so what is left is whether {router} may forward."
            ),
            fix={"router": "sysctl -w net.ipv4.ip_forward=1"},
            others=({"router": "sysctl -w net.ipv4.conf.all.forwarding=1"},),
            mistakes=(
                Mistake(
                    "one direction only",
                    {"router": "sysctl -w net.ipv4.conf.eth0.forwarding=1"},
                    "the answer was last seen in {router}",
                ),
            ),
        ),
        Fault(
            name="blackhole",
            work={"router": "ip route add blackhole {server_ip}/32"},
            symptom="“In {client}, {server_ip} has gone quiet. The cable is fine: {server} itself reaches {router}.”",
            was="{router} had a blackhole route for {server_ip}/32. It is longer than the /24 of the cable, so it won.",
            found=(
                "The request comes into {router} and goes nowhere, with forwarding on. `ip route get {server_ip}` in {router} fails, though "
                "`ip route` shows the /24. So something longer matches."
            ),
            fix={"router": "ip route del blackhole {server_ip}/32"},
            others=({"router": "ip route replace {server_ip}/32 dev eth1"},),
            mistakes=(
                Mistake(
                    "a shorter prefix cannot win",
                    {"router": "ip route add {server_net} via {server_ip} metric 5 || true"},
                    "the packet was last seen in {router}",
                ),
            ),
        ),
        Fault(
            name="two-sizes",
            work={"server": "ip link set eth0 mtu 1000"},
            symptom="“From {client} I can log in to {server}. As soon as I copy a file to it, it hangs. ping is fine.”",
            was="The two ends of the cable between {router} and {server} had different MTUs: 1500 and 1000.",
            found=(
                "What works and what does not differs in size only, so try sizes: `ping -s 1400`. The large one leaves {router} and never "
                "arrives in {server}, and nobody sends an error. `ip link` on both ends of that cable shows two MTUs."
            ),
            fix={"server": "ip link set eth0 mtu 1500"},
            others=({"router": "ip link set eth1 mtu 1000"},),
            mistakes=(
                Mistake(
                    "only the one who complained sends less",
                    {"client": "ip link set eth0 mtu 1000"},
                    "small packets from {router} to {server_ip} are answered, an echo request with 1400 bytes is not",
                ),
            ),
        ),
    ),
    hints=(
        Hint("Do not guess. Which is the last cable that the request is seen on? Capture on both cables of {router}."),
        Hint(
            "Small packets pass. What else could differ between what works and what does not?",
            lambda scene: ping(scene, "client", scene.values["server_ip"]),
        ),
        Hint(
            "The request arrives in {server}. Then it is the answer that is missing: how would {server} send it?",
            lambda scene: next_hop(scene, "server", scene.values["client_ip"])[1] is None,
        ),
        Hint(
            "The request arrives in {router}. What makes a host pass on what is not for itself?",
            does_not_forward,
        ),
        Hint(
            "Ask {router} where it would send a packet for {server_ip}: `ip route get`. Compare that with `ip route`.",
            lambda scene: next_hop(scene, "router", scene.values["server_ip"])[1] is None,
        ),
    ),
)

EXERCISES = (MIDDLE, DETOUR, BROKEN)
