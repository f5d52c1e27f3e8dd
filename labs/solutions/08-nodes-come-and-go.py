"""Chapter 08: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.bird import START, build_nodes, check_learned, for_role, learned, session, start_bird
from netlab.course.changes import look_at_reconcile
from netlab.course.proof import find_route, first_failure, follow, main_routes
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

#: The mark of the reader's routes.
PROTO = "88"
#: Seconds that BIRD gets while a check looks: a change needs some 10 ms, a new session up to one second.
SOON, SESSION = 0.4, 1.3

# -- the loop ---------------------------------------------------------------------------------

#: What others keep in the table of the node.
FOREIGN = ("default via {first_ip}", "{spare_net} via {second_ip} proto static", "blackhole {pods} proto static")


def setup_loop(scene: Scene) -> None:
    """Build a node with three others, and routes of somebody else's in it."""
    build_nodes(scene, "node", "first", "second", "third")
    scene.values |= {"proto": PROTO, "stale_net": scene.values["pods"].replace(".0.0/16", ".3.0/24")}
    refresh(scene)


def refresh(scene: Scene) -> None:
    """Take away what an earlier check or try left in the table, and put back what is somebody else's."""
    node, pods = scene.host("node"), ip_network(scene.values["pods"])
    lines = [
        f"route del {route} proto {route.protocol}"
        for route in main_routes(node)
        if route.protocol == PROTO or (route.via is not None and route.destination[0] in pods)
    ]
    lines += [f"route replace {scene.fill(route)}" for route in FOREIGN]
    node.run("ip", "-batch", "-", input="\n".join(lines), check=True)


def check_loop(scene: Scene) -> Verdict:
    """Call the function again and again, and change the table between the calls."""
    refresh(scene)
    values, node = scene.values, scene.host("node")
    wanted = {values[f"{role}_net"]: values[f"{role}_ip"] for role in ("first", "second", "third")}
    (one, way), (two, _), (three, last) = wanted.items()
    rounds: tuple[tuple[str, dict[str, str], str], ...] = (
        ("in a table with one stale route of yours", wanted, f"add {values['stale_net']} via {last} metric 7"),
        ("called again with nothing to do", wanted, ""),
        ("after somebody had deleted a route", wanted, f"del {two}"),
        ("after somebody had sent a route another way", wanted, f"replace {three} via {way}"),
        ("after one node had left and another had moved", {one: way, two: last}, ""),
        ("when no node was left", {}, ""),
        ("after all of them had returned", wanted, ""),
    )
    for when, want, disturb in rounds:
        if disturb:
            node.run("ip", "route", *disturb.split(), "proto", PROTO, check=True)
        verdict = look_at_reconcile(scene.answer, node, want, proto=PROTO, when=when)
        if not verdict.passed:
            return verdict
    sent = follow(scene, "node", values["third_pod"], by=("switch", "third"))
    return passed(f"{len(rounds)} calls, and after each one the routes were right; {sent.saw}") if sent.passed else sent


HEAD = "import json\n\n\ndef reconcile(node, wanted):\n"
HAVE = (
    '    rows = json.loads(node.run("ip", "-json", "route", "show", "proto", "88").stdout)\n'
    '    have = {row["dst"]: row["gateway"] for row in rows}\n'
)
DROP = '    for dst in have.keys() - wanted.keys():\n        node.run("ip", "route", "del", dst, "proto", "88", check=True)\n'
EACH = "    for dst, via in wanted.items():\n"
DIFFER, SAME = "        if have.get(dst) == via:\n            continue\n", "        if dst in have: continue\n"
SET = '        node.run("ip", "route", "replace", dst, "via", via, "proto", "88", check=True)\n'
FLUSH = '    node.run("ip", "route", "flush", "proto", "88")\n'
ALL = (
    '    for row in json.loads(node.run("ip", "-json", "route").stdout):\n'
    '        if "gateway" in row and row["dst"] not in wanted:\n            node.run("ip", "route", "del", row["dst"])\n'
)
REMEMBER = "    MEMORY.clear()\n    MEMORY.update(wanted)\nMEMORY = {}\n"
ONE_WAY = '    for via in wanted.values():\n        node.run("ip", "route", "replace", "0.0.0.0/1", "via", via)\n'
BY_STATE = """\
    own = [route for route in node.state().routes if route.protocol == "88"]
    lines = [f"route del {one} proto 88" for one in own if wanted.get(str(one.destination)) != str(one.via)]
    lines += [f"route replace {dst} via {via} proto 88" for dst, via in wanted.items()]
    node.run("ip", "-batch", "-", input="\\n".join(lines), check=True)
"""


def written(*parts: str) -> dict[str, str]:
    """Return the work that writes the function with these lines."""
    return {"reconcile": HEAD + "".join(parts)}


LOOP = Exercise(
    key="08-reconcile",
    title="Write the loop's heart",
    goal=(
        "Write the function `reconcile(node, wanted)`. `node` is a host, here {node}. `wanted` holds, for each range of pods, the next hop: "
        '`wanted["{first_net}"]` is `"{first_ip}"`.\n\n'
        "After a call the node has exactly these routes with `proto {proto}`, the mark of your controller. All routes with another mark are somebody "
        "else's. A call that finds everything right deletes nothing. Whatever happened to the table between two calls, the next call puts it right.\n\n"
        '`node.run("ip", "route").stdout` is what `ip route` prints there.'
    ),
    setup=setup_loop,
    check=check_loop,
    answer="reconcile",
    solution=written(HAVE, DROP, EACH, DIFFER, SET),
    why=(
        "What is there is read from the kernel each time, and compared with what is wanted. So it does not matter what happened in between, or how "
        "often the function is called. The mark says what is its own."
    ),
    hints=(
        Hint(
            "Three steps: which routes are there with your mark, which of them does nobody want, and which are missing or go another way?"
        ),
        Hint(
            "`ip -json route show proto {proto}` prints a list that `json.loads` can read: each row has `dst` and `gateway`.",
            lambda scene: not find_route(scene, "node", scene.values["second_net"]),
        ),
        Hint(
            "`ip route replace` adds a route, or changes the one to the same network. What does nobody want any more, and who deletes it?"
        ),
        Hint(
            "Do not remember anything between two calls, and do not empty the table: read, compare, and do the difference."
        ),
    ),
    others=(written(HAVE, EACH, SET, DROP), written(BY_STATE)),
    mistakes=(
        Mistake("it does nothing yet", written("    ...\n"), "{node} has no route to {first_net}"),
        Mistake("it only adds", written(EACH, SET), "which nobody wants any more"),
        Mistake(
            "it empties the table first", written(FLUSH, EACH, SET), "dev eth0: for a moment those pods had no way"
        ),
        Mistake("it takes all routes for its own", written(ALL, EACH, SET), "which is somebody else's"),
        Mistake(
            "it sees destinations alone", written(HAVE, DROP, EACH, SAME, SET), "wanted is the next hop {third_ip}"
        ),
        Mistake(
            "it believes what it did before",
            written("    have = MEMORY\n", DROP, EACH, DIFFER, SET, REMEMBER),
            "{node} still has {stale_net} via {third_ip}",
        ),
        Mistake(
            "the second call fails",
            written(HAVE, DROP, EACH, SET.replace("replace", "add")),
            "called again with nothing to do, it raised CommandError in its line 10",
        ),
        Mistake("no mark", written(EACH, SET.replace(', "proto", "88"', "")), "but with proto boot"),
        Mistake("one way for all", written(ONE_WAY), "{node} has no route to {first_net}"),
        Mistake(
            "it never ends", written('    while not node.lab.closed: node.run("sleep", "0.1")\n'), "has not come back"
        ),
    ),
)

# -- the newcomer ---------------------------------------------------------------------------------


def setup_newcomer(scene: Scene) -> None:
    """Build a reflector and a node that speak BGP, and a node that does not yet."""
    build_nodes(scene, "reflector", "old", "newcomer")
    management = scene.network()
    scene.host("newcomer").add_bridge("mgmt0")
    scene.host("newcomer").add_address("mgmt0", f"{management[9]}/24")
    scene.host("reflector").delete_link("cni0")
    scene.values["mgmt_net"] = str(management)
    start_bird(scene, "reflector", "old", "newcomer", more="rr client; ipv4 {{ export where source = RTS_BGP; }};")
    start_bird(scene, "old", "reflector")


def check_newcomer(scene: Scene) -> Verdict:
    """See that both nodes learned their ways by BGP, that nothing else was told, and that packets take them."""
    pairs = (("old", "newcomer"), ("newcomer", "old"))
    verdict = check_learned(scene, pairs, ("reflector", "newcomer"), patience=SESSION)
    return follow(scene, "newcomer", scene.values["old_pod"], by=("switch", "old")) if verdict.passed else verdict


CONF = """\
cat >/run/bird/{newcomer}.conf <<end
router id {newcomer_ip};
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol bgp reflector {{
  local as {as_number};
  neighbor {reflector_ip} as {as_number};
  connect delay time 1;
  ipv4 {{ import all; export where net = {newcomer_net}; }};
}}
end
bird -c /run/bird/{newcomer}.conf -s /run/bird/{newcomer}.ctl
for each in {{1..25}}
do birdc -s /run/bird/{newcomer}.ctl show protocols | grep -q Established && break || sleep 0.1
done
"""
PODS, TOLD = "direct {{ ipv4; }}", "export where net = {newcomer_net}"
NO_PODS = 'direct {{ ipv4; interface "eth0"; }}'
STATIC = NO_PODS + "\nprotocol static {{ ipv4; route {newcomer_net} unreachable; }}"


def changed(old: str, new: str) -> dict[str, str]:
    """Return the work that starts BIRD with another configuration."""
    return {"newcomer": CONF.replace(old, new)}


NEWCOMER = Exercise(
    key="08-newcomer",
    title="A node joins",
    goal=(
        "{newcomer} ({newcomer_ip}) has joined, and its pods are in {newcomer_net}. The nodes tell each other their ranges by BGP. All are in AS {as_number}, "
        "and each speaks with {reflector} ({reflector_ip}) alone, which reflects, and expects {newcomer} already.\n\n"
        "Configure BIRD for {newcomer} in /run/bird/{newcomer}.conf and start it there, so that {old} and {newcomer} learn each other's range. "
        "{newcomer} has a foot in {mgmt_net} too. That is for management: nobody is to be told.\n\n"
        "All hosts of a lab share /run. So give BIRD a socket of its own: `bird -c FILE -s /run/bird/{newcomer}.ctl`."
    ),
    setup=setup_newcomer,
    check=check_newcomer,
    solution={"newcomer": CONF},
    why=(
        "{newcomer} needed one session, not one for each node: the reflector passes on what it is told, and leaves the next hop as it was. So packets "
        "go straight to {newcomer}."
    ),
    hints=(
        Hint(
            "Nobody answers {reflector} on {newcomer} yet. Chapter 08 has a bird.conf; which four protocols are in it, and what is each for?",
            lambda scene: not session(scene, "reflector", "newcomer").startswith("Established"),
        ),
        Hint(
            "The session is there, and {old} was told nothing. Where does BIRD have {newcomer_net} from, and does `export` let it out?",
            lambda scene: (
                session(scene, "reflector", "newcomer").startswith("Established")
                and not find_route(scene, "old", scene.values["newcomer_net"])
            ),
        ),
        Hint(
            "{newcomer} was told, or not? `birdc -s /run/bird/{newcomer}.ctl show route`. A route that BIRD knows is not yet one of the kernel.",
            lambda scene: not find_route(scene, "newcomer", scene.values["old_net"]),
        ),
        Hint("`birdc show route export reflector` lists what your side tells. Is it one line?"),
    ),
    others=(changed(PODS, STATIC), changed("net = {newcomer_net}", 'ifname = "cni0"')),
    mistakes=(
        Mistake("another AS", changed("local as {as_number}", "local as 65534"), "{reflector} says of its session"),
        Mistake("everything is told", changed(TOLD, "export all"), "{old} was told of"),
        Mistake("nothing is told", changed(TOLD, "export none"), "{old} has no route to {newcomer_net}"),
        Mistake(
            "the kernel is not told",
            changed("export where source = RTS_BGP", "export none"),
            "{newcomer} has no route to {old_net}",
        ),
        Mistake("BIRD knows no pods", changed(PODS, NO_PODS), "{old} has no route to {newcomer_net}"),
        Mistake(
            "routes by hand",
            {"newcomer": "ip route add {old_net} via {old_ip}", "old": "ip route add {newcomer_net} via {newcomer_ip}"},
            "with proto boot: nobody takes it away",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------------


def setup_moved(scene: Scene) -> None:
    """Build three nodes that speak BGP; the fourth is dead, and its range of pods is another's now."""
    trio, values = ("node", "other", "fresh"), scene.values
    build_nodes(scene, *trio, "gone")
    values |= {"range": values["gone_net"], "pod": values["gone_pod"], "half": values["gone_net"].replace("/24", "/25")}
    scene.host("fresh").add_address("cni0", f"{values['pod']}/24")
    scene.host("switch").set_link(values["gone"], up=False)
    for role in trio:
        start_bird(scene, role, *(peer for peer in trio if peer != role))
    for role in ("node", "other"):
        learned(scene, role, values["range"])


def check_moved(scene: Scene) -> Verdict:
    """See that the pods answer everybody where they are now, and that the next change arrives and goes again."""
    values, pod = scene.values, ip_address(scene.values["pod"])
    ways = [follow(scene, one, str(pod), by=("switch", "fresh"), explain=False) for one in ("node", "other")]
    if not (way := first_failure(*ways)).passed:
        return way
    for one in ("node", "other"):
        for route in main_routes(scene.host(one)):
            if pod in route.destination and route.protocol != "bird":
                text = f"the pods answer, but {values[one]} has {route} (proto {route.protocol}), which will stay when they move"
                return failed(
                    text, "nodes learn the ways to pods by BGP alone", "who wrote it, and who will delete it?"
                )
    for verb, words in (
        ("add", "announces {spare_net}, and {node} does not learn it"),
        ("del", "withdraws it, and {node} keeps it"),
    ):
        scene.host("fresh").run("ip", "address", verb, f"{values['spare_pod']}/24", "dev", "cni0")
        if not learned(scene, "node", values["spare_net"], patience=SOON, gone=verb == "del"):
            scene.host("fresh").run("ip", "address", "del", f"{values['spare_pod']}/24", "dev", "cni0")
            look = "`birdc -s /run/bird/{node}.ctl show protocols`, in {node}."
            text, expected = "the pods answer, but then {fresh} " + words, "the next change reaches {node} too"
            return failed(*map(scene.fill, (text, expected, look)))
    return passed(f"{pod} answers at {values['fresh']}, and the next change reached {values['node']} and went again")


MOVED = BreakFix(
    key="08-a-route-that-stays",
    title="A route that stays",
    goal=(
        "{node}, {other} and {fresh} tell each other by BGP where pods are; BIRD's files are in /run/bird. {gone} was a node too. It is dead for good, and "
        "{fresh} took over its range {range}. A user reports:"
    ),
    setup=setup_moved,
    check=check_moved,
    faults=(
        Fault(
            name="by-hand",
            work={"node": "ip route add {range} via {gone_ip} proto static"},
            symptom="“Pods in {range}, such as {pod}, do not answer {node}. They answer {other}. So BGP works, does it not?”",
            was="Somebody had once added the route to {range} by hand. It has no metric, BIRD's has 32, so the old one won. BIRD touches only what is its own.",
            found="`ip route show {range}` in {node} prints two lines. `proto` says who wrote each, and `ip route get` which of them is taken.",
            fix={"node": "ip route del {range} proto static"},
            others=({"node": "ip route flush proto static"},),
            mistakes=(
                Mistake(
                    "the next one by hand",
                    {"node": "ip route replace {range} via {fresh_ip}"},
                    "which will stay when they move",
                ),
            ),
        ),
        Fault(
            name="dead-daemon",
            work={
                "node": "kill -9 $(cat /run/bird/{node}.pid)\nsleep 0.1\n"
                "ip route replace {range} via {gone_ip} proto bird metric 32"
            },
            symptom="“Since {gone} died, {node} cannot reach pods in {range}. `ip route` there looks good: the routes are from BIRD.”",
            was="BIRD on {node} had died before {gone} did. What it wrote stays in the kernel: the routes of a daemon do not die with it.",
            found="The route says `proto bird` and names a dead node. `birdc` gets no answer, and `birdc show protocols` in {other} shows that the session with {node} is down.",
            fix={
                "node": for_role("node", START)
                + "\nuntil ip route show {range} | grep -q {fresh_ip}; do sleep 0.1; done"
            },
            mistakes=(
                Mistake(
                    "what BIRD should have written",
                    {"node": "ip route replace {range} via {fresh_ip} proto bird metric 32"},
                    "announces {spare_net}, and {node} does not learn it",
                ),
            ),
        ),
        Fault(
            name="still-announced",
            work={
                "other": "echo 'protocol static leftover {{ ipv4; route {half} via {gone_ip}; }}' >>/run/bird/{other}.conf\n"
                "birdc -s /run/bird/{other}.ctl configure\nuntil ip route | grep -q {half}; do sleep 0.05; done",
                "node": "until ip route | grep -q {half}; do sleep 0.05; done",
            },
            symptom="“Half of the pods in {range} do not answer, whichever node you ask from. {pod} is one of them.”",
            was="{other} still announced {half} by way of {gone}: a line left in its bird.conf. It is longer than {fresh}'s {range}, so it won everywhere.",
            found=(
                "`ip route get {pod}` in {node} names {half}, and the route is BIRD's. `birdc show route for {pod} all` says from whom it came. There, "
                "`birdc show route` names the protocol that brought it in."
            ),
            fix={
                "other": "sed -i '/leftover/d' /run/bird/{other}.conf\nbirdc -s /run/bird/{other}.ctl configure\nsleep 0.3"
            },
            others=({"other": "birdc -s /run/bird/{other}.ctl disable leftover\nsleep 0.3"},),
            mistakes=(
                Mistake("a way round it", {"node": "ip route add {pod}/32 via {fresh_ip}"}, "was last seen in {other}"),
                Mistake("the one who complains", {"node": "ip route del {half}"}, "was last seen in {other}"),
            ),
        ),
        Fault(
            name="another-table",
            work={"node": "ip rule add to {range} lookup 100\nip route add {range} via {gone_ip} table 100"},
            symptom="“{pod} does not answer {node}. `ip route` shows one route to {range}, by way of {fresh}, and {fresh} answers.”",
            was="A rule sent packets for {range} to table 100, and there the route by {gone} was still. `ip route` shows the table main alone.",
            found="`ip route get {pod}` and `ip route` disagree. Then another table is asked: `ip rule` says which, and `ip route show table all` shows what is in it.",
            fix={"node": "ip rule del to {range} lookup 100"},
            others=({"node": "ip route flush table 100"},),
            mistakes=(
                Mistake("a longer prefix", {"node": "ip route add {pod}/32 via {fresh_ip}"}, "was last seen in {node}"),
            ),
        ),
    ),
    hints=(
        Hint(
            "Ask the kernel, not the table: `ip route get {pod}`, in {node} and in {other}. To whom do the packets go, and who is that?"
        ),
        Hint(
            "`ip route show {range}` has more than one line. Which one is taken, and who wrote it?",
            lambda scene: getattr(find_route(scene, "node", scene.values["range"]), "protocol", "") == "static",
        ),
        Hint(
            "Is BIRD alive? `birdc -s /run/bird/{node}.ctl show protocols`.",
            lambda scene: session(scene, "node", "fresh") == "none",
        ),
        Hint(
            "There is a route that is longer than /24, and it is BIRD's. Who announced it? `birdc show route` names in brackets the session that brought it.",
            lambda scene: find_route(scene, "node", scene.values["half"]) is not None,
        ),
        Hint("`ip route` shows one table. Are there others, and what decides which is asked?"),
    ),
)

EXERCISES = (LOOP, NEWCOMER, MOVED)
