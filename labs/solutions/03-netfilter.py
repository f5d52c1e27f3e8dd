"""Chapter 03: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.proof import ask, follow
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.course import Scene

# -- publish a port -----------------------------------------------------------------------------


def setup_publish(scene: Scene) -> None:
    """Build an app behind a node that forwards nothing by its policy, as Docker leaves it, and a client outside."""
    client, node, app = scene.add_hosts("client", "node", "app")
    outside, inside = scene.network(), scene.network()
    scene.lab.connect(client, node, f"{outside[33]}/24", f"{outside[1]}/24")
    scene.lab.connect(node, app, f"{inside[1]}/24", f"{inside[22]}/24")
    node.sysctl["net.ipv4.ip_forward"] = 1
    app.add_route("default", via=str(inside[1]))
    client.add_route(inside, via=str(outside[1]))
    node.iptables("-P", "FORWARD", "DROP")
    app.serve(80)
    app.serve(9000)
    port = scene.random.randrange(8001, 8990)
    scene.values |= {"client_ip": str(outside[33]), "node_ip": str(outside[1]), "node_inside": str(inside[1])}
    scene.values |= {"app_ip": str(inside[22]), "port": str(port)}


def check_publish(scene: Scene) -> Verdict:
    """Ask through the published port, from outside and from the node; whose address the app saw; what stays shut."""
    return look_at_port(scene, explain=True)


def look_at_port(scene: Scene, *, explain: bool) -> Verdict:
    """Return the verdict on the published port; without ``explain`` only what a user would see."""
    values = scene.values
    node, app, port = values["node"], values["app"], values["port"]
    way = follow(scene, "client", f"{values['node_ip']}:{port}", by=("node", "app"), explain=explain)
    if not way.passed:
        rule = any(f"--dport {port}" in rule for rule in rules(scene, "node", "filter", "FORWARD"))
        look = f"the rule in FORWARD that asks for port {port}: which port has the packet got by then?"
        if "no listener" in way.saw:
            look = f"the nat table of {node}: which of its rules does a packet meet that comes in for port {port}?"
        return dataclasses.replace(way, look=look) if explain and (rule or "no listener" in way.saw) else way
    told = ask(scene, "client", values["node_ip"], port)
    seen = told and told["client_address"]
    if seen != values["client_ip"]:
        return failed(
            f"{app} answers on port {port} of {node}, but it sees {seen} as the caller",
            f"{app} sees {values['client_ip']}, the address of {values['client']}",
            f"the nat table of {node}: what rewrites the source there, and of which packets?",
        )
    told = ask(scene, "node", values["node_ip"], port)
    if not told or told["server"] != app:
        return failed(
            f"from outside port {port} works; {node} itself gets no answer from {values['node_ip']}, port {port}",
            f"{app} answers {node} on that port too",
            "the hooks that a packet meets which a host sends itself: is PREROUTING one of them?",
        )
    if ask(scene, "client", values["app_ip"], 9000, patience=0.4):
        return failed(
            f"port {port} works, and now port 9000 of {app} can be reached from outside as well",
            f"{node} forwards only what was published",
            f"the FORWARD chain of {node}, and its policy: what does it let through?",
        )
    return passed(f"{app} answers on port {port} of {node}, sees the caller's own address, and nothing else is open")


def rules(scene: Scene, role: str, table: str, chain: str) -> list[str]:
    """Return the rules of a chain as iptables prints them."""
    return scene.host(role).run("iptables", "-w", "-t", table, "-S", chain).stdout.splitlines()


def lacks(table: str, chain: str, word: str, role: str = "node") -> Callable[[Scene], bool]:
    """Return a condition: no rule of that chain has this word in it."""
    return lambda scene: not any(word in rule for rule in rules(scene, role, table, chain))


PUBLISHED = """\
iptables -t nat -A PREROUTING -d {node_ip} -p tcp --dport {port} -j DNAT --to-destination {app_ip}:80
iptables -t nat -A OUTPUT -d {node_ip} -p tcp --dport {port} -j DNAT --to-destination {app_ip}:80
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -d {app_ip} -p tcp --dport 80 -j ACCEPT
"""
#: Works by another path: a program in the node takes the connection and makes one of its own.
PROXY = """\
python3 -c '
import socket, threading
def pump(one, other):
    while data := one.recv(4096):
        other.sendall(data)
server = socket.create_server(("", {port}))
while True:
    client = server.accept()[0]
    app = socket.create_connection(("{app_ip}", 80))
    for pair in ((client, app), (app, client)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
' >/dev/null 2>&1 &
until ss -Htln sport = {port} | grep -q LISTEN; do :; done
"""
BY_NFT = """\
nft add table ip published
nft 'add chain ip published in {{ type nat hook prerouting priority -110; }}'
nft 'add chain ip published own {{ type nat hook output priority -110; }}'
nft add rule ip published in ip daddr {node_ip} tcp dport {port} dnat to {app_ip}:80
nft add rule ip published own ip daddr {node_ip} tcp dport {port} dnat to {app_ip}:80
iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
"""

PUBLISH = Exercise(
    key="03-publish",
    title="Publish a port",
    goal=(
        "{app} ({app_ip}) has a web server on port 80, behind {node}. Publish it: port {port} of {node} ({node_ip}) leads to it, for "
        "{client} as well as for {node} itself.\n\n"
        "{app} sees {client} by its own address. {node} forwards nothing by its policy; apart from what you publish, that stays so."
    ),
    setup=setup_publish,
    check=check_publish,
    solution={"node": PUBLISHED},
    why=(
        "The destination is rewritten before the routing decision, and the filter sees the packet after that: with the app's address and the "
        "app's port. A packet of the node itself does not meet PREROUTING, so it needs the same rule in OUTPUT."
    ),
    hints=(
        Hint(
            "The packet must get another destination before {node} decides where it goes. Which hook comes before that decision?",
            lacks("nat", "PREROUTING", "DNAT"),
        ),
        Hint(
            "The destination is rewritten now. Then the packet is forwarded, and the policy of FORWARD is DROP. Which address and which port "
            "does it have there?",
            lacks("filter", "FORWARD", "-j ACCEPT"),
        ),
        Hint(
            "The first packet may pass. What about the answer? Connection tracking knows that it belongs to something.",
            lacks("filter", "FORWARD", "ESTABLISHED"),
        ),
        Hint("What {node} sends itself begins at another hook.", lacks("nat", "OUTPUT", "DNAT")),
        Hint("Look at the counters: `iptables -t nat -L -v -n` and `iptables -L -v -n`. Which rule does not count?"),
    ),
    others=({"node": BY_NFT},),
    mistakes=(
        Mistake(
            "nothing is let through",
            {
                "node": "iptables -t nat -A PREROUTING -d {node_ip} -p tcp --dport {port} -j DNAT --to-destination {app_ip}:80"
            },
            "no rule accepted the packet. There it went from {client_ip}:",
        ),
        Mistake(
            "the filter asks for the port of before",
            {
                "node": PUBLISHED.replace(
                    "{app_ip} -p tcp --dport 80 -j ACCEPT", "{app_ip} -p tcp --dport {port} -j ACCEPT"
                )
            },
            "the rule in FORWARD that asks for port {port}",
        ),
        Mistake(
            "no way for the answer",
            {
                "node": PUBLISHED.replace(
                    "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n", ""
                )
            },
            "the answer ended in {node}: the policy of filter FORWARD",
        ),
        Mistake(
            "the node itself is forgotten",
            {"node": PUBLISHED.replace("iptables -t nat -A OUTPUT", "true")},
            "{node} itself gets no answer",
        ),
        Mistake(
            "only the node itself",
            {"node": PUBLISHED.replace("iptables -t nat -A PREROUTING", "true")},
            "no listener on tcp port {port} in {node}",
        ),
        Mistake(
            "everything is masqueraded",
            {"node": PUBLISHED + "iptables -t nat -A POSTROUTING -j MASQUERADE"},
            "it sees {node_inside} as the caller",
        ),
        Mistake(
            "everything is let through",
            {"node": PUBLISHED + "iptables -P FORWARD ACCEPT"},
            "port 9000 of {app} can be reached from outside as well",
        ),
        Mistake(
            "a program passes it on",
            {"node": PROXY},
            "the request went {client} → {node}, and not {client} → {node} → {app}",
        ),
    ),
)

# -- the way out ------------------------------------------------------------------------------------


def setup_out(scene: Scene) -> None:
    """Build two pods behind a node, and a server outside that knows no way to them."""
    one, other, node, outside = scene.add_hosts("pod", "neighbour", "node", "server")
    left, right, out = scene.network(), scene.network(), scene.network()
    scene.lab.connect(node, one, f"{left[1]}/24", f"{left[22]}/24")
    scene.lab.connect(node, other, f"{right[1]}/24", f"{right[22]}/24")
    scene.lab.connect(node, outside, f"{out[1]}/24", f"{out[33]}/24")
    node.sysctl["net.ipv4.ip_forward"] = 1
    one.add_route("default", via=str(left[1]))
    other.add_route("default", via=str(right[1]))
    other.serve(80)
    outside.serve(80)
    scene.values |= {"pod_ip": str(left[22]), "pod_net": str(left), "neighbour_ip": str(right[22])}
    scene.values |= {"node_ip": str(out[1]), "node_inside": str(left[1]), "server_ip": str(out[33])}


def check_out(scene: Scene) -> Verdict:
    """See whose address the server outside sees, and whose the neighbour."""
    values = scene.values
    for role, expected, why in (
        ("server", values["node_ip"], "it has a route to no other address of this lab"),
        ("neighbour", values["pod_ip"], "there is no NAT between pods"),
    ):
        way = follow(scene, "pod", f"{values[f'{role}_ip']}:80", by=("node", role))
        if not way.passed:
            return way
        told = ask(scene, "pod", values[f"{role}_ip"], 80)
        seen = told and told["client_address"]
        if seen != expected:
            return failed(
                f"{values[role]} answers {values['pod']}, but sees {seen} as the caller",
                f"{values[role]} sees {expected}: {why}",
                f"the nat table of {values['node']}, at the hook where a source can be rewritten: which packets does each rule match?",
            )
    return passed(f"{values['server']} sees the node's address, {values['neighbour']} sees the pod's own")


OUT = Exercise(
    key="03-the-way-out",
    title="The way out",
    goal=(
        "{pod} ({pod_ip}) asks the web server of {server} ({server_ip}). {server} is outside: it has no route to any pod, and gets none.\n\n"
        "Make {node} stand in for {pod}, so that {server} sees {node_ip} as the caller. But when {pod} asks {neighbour} "
        "({neighbour_ip}), that one still sees {pod_ip}: there is no NAT between pods."
    ),
    setup=setup_out,
    check=check_out,
    solution={"node": "iptables -t nat -A POSTROUTING -s {pod_net} -o eth2 -j MASQUERADE"},
    why="The source is rewritten at the last hook, when it is known by which interface the packet leaves. That is what the rule asks for.",
    hints=(
        Hint(
            "Capture in {server}. The request arrives. To whom would {server} have to answer, and has it a route there?",
            lacks("nat", "POSTROUTING", "-j"),
        ),
        Hint(
            "At which hook is it known by which interface a packet leaves? There is a target that takes the address of that interface.",
            lacks("nat", "POSTROUTING", "-j"),
        ),
        Hint(
            "Which packets does your rule match? `-o` and `! -d` narrow it. `ip route` in {node} names the interfaces."
        ),
    ),
    others=(
        {"node": "iptables -t nat -A POSTROUTING -s {pod_ip} -d {server_ip} -j SNAT --to-source {node_ip}"},
        {
            "node": "nft add table ip out\n"
            "nft 'add chain ip out post {{ type nat hook postrouting priority 100; }}'\n"
            "nft add rule ip out post oifname eth2 masquerade"
        },
    ),
    mistakes=(
        Mistake(
            "the neighbour is masqueraded too",
            {"node": "iptables -t nat -A POSTROUTING -j MASQUERADE"},
            "{neighbour} answers {pod}, but sees",
        ),
        Mistake(
            "an address that the server cannot answer",
            {"node": "iptables -t nat -A POSTROUTING -o eth2 -j SNAT --to-source {node_inside}"},
            "the answer ended in {server}: no route to {node_inside}",
        ),
        Mistake(
            "the wrong side",
            {"node": "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE"},
            "the answer ended in {server}: no route to {pod_ip}",
        ),
        Mistake(
            "a route in the server instead",
            {"server": "ip route add {pod_net} via {node_ip}"},
            "{server} answers {pod}, but sees {pod_ip} as the caller",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------------------


def setup_published(scene: Scene) -> None:
    """Build the app with its port published, all of it working."""
    setup_publish(scene)
    scene.work(PUBLISH.solution)


def check_published(scene: Scene) -> Verdict:
    """See what a user sees, and that the node still shuts out the rest."""
    return look_at_port(scene, explain=False)


BROKEN = BreakFix(
    key="03-a-rule-in-the-wrong-place",
    title="A rule in the wrong place",
    goal=(
        "Port {port} of {node} ({node_ip}) is published: it leads to port 80 of {app} ({app_ip}). {app} sees each caller's own address, and nothing "
        "else behind {node} can be reached. So it was. Somebody has changed a rule. A user reports:"
    ),
    setup=setup_published,
    check=check_published,
    faults=(
        Fault(
            name="behind-a-drop",
            work={
                "node": "iptables -D FORWARD -d {app_ip} -p tcp --dport 80 -j ACCEPT\n"
                "iptables -A FORWARD -j DROP\niptables -A FORWARD -d {app_ip} -p tcp --dport 80 -j ACCEPT"
            },
            symptom="“In {client}, `curl http://{node_ip}:{port}/` hangs. On {node} itself it works.”",
            was="In FORWARD a rule that drops everything stood before the rule that accepts. The first rule that decides wins; the second was never asked.",
            found=(
                "`iptables -L FORWARD -v -n --line-numbers` in {node}, then ask again, and look at it once more: the counter of the DROP rule has moved, "
                "that of the ACCEPT rule below it has not."
            ),
            fix={"node": "iptables -D FORWARD -j DROP"},
            others=({"node": "iptables -I FORWARD 1 -d {app_ip} -p tcp --dport 80 -j ACCEPT"},),
            mistakes=(
                Mistake(
                    "one more rule at the end",
                    {"node": "iptables -A FORWARD -p tcp --dport 80 -j ACCEPT"},
                    "the packet was last seen in {node}",
                ),
                Mistake(
                    "the wall is torn down",
                    {"node": "iptables -F FORWARD\niptables -P FORWARD ACCEPT"},
                    "port 9000 of {app} can be reached from outside as well",
                ),
            ),
        ),
        Fault(
            name="wrong-hook",
            work={"node": "iptables -t nat -D PREROUTING 1"},
            symptom="“In {client}, `curl http://{node_ip}:{port}/` says: connection refused. The admin says it works. He tried it on {node}.”",
            was="The DNAT rule stood in OUTPUT only. A packet from outside does not meet OUTPUT, so it kept its destination, and nobody listens there in {node}.",
            found=(
                "A refusal is an answer: the packet reached {node} and was for {node}. So its destination was not rewritten. `iptables -t nat -S` shows at "
                "which hooks it would be."
            ),
            fix={
                "node": "iptables -t nat -A PREROUTING -d {node_ip} -p tcp --dport {port} -j DNAT --to-destination {app_ip}:80"
            },
            others=(
                {
                    "node": "iptables -t nat -A PREROUTING -i eth0 -p tcp --dport {port} -j DNAT --to-destination {app_ip}:80"
                },
            ),
            mistakes=(
                Mistake(
                    "open the port",
                    {"node": "iptables -I INPUT -p tcp --dport {port} -j ACCEPT"},
                    "the packet was last seen in {node}",
                ),
            ),
        ),
        Fault(
            name="wrong-port",
            work={
                "node": "iptables -D FORWARD -d {app_ip} -p tcp --dport 80 -j ACCEPT\n"
                "iptables -A FORWARD -d {app_ip} -p tcp --dport {port} -j ACCEPT"
            },
            symptom="“The rules were tidied up, and each of them says {port} now. Since then nobody outside reaches it.”",
            was="The rule in FORWARD asked for port {port}. There the destination is rewritten already: the packet has port 80.",
            found=(
                "The DNAT rule counts and the ACCEPT rule does not. A capture in {node} shows why: no packet with port {port} leaves. What follows "
                "PREROUTING sees the new destination."
            ),
            fix={"node": "iptables -A FORWARD -d {app_ip} -p tcp --dport 80 -j ACCEPT"},
            others=({"node": "iptables -A FORWARD -p tcp -m conntrack --ctorigdstport {port} -j ACCEPT"},),
            mistakes=(
                Mistake(
                    "the port of before, in another chain",
                    {"node": "iptables -I INPUT -p tcp --dport {port} -j ACCEPT"},
                    "the packet was last seen in {node}",
                ),
            ),
        ),
        Fault(
            name="one-visitor",
            work={"node": "iptables -t nat -A POSTROUTING -d {app_ip} -j MASQUERADE"},
            symptom="“The log of {app} shows one single address for all visitors since yesterday. Whom do we block now?”",
            was="A rule in POSTROUTING masqueraded what goes to {app}, so {app} saw {node_inside}, an address of {node}.",
            found=(
                "Everything works, so no packet is lost: one is rewritten too much. `conntrack -L` in {node} shows both directions of a connection: the answer "
                "goes to {node_inside}, not to the client. Only POSTROUTING rewrites sources."
            ),
            fix={"node": "iptables -t nat -F POSTROUTING"},
            others=({"node": "iptables -t nat -I POSTROUTING 1 -d {app_ip} -j ACCEPT"},),
            mistakes=(
                Mistake(
                    "a rewrite on top",
                    {"node": "iptables -t nat -I POSTROUTING 1 -d {app_ip} -j SNAT --to-source {node_ip}"},
                    "it sees {node_ip} as the caller",
                ),
            ),
        ),
    ),
    hints=(
        Hint(
            "Does the user get an error at once, or no answer at all? A refusal says that somebody answered. Silence says that something was dropped."
        ),
        Hint(
            "Ask once, and look which counters have moved: `iptables -t nat -L -v -n` and `iptables -L FORWARD -v -n`, in {node}."
        ),
        Hint(
            "The packet is not forwarded, since its destination is {node}. Who should have rewritten it, and at which hook?",
            lacks("nat", "PREROUTING", "DNAT"),
        ),
        Hint("Write down, for each hook that the packet meets in {node}, which address and which port it has there."),
    ),
)

EXERCISES = (PUBLISH, OUT, BROKEN)
