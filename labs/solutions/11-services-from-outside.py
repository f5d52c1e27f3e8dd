"""Chapter 11: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.scene import KUBECTL
from netlab.course.services import Wanted, await_ready, deployment, failures, said, spread
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

CLIENT = """\
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: client, image: client}]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {app}}}
spec:
  type: LoadBalancer
  clusterIP: {vip}
  loadBalancerIP: {lb_ip}
  selector: {{app: {app}, track: stable}}
  ports: [{{port: {port}, targetPort: http, nodePort: {node_port}}}]
"""


def start(scene: Scene, nodes: int, replicas: int) -> None:
    """Start a cluster with an application behind a load balancer, a pod of its next release, and two clients."""
    cluster = scene.add_cluster(nodes)
    app, target = scene.name(), scene.random.randrange(8000, 8900)
    choose = scene.random.randrange
    scene.values |= {"app": app, "target": str(target), "port": str(choose(1000, 2000))}
    scene.values |= {"vip": f"10.96.{choose(1, 250)}.{choose(1, 250)}", "lb_ip": f"198.51.100.{choose(10, 250)}"}
    scene.values["node_port"] = str(choose(30100, 32700))
    cluster.apply(deployment(app, replicas, app=app, track="stable", target=target))
    cluster.apply([deployment(f"{app}-next", 1, app=app, track="next", target=target), CLIENT])
    cluster.apply(scene.fill(SERVICE))
    await_ready(scene)
    cluster.look_around()
    for role, host in (("outside", "outside"), ("client", "client")):
        scene.cast(role, host)
    for number, name in enumerate(cluster.nodes, 1):
        scene.cast(f"node_{number}", name)
        scene.values[f"node_{number}_ip"] = str(cluster.nodes[name].address)
    for number in range(1, replicas + 1):
        scene.cast(f"pod_{number}", f"{app}-{number}")


def pods(scene: Scene) -> tuple[str, ...]:
    """Return the names of the pods that are to answer: those of the application, and not of its next release."""
    return tuple(name for name in scene.cluster.pods if re.fullmatch(rf"{scene.values['app']}-\d+", name))


def call_all(scene: Scene, role: str, address: str, port: str, expected: str) -> Verdict | None:
    """Make 60 calls; return what is wrong with who answers, or None. ``expected`` is what should be."""
    wanted = Wanted(address, int(port), pods(scene))
    counts = spread(scene, role, wanted, 60)
    if not failures(counts, wanted):
        return None
    saw = f"of 60 calls from {scene.values[role]} to {address}, port {port}: {said(counts)}"
    if f"{scene.values['app']}-next-1" in counts:
        return failed(saw, expected, "the labels that tell the two releases apart, and the Service's selector.")
    return failed(saw, expected, "`kubectl get services,endpointslices,pods -o wide`: where does the chain break?")


# -- drain a pod ---------------------------------------------------------------------------------


def setup_drain(scene: Scene) -> None:
    """Open a call from outside that lands on the second pod of three."""
    start(scene, 2, 3)
    wanted = scene.values["pod_2"]
    while True:
        call = scene.host("outside").call(scene.values["node_1_ip"], int(scene.values["node_port"]))
        told = call.ask()
        if told and told["server"] == wanted:
            break
        call.close()
    scene.kept["call"] = call


def check_drain(scene: Scene) -> Verdict:
    """See whether the open call goes on with its pod, and whether new ones go elsewhere."""
    values, call = scene.values, scene.kept["call"]
    pod = values["pod_2"]
    expected = f"no new call gets to {pod}, and the open one goes on"
    told = call.ask()
    if told is None or told["server"] != pod:
        return failed(
            f"the open call to {pod} is over ({call.state})",
            expected,
            "what ended it: the pod, or something on the way that forgot the connection? Start over, to try again.",
        )
    for role, address, port in (
        ("outside", values["node_1_ip"], values["node_port"]),
        ("client", values["vip"], values["port"]),
    ):
        others = tuple(name for name in pods(scene) if name != pod)
        wanted = Wanted(address, int(port), others)
        counts = spread(scene, role, wanted, 60)
        saw = f"the open call goes on; of 60 new ones from {values[role]}, {said(counts)}"
        if pod in counts:
            return failed(saw, expected, f"`kubectl get endpointslices -o yaml`: is {pod} in it, and is it ready?")
        if failures(counts, wanted):
            return failed(saw, "the other pods answer all of the new ones", "`kubectl get services,endpointslices`.")
    return passed(f"{pod} gets no new call, and goes on with the one that it has; now it may end when that is over")


NO_LABEL = "kubectl label pod {pod_2} app-"
DRAIN = Exercise(
    key="11-drain-a-pod",
    title="Drain a pod without a reset",
    goal=(
        "{pod_1}, {pod_2} and {pod_3} are behind the Service {app}. {pod_2} has to go: a security fix. But it is in the middle of a long call: "
        "{outside} keeps a connection open to it, by port {node_port} of {node_1} ({node_1_ip}).\n\n"
        "Take {pod_2} out of service: no new call gets to it, the other pods of {app} take them all, and the open call goes on. It may still run when "
        "you are done. The next release, {app}-next-1, is not for users yet."
    ),
    setup=setup_drain,
    check=check_drain,
    solution={KUBECTL: NO_LABEL},
    why=(
        "The pod left the EndpointSlice, so the rules lost it, and no new connection can find it. The open one is found by its conntrack entry, and that "
        "stays as long as packets come. Only now is it time to wait, and then to end the pod."
    ),
    hints=(
        Hint(
            "What brings new calls to {pod_2} is the Service's list of endpoints. By what is {pod_2} on that list?",
            lambda scene: scene.cluster.pod(scene.values["pod_2"]).ready,
        ),
        Hint(
            "`kubectl label pod NAME KEY-` takes a label away. A pod that is not ready is not called, either: `kubectl describe pod` shows what its readiness probe asks."
        ),
        Hint("Everything that ends the process, or deletes its conntrack entry, ends the call."),
    ),
    others=(
        {"pod_2": "touch /run/drain-{pod_2}\nsleep 1.5  # until its readiness probe has asked"},
        {
            KUBECTL: "kubectl label pod {pod_1} {pod_3} lane=open\n"
            """kubectl patch service {app} -p '{{"spec": {{"selector": {{"lane": "open"}}}}}}'"""
        },
    ),
    mistakes=(
        Mistake("the pod is deleted", {KUBECTL: "kubectl delete pod {pod_2}"}, "the open call to {pod_2} is over"),
        Mistake("one pod less", {KUBECTL: "kubectl scale deployment/{app} --replicas=2"}, "{pod_2} answered"),
        Mistake("only one is left", {KUBECTL: "kubectl scale deployment/{app} --replicas=1"}, "is over"),
        Mistake("the Service is deleted", {KUBECTL: "kubectl delete service {app}"}, "the other pods answer all"),
        Mistake(
            "a firewall",
            {"pod_2": "iptables -A INPUT -p tcp --syn -j DROP"},
            "the other pods answer all of the new ones",
        ),
        Mistake(
            "connections are tidied up as well",
            {KUBECTL: NO_LABEL, "node_1": "conntrack -D -p tcp --orig-port-dst {node_port}"},
            "the open call to {pod_2} is over",
        ),
        Mistake(
            "the next release is let in",
            {KUBECTL: "kubectl label pod {pod_2} app-\nkubectl label pod {app}-next-1 track=stable --overwrite"},
            "{app}-next-1",
        ),
    ),
)

# -- the client's address ----------------------------------------------------------------------------


def setup_seen(scene: Scene) -> None:
    """Start two pods on three nodes, under the policy Cluster."""
    start(scene, 3, 2)


def check_seen(scene: Scene) -> Verdict:
    """See whose address the pods see, that no call is lost, and that all nodes still serve those inside."""
    values = scene.values
    expected = f"{values['lb_ip']}, port {values['port']}, is answered each time by the pods of {values['app']}"
    if (wrong := call_all(scene, "outside", values["lb_ip"], values["port"], expected)) is not None:
        return wrong
    seen = {str(told["client_address"]) for told in calls(scene) if told}
    own = "203.0.113.10"
    if seen != {own}:
        return failed(
            f"each call is answered, but the pods see {', '.join(sorted(seen - {own}))} as the caller",
            f"they see {own}, the address of {values['outside']}",
            "which chain marks a call from outside, and under which policy it does not: `iptables-save -t nat` on a node.",
        )
    for role in ("client", "node_1", "node_2", "node_3"):
        expected = f"those inside are served as before, on each node, at {values['vip']}"
        if (wrong := call_all(scene, role, values["vip"], values["port"], expected)) is not None:
            return wrong
    return passed(f"the pods see {own}, and no call is lost, from outside or from within")


def calls(scene: Scene) -> list[dict[str, object] | None]:
    """Return what the pods tell of twelve calls by the load balancer: enough to come by each node."""
    found = []
    for _ in range(12):
        with scene.host("outside").call(scene.values["lb_ip"], int(scene.values["port"])) as call:
            found.append(call.ask())
    return found


EXTERNAL_LOCAL = """kubectl patch service {app} -p '{{"spec": {{"externalTrafficPolicy": "Local"}}}}'"""
INTERNAL_LOCAL = EXTERNAL_LOCAL.replace("external", "internal")
SEEN = Exercise(
    key="11-the-clients-address",
    title="The client's address",
    goal=(
        "{pod_1} and {pod_2} are behind the load balancer {lb_ip}, port {port}. Their log shows addresses of nodes, whoever calls. Make them see who calls: "
        "for {outside} that is 203.0.113.10.\n\n"
        "No call by the load balancer may get lost, and those inside are served as before: at the cluster IP {vip}, port {port}, on each of the three nodes."
    ),
    setup=setup_seen,
    check=check_seen,
    solution={KUBECTL: EXTERNAL_LOCAL},
    why=(
        "A node that may send a call on to another node has to put itself in as the caller. Under Local it need not. A node without a pod drops such calls, "
        "and its health check tells the load balancer to leave it out."
    ),
    hints=(
        Hint(
            "A call from outside gets the mark 0x4000 in `KUBE-EXT-…`, and is masqueraded for that. Which field of the Service decides whether it does?",
            lambda scene: all(
                each["spec"].get("externalTrafficPolicy") != "Local" for each in scene.cluster.store.all("Service")
            ),
        ),
        Hint("There are two traffic policies. One is for those outside, one for those within."),
        Hint("`kubectl describe service {app}` shows both, and the port of the health check."),
    ),
    others=(
        {KUBECTL: "kubectl apply -f - <<END\n" + SERVICE + "  externalTrafficPolicy: Local\nEND"},
        {
            KUBECTL: "kubectl delete service {app}\nkubectl apply -f - <<END\n"
            + SERVICE
            + "  externalTrafficPolicy: Local\nEND"
        },
    ),
    mistakes=(
        Mistake("the other policy", {KUBECTL: INTERNAL_LOCAL}, "as the caller"),
        Mistake(
            "both policies", {KUBECTL: EXTERNAL_LOCAL + "\n" + INTERNAL_LOCAL}, "those inside are served as before"
        ),
        Mistake(
            "no load balancer any more",
            {KUBECTL: """kubectl patch service {app} -p '{{"spec": {{"type": "NodePort"}}}}'"""},
            "of 60 calls from {outside} to {lb_ip}",
        ),
        Mistake(
            "affinity",
            {KUBECTL: """kubectl patch service {app} -p '{{"spec": {{"sessionAffinity": "ClientIP"}}}}'"""},
            "as the caller",
        ),
        Mistake(
            "nobody is masqueraded",
            {f"node_{number}": "iptables -t nat -I POSTROUTING 1 -j ACCEPT" for number in (1, 2, 3)},
            "of 60 calls from {outside} to {lb_ip}",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------------------


def check_front(scene: Scene) -> Verdict:
    """Call as each user would: by the load balancer, by each node, from within."""
    values = scene.values
    expected = f"{values['app']} answers at its load balancer, at each node's port {values['node_port']}, and at its cluster IP"
    places = [("outside", values["lb_ip"], values["port"]), ("client", values["vip"], values["port"])]
    places += [("outside", values[f"node_{number}_ip"], values["node_port"]) for number in (1, 2, 3)]
    for place in places:
        if (wrong := call_all(scene, *place, expected)) is not None:
            return wrong
    return passed(f"{values['app']} answers at its load balancer, at each node, and from within")


def patch(text: str, kind: str = "") -> dict[str, str]:
    """Return the work that patches the Service; ``text`` is YAML with placeholders."""
    return {KUBECTL: f"kubectl patch service {{app}} {kind}-p '{text}'"}


SELECT = "{{spec: {{selector: {{app: {app}, track: %s}}}}}}"
TARGET = "{{spec: {{ports: [{{port: {port}, targetPort: %s, nodePort: {node_port}}}]}}}}"
BROKEN = BreakFix(
    key="11-a-selector-that-matches-nothing",
    title="A selector that matches nothing",
    goal=(
        "{app} runs as {pod_1} and {pod_2} on a cluster of three nodes. Users reach it by the load balancer, {lb_ip}, port {port}; the monitoring asks port "
        "{node_port} of each node; pods use the cluster IP, {vip}, port {port}. {app}-next-1 is the next release, and answers nobody. So it was. A user reports:"
    ),
    setup=setup_seen,
    check=check_front,
    faults=(
        Fault(
            name="selector",
            work=patch(SELECT % "steady"),
            symptom="“{app} is down. Connection refused, at once, wherever I call. But the pods are running, I see them!”",
            was="The selector of the Service asked for track=steady. No pod has that label; they have track=stable. So the EndpointSlice was empty.",
            found=(
                "A refusal at once, at every address: that is the REJECT rule of a Service without endpoints. `kubectl get endpointslices` shows none. "
                "`kubectl get service -o wide` beside `kubectl get pods --show-labels` shows why."
            ),
            fix=patch(SELECT % "stable"),
            others=({KUBECTL: "kubectl label pod {pod_1} {pod_2} track=steady --overwrite"},),
            mistakes=(
                Mistake("less of a selector", patch("{{spec: {{selector: {{track: null}}}}}}"), "{app}-next-1"),
                Mistake("more pods", {KUBECTL: "kubectl scale deployment/{app} --replicas=3"}, "refused"),
            ),
        ),
        Fault(
            name="port-name",
            work=patch(TARGET % "web", "--type merge "),
            symptom="“Since the ports were given nicer names, {app} refuses every call. The selector is right, I have compared it letter by letter.”",
            was="The targetPort was the name web. No container has a port of that name; theirs is called http. So the endpoints had no port to be sent to.",
            found=(
                "`kubectl get endpointslices` lists the addresses of the pods, and under PORTS `<unset>`. `kubectl describe pod` shows what the container calls its port."
            ),
            fix=patch(TARGET % "http", "--type merge "),
            others=(patch(TARGET % "{target}", "--type merge "),),
            mistakes=(Mistake("the port of the Service", patch(TARGET % "{port}", "--type merge "), "refused"),),
        ),
        Fault(
            name="not-ready",
            work={"pod_1": "touch /run/drain-{pod_1} /run/drain-{pod_2}\nsleep 1.4"},
            symptom="“Connection refused, everywhere. The pods run, the Service has its selector and its port, and nobody has changed either of them.”",
            was="Both pods failed their readiness probe: it asks for a file /run/drain-NAME, and there was one for each. Pods that are not ready are no endpoints.",
            found=(
                "`kubectl get pods` shows 0/1 under READY. `kubectl get endpointslices -o yaml` shows `ready: false` for both. What the probe asks stands in "
                "`kubectl get deployment {app} -o yaml`."
            ),
            fix={"pod_1": "rm /run/drain-{pod_1} /run/drain-{pod_2}\nsleep 1.4  # until the probes have asked again"},
            others=({KUBECTL: "kubectl delete pod {pod_1} {pod_2}", "node_1": "sleep 1.4"},),
            mistakes=(
                Mistake(
                    "the selector once more",
                    patch(SELECT % "stable"),
                    "refused",
                ),
            ),
        ),
        Fault(
            name="no-pod-here",
            work={KUBECTL: EXTERNAL_LOCAL},
            symptom="“The monitoring is red: port {node_port} of one of the three nodes gives no answer. Users do not complain. Yesterday somebody did something for the log.”",
            was="The externalTrafficPolicy was Local, and there are two pods on three nodes. The third node drops what comes for its port.",
            found=(
                "No refusal but silence, at one node of three, and the load balancer works: it leaves that node out. On it, `iptables-save -t filter` has a rule "
                'with the comment "has no local endpoints".'
            ),
            fix=patch("{{spec: {{externalTrafficPolicy: Cluster}}}}"),
            others=({KUBECTL: "kubectl scale deployment/{app} --replicas=3", "node_1": "sleep 0.6"},),
            mistakes=(Mistake("the other policy", {KUBECTL: INTERNAL_LOCAL}, "silence"),),
        ),
        Fault(
            name="source-ranges",
            work=patch('{{spec: {{loadBalancerSourceRanges: ["203.0.113.128/25"]}}}}', "--type merge "),
            symptom="“{lb_ip} does not answer me any more. The monitoring says that all is well: it asks the port of each node. A colleague in another office can call, too.”",
            was="The Service had loadBalancerSourceRanges, and 203.0.113.10 is in none of them. They are for the load balancer's address only, not for node ports.",
            found=(
                "The same pods, the same nodes, another address: so it is something that goes by the destination. On a node, `KUBE-FW-…` stands in place of "
                "`KUBE-EXT-…` for {lb_ip}, and KUBE-PROXY-FIREWALL drops what no range let through. `kubectl get service {app} -o yaml` shows the ranges."
            ),
            fix=patch('{{spec: {{loadBalancerSourceRanges: ["203.0.113.0/24"]}}}}', "--type merge "),
            others=(patch("{{spec: {{loadBalancerSourceRanges: null}}}}"),),
            mistakes=(Mistake("the policy", {KUBECTL: EXTERNAL_LOCAL}, "of 60 calls from {outside} to {lb_ip}"),),
        ),
    ),
    hints=(
        Hint(
            "Refused at once, or silence? Everywhere, or at one address only? Those two answers leave few rules that it can be."
        ),
        Hint(
            "Follow the list: what does the Service select, what is in its EndpointSlice (address, port, ready), what did the proxy make of it?"
        ),
        Hint(
            "On a node: `iptables-save | grep {app}` shows each rule of the Service, with a comment that says what it is for."
        ),
    ),
)

EXERCISES = (DRAIN, SEEN, BROKEN)
