"""Chapter 01: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.proof import ask, follow, next_hop
from netlab.course.values import failed, passed
from netlab.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.course import Scene
    from netlab.kernel.packets import Packet

# -- two bare hosts --------------------------------------------------------------------------


def setup_bare(scene: Scene) -> None:
    """Make two hosts that have nothing but a loopback interface; a web server runs on one of them."""
    _, server = scene.add_hosts("client", "server")
    network, port = scene.network(), scene.random.randrange(8001, 8990)
    server.serve(port)
    scene.values |= {"network": str(network), "port": str(port)}
    scene.values |= {"client_ip": str(network[11]), "server_ip": str(network[22]), "wrong_ip": str(network[99])}


def check_bare(scene: Scene) -> Verdict:
    """See that a connection goes over a cable to the server, and whose address the server sees."""
    values = scene.values
    way = follow(scene, "client", f"{values['server_ip']}:{values['port']}", by=("server",))
    if not way.passed:
        return way
    told = ask(scene, "client", values["server_ip"], values["port"]) or {}
    if told.get("server") != values["server"] or told.get("client_address") != values["client_ip"]:
        return failed(
            f"{told.get('server', 'nobody')} answers, and sees {told.get('client_address', 'nobody')} as the caller",
            f"{values['server']} answers, and sees {values['client_ip']} as the caller",
            f"`ip address` in {values['client']}, and `ip route get {values['server_ip']}`: which source does the kernel choose?",
        )
    return passed(f"{values['server']} answered on port {values['port']}, and saw {values['client_ip']} as the caller")


def cables(scene: Scene, role: str) -> list[str]:
    """Return the state of each interface of a role but the loopback."""
    return [one.state_words for one in scene.host(role).state().interfaces if one.kind != "loopback" and one.peer]


def no_way(role: str, value: str) -> Callable[[Scene], bool]:
    """Return a condition: the role has no route to an address."""
    return lambda scene: next_hop(scene, role, scene.values[value])[1] is None


def cable(left: str = "{client_ip}/24", right: str = "{server_ip}/24", *, right_up: str = "up") -> dict[str, str]:
    """Return the work of laying a cable and giving it two addresses."""
    return {
        "client": f"ip link add eth0 type veth peer name eth0 netns {{server}}\nip address add {left} dev eth0\nip link set eth0 up",
        "server": f"ip address add {right} dev eth0\nip link set eth0 {right_up}",
    }


#: Works by another path: the client has the server's address too, and answers itself.
OWN_ANSWER = """\
ip address add {client_ip}/32 dev lo
ip address add {server_ip}/32 dev lo
python3 -m http.server {port} >/dev/null 2>&1 &
until ss -Htln sport = {port} | grep -q LISTEN; do :; done
"""

BARE = Exercise(
    key="01-two-bare-hosts",
    title="Two bare hosts",
    goal="{client} and {server} have nothing but a lo. A web server runs on {server}, port {port}.\n\nIn {client}, `curl http://{server_ip}:{port}/` gets the answer of {server}, and {server} sees {client_ip} as the caller.",
    setup=setup_bare,
    check=check_bare,
    solution=cable(),
    why="A cable, an address at each end, and both ends up: the kernel made the routes from the addresses. From now on you may let Python do these lines, as the next chapters do: `lab.connect(one, other, address, address)`.",
    hints=(
        Hint(
            "What could carry a packet from {client} to {server}? `ip link` shows what there is. `ip link help` shows how a pair is made, and `netns {server}` "
            "puts one end there.",
            lambda scene: not cables(scene, "client"),
        ),
        Hint(
            "There is a cable. Look at both of its ends with `ip -brief link`: do both say UP?",
            lambda scene: {"DOWN", "NO CARRIER"} & {*cables(scene, "client"), *cables(scene, "server")} != set(),
        ),
        Hint(
            "How would {client} send to {server_ip}? `ip route get {server_ip}` says it. Which addresses lie on the cable is said by what stands behind the `/`.",
            no_way("client", "server_ip"),
        ),
        Hint("And the answer? `ip route get {client_ip}` in {server}.", no_way("server", "client_ip")),
        Hint(
            "Capture on both ends of the cable while you ask. Which packet is the last one, and who should send the next?"
        ),
    ),
    others=(
        {
            "server": "ip link add cable0 type veth peer name cable1 netns {client}\n"
            "ip address add {server_ip} peer {client_ip} dev cable0\nip link set cable0 up",
            "client": "ip address add {client_ip} peer {server_ip} dev cable1\nip link set cable1 up",
        },
        {
            "client": cable("{client_ip}/32", "{server_ip}/32")["client"] + "\nip route add {server_ip} dev eth0",
            "server": cable("{client_ip}/32", "{server_ip}/32")["server"] + "\nip route add {client_ip} dev eth0",
        },
    ),
    mistakes=(
        Mistake("one end stays down", cable(right_up="down"), "eth0 of {server}"),
        Mistake("an address without its network", cable(left="{client_ip}"), "no route to {server_ip} in {client}"),
        Mistake("no network at the other end", cable(right="{server_ip}"), "in {server}: no route to {client_ip}"),
        Mistake(
            "the wrong way round",
            cable("{server_ip}/24", "{client_ip}/24"),
            "no listener on tcp port {port} in {client}",
        ),
        Mistake("another address", cable(left="{wrong_ip}/24"), "and sees {wrong_ip} as the caller"),
        Mistake("the client answers itself", {"client": OWN_ANSWER}, "and not {client} → {server}"),
    ),
)

# -- without a question -----------------------------------------------------------------------


def setup_joined(scene: Scene) -> None:
    """Join a client and a web server by a cable, all of it working."""
    client, server = scene.add_hosts("client", "server")
    network = scene.network()
    scene.lab.connect(client, server, f"{network[11]}/24", f"{network[22]}/24")
    running = server.serve(80)
    macs = {role: scene.host(role).state().interface("eth0").mac for role in ("client", "server")}
    scene.values |= {"client_ip": str(network[11]), "server_ip": str(network[22]), "new_ip": str(network[33])}
    scene.values |= {f"{role}_mac": mac for role, mac in macs.items()}
    scene.values |= {"pid": str(running.pid), "new_mac": f"02:00:00:00:{scene.random.randrange(16, 256):02x}:01"}
    scene.values |= {"network": str(network)}
    scene.values |= {"program": shlex.join([sys.executable, *Server.command(server.name, "tcp", "", 80)[:-2]])}


def question(packet: Packet) -> str:
    """Return who asked whom, for a packet of ARP."""
    arp = packet.layers["ARP"]
    return f"{arp.psrc} asked for {arp.pdst}" if arp.op == 1 else f"{arp.psrc} answered"


def check_known(scene: Scene) -> Verdict:
    """Empty what both have learned, ask the server, and look for ARP on the cable."""
    values = scene.values
    expected = f"{values['server']} answers, and no packet of ARP crosses the cable"
    for role in ("client", "server"):
        scene.host(role).run("ip", "neigh", "flush", "all")
    with scene.host("server").capture("eth0", filter="arp or tcp port 80") as seen:
        told = ask(scene, "client", values["server_ip"], 80) or {}
    asked = [question(packet) for packet in seen if "ARP" in packet]
    for sender, receiver, direction in (("client", "server", "in"), ("server", "client", "out")):
        sent = {packet.layers.dst for packet in seen if packet.direction == direction and "TCP" in packet}
        mac = scene.host(receiver).state().interface("eth0").mac
        if sent - {mac}:
            return failed(
                f"{values[sender]} sends to the MAC address {', '.join(sorted(sent))}",
                f"{expected}; eth0 of {values[receiver]} has {mac}",
                f"`ip neigh show nud all` in {values[sender]}, and `ip link` in {values[receiver]}.",
            )
    if asked:
        return failed(
            f"once what was learned is forgotten, ARP crosses the cable: {', '.join(asked)}",
            expected,
            "`ip neigh` of the one who asked, right after `ip neigh flush all`: which entries are still there?",
        )
    way = follow(scene, "client", f"{values['server_ip']}:80", by=("server",))
    if way.passed and told.get("server") != values["server"]:
        return failed(
            f"no packet of ARP crosses the cable, but {told.get('server', 'nobody')} answers", expected, way.saw
        )
    return way


def pinned(client: str = "{server_mac}", server: str = "{client_mac}", state: str = "permanent") -> dict[str, str]:
    """Return the work of writing down the MAC address of the other side, on both."""
    return {
        "client": f"ip neigh replace {{server_ip}} lladdr {client} dev eth0 nud {state}",
        "server": f"ip neigh replace {{client_ip}} lladdr {server} dev eth0 nud {state}",
    }


KNOWN = Exercise(
    key="01-without-a-question",
    title="Without a question",
    goal=(
        "`curl http://{server_ip}/` in {client} works, and begins with ARP, whenever {client} and {server} have forgotten each other "
        "(`ip neigh flush all` in both).\n\n"
        "Make it work without: {server} answers, and not one packet of ARP crosses the cable, although the two have just forgotten what they had learned."
    ),
    setup=setup_joined,
    check=check_known,
    solution=pinned(),
    why="An entry that somebody wrote down is not learned, so it does not age, and `flush` leaves it alone. Networks of pods do the same, where nobody is there to answer ARP: flannel does it for the far ends of its VXLAN tunnels, and the CNI plugin of Amazon's VPC for a pod's gateway.",
    hints=(
        Hint(
            "What is ARP for? If {client} knew the answer before, it would not ask. `ip neigh help` shows how an entry is written."
        ),
        Hint(
            "Each entry has a state, the word at the end of its line in `ip neigh`. Which of the states that `ip neigh help` lists does an entry have that nobody may forget?",
            lambda scene: not lasting(scene, "client"),
        ),
        Hint(
            "Now {client} asks nothing. But its question had told {server} something too. Capture in {server}: who asks now?",
            lambda scene: lasting(scene, "client") and not lasting(scene, "server"),
        ),
        Hint("Compare each entry with `ip link` of the other host, letter by letter."),
    ),
    others=(
        {
            "client": "ip link set eth0 address 02:00:00:00:00:0a\nip neigh add {server_ip} lladdr 02:00:00:00:00:0b nud permanent dev eth0",
            "server": "ip link set eth0 address 02:00:00:00:00:0b\nip neigh add {client_ip} lladdr 02:00:00:00:00:0a nud permanent dev eth0",
        },
        pinned(state="noarp"),
    ),
    mistakes=(
        Mistake("only the client knows", {"client": pinned()["client"]}, "{server_ip} asked for {client_ip}"),
        Mistake("only the server knows", {"server": pinned()["server"]}, "{client_ip} asked for {server_ip}"),
        Mistake("an entry that is learned", pinned(state="reachable"), "{client_ip} asked for {server_ip}"),
        Mistake(
            "one's own MAC address", pinned(client="{client_mac}"), "{client} sends to the MAC address {client_mac}"
        ),
        Mistake(
            "no ARP at all",
            dict.fromkeys(("client", "server"), "ip link set eth0 arp off"),
            "{client} sends to the MAC address {client_mac}",
        ),
        Mistake("a mix-up", pinned(server="{server_mac}"), "{server} sends to the MAC address {server_mac}"),
        Mistake(
            "the client answers itself",
            {"client": OWN_ANSWER.replace("{port}", "80")},
            "the request went {client}, and not {client} → {server}",
        ),
    ),
)


def lasting(scene: Scene, role: str) -> bool:
    """Tell whether a role has an entry in its neighbour table that somebody wrote down."""
    shown = scene.host(role).run("ip", "-4", "neigh", "show", "nud", "permanent", "nud", "noarp", "dev", "eth0").stdout
    return "lladdr" in shown


# -- break-fix ----------------------------------------------------------------------------------


def check_joined(scene: Scene) -> Verdict:
    """See that the server can be reached and answers over HTTP, and that it reaches the client on its own account."""
    values = scene.values
    client, server, url = values["client"], values["server"], f"http://{values['server_ip']}/"
    way = follow(scene, "client", f"{values['server_ip']}:80", by=("server",), explain=False)
    if not way.passed:
        return way
    # Whatever answers is right: a reader may have started another web server.
    said = scene.host("client").run("curl", "-sS", "-o/dev/null", "-w%{http_code}", "-m0.8", url, timeout=3)
    if said.stdout != "200":
        return failed(
            f"{client} has a connection with {server}, and no answer to its request: {said.stderr.strip() or said.stdout}",
            f"{url} is answered in {client}",
            f"a capture while you ask: up to which packet is all as it should be, and who in {server} would have to go on?",
        )
    back = follow(scene, "server", values["client_ip"], by=("client",), explain=False)
    return passed(f"{server} answers {client}, and reaches {client} on its own account too") if back.passed else back


def listens_for_itself(scene: Scene) -> bool:
    """Tell whether the server can be asked only from within its host."""
    return "127.0.0.1:80" in scene.host("server").run("ss", "-Htln", "sport", "=", "80").stdout


def takes_connections(scene: Scene) -> bool:
    """Tell whether the client gets a connection to the server."""
    return scene.host("client").run("bash", "-c", scene.fill(": </dev/tcp/{server_ip}/80"), timeout=0.4).ok


#: Ends what listens on port 80, and starts it anew on the ADDRESS.
RESTART = """\
kill $(ss -Htlnp sport = 80 | grep -o 'pid=[0-9]*' | cut -d= -f2)
while ss -Htln sport = 80 | grep -q LISTEN; do :; done
{program} ADDRESS 80 >/dev/null 2>&1 &
until ss -Htln sport = 80 | grep -q LISTEN; do :; done
"""
ANOTHER = RESTART.replace("{program} ADDRESS 80", "python3 -m http.server 80")

NOT_TAKEN, NO_ANSWER = "the packet was last seen in {server}", "the answer was last seen in {server}"

BROKEN = BreakFix(
    key="01-a-minute-ago",
    title="It worked a minute ago",
    goal="{client} ({client_ip}) and {server} ({server_ip}) share a cable, as you have laid it, and a web server runs on {server}, port 80. Any web server will do, as long as {client} gets an answer from it. A user reports:",
    setup=setup_joined,
    check=check_joined,
    faults=(
        Fault(
            name="too-narrow",
            work={"server": "ip address del {server_ip}/24 dev eth0\nip address add {server_ip}/32 dev eth0"},
            symptom="“In {client}, `curl http://{server_ip}/` hangs. It worked a minute ago, and nobody has touched {client}.”",
            was="The address of {server} was {server_ip}/32, where /24 was meant. A /32 is a network with one member, {server} itself, so the kernel made no route to the others. Nobody had touched {client}, and that was true: a connection needs two ways, and who complains sees one of them.",
            found="A capture on eth0 of {server} shows SYN after SYN coming in, and none of them answered. So the way there is fine. `ss -tln` says that somebody listens. `ip route get {client_ip}` says: Network is unreachable. And `ip address` shows why.",
            fix={"server": "ip address del {server_ip}/32 dev eth0\nip address add {server_ip}/24 dev eth0"},
            others=(
                {"server": "ip route add {network} dev eth0"},
                {"server": "ip address add {server_ip}/24 dev eth0"},
            ),
            mistakes=(
                Mistake("in the one who complains", {"client": "ip route add {server_ip}/32 dev eth0"}, NO_ANSWER),
                Mistake("one more /32", {"server": "ip address add {new_ip}/32 dev eth0"}, NO_ANSWER),
            ),
        ),
        Fault(
            name="pinned",
            work={"client": pinned()["client"], "server": "ip link set eth0 address {new_mac}"},
            symptom="“{server} got a new network card, with the address that it always had. Since then {client} does not reach it any more.”",
            was="Somebody had written down the MAC address of {server} in {client}, as PERMANENT. The new card has another one, so each packet went to a card that is not there any more. Who writes an entry down has to keep it right.",
            found="A capture on eth0 of {server} shows the SYN coming in, no ARP before it, and nothing going out, though there is a route. So look one layer below: the MAC address to which it is sent is not that of eth0. `ip neigh` in {client} shows the entry, and that it was never learned.",
            fix={"client": "ip neigh del {server_ip} dev eth0"},
            others=(
                {"client": "ip neigh replace {server_ip} lladdr {new_mac} dev eth0 nud permanent"},
                {"server": "ip link set eth0 address {server_mac}"},
            ),
            mistakes=(
                Mistake("forget what was learned", {"client": "ip neigh flush all"}, NOT_TAKEN),
                Mistake("up again", {"server": "ip link set eth0 down\nip link set eth0 up"}, NOT_TAKEN),
            ),
        ),
        Fault(
            name="for-itself",
            work={"server": RESTART.replace("ADDRESS", "127.0.0.1")},
            symptom="“In {client}, `curl http://{server_ip}/` says: connection refused. The developer shows me that it works: on {server}, `curl http://127.0.0.1/` has its answer.”",
            was="The web server listened on 127.0.0.1 only. Who asks for {server_ip} finds no socket there, and the kernel of {server} refuses.",
            found="A refusal is an answer: the packet got to {server}. So cable, addresses and routes are innocent. `ss -tln` in {server} shows port 80, and the address before the colon is 127.0.0.1.",
            fix={"server": RESTART.replace("ADDRESS", "::")},
            others=(
                {"server": ANOTHER},
                {
                    "server": "sysctl -w net.ipv4.conf.eth0.route_localnet=1\n"
                    "iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1"
                },
            ),
            mistakes=(
                Mistake("open the firewall", {"server": "iptables -A INPUT -p tcp --dport 80 -j ACCEPT"}, NOT_TAKEN),
                Mistake("another route", {"client": "ip route add {server_ip}/32 dev eth0"}, NOT_TAKEN),
            ),
        ),
        Fault(
            name="nobody-home",
            work={"server": "kill -STOP {pid}"},
            symptom="“In {client}, `curl http://{server_ip}/` never ends. It cannot be the program: it runs, and its port is open, I have looked.”",
            was="The web server was stopped (SIGSTOP): it did not run, and had not ended either. The handshake is done by the kernel of {server}, without the program. So there were connections, and nobody who read from them.",
            found="The capture shows a whole handshake, the request, and its ACK; the answer is missing. So four layers work, and the fifth does not. `ss -tn` in {server} shows bytes in Recv-Q that nobody fetches, `ss -tlnp` the process that should, and `ps -e -o pid,stat,args` its state: T.",
            fix={"server": "kill -CONT {pid}"},
            others=({"server": ANOTHER.replace("kill ", "kill -KILL ")},),
            mistakes=(
                Mistake("learn the address anew", {"client": "ip neigh flush all"}, "and no answer to its request"),
                Mistake("one more signal", {"server": "kill -TERM {pid}"}, "and no answer to its request"),
            ),
        ),
    ),
    hints=(
        Hint(
            "Do not guess. Capture on eth0 of {server} while you ask once more in {client}. Which packet is the last that is as it should be?"
        ),
        Hint(
            "The handshake is complete. Whose work was that, and whose work is the answer? `ss -tn` and `ss -tlnp` in {server} show both.",
            takes_connections,
        ),
        Hint(
            "Who refuses is there. The kernel of {server} has no socket for this address and this port. Read the list of sockets, `ss -tln`, letter by letter.",
            listens_for_itself,
        ),
        Hint(
            "The SYN gets to {server}. How would its answer leave? `ip route get {client_ip}` in {server}.",
            no_way("server", "client_ip"),
        ),
        Hint(
            "To which MAC address is the SYN sent? Compare it with `ip link` in {server}. Where did {client} get it from?",
            lambda scene: lasting(scene, "client"),
        ),
    ),
)

EXERCISES = (BARE, KNOWN, BROKEN)
