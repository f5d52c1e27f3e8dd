"""Chapter 04: its exercises and faults, with solutions and usual mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlab.course import BreakFix, Exercise, Fault, Hint, Mistake, Verdict
from netlab.course.handmade import GONE, SANDBOX_ANEW, WIRE_ANEW, alone, end, get, holder, look, setup_pods, start
from netlab.course.namespaces import Process, listeners, processes
from netlab.course.values import failed, passed

if TYPE_CHECKING:
    from netlab.course import Scene

WORDS = {"net": "network", "uts": "UTS", "ipc": "IPC", "pid": "PID", "mnt": "mount"}
# -- a second container ----------------------------------------------------------------------------


def check_second(scene: Scene) -> Verdict:
    """See that the client is answered by the app, through a proxy that reaches it by localhost."""
    return look(scene, explain=True)


SECOND = Exercise(
    key="04-second-container",
    title="A second container joins",
    goal=(
        "The pod {pod} ({pod_ip}) on {node} was built by hand. The number of its pause process is in `/run/{pod}/pause.pid`. Its app listens on "
        "127.0.0.1, port {port}, and on nothing else.\n\n"
        "Start `/run/images/proxy 80 {port}` as a second container of this pod, so that `curl http://{pod_ip}/` in {client} is answered by the app. "
        "{other} is another pod on {node}, and stays as it is."
    ),
    setup=setup_pods,
    check=check_second,
    solution={"node": "{join} --net --uts --ipc /run/images/proxy 80 {port} &"},
    why=(
        "Both programs are in one network namespace, so they have one localhost. That is all that the proxy needed. The app is still shut to everybody "
        "outside its pod."
    ),
    hints=(
        Hint(
            "A program runs in the namespaces of whoever starts it. `nsenter` starts one in those of another process. Of which?",
            lambda scene: not listeners(scene.host("node"), "80"),
        ),
        Hint(
            "Somebody listens on port 80 already. In which network namespace? Compare `ls -l /proc/PID/ns/net` of it and of the pause process.",
            lambda scene: bool(listeners(scene.host("node"), "80")),
        ),
        Hint(
            "`lsns -t net` in {node} lists the network namespaces, with a process of each. Which has the address {pod_ip}?"
        ),
    ),
    others=(
        {
            "node": "ip netns attach mine $(cat /run/{pod}/pause.pid)\n"
            "ip netns exec mine /run/images/proxy 80 {port} & sleep 0.2"
        },
        {"node": "nsenter --target $(cat /run/{pod}/app.pid) --net --uts --ipc --mount /run/images/proxy 80 {port} &"},
    ),
    mistakes=(
        Mistake(
            "started on the node",
            {"node": "/run/images/proxy 80 {port} &"},
            "port 80 is open in the network namespace of {node}, the node",
        ),
        Mistake(
            "joined the other pod",
            {"node": "nsenter --target $(cat /run/{other}/pause.pid) --net /run/images/proxy 80 {port} &"},
            "port 80 is open in the network namespace of {other}",
        ),
        Mistake(
            "a namespace of its own",
            {"node": "unshare --net /run/images/proxy 80 {port} &"},
            "namespace that belongs to neither pod",
        ),
        Mistake(
            "another program answers",
            {"node": "{join} --net /run/images/app {pod} 80 &"},
            "port 80 is open in the network namespace of {pod}",
        ),
        Mistake(
            "the node answers in its place",
            {
                "node": "/run/images/app {pod} {port} & /run/images/proxy 80 {port} &\n"
                "iptables -t nat -A PREROUTING -d {pod_ip} -p tcp --dport 80 -j REDIRECT\nsleep 0.2"
            },
            "no packet went from {node} into the pod",
        ),
    ),
)

# -- what else a container has -----------------------------------------------------------------------


def setup_container(scene: Scene) -> None:
    """Build the pods, and choose what the container is to run."""
    setup_pods(scene)
    scene.values["seconds"] = str(scene.random.randrange(4000, 9000))


def job(scene: Scene) -> Process | None:
    """Return the process that the reader started, or None; those that only wait for it do not count."""
    wanted = f"sleep {scene.values['seconds']}"
    return next((one for one in processes(scene.host("node")) if one.command == wanted), None)


def shares(scene: Scene, *kinds: str) -> bool:
    """Tell whether the reader's process shares all these namespaces with the pause process."""
    mine, pause = job(scene), holder(scene, "pod")
    return bool(mine and pause and all(mine.spaces[kind] == pause.spaces[kind] for kind in kinds))


def check_container(scene: Scene) -> Verdict:
    """See which namespaces the process has, and what its /proc shows."""
    values, mine = scene.values, job(scene)
    command = f"sleep {values['seconds']}"
    expected = f"`{command}` shares network, UTS and IPC namespace with the pause process of {values['pod']}"
    if mine is None:
        return failed(f"nobody runs `{command}`", expected, "`ps ax` in the node, and what your command said.")
    apart = [WORDS[kind] for kind in ("net", "uts", "ipc") if not shares(scene, kind)]
    if apart:
        return failed(
            f"`{command}` is process {mine.number} of the node, and is not in the {apart[0]} namespace of the pod",
            expected,
            f"`ls -l /proc/{mine.number}/ns`, beside that of the pause process.",
        )
    expected = f"`{command}` has a PID namespace and a mount namespace of its own, and is process 1 there"
    same = [WORDS[kind] for kind in ("pid", "mnt") if shares(scene, kind)]
    if same:
        look = "which process does `unshare --pid` put into the new namespace: the one that asks, or its children?"
        return failed(f"`{command}` is still in the {same[0]} namespace of the node", expected, look)
    inner = "ls /proc | grep -c '^[0-9]'; tr '\\0' ' ' </proc/1/cmdline"
    script = f'grep NSpid /proc/$0/status && nsenter --target $0 --mount sh -c "{inner}"'
    answer = scene.host("node").run("bash", "-c", script, str(mine.number), check=True)
    numbers, count, first = answer.stdout.split("\n", 2)
    if (inside := numbers.split()[-1]) != "1":
        seen = f"`{command}` is process {inside} of its PID namespace: something else is process 1"
        return failed(seen, expected, "what your command starts first in the new namespace.")
    if first.strip() != command:
        return failed(
            f"`{command}` has its own PID namespace, but the /proc that it sees has {count} processes of the node",
            "its /proc shows the processes of its own PID namespace",
            "a /proc shows the PID namespace of whoever mounted it.",
        )
    return passed(
        f"`{command}` is process 1 in its container, process {mine.number} on the node, and in the network of {values['pod']}"
    )


CONTAINER = Exercise(
    key="04-the-rest-of-a-container",
    title="The rest of a container",
    goal=(
        "Start `sleep {seconds}` on {node} as a container of the pod {pod}, as far as namespaces go.\n\n"
        "It shares the network, UTS and IPC namespaces of the pod. The number of the pause process is in `/run/{pod}/pause.pid`.\n\n"
        "It has a PID namespace and a mount namespace of its own. It is process 1 there, and its `/proc` shows no other."
    ),
    setup=setup_container,
    check=check_container,
    solution={
        "node": "{join} --net --uts --ipc unshare --pid --mount --fork --mount-proc sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"
    },
    why=(
        "First into the namespaces that the pod shares, then out of those that it does not. It is the order in which a container runtime does it: the shared ones are given by a "
        "path such as /proc/PID/ns/net, the others are new."
    ),
    hints=(
        Hint(
            "Which namespaces do you join, and which do you make? One program for each: `nsenter`, `unshare`.",
            lambda scene: job(scene) is None,
        ),
        Hint(
            "Not all that the pod shares is joined yet. Which options has `nsenter --help`?",
            lambda scene: not shares(scene, "net", "uts", "ipc"),
        ),
        Hint(
            "A process cannot change its own number. So `unshare --pid` counts for the children that it forks.",
            lambda scene: shares(scene, "pid"),
        ),
        Hint(
            "Which `/proc` does it see? One that was mounted in the PID namespace of the node shows the node's processes."
        ),
    ),
    others=(
        {
            "node": "ip netns attach mine $(cat /run/{pod}/pause.pid)\n"
            "ip netns exec mine {join} --uts --ipc unshare -pmf bash -c 'mount -t proc proc /proc; exec sleep {seconds}' >/dev/null 2>&1 &\nsleep 0.3"
        },
    ),
    mistakes=(
        Mistake(
            "only the network",
            {
                "node": "{join} --net unshare --pid --mount --fork --mount-proc sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"
            },
            "is not in the UTS namespace of the pod",
        ),
        Mistake(
            "all of it new",
            {
                "node": "unshare --net --uts --ipc --pid --mount --fork --mount-proc sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"
            },
            "is not in the network namespace of the pod",
        ),
        Mistake(
            "all of it joined",
            {"node": "{join} --net --uts --ipc --pid --mount sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"},
            "is still in the PID namespace of the node",
        ),
        Mistake(
            "no child that would be process 1",
            {"node": "{join} --net --uts --ipc unshare --pid --mount sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"},
            "is still in the PID namespace of the node",
        ),
        Mistake(
            "the old /proc",
            {
                "node": "{join} --net --uts --ipc unshare --pid --mount --fork sleep {seconds} >/dev/null 2>&1 &\nsleep 0.2"
            },
            "the /proc that it sees has",
        ),
        Mistake(
            "another process is the first",
            {
                "node": "{join} --net --uts --ipc unshare --pid --mount --fork --mount-proc bash -c 'sleep {seconds}; true' >/dev/null 2>&1 &\nsleep 0.2"
            },
            "something else is process 1",
        ),
    ),
)

# -- break-fix ------------------------------------------------------------------------------------------


PROXY = start("proxy", "pause", "80 {port}")


def setup_whole(scene: Scene) -> None:
    """Build both pods with app and proxy, all of it working."""
    setup_pods(scene)
    for role in ("pod", "other"):
        scene.work({"node": PROXY.replace("{pod}", scene.values[role])})
    for role in ("pod", "other"):
        get(scene, role)


def check_whole(scene: Scene) -> Verdict:
    """See what a user sees, and that the neighbour is served as before."""
    verdict = look(scene, explain=False)
    if not verdict.passed:
        return verdict
    told, _ = get(scene, "other")
    if told is None or told["server"] != scene.values["other"]:
        return failed(
            f"{scene.values['pod']} answers again, {scene.values['other']} does not",
            "both pods answer on port 80 of their own address",
            "which processes and which interface belong to which pod: `lsns -t net`.",
        )
    return verdict


BROKEN = BreakFix(
    key="04-the-pause-is-gone",
    title="The pause is gone",
    goal=(
        "Two pods on {node}, {pod} ({pod_ip}) and {other}, each with a pause process, an app on 127.0.0.1, port {port}, and a proxy on port 80. "
        "`curl http://{pod_ip}/` in {client} is answered by {pod}. So it was. The programs are in `/run/images`, their numbers in `/run/{pod}`, what they print in "
        "`/run/log`; an address of {pod} has the prefix /24, and its gateway is {pod_gateway}. A user reports:"
    ),
    setup=setup_whole,
    check=check_whole,
    faults=(
        Fault(
            name="all-of-it",
            work={"node": end("pause", "app", "proxy") + GONE},
            symptom="“{node} ran out of memory in the night. Since then {pod} does not answer. Its neighbour {other} does.”",
            was=(
                "All processes of {pod} had been killed, its pause too. With the last of them the kernel took the network namespace, and with that the cable, the address and "
                "the route of {node}."
            ),
            found=(
                "`lsns -t net` in {node} lists no namespace for this pod, and `ip link` no veth-{pod}. So there is nothing to mend: the pod has to be built anew."
            ),
            fix={"node": SANDBOX_ANEW + WIRE_ANEW + start("app", "pause") + PROXY},
            others=(
                {
                    "node": "ip netns add {pod}\nip link add veth-{pod} type veth peer name eth0 netns {pod}\nip -n {pod} link set lo up\n"
                    "ip -n {pod} link set eth0 up\nip -n {pod} address add {pod_ip}/24 dev eth0\nip address add {pod_gateway}/24 dev veth-{pod}\n"
                    "ip link set veth-{pod} up\nip -n {pod} route add default via {pod_gateway}\n"
                    "ip netns exec {pod} /run/images/app {pod} {port} &\nip netns exec {pod} /run/images/proxy 80 {port} & sleep 0.2"
                },
            ),
            mistakes=(
                Mistake(
                    "the programs alone",
                    {"node": "/run/images/app {pod} {port} & /run/images/proxy 80 {port} & sleep 0.2"},
                    "gets no answer from",
                ),
                Mistake(
                    "the node answers in its place",
                    {
                        "node": "/run/images/app {pod} {port} & /run/images/proxy 80 {port} &\n"
                        "ip address add {pod_ip}/32 dev lo\nsleep 0.2"
                    },
                    "no packet went from {node} into the pod",
                ),
            ),
        ),
        Fault(
            name="two-halves",
            work={"node": end("pause", "app") + SANDBOX_ANEW + start("app", "pause")},
            symptom=(
                "“The pause process of {pod} was killed. I started another one, and the app in it. Now the proxy says 502 Bad Gateway. The proxy was never touched, and the app "
                "runs.”"
            ),
            was=(
                "A new pause process has new namespaces. The app was in these, and the proxy still in the old ones, with the cable and the address: two network namespaces, two "
                "localhosts."
            ),
            found=(
                "The proxy answers, so the cable is fine, and it does not find the app. `readlink /proc/PID/ns/net` of both gives two numbers."
            ),
            fix={"node": end("app") + start("app", "proxy")},
            others=({"node": end("proxy") + GONE + WIRE_ANEW + PROXY},),
            mistakes=(
                Mistake("once more the same", {"node": end("app") + start("app", "pause")}, "gets 502 Bad Gateway"),
            ),
        ),
        Fault(
            name="on-the-node",
            work={"node": end("app") + "/run/images/app {pod} {port} & echo $! > /run/{pod}/app.pid"},
            symptom=(
                "“The app of {pod} crashed, and I started it again on {node}. There, `curl http://127.0.0.1:{port}/` answers at once. {client} still gets 502 Bad Gateway.”"
            ),
            was="The app had been started in the namespaces of a shell on {node}. The localhost on which it listened was that of {node}.",
            found=(
                "Who says that localhost answers has to say whose. `ls -l /proc/PID/ns/net` of the app and of the pause process differ, and the app's is that of {node}."
            ),
            fix={"node": end("app") + start("app", "pause")},
            others=({"node": start("app", "proxy")},),
            mistakes=(
                Mistake(
                    "a proxy on the node as well",
                    {"node": "/run/images/proxy 80 {port} & sleep 0.2"},
                    "gets 502 Bad Gateway",
                ),
            ),
        ),
        Fault(
            name="taken",
            work={
                "node": end("app")
                + start("app", "pause", "debug {port}")
                + "sleep 0.2\n"
                + start("app", "pause")
                + "sleep 0.1"
            },
            symptom="“Somebody looked for an error in {pod} and started the app anew. Since then `curl http://{pod_ip}/` is answered by `debug`.”",
            was="A second container, `debug`, had port {port} of the pod's localhost. A pod has each port once, so the app found it taken and ended.",
            found="`/run/log/{pod}.log` has the app's last words: the address is in use. `ss -tlnp` in the pod's network namespace says by which process.",
            fix={
                "node": "{join} --net ss -Htlnp sport = :{port} | grep -o 'pid=[0-9]*' | cut -d= -f2 | xargs kill\nsleep 0.1\n"
                + start("app", "pause")
            },
            others=({"node": "pkill -f 'debu[g] tcp'\nsleep 0.1\n" + start("app", "proxy")},),
            mistakes=(
                Mistake("the app once more", {"node": start("app", "pause") + "sleep 0.2"}, "is answered by debug"),
            ),
        ),
        Fault(
            name="no-loopback",
            work={"node": "{join} --net ip link set lo down"},
            symptom="“The pause of {pod} was killed, and a script built the pod anew. All of its processes run. `ping {pod_ip}` is answered, `curl http://{pod_ip}/` hangs.”",
            was="`lo` was down in the pod. It is down in each new network namespace, and the script had forgotten it. Without it there is no 127.0.0.1.",
            found=(
                "The proxy takes the request, so eth0 is fine, and waits for the app. In the pod's network namespace, `ip route get 127.0.0.1` names the gateway: localhost would be "
                "out of the pod. `ip address` says why: `lo` is DOWN."
            ),
            fix={"node": "{join} --net ip link set lo up"},
            others=({"node": "ip netns attach mine $(cat /run/{pod}/app.pid)\nip -n mine link set dev lo up"},),
            mistakes=(Mistake("a restart", {"node": end("app") + start("app", "pause")}, "gets no answer from"),),
        ),
    ),
    hints=(
        Hint(
            "Ask in {client}: `curl http://{pod_ip}/`. No answer, an answer of the proxy, or one of another app? That says how far the request comes."
        ),
        Hint(
            "The pause process of {pod} is gone. Does the network namespace still exist? Does somebody hold it?",
            lambda scene: holder(scene, "pod") is None,
        ),
        Hint("App and proxy are to share a network namespace. Do they? `readlink /proc/PID/ns/net`, of both.", alone),
        Hint(
            "Go into the pod, as the proxy sees it: `nsenter --target PID --net`, and there `ip address`, `ss -tlnp`, `curl http://127.0.0.1:{port}/`."
        ),
    ),
)

EXERCISES = (SECOND, CONTAINER, BROKEN)
