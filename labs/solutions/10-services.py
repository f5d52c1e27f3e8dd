"""Chapter 10: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.by_hand import PODS, build, build_served, check_even, check_everybody, hand_made
from netlab.course.scene import KUBECTL
from netlab.course.services import Wanted, await_ready, deployment, failures, said, spread, why_lost
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.course import Scene

# -- one address for three pods ------------------------------------------------------------------


def rules(scene: Scene, role: str) -> str:
    """Return the nat table of a role, as iptables-save prints it."""
    return scene.host(role).run("iptables-save", "-t", "nat").stdout


def lacks(word: str, role: str = "node") -> Callable[[Scene], bool]:
    """Return a condition: the nat table has this word nowhere."""
    return lambda scene: word not in rules(scene, role)


HAND_MADE = hand_made()
BY_NFT = """\
nft add table ip hand
nft 'add chain ip hand in {{ type nat hook prerouting priority -110; }}'
nft 'add chain ip hand own {{ type nat hook output priority -110; }}'
for chain in in own; do
  nft add rule ip hand $chain ip daddr {vip} tcp dport {port} dnat to numgen random mod 3 map \
    '{{ 0 : {one_ip}, 1 : {two_ip}, 2 : {three_ip} }}':{target}
done
"""
IN_TURN = hand_made().replace("random --probability 0.33333333349", "nth --every 3 --packet 0")
IN_TURN = IN_TURN.replace("random --probability 0.5", "nth --every 2 --packet 0")

ADDRESS = Exercise(
    key="10-one-address",
    title="One address for three pods",
    goal=(
        "{one} ({one_ip}), {two} ({two_ip}) and {three} ({three_ip}) are pods on the bridge of {node}. Each has the same web server, on port "
        "{target}. Give them one address: {vip}, port {port}.\n\n"
        "Each new connection of {client} gets to one of them, to each about as often. It works for {node} itself as well. The pods see {client} by "
        "its own address. {vip} stays on no interface, and {client} need not know of any of this."
    ),
    setup=build,
    check=check_even,
    solution={"node": HAND_MADE},
    why=(
        "A rule sees only what the rules above it have let pass. So the first takes a third, the second one half of the rest, the last all that is "
        "left. That is n endpoints: 1/n, 1/(n-1), … 1, just as kube-proxy writes it."
    ),
    hints=(
        Hint(
            "{node} is the first hop of {client}. A destination has to be rewritten before the routing decision. Begin with one pod.",
            lacks("DNAT"),
        ),
        Hint(
            "One pod answers. A rule with `-m statistic --mode random --probability …` matches only some of the packets.",
            lambda scene: "DNAT" in rules(scene, "node") and "statistic" not in rules(scene, "node"),
        ),
        Hint(
            "Count: `iptables -t nat -L -v -n`. How many connections does the second rule get to see, if the first took a third?",
            lambda scene: "statistic" in rules(scene, "node"),
        ),
        Hint(
            "{node} itself does not meet PREROUTING.",
            lambda scene: "DNAT" in rules(scene, "node") and "-A OUTPUT" not in rules(scene, "node"),
        ),
    ),
    others=({"node": BY_NFT}, {"node": IN_TURN}),
    mistakes=(
        Mistake(
            "a third of each",
            {"node": hand_made(second="0.33333333349")},
            "get a third each, or nearly so",
        ),
        Mistake(
            "a third of each, and nothing for the rest",
            {"node": hand_made("0.33333333349", "0.33333333349", "0.33333333349")},
            "of 60 connections from {client} to {vip}",
        ),
        Mistake(
            "all rules match everything",
            {"node": HAND_MADE.replace("-m statistic --mode random --probability 0.33333333349 ", "")},
            "none got to",
        ),
        Mistake(
            "the node itself is forgotten",
            {"node": HAND_MADE.replace("iptables -t nat -A OUTPUT", "true")},
            "of 60 connections from {node} itself",
        ),
        Mistake(
            "the port stays",
            {"node": HAND_MADE.replace(":{target}", "")},
            "no listener on tcp port {port}",
        ),
        Mistake(
            "the address is put on the node",
            {"node": "ip address add {vip}/32 dev lo\n" + HAND_MADE},
            "{node} holds {vip}",
        ),
        Mistake(
            "everything is masqueraded",
            {"node": HAND_MADE + "\niptables -t nat -A POSTROUTING -j MASQUERADE"},
            "but see {node_inside} as the caller",
        ),
        Mistake(
            "the client helps itself",
            {"client": HAND_MADE, "node": HAND_MADE.replace("iptables -t nat -A PREROUTING", "true")},
            "{vip} is rewritten in {client}",
        ),
    ),
)

# -- let the proxy do it ------------------------------------------------------------------------------

CLIENT = """\
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: client, image: client}]}
"""


def setup_proxy(scene: Scene) -> None:
    """Start a cluster with the pods of a release, one pod of the next release, and a client."""
    cluster = scene.add_cluster(2)
    app, target = scene.name(), scene.random.randrange(8000, 8900)
    now = deployment(app, 3, app=app, track="stable", target=target)
    later = deployment(f"{app}-next", 1, app=app, track="next", target=target)
    cluster.apply([now, later, CLIENT])
    await_ready(scene)
    for role, host in (("client", "client"), ("node", "node-2")):
        scene.cast(role, host)
    for number, role in enumerate(PODS, 1):
        scene.values |= {role: f"{app}-{number}", f"{role}_ip": cluster.pod(f"{app}-{number}").ip}
    vip = f"10.96.{scene.random.randrange(1, 250)}.{scene.random.randrange(1, 250)}"
    scene.values |= {"app": app, "vip": vip, "target": str(target), "port": str(scene.random.randrange(1000, 2000))}


def check_proxy(scene: Scene) -> Verdict:
    """See who answers at the address, on both nodes, and whether the proxy follows when a pod is not ready."""
    values, wanted = scene.values, Wanted.of(scene, PODS)
    for role in ("client", "node"):
        counts = spread(scene, role, wanted, 60)
        if f"{values['app']}-next-1" in counts:
            return failed(
                f"of 60 connections {said(counts)}",
                f"only {', '.join(wanted.pods)} answer; the next release is not for users yet",
                "the labels that these pods have in common, and the one that tells them apart: `kubectl get pods --show-labels`.",
            )
        if failures(counts, wanted):
            saw = f"of 60 connections from {values[role]} to {values['vip']}, port {values['port']}: {said(counts)}"
            return why_lost(scene, saw, f"a Service leads from there to {', '.join(wanted.pods)}")
        if len(counts) < len(PODS):
            return failed(
                f"of 60 connections from {values[role]} {said(counts)}",
                f"each of {', '.join(wanted.pods)} gets some",
                "`kubectl get endpointslices`, and the Service's traffic policy.",
            )
    pod = scene.cluster.pod(wanted.pods[0])
    pod.ready = False
    try:
        counts = spread(scene, "client", wanted, 60)
    finally:
        pod.ready = True
    if pod.name in counts:
        return failed(
            f"{pod.name} was not ready for a moment, and {counts[pod.name]} of 60 connections were sent there all the same",
            "the endpoints follow the pods by themselves",
            "who keeps the list of endpoints: you, or a selector?",
        )
    return passed(f"{', '.join(wanted.pods)} answer at {values['vip']}, on each node, and only while they are ready")


def service(*lines: str) -> str:
    """Return the command that applies a Service with these lines in its spec."""
    spec = "\n".join(f"  {line}" for line in ("clusterIP: {vip}", *lines))
    return (
        f"kubectl apply -f - <<END\napiVersion: v1\nkind: Service\nmetadata: {{{{name: {{app}}}}}}\nspec:\n{spec}\nEND"
    )


SELECTOR = "selector: {{app: {app}, track: stable}}"
PORTS = "ports: [{{port: {port}, targetPort: {target}}}]"
BY_HAND = (
    "kubectl apply -f - <<END\n"
    """\
apiVersion: v1
kind: Service
metadata: {{name: {app}}}
spec:
  clusterIP: {vip}
  ports: [{{port: {port}, targetPort: {target}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {app}-1, labels: {{kubernetes.io/service-name: {app}}}}}
addressType: IPv4
ports: [{{name: "", port: {target}}}]
endpoints: [{{addresses: [{one_ip}]}}, {{addresses: [{two_ip}]}}, {{addresses: [{three_ip}]}}]
END"""
)

PROXY = Exercise(
    key="10-let-the-proxy-do-it",
    title="Let the proxy do it",
    goal=(
        "A cluster of two nodes. {one}, {two} and {three} are pods of the application {app}; they listen on port {target}. {app}-next-1 is its next "
        "release, and not for users yet.\n\n"
        "Write a Service: {vip}, port {port}, leads to the three, on each node, and only to those that are ready."
    ),
    setup=setup_proxy,
    check=check_proxy,
    solution={KUBECTL: service(SELECTOR, PORTS)},
    why=(
        "The selector says which pods; the controller writes their addresses into an EndpointSlice, ready or not; kube-proxy on each node makes the "
        "rules of it that you wrote by hand before."
    ),
    hints=(
        Hint(
            "`kubectl get pods -o wide --show-labels` shows what a selector can go by.",
            lambda scene: not scene.cluster.store.all("Service"),
        ),
        Hint("`kubectl get endpointslices` shows what the selector found, and with which port."),
        Hint("`iptables-save -t nat` on a node shows what the proxy made of it."),
    ),
    others=(
        {KUBECTL: service(SELECTOR, "ports: [{{port: {port}, targetPort: http}}]")},
        {KUBECTL: service("type: NodePort", SELECTOR, PORTS)},
    ),
    mistakes=(
        Mistake("all of the application", {KUBECTL: service("selector: {{app: {app}}}", PORTS)}, "{app}-next-1"),
        Mistake("a label that nobody has", {KUBECTL: service("selector: {{name: {app}}}", PORTS)}, "no endpoint"),
        Mistake("no target port", {KUBECTL: service(SELECTOR, "ports: [{{port: {port}}}]")}, "has 3 endpoints"),
        Mistake("any address", {KUBECTL: service(SELECTOR, PORTS).replace("  clusterIP: {vip}\n", "")}, "No Service"),
        Mistake(
            "only on the own node",
            {KUBECTL: service("internalTrafficPolicy: Local", SELECTOR, PORTS)},
            "gets some",
        ),
        Mistake("endpoints written by hand", {KUBECTL: BY_HAND}, "was not ready for a moment"),
    ),
)

# -- break-fix ------------------------------------------------------------------------------------------


BROKEN = BreakFix(
    key="10-a-service-that-works-for-some",
    title="A Service that works for some",
    goal=(
        "{vip}, port {port}, leads to {one} ({one_ip}), {two} ({two_ip}) and {three} ({three_ip}), which listen on port {target}. "
        "The rules are in {node}. {client} uses it, {node} does, and the pods themselves do. So it was. A user reports:"
    ),
    setup=build_served,
    check=check_everybody,
    faults=(
        Fault(
            name="no-masquerade",
            work={"node": "iptables -t nat -D POSTROUTING 1"},
            symptom="“{one} asks {vip} once a minute. About every third call hangs. The other pods say the same. {client} never had any trouble.”",
            was="Nothing masqueraded a pod that is sent to itself. Its own packet came back to it with its own address as the source, and a host drops that.",
            found=(
                "One in three, and only pods: so it is the pod itself that cannot be reached. A capture in {one} shows its SYN go out and come in again, "
                "from {one_ip} to {one_ip}, and no answer. The rules set the mark 0x4000; no rule acts on it."
            ),
            fix={"node": "iptables -t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE"},
            others=({"node": "iptables -t nat -A POSTROUTING -s {pods_net} -d {pods_net} -j MASQUERADE"},),
            mistakes=(
                Mistake(
                    "everything is masqueraded",
                    {"node": "iptables -t nat -A POSTROUTING -j MASQUERADE"},
                    "but see {node_inside} as the caller",
                ),
            ),
        ),
        Fault(
            name="no-hairpin",
            work={"node": "bridge link set dev veth2 hairpin off"},
            symptom="“{two} asks {vip} once a minute, and about every third call hangs. {one} and {three} do the same and are content.”",
            was="The port of {two} on the bridge had no hairpin mode. A bridge does not send a frame out by the port it came in by, unless it is told to.",
            found=(
                "One in three, and only {two}: it is sent to itself. The counters in {node} say that it is rewritten and marked. A capture in {two} shows no SYN "
                "come in. Between the two is the bridge: `bridge -d link` shows `hairpin off` for one port."
            ),
            fix={"node": "bridge link set dev veth2 hairpin on"},
            others=({"node": "ip link set veth2 type bridge_slave hairpin on"},),
            mistakes=(
                Mistake(
                    "another rule",
                    {"node": "iptables -t nat -A POSTROUTING -s {two_ip} -d {two_ip} -j MASQUERADE"},
                    "of 60 connections from {two}",
                ),
            ),
        ),
        Fault(
            name="bridge-nf-off",
            work={"node": "sysctl -qw net.bridge.bridge-nf-call-iptables=0"},
            symptom="“Since {node} was set up anew, about two calls in three from any pod on it get no answer from {vip}. {client} gets one each time.”",
            was=(
                "net.bridge.bridge-nf-call-iptables was 0. The answer of a pod to a pod on the same bridge passed the bridge alone; no rule and no conntrack "
                "entry saw it, so its source was not turned back into {vip}."
            ),
            found=(
                "A capture in {one}: the SYN goes to {vip}, the SYN-ACK comes from a pod's own address, and {one} answers it with RST. The answer was not "
                "translated back, so it did not come by {node}'s rules. `sysctl net.bridge` says why."
            ),
            fix={"node": "sysctl -w net.bridge.bridge-nf-call-iptables=1"},
            others=({"node": "iptables -t nat -A POSTROUTING -s {pods_net} -d {pods_net} -j MASQUERADE"},),
            mistakes=(
                Mistake(
                    "hairpin once more",
                    {"node": "bridge link set dev veth1 hairpin on"},
                    "of 60 connections from {one}",
                ),
            ),
        ),
        Fault(
            name="wrong-port",
            work={
                "node": "iptables -t nat -F SEP-2\niptables -t nat -A SEP-2 -s {two_ip} -j MARK --or-mark 0x4000\n"
                "iptables -t nat -A SEP-2 -p tcp -j DNAT --to-destination {two_ip}:{port}"
            },
            symptom="“About every third call says: connection refused. It does not matter who calls. The log of {two} is empty.”",
            was="The endpoint of {two} had port {port}, that of the Service, in place of {target}, on which the pod listens.",
            found=(
                "A refusal is an answer, and it comes from {two}: `ss -tln` there shows port {target} only. `iptables-save -t nat` shows the one endpoint that "
                "differs. In a cluster it is a wrong targetPort, and then all three differ."
            ),
            fix={"node": "iptables -t nat -R SEP-2 2 -p tcp -j DNAT --to-destination {two_ip}:{target}"},
            others=({"two": "iptables -t nat -A PREROUTING -p tcp --dport {port} -j REDIRECT --to-ports {target}"},),
            mistakes=(
                Mistake(
                    "the endpoint is taken out",
                    {
                        "node": "iptables -t nat -F SVC\niptables -t nat -A SVC -m statistic --mode random --probability 0.5 -j SEP-1\n"
                        "iptables -t nat -A SVC -j SEP-3"
                    },
                    "who answers nobody any more",
                ),
            ),
        ),
        Fault(
            name="moved",
            work={
                "three": "ip address del {three_ip}/24 dev eth0\nip address add {new_ip}/24 dev eth0\nip route replace default via {node_inside}"
            },
            symptom="“{three} was restarted. It runs, its log says so, but since then about every third call to {vip} hangs or ends in `No route to host`.”",
            was="{three} came back with another address, {new_ip}. The endpoint still led to {three_ip}, which nobody has.",
            found=(
                "`ip neigh` in {node} shows FAILED for {three_ip}: nobody answers ARP for it. `ip address` in {three} shows {new_ip}. Keeping the two in step is "
                "what the EndpointSlice controller and kube-proxy are for."
            ),
            fix={
                "node": "iptables -t nat -F SEP-3\niptables -t nat -A SEP-3 -s {new_ip} -j MARK --or-mark 0x4000\n"
                "iptables -t nat -A SEP-3 -p tcp -j DNAT --to-destination {new_ip}:{target}"
            },
            others=(
                {
                    "three": "ip address del {new_ip}/24 dev eth0\nip address add {three_ip}/24 dev eth0\nip route replace default via {node_inside}"
                },
            ),
            mistakes=(
                Mistake(
                    "only the destination",
                    {"node": "iptables -t nat -R SEP-3 2 -p tcp -j DNAT --to-destination {new_ip}:{target}"},
                    "of 60 connections from {three}",
                ),
            ),
        ),
    ),
    hints=(
        Hint(
            "Who is it that has trouble, and how often? A third of the calls is one endpoint. All calls of one user are something on the way of that user."
        ),
        Hint(
            "A refusal is an answer: somebody got the packet. Silence is not: follow a SYN with captures, from {one} on, and see where it is last seen."
        ),
        Hint(
            "In {node}: `iptables -t nat -L -v -n` counts what is rewritten and marked, and `bridge -d link` shows what each port of the bridge may do."
        ),
    ),
)

EXERCISES = (ADDRESS, PROXY, BROKEN)
