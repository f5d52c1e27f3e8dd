"""Snapshots made by hand, as the kernel would give them: the labs of the course, and some that are hard to draw."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

from netlab.kernel.values import (
    Address,
    FdbEntry,
    FirewallRule,
    HostState,
    Interface,
    Neighbour,
    NextHop,
    Peer,
    Route,
    Snapshot,
    Socket,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOOPBACK = Interface(1, "lo", "loopback", up=True, carrier=True, state="UNKNOWN", mtu=65536)


@dataclass
class Builder:
    """Build a Snapshot step by step, with the methods of a Lab."""

    name: str = "sample"
    hosts: dict[str, HostState] = field(default_factory=dict)
    macs: int = 0

    def host(self, name: str, *, lo: bool = True, forward: int = 0) -> Builder:
        """Add a host with its loopback."""
        loopback = LOOPBACK if lo else replace(LOOPBACK, up=False, carrier=False, state="DOWN")
        sysctls = (("net.ipv4.ip_forward", str(forward)), ("net.ipv6.conf.all.forwarding", "0"))
        addresses = (Address("lo", ip_interface("127.0.0.1/8"), "host"),) if lo else ()
        self.hosts[name] = HostState(name, 4026532000 + len(self.hosts), (loopback,), addresses, sysctls=sysctls)
        return self

    def extend(self, host: str, **values: Iterable[Any]) -> Builder:
        """Add values to a host."""
        old = self.hosts[host]
        more: dict[str, Any] = {key: (*getattr(old, key), *items) for key, items in values.items()}
        self.hosts[host] = replace(old, **more)
        return self

    def interface(self, host: str, name: str, address: str | None = None, **values: Any) -> Builder:
        """Add an interface, up unless told otherwise, and the route of its address."""
        self.macs += 1
        mac = f"02:42:0a:00:{self.macs // 256:02x}:{self.macs % 256:02x}"
        defaults: dict[str, Any] = {"kind": "veth", "up": True, "carrier": True, "mtu": 1500, "mac": mac}
        chosen = defaults | values
        state = "DOWN" if not chosen["up"] else "UP" if chosen["carrier"] else "LOWERLAYERDOWN"
        index = len(self.hosts[host].interfaces) + 1
        self.extend(host, interfaces=[Interface(index=index, name=name, state=state, **chosen)])
        if address:
            self.address(host, name, address)
        return self

    def address(self, host: str, name: str, address: str) -> Builder:
        """Add an address and its route."""
        value = ip_interface(address)
        route = Route(value.network, (NextHop(interface=name),), protocol="kernel", scope="link", source=value.ip)
        link = self.hosts[host].interface(name)
        routes = [route] if link.up and link.carrier and value.network.prefixlen < value.max_prefixlen else []
        return self.extend(host, addresses=[Address(name, value)], routes=routes)

    def connect(self, a: tuple[str, str, str | None], b: tuple[str, str, str | None], **values: Any) -> Builder:
        """Lay a veth pair between (host, interface, address) and the same of the other side."""
        up_a, up_b = values.pop("up", (True, True))
        place = len(self.hosts[b[0]].interfaces) + 1 + (a[0] == b[0])
        self.interface(*a, up=up_a, carrier=up_a and up_b, peer=Peer(b[0], b[1], place), **values)
        self.interface(*b, up=up_b, carrier=up_a and up_b, peer=Peer(a[0], a[1], 2), **values)
        return self

    def route(self, host: str, destination: str, via: str, interface: str) -> Builder:
        """Add a route by a gateway."""
        network = ip_interface("0.0.0.0/0" if destination == "default" else destination).network
        return self.extend(host, routes=[Route(network, (NextHop(ip_address(via), interface),))])

    def listen(self, host: str, process: str, port: int, protocol: str = "tcp") -> Builder:
        """Add a listening socket."""
        state = "LISTEN" if protocol == "tcp" else "UNCONN"
        socket = Socket(protocol, state, ip_address("0.0.0.0"), port, process=process, pid=400 + len(process))  # noqa: S104 - a listener
        return self.extend(host, sockets=[socket])

    def neighbour(self, host: str, interface: str, address: str, state: str = "REACHABLE") -> Builder:
        """Add a neighbour."""
        mac = "" if state in {"FAILED", "INCOMPLETE"} else "8e:1f:22:0a:00:01"
        return self.extend(host, neighbours=[Neighbour(interface, ip_address(address), mac, state)])

    def rules(self, host: str, table: str, chain: str, *texts: str) -> Builder:
        """Add rules of iptables."""
        rules = [FirewallRule("iptables", "ip", table, chain, n, t, 3 * n, 180 * n) for n, t in enumerate(texts, 1)]
        return self.extend(host, rules=rules)

    def build(self) -> Snapshot:
        """Return what was built."""
        return Snapshot(self.name, 1_700_000_000.0, tuple(self.hosts.values()))


def lonely() -> Snapshot:
    """One host that has nothing but a loopback that is down: chapter 00."""
    return Builder("welcome").host("red", lo=False).build()


def two_hosts(*, up: tuple[bool, bool] = (True, True)) -> Snapshot:
    """Two hosts on one cable: chapter 01."""
    lab = Builder("two-hosts").host("red").host("blue")
    lab.connect(("red", "eth0", "10.0.0.1/24"), ("blue", "eth0", "10.0.0.2/24"), up=up)
    if all(up):
        lab.neighbour("red", "eth0", "10.0.0.2").neighbour("blue", "eth0", "10.0.0.1", "STALE")
    else:
        lab.neighbour("red", "eth0", "10.0.0.2", "FAILED")
    return lab.listen("blue", "python3", 80).build()


def router(*, forward: int = 1, up: bool = True) -> Snapshot:
    """Three hosts in a line, the middle one a router: chapter 02."""
    lab = Builder("router").host("red").host("router", forward=forward).host("blue")
    lab.connect(("red", "eth0", "10.0.1.2/24"), ("router", "eth0", "10.0.1.1/24"))
    lab.connect(("router", "eth1", "10.0.2.1/24"), ("blue", "eth0", "10.0.2.2/24"), up=(up, True))
    lab.route("red", "default", "10.0.1.1", "eth0").route("blue", "default", "10.0.2.1", "eth0")
    lab.listen("blue", "python3", 80).listen("blue", "python3", 53, "udp")
    return (
        lab.rules("router", "nat", "POSTROUTING", "-s 10.0.1.0/24 -j MASQUERADE")
        .neighbour("red", "eth0", "10.0.1.1")
        .build()
    )


def star(count: int, *, address: bool = True, down: frozenset[int] = frozenset()) -> Snapshot:
    """Many hosts on one bridge."""
    lab = Builder(f"star-{count}").host("hub")
    lab.interface("hub", "br0", "10.9.0.1/16" if address else None, kind="bridge")
    for number in range(1, count + 1):
        host = f"h{number}"
        lab.host(host)
        ends = (("hub", f"p{number}", None), (host, "eth0", f"10.9.{number // 250}.{number % 250 + 1}/16"))
        lab.connect(*ends, up=(True, number not in down))
        lab.hosts["hub"] = replace(
            lab.hosts["hub"],
            interfaces=tuple(
                replace(i, master="br0") if i.name == f"p{number}" else i for i in lab.hosts["hub"].interfaces
            ),
        )
        if number % 7 == 1:
            lab.listen(host, "nginx", 80)
    fdb = [FdbEntry(f"p{n}", f"02:42:0a:00:00:{n:02x}", master="br0") for n in range(1, min(count, 4))]
    return lab.extend("hub", fdb=fdb).build()


def node(*, forward: int = 1) -> Snapshot:
    """Return a node with three pods on its bridge, an uplink, rules and a listener: chapters 05 and 10."""
    lab = Builder("node").host("node-1", forward=forward)
    lab.interface("node-1", "cni0", "10.244.1.1/24", kind="bridge")
    lab.host("underlay").interface("underlay", "br0", kind="bridge")
    _pods(lab, "node-1", 1, ("web-1", "web-2", "client"))
    return lab.rules("node-1", "nat", "POSTROUTING", "-s 10.244.0.0/16 ! -o cni0 -j MASQUERADE").build()


def _pods(lab: Builder, node_name: str, number: int, pods: tuple[str, ...]) -> None:
    for place, pod in enumerate(pods, 2):
        lab.host(pod)
        port = f"veth{number:02x}{place:02x}c3f1"
        lab.connect((node_name, port, None), (pod, "eth0", f"10.244.{number}.{place}/24"))
        _enslave(lab, node_name, port, "cni0")
        lab.route(pod, "default", f"10.244.{number}.1", "eth0")
        if pod.startswith("web"):
            lab.listen(pod, "nginx", 80)
    lab.connect(("underlay", f"n{number}", None), (node_name, "eth0", f"172.18.0.{number + 1}/16"))
    _enslave(lab, "underlay", f"n{number}", "br0")
    lab.route(node_name, "default", "172.18.0.1", "eth0")


def _enslave(lab: Builder, host: str, port: str, bridge: str) -> None:
    state = lab.hosts[host]
    links = tuple(replace(i, master=bridge) if i.name == port else i for i in state.interfaces)
    lab.hosts[host] = replace(state, interfaces=links)


def shared() -> Snapshot:
    """Return a pod of three hosts in one network namespace, with a neighbour: chapter 04."""
    lab = Builder("pod").host("pause").host("peer")
    lab.connect(("pause", "eth0", "10.244.1.2/24"), ("peer", "eth0", "10.244.1.3/24"))
    lab.listen("pause", "nginx", 80).listen("pause", "sidecar", 9090)
    for name in ("app", "proxy"):
        lab.hosts[name] = replace(lab.hosts["pause"], name=name)
    return lab.build()


def service() -> Snapshot:
    """Return the node with rules for two addresses that no interface holds: chapter 10."""
    lab = Builder("service", {host.name: host for host in node().hosts})
    to = "-j DNAT --to-destination 10.244.1"
    front = "-d 10.96.0.10/32 -p tcp -m tcp --dport 80"
    half = "-m statistic --mode random --probability 0.5"
    lab.rules("node-1", "nat", "PREROUTING", f"{front} {half} {to}.2:80", f"{front} {to}.3:80")
    return lab.rules("node-1", "nat", "OUTPUT", f"-d 10.96.0.53/32 -p udp --dport 53 {to}.3:53").build()


def cluster(*, vxlan: bool = True) -> Snapshot:
    """Return three nodes with two pods each over an underlay, with a VXLAN tunnel: chapter 07."""
    lab = Builder("cluster").host("underlay").interface("underlay", "br0", kind="bridge")
    names = (("client", "web-1"), ("web-2", "dns"), ("web-3", "api"))
    for number, pods in enumerate(names, 1):
        name = f"node-{number}"
        lab.host(name, forward=1).interface(name, "cni0", f"10.244.{number}.1/24", kind="bridge")
        _pods(lab, name, number, pods)
        if vxlan:
            details = (("id", "1"), ("local", f"172.18.0.{number + 1}"), ("dstport", "8472"))
            lab.interface(name, "flannel.1", f"10.244.{number}.0/32", kind="vxlan", mtu=1450, details=details)
            for other in {1, 2, 3} - {number}:
                lab.route(name, f"10.244.{other}.0/24", f"10.244.{other}.0", "flannel.1")
        lab.rules(
            name, "nat", "KUBE-SERVICES", "-d 10.96.0.10/32 -p tcp -j KUBE-SVC-WEB", "-d 10.96.0.1/32 -j KUBE-SVC-API"
        )
        lab.rules(name, "filter", "FORWARD", "-s 10.244.0.0/16 -j ACCEPT")
    return lab.build()


def nodes(*pods: int) -> Snapshot:
    """Return nodes with so many pods each, every other one an endpoint of a Service with equal shares."""
    lab = Builder("nodes").host("underlay").interface("underlay", "br0", kind="bridge")
    ends = [f"10.244.{node}.{place + 2}:80" for node, count in enumerate(pods, 1) for place in range(0, count, 2)]
    left = len(ends)
    rules = [
        f"-d 10.96.0.10/32 -p tcp -m tcp --dport 80 -m statistic --mode random --probability {1 / (left - place)} "
        f"-j DNAT --to-destination {end}"
        for place, end in enumerate(ends)
    ]
    for number, count in enumerate(pods, 1):
        name = f"node-{number}"
        lab.host(name, forward=1).interface(name, "cni0", f"10.244.{number}.1/24", kind="bridge")
        names = (f"{'pod' if place % 2 else 'web'}-{number}-{place}" for place in range(count))
        _pods(lab, name, number, tuple(names))
        lab.rules(name, "nat", "PREROUTING", *rules)
    return lab.build()


def routed(*, bridge: bool = False) -> Snapshot:
    """Return nodes on a router whose pods hang on routes, or one node whose bridge for pods has no address yet."""
    lab = Builder("by-hand").host("node-1", forward=int(not bridge))
    if bridge:
        lab.interface("node-1", "cni0", kind="bridge")
    for number, name in enumerate(("red", "blue"), 2):
        node = "node-1" if bridge or name == "red" else "node-2"
        if node not in lab.hosts:
            lab.host(node, forward=1)
        address = None if bridge else f"10.244.{number}.1/24"
        lab.host(name).connect((node, f"veth-{name}", address), (name, "eth0", f"10.244.{number}.2/24"))
        if bridge:
            _enslave(lab, node, f"veth-{name}", "cni0")
            continue
        lab.route(name, "default", f"10.244.{number}.1", "eth0")
        ends = (("underlay", node, f"192.168.{number}.1/24"), (node, "eth0", f"192.168.{number}.11/24"))
        if "underlay" not in lab.hosts:
            lab.host("underlay", forward=1)
        lab.connect(*ends)
    return lab.build()


def gateway(count: int = 12) -> Snapshot:
    """Many hosts on the bridge of a router, which leads on to another network."""
    snapshot = star(count)
    lab = Builder("gateway", {host.name: host for host in snapshot.hosts}, 500).host("internet")
    hub = lab.hosts["hub"]
    lab.hosts["hub"] = replace(hub, sysctls=(("net.ipv4.ip_forward", "1"),))
    lab.connect(("hub", "wan0", "203.0.113.2/24"), ("internet", "eth0", "203.0.113.1/24"))
    lab.route("hub", "default", "203.0.113.1", "wan0").listen("hub", "dnsmasq", 53, "udp")
    return lab.rules("hub", "nat", "POSTROUTING", "-o wan0 -j MASQUERADE").build()


def crowd(nodes: int = 10, pods: int = 30) -> Snapshot:
    """Return a large cluster: more than anyone can read at once."""
    lab = Builder("crowd").host("underlay").interface("underlay", "br0", kind="bridge")
    for number in range(1, nodes + 1):
        name = f"node-{number}"
        lab.host(name, forward=1).interface(name, "cni0", f"10.244.{number}.1/24", kind="bridge")
        _pods(lab, name, number, tuple(f"{'web' if n % 9 == 0 else 'pod'}-{number}-{n}" for n in range(pods)))
    broken = lab.hosts["pod-8-4"]
    links = tuple(replace(i, up=i.name == "lo", carrier=i.name == "lo") for i in broken.interfaces)
    lab.hosts["pod-8-4"] = replace(broken, interfaces=links)
    return lab.build()


def strange() -> Snapshot:
    """Interfaces of every kind, with names that are hard to print, and cables that lead to themselves."""
    lab = Builder("strange <&> lab").host('a<b>&"c"').host("very-long-host-name-of-a-learner")
    lab.connect(
        ('a<b>&"c"', "x<y&z>", "fd00:1234:5678:9abc:def0:1234:5678:9abc/64"),
        ("very-long-host-name-of-a-learner", "fifteen-letters", "192.168.100.200/24"),
    )
    lab.connect(('a<b>&"c"', "veth0", None), ('a<b>&"c"', "veth1", None), up=(True, False))
    lab.interface('a<b>&"c"', "tun0", "10.8.0.1/24", kind="tun", carrier=False)
    lab.interface("very-long-host-name-of-a-learner", "odd0", kind="")
    lab.interface(
        "very-long-host-name-of-a-learner", "mac0", "10.0.9.9/24", kind="macvlan", details=(("mode", "bridge"),)
    )
    for number in range(5):
        lab.address("very-long-host-name-of-a-learner", "odd0", f"10.77.{number}.1/24")
    lab.listen('a<b>&"c"', "a-rather-long-process-name", 8080).listen('a<b>&"c"', "x", 9)
    for port in range(1000, 1012):
        lab.listen("very-long-host-name-of-a-learner", "many", port)
    return lab.build()


def isolated(count: int) -> Snapshot:
    """Hosts without any cable."""
    lab = Builder("isolated")
    for number in range(1, count + 1):
        lab.host(f"h{number}")
    return lab.build()


def tunnel_pair() -> Snapshot:
    """Two hosts on one cable, with a VXLAN tunnel through it."""
    lab = Builder("tunnel").host("left", forward=1).host("right", forward=1)
    lab.connect(("left", "eth0", "192.0.2.1/24"), ("right", "eth0", "192.0.2.2/24"))
    for number, name in enumerate(("left", "right"), 1):
        lab.interface(
            name, "vxlan42", f"10.0.0.{number}/24", kind="vxlan", mtu=1450, details=(("id", "42"), ("dstport", "4789"))
        )
    return lab.build()


def ring() -> Snapshot:
    """Three routers, each cabled to both others, and one host beside them."""
    lab = Builder("ring")
    for name in ("r1", "r2", "r3", "pc"):
        lab.host(name, forward=int(name != "pc"))
    lab.connect(("r1", "to-r2", "10.0.12.1/24"), ("r2", "to-r1", "10.0.12.2/24"))
    lab.connect(("r2", "to-r3", "10.0.23.2/24"), ("r3", "to-r2", "10.0.23.3/24"))
    lab.connect(("r1", "to-r3", "10.0.13.1/24"), ("r3", "to-r1", "10.0.13.3/24"), up=(True, False))
    return lab.connect(("pc", "eth0", "10.0.1.2/24"), ("r1", "lan", "10.0.1.1/24")).build()


def line(count: int) -> Snapshot:
    """Hosts in a line, all but the ends routers."""
    lab = Builder("line")
    for number in range(1, count + 1):
        lab.host(f"h{number}", forward=int(1 < number < count))
    for number in range(1, count):
        lab.connect((f"h{number}", "right", f"10.0.{number}.1/24"), (f"h{number + 1}", "left", f"10.0.{number}.2/24"))
    return lab.build()


ALL: dict[str, Callable[[], Snapshot]] = {
    "lonely": lonely,
    "empty": lambda: Snapshot("empty", 0.0),
    "two": two_hosts,
    "two-down": lambda: two_hosts(up=(True, False)),
    "router": router,
    "router-closed": lambda: router(forward=0, up=False),
    "star3": lambda: star(3),
    "star5-switch": lambda: star(5, address=False, down=frozenset({2})),
    "star8": lambda: star(8),
    "star12": lambda: star(12),
    "star30": lambda: star(29, down=frozenset({4, 20})),
    "star100": lambda: star(100, address=False),
    "gateway": gateway,
    "gateway-small": lambda: gateway(3),
    "node": node,
    "shared": shared,
    "service": service,
    "cluster": cluster,
    "cluster-flat": lambda: cluster(vxlan=False),
    "nodes-1": lambda: nodes(4),
    "nodes-cards": lambda: nodes(4, 3, 1),
    "nodes-boxes": lambda: nodes(12, 5, 2),
    "nodes-marks": lambda: nodes(30, 13, 0),
    "nodes-folded": lambda: nodes(2, 1, 2, 3),
    "routed": routed,
    "new-bridge": lambda: routed(bridge=True),
    "strange": strange,
    "crowd": crowd,
    "isolated2": lambda: isolated(2),
    "isolated30": lambda: isolated(30),
    "tunnel": tunnel_pair,
    "ring": ring,
    "line4": lambda: line(4),
    "line6": lambda: line(6),
}
