"""What `netlab doctor` tries: each kernel feature and each tool, as one record with a script that uses it for real."""

from __future__ import annotations

from dataclasses import dataclass

#: The walk from Linux networking up to Services: what these chapters need, a machine must have.
CORE = range(12)
_ALL, _FROM_ONE, _FROM_TWO, _FROM_FOUR = (tuple(range(first, 19)) for first in (0, 1, 2, 4))


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to try.

    ``script`` is bash that must succeed in a fresh host, ``tools`` the programs it calls, ``chapters`` those that need
    it and ``serves`` what for. A kernel feature has a ``module`` and its ``config``, a tool a Debian ``package``;
    ``remedy`` is what to do where neither helps. ``root`` marks what needs Lab(privileged=True).
    """

    name: str
    script: str
    chapters: tuple[int, ...]
    serves: str
    tools: tuple[str, ...] = ("ip",)
    module: str = ""
    config: str = ""
    package: str = ""
    remedy: str = ""
    root: bool = False

    @property
    def is_core(self) -> bool:
        """Tell whether a chapter of the core needs it."""
        return any(chapter in CORE for chapter in self.chapters)


def _link(kind: str, module: str, config: str, chapters: tuple[int, ...], serves: str) -> Probe:
    """Return the probe of a kind of interface that needs no parent; options may follow the kind."""
    script = f"ip link add probe0 type {kind}"
    return Probe(kind.split(maxsplit=1)[0], script, chapters, serves, module=module, config=config)


def _child(kind: str, module: str, config: str, chapters: tuple[int, ...], serves: str) -> Probe:
    """Return the probe of a kind of interface that sits on another; options may follow the kind."""
    script = f"ip link add par0 type veth peer name par1\nip link add probe0 link par0 type {kind}"
    return Probe(kind.split(maxsplit=1)[0], script, chapters, serves, module=module, config=config)


def _tool(name: str, script: str, package: str, chapters: tuple[int, ...], serves: str) -> Probe:
    """Return the probe of a program that is called as its probe is named."""
    return Probe(name, script, chapters, serves, tools=(name,), package=package)


_LO = "ip link set lo up\n"
_BPF = """python3 - <<'END'
import ctypes, platform, struct
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
attributes = struct.pack("5I", 2, 4, 8, 1, 0) + bytes(100)  # BPF_MAP_CREATE: an array of one element
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, 0, attributes, len(attributes)) < 0:
    raise OSError(ctypes.get_errno(), "bpf(BPF_MAP_CREATE)")
END"""
_PACKET = (
    "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)).bind((\"lo\", 3))'"
)
_NFTRACE = """nft -f - <<'END'
table ip probe { chain c { type filter hook prerouting priority -300; meta nftrace set 1; }; }
END"""
_NFTMAP = """nft -f - <<'END'
table ip probe {
  map services { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.0.0.1 . tcp . 80 : goto c }; }
  chain c { }
  chain services { ip daddr . meta l4proto . th dport vmap @services; }
}
END"""
_KUBE_PROXY = """iptables-restore <<'END'
*nat
:KUBE-MARK-MASQ - [0:0]
-A KUBE-MARK-MASQ -m comment --comment probe -j MARK --or-mark 0x4000
-A PREROUTING -m addrtype --dst-type LOCAL -j KUBE-MARK-MASQ
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully
COMMIT
END"""

KERNEL = (
    _link("veth", "veth", "CONFIG_VETH", _FROM_ONE, "cables between hosts"),
    _link("bridge", "bridge", "CONFIG_BRIDGE", _FROM_FOUR, "pods on one node"),
    _link("vxlan id 42 dstport 4789 local 127.0.0.1", "vxlan", "CONFIG_VXLAN", (7, 16, 18), "overlay networks"),
    _child("macvlan mode bridge", "macvlan", "CONFIG_MACVLAN", (16,), "pods with addresses of the node's network"),
    Probe("AF_PACKET", _PACKET, _FROM_ONE, "captures", ("python3",), "af_packet", "CONFIG_PACKET"),
    Probe("IPv6", "ip -6 addr add fd00::1/64 dev lo nodad", (), "IPv6 addresses", module="ipv6", config="CONFIG_IPV6"),
    Probe(
        "iptables (nft)",
        "iptables-nft -t nat -A POSTROUTING -j MASQUERADE",
        (3, *_FROM_FOUR),
        "filtering and NAT",
        ("iptables-nft",),
        "nft_compat",
        "CONFIG_NFT_COMPAT",
    ),
    Probe(
        "ip6tables (nft)",
        "ip6tables-nft -t nat -A POSTROUTING -j MASQUERADE",
        (),
        "Services of IPv6",
        ("ip6tables-nft",),
        "nft_compat",
        "CONFIG_NFT_COMPAT",
    ),
    Probe(
        "iptables (legacy)",
        "iptables-legacy -t nat -A POSTROUTING -j MASQUERADE",
        (),
        "the older kind of iptables",
        ("iptables-legacy",),
        "iptable_nat",
        "CONFIG_IP_NF_IPTABLES_LEGACY",
    ),
    Probe(
        "conntrack",
        "iptables -A INPUT -m conntrack --ctstate NEW\nconntrack -L",
        (3, 10, 11, 17, 18),
        "connections and what NAT did to them",
        ("iptables", "conntrack"),
        "nf_conntrack_netlink",
        "CONFIG_NF_CT_NETLINK",
    ),
    Probe(
        "kube-proxy's matches",
        _KUBE_PROXY,
        _FROM_FOUR,
        "rules as kube-proxy writes them, on each node of a cluster",
        ("iptables-restore",),
        "xt_addrtype",
        "CONFIG_NETFILTER_XT_MATCH_ADDRTYPE",
    ),
    Probe(
        "xt_statistic",
        "iptables -t nat -A OUTPUT -m statistic --mode random --probability 0.5 -j RETURN",
        (10, 11, 15, 18),
        "Services that share out connections",
        ("iptables",),
        "xt_statistic",
        "CONFIG_NETFILTER_XT_MATCH_STATISTIC",
    ),
    Probe(
        "xt_recent",
        "iptables -A INPUT -m recent --name probe --set",
        (11,),
        "session affinity",
        ("iptables",),
        "xt_recent",
        "CONFIG_NETFILTER_XT_MATCH_RECENT",
    ),
    Probe(
        "TRACE",
        "iptables -t raw -A PREROUTING -j TRACE",
        _FROM_TWO,
        "the rules that a packet met",
        ("iptables",),
        "nf_log_syslog",
        "CONFIG_NETFILTER_XT_TARGET_TRACE",
    ),
    Probe(
        "br_netfilter",
        "ip link add br0 type bridge\ntest -e /proc/sys/net/bridge/bridge-nf-call-iptables",
        (10, 18),
        "Services between pods of one bridge",
        module="br_netfilter",
        config="CONFIG_BRIDGE_NETFILTER",
    ),
    Probe(
        "nftables",
        "nft add table inet probe",
        (15,),
        "the proxy's other mode",
        ("nft",),
        "nf_tables",
        "CONFIG_NF_TABLES",
    ),
    Probe("nftables maps", _NFTMAP, (15,), "Services as a map", ("nft",), "nf_tables", "CONFIG_NF_TABLES"),
    Probe("nftrace", _NFTRACE, (15,), "the nft rules that a packet met", ("nft",), "nf_tables", "CONFIG_NF_TABLES"),
    Probe(
        "ipset",
        "ipset create probe hash:ip",
        (14,),
        "sets of pods",
        ("ipset",),
        "ip_set_hash_ip",
        "CONFIG_IP_SET_HASH_IP",
    ),
    Probe(
        "tbf",
        "tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 50ms",
        (17, 18),
        "slow links",
        ("tc",),
        "sch_tbf",
        "CONFIG_NET_SCH_TBF",
    ),
    Probe(
        "BPF",
        _BPF,
        (15,),
        "eBPF instead of rules",
        ("python3",),
        remedy="BPF is for root only: start as root and use Lab(privileged=True)",
        root=True,
    ),
    Probe("IPVS", "test -e /proc/net/ip_vs", (), "the proxy's mode of the past", (), "ip_vs", "CONFIG_IP_VS"),
    Probe(
        "netem",
        "tc qdisc add dev lo root netem delay 1ms",
        (),
        "delay and loss",
        ("tc",),
        "sch_netem",
        "CONFIG_NET_SCH_NETEM",
    ),
    Probe(
        "htb",
        "tc qdisc add dev lo root handle 1: htb\ntc class add dev lo parent 1: classid 1:1 htb rate 1mbit",
        (),
        "shaping by class",
        ("tc",),
        "sch_htb",
        "CONFIG_NET_SCH_HTB",
    ),
    Probe("clsact", "tc qdisc add dev lo clsact", (), "hooks of tc", ("tc",), "sch_ingress", "CONFIG_NET_SCH_INGRESS"),
    _link("ifb", "ifb", "CONFIG_IFB", (), "shaping what comes in"),
    _link("dummy", "dummy", "CONFIG_DUMMY", (), "an interface without a cable; the course uses lo"),
    _child("vlan id 5", "8021q", "CONFIG_VLAN_8021Q", (), "tagged networks"),
    _child("ipvlan", "ipvlan", "CONFIG_IPVLAN", (), "pods that share the node's MAC address"),
    _link("vrf table 10", "vrf", "CONFIG_NET_VRF", (), "several routers in one"),
    _link("ipip local 127.0.0.1 remote 127.0.0.2", "ipip", "CONFIG_NET_IPIP", (), "another overlay"),
    _link("gre local 127.0.0.1 remote 127.0.0.2", "ip_gre", "CONFIG_NET_IPGRE", (), "another overlay"),
    _link("wireguard", "wireguard", "CONFIG_WIREGUARD", (), "an encrypted overlay"),
)

TOOLS = (
    _tool("ip", "ip link show lo", "iproute2", _ALL, "building by hand"),
    _tool("bridge", "bridge fdb show", "iproute2", _FROM_FOUR, "the FDB of a bridge"),
    _tool("iptables", "iptables --version", "iptables", (3, *_FROM_FOUR), "rules by hand"),
    _tool("nft", "nft --version", "nftables", (15,), "rules by hand"),
    _tool("conntrack", "conntrack --version", "conntrack", (3, 10, 11, 17, 18), "connections by hand"),
    _tool("dot", "dot -V", "graphviz", _ALL, "the diagram"),
    Probe(
        "DejaVu fonts",
        "fc-match -f '%{family}' 'DejaVu Sans' | grep -q DejaVu",
        _ALL,
        "labels that fit into the diagram's boxes",
        ("fc-match",),
        package="fonts-dejavu-core",
    ),
    Probe(
        "ping", _LO + "ping -c1 -W1 127.0.0.1", _FROM_ONE, "the first packet", ("ping", "ip"), package="iputils-ping"
    ),
    _tool("curl", "curl --version", "curl", _FROM_ONE, "requests over HTTP"),
    Probe(
        "traceroute",
        _LO + "traceroute -n -m1 127.0.0.1",
        (2, 18),
        "the way of a packet",
        ("traceroute", "ip"),
        package="traceroute",
    ),
    _tool("sysctl", "sysctl net.ipv4.ip_forward", "procps", _FROM_ONE, "kernel settings by hand"),
    _tool("bird", "bird --version", "bird2", (8, 16), "routes by BGP"),
    Probe(
        "CNI plugins",
        "for plugin in bridge host-local loopback portmap ptp; do test -x /usr/lib/cni/$plugin; done",
        _FROM_FOUR,
        "pods wired as a container runtime does it",
        (),
        package="containernetworking-plugins",
    ),
    _tool("nginx", "nginx -v", "nginx-light", (13,), "Ingress"),
    _tool("tshark", "tshark --version", "tshark", (), "captures read in a terminal"),
    Probe(
        "tcpdump",
        _LO + "(sleep 0.3; ping -c1 127.0.0.1 >/dev/null) &\ntimeout 3 tcpdump -nn -c1 -i lo",
        (),
        "captures in a terminal",
        ("tcpdump", "ping", "ip"),
        package="tcpdump",
        remedy="it wants to become another user, which a sandbox does not have: use host.capture(…) instead",
    ),
)
