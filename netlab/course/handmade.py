"""Pods that are built by hand on a node: the commands that build one, and a look at whether it answers as it should."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netlab.course.images import add_images
from netlab.course.namespaces import Process, listeners, processes
from netlab.course.proof import ask
from netlab.course.values import Verdict, failed, passed

if TYPE_CHECKING:
    from netlab.course.scene import Scene

#: What the runtime does for a pod, without its containers; {0} is the role of the pod's values.
SANDBOX = """\
mkdir -p /run/{0}
unshare --net --uts --ipc /run/images/pause & echo $! > /run/{0}/pause.pid
until [ "$(readlink /proc/$!/ns/ipc)" != "$(readlink /proc/self/ns/ipc)" ]; do sleep 0.01; done
nsenter --target $! --uts hostname {0}
nsenter --target $! --net ip link set lo up
"""
WIRE = """\
PAUSE=$(cat /run/{0}/pause.pid)
ip link add veth-{0} type veth peer name eth0 netns $PAUSE
ip address add {1}/24 dev veth-{0}
ip link set veth-{0} up
nsenter --target $PAUSE --net ip address add {2}/24 dev eth0
nsenter --target $PAUSE --net ip link set eth0 up
nsenter --target $PAUSE --net ip route add default via {1}
"""
END = "kill $(cat /run/{pod}/{0}.pid)\nwhile kill -0 $(cat /run/{pod}/{0}.pid) 2>/dev/null; do sleep 0.01; done\n"
#: The kernel takes a namespace down a moment after its last process.
GONE = "while ip link show veth-{pod} >/dev/null 2>&1; do sleep 0.01; done\n"
SANDBOX_ANEW = SANDBOX.replace("{0}", "{pod}")
WIRE_ANEW = WIRE.replace("{0}", "{pod}").replace("{1}", "{pod_gateway}").replace("{2}", "{pod_ip}")


def end(*programs: str) -> str:
    """Return the commands that end programs of the pod, and wait for their end."""
    return "".join(END.replace("{0}", name) for name in programs)


def start(program: str, beside: str, arguments: str = "{pod} {port}") -> str:
    """Return the commands that start a program of the pod in the namespaces of another one of its programs."""
    command = f"nsenter --target $(cat /run/{{pod}}/{beside}.pid) --net --uts --ipc /run/images/{program} {arguments}"
    return f"{command} & echo $! > /run/{{pod}}/{program}.pid\n"


def build_pod(scene: Scene, role: str, last: int) -> str:
    """Return the commands that build a pod on the node, by hand, with its app on localhost."""
    name, network = scene.name(), scene.network()
    scene.values |= {role: name, f"{role}_ip": str(network[last]), f"{role}_gateway": str(network[1])}
    app = start("app", "pause").format(pod=name, port=scene.values["port"])
    return SANDBOX.format(name) + WIRE.format(name, network[1], network[last]) + app


def setup_pods(scene: Scene) -> None:
    """Build two pods on a node, each with an app that only localhost reaches, and a client outside."""
    client, node = scene.add_hosts("client", "node")
    outside = scene.network()
    scene.lab.connect(client, node, f"{outside[33]}/24", f"{outside[1]}/24")
    client.add_route("default", via=str(outside[1]))
    node.sysctl["net.ipv4.ip_forward"] = 1
    add_images(node)
    scene.values["port"] = str(scene.random.randrange(8001, 8990))
    last = scene.random.randrange(2, 250)
    scene.work({"node": build_pod(scene, "pod", last) + build_pod(scene, "other", last + 1)})
    scene.values |= {"join": "nsenter --target $(cat /run/{pod}/pause.pid)".format_map(scene.values)}
    settle(scene)


def settle(scene: Scene) -> None:
    """Wait until both pods are reached, and their apps listen: so that no first packet of the reader's is lost."""
    for role in ("pod", "other"):
        name, port = scene.values[role], scene.values["port"]
        probe = f"until ping -c1 -W0.2 {scene.values[f'{role}_ip']} >/dev/null; do :; done\n"
        script = f"nsenter --target $(cat /run/{name}/pause.pid) --net ss -Htln sport = :{port}"
        scene.work({"node": f"{probe}until {script} | grep -q LISTEN; do sleep 0.01; done"})


def holder(scene: Scene, role: str) -> Process | None:
    """Return the pause process of a pod, or None if it is gone."""
    text = scene.host("node").run("cat", f"/run/{scene.values[role]}/pause.pid").stdout.strip()
    return next((one for one in processes(scene.host("node")) if str(one.number) == text), None)


def alone(scene: Scene) -> bool:
    """Tell whether app and proxy of the pod are in two network namespaces."""
    by_number = {str(one.number): one.spaces["net"] for one in processes(scene.host("node"))}
    files = [f"/run/{scene.values['pod']}/{name}.pid" for name in ("app", "proxy")]
    numbers = scene.host("node").run("cat", *files).stdout.split()
    return len({by_number.get(number) for number in numbers} - {None}) > 1


def get(scene: Scene, role: str, patience: float = 0.6) -> tuple[dict[str, object] | None, bool]:
    """Ask a pod's port 80 from the client; return the answer, and whether the node sent the request on by a cable."""
    begin = time.monotonic()
    address = scene.values[f"{role}_ip"]
    with scene.host("node").capture(filter=f"tcp dst port 80 and dst host {address}") as seen:
        told = ask(scene, "client", address, 80, patience=patience)
        while told is None and time.monotonic() - begin < patience:
            told = ask(scene, "client", address, 80, patience=0.2)  # a program needs a moment to open its port
    return told, any(packet.direction == "out" and packet.interface != "lo" for packet in seen)


def reply(scene: Scene) -> str:
    """Say what the client gets from the pod, if it is not the answer of an app."""
    url = f"http://{scene.values['pod_ip']}/"
    got = scene.host("client").run("curl", "-s", "-m", "0.3", "-o", "/dev/null", "-w", "%{http_code}", url).stdout
    return "no answer" if got == "000" else "502 Bad Gateway" if got == "502" else f"status {got}"


def where(scene: Scene) -> str:
    """Say in which namespace somebody listens on port 80, seen from the pod."""
    pause, other = holder(scene, "pod"), holder(scene, "other")
    names = {
        str(scene.host("node").namespace.inode): f"of {scene.values['node']}, the node",
        other.spaces["net"] if other else "": f"of {scene.values['other']}",
        pause.spaces["net"] if pause else "": f"of {scene.values['pod']}",
    }
    found = [names.get(one.spaces["net"], "that belongs to neither pod") for one in listeners(scene.host("node"), "80")]
    return f"port 80 is open in the network namespace {' and in that '.join(found)}" if found else "port 80 is not open"


def look(scene: Scene, *, explain: bool) -> Verdict:
    """Ask for the pod as a user would, and look which way the request took."""
    values = scene.values
    told, forwarded = get(scene, "pod")
    expected = (
        f"port 80 of {values['pod_ip']} leads {values['client']} to the app of {values['pod']}, through its localhost"
    )
    seen = f"{values['client']} gets {reply(scene)} from {values['pod_ip']}, port 80" if told is None else ""
    if told is None:
        if not explain:
            return failed(seen, expected, "which processes share a network namespace: `lsns -t net` in the node.")
        return failed(
            f"{seen}; {where(scene)}", expected, "`lsns -t net` in the node: which process is in which namespace?"
        )
    if told["server"] != values["pod"]:
        return failed(
            f"port 80 of {values['pod_ip']} is answered by {told['server']}, not by {values['pod']}",
            expected,
            f"who holds port {values['port']} in that pod: `ss -tlnp`, in its network namespace.",
        )
    if not forwarded:
        return failed(
            f"there is an answer, but no packet went from {values['node']} into the pod: {where(scene)}",
            f"{values['node']} sends the request on, and the proxy in the pod answers it",
            "what the node does with packets for that address.",
        )
    if told["client_address"] != "127.0.0.1":
        return failed(
            f"the app answers, but its caller was {told['client_address']}",
            "the proxy asks the app by 127.0.0.1",
            "on which address the app listens now.",
        )
    return passed(f"{values['pod']} answers on port 80; its app was asked by 127.0.0.1")
