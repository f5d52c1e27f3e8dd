"""The changes that netlab asks the kernel for: each is a netlink message beside the command a person would type.

Pure: nothing here talks to the kernel. See rtnetlink(7), ip-link(8), ip-address(8), ip-route(8), bridge(8), tc(8).
"""

from __future__ import annotations

import errno
import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from netlab.kernel.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Query, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.kernel.values import IPAddress, IPInterface, IPNetwork

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_GETRULE, RTM_NEWQDISC, RTM_DELQDISC = 34, 36, 37
RTM_NEWNSID, RTM_GETNSID = 88, 90
IFF_UP = 1
IFA_F_NODAD = 0x02
NTF_SELF, NTF_MASTER, NTF_PROXY = 0x02, 0x04, 0x08
NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT = 0x02, 0x40, 0x80
AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
RT_TABLE_MAIN, RTPROT_STATIC = 254, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254
RTN_TYPES = {"unicast": 1, "local": 2, "blackhole": 6, "unreachable": 7, "prohibit": 8}
TC_H_ROOT = 0xFFFFFFFF
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}

EXISTS = {errno.EEXIST: "The name is taken; choose another, or remove what has it."}
_NO_KIND = "This kernel has no such kind of interface; `netlab doctor` says what it has."


@dataclass(frozen=True, slots=True)
class VethEnd:
    """One end of a veth pair to be made; ``netns`` is a descriptor of the namespace it goes to."""

    name: str
    netns: int
    host: str


def _new_link(command: str, name: str, kind: str, data: list[tuple[str, Any]], **attributes: Any) -> Request:
    info: dict[str, Any] = {"attrs": [("IFLA_INFO_KIND", kind)]}
    if data:
        info["attrs"].append(("IFLA_INFO_DATA", {"attrs": data}))
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", info)]
    message["attrs"] += [("IFLA_" + key.upper(), value) for key, value in attributes.items() if value is not None]
    advice = {**EXISTS, errno.EOPNOTSUPP: _NO_KIND}
    return Request(command, RTM_NEWLINK, message, NLM_F_CREATE | NLM_F_EXCL, advice)


def add_veth(one: VethEnd, other: VethEnd, mtu: int | None = None) -> Request:
    """Make a veth pair; send it in the namespace of the first end (veth(4))."""
    mtu_words = f" mtu {mtu}" if mtu else ""
    far = f"{other.name}{mtu_words} netns {other.host}"
    command = f"ip -n {one.host} link add {one.name}{mtu_words} type veth peer name {far}"
    peer: list[tuple[str, Any]] = [("IFLA_IFNAME", other.name), ("IFLA_NET_NS_FD", other.netns)]
    if mtu is not None:
        peer.append(("IFLA_MTU", mtu))
    return _new_link(command, one.name, "veth", [("VETH_INFO_PEER", {"attrs": peer})], mtu=mtu)


def add_bridge(host: str, name: str) -> Request:
    """Make a bridge, without spanning tree: a port forwards as soon as it is up."""
    return _new_link(f"ip -n {host} link add {name} type bridge", name, "bridge", [("IFLA_BR_STP_STATE", 0)])


def add_dummy(host: str, name: str) -> Request:
    """Make a dummy interface."""
    return _new_link(f"ip -n {host} link add {name} type dummy", name, "dummy", [])


@dataclass(frozen=True, slots=True)
class Vxlan:
    """What a VXLAN interface is made with (RFC 7348); ``device`` is (name, index) of the interface it goes out by."""

    vni: int
    local: IPAddress | None = None
    remote: IPAddress | None = None
    device: tuple[str, int] | None = None
    port: int = 4789
    learning: bool = True
    mtu: int | None = None


def add_vxlan(host: str, name: str, vxlan: Vxlan) -> Request:
    """Make a VXLAN interface."""
    data: list[tuple[str, Any]] = [("IFLA_VXLAN_ID", vxlan.vni), ("IFLA_VXLAN_PORT", vxlan.port)]
    words = [f"id {vxlan.vni}", f"dstport {vxlan.port}"]
    if vxlan.local is not None:
        data.append(("IFLA_VXLAN_LOCAL" if vxlan.local.version == 4 else "IFLA_VXLAN_LOCAL6", str(vxlan.local)))
        words.append(f"local {vxlan.local}")
    if vxlan.remote is not None:
        data.append(("IFLA_VXLAN_GROUP" if vxlan.remote.version == 4 else "IFLA_VXLAN_GROUP6", str(vxlan.remote)))
        words.append(f"remote {vxlan.remote}")
    if vxlan.device is not None:
        data.append(("IFLA_VXLAN_LINK", vxlan.device[1]))
        words.append(f"dev {vxlan.device[0]}")
    data.append(("IFLA_VXLAN_LEARNING", int(vxlan.learning)))
    words += [] if vxlan.learning else ["nolearning"]
    mtu = f" mtu {vxlan.mtu}" if vxlan.mtu else ""
    command = f"ip -n {host} link add {name}{mtu} type vxlan " + " ".join(words)
    request = _new_link(command, name, "vxlan", data, mtu=vxlan.mtu)
    taken = {errno.EEXIST: f"The name is taken, or this host has a VXLAN of number {vxlan.vni} on this port already."}
    return replace(request, advice={**request.advice, **taken})


def add_macvlan(host: str, name: str, parent: tuple[str, int], mode: str) -> Request:
    """Make a macvlan interface on a parent, given as (name, index)."""
    command = f"ip -n {host} link add {name} link {parent[0]} type macvlan mode {mode}"
    return _new_link(command, name, "macvlan", [("IFLA_MACVLAN_MODE", mode)], link=parent[1])


def move_link(host: str, name: str, index: int, target: VethEnd) -> Request:
    """Move an interface into another namespace, under the target's name."""
    message = ifinfmsg()
    message["index"] = index
    message["attrs"] = [("IFLA_NET_NS_FD", target.netns), ("IFLA_IFNAME", target.name)]
    return Request(
        f"ip -n {host} link set {name} netns {target.host} name {target.name}", RTM_NEWLINK, message, 0, EXISTS
    )


def delete_link(host: str, name: str) -> Request:
    """Remove an interface, and with a veth its other end."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return Request(f"ip -n {host} link del {name}", RTM_DELLINK, message)


@functools.lru_cache(maxsize=4096)
def get_link(name: str) -> Query:
    """Ask for one interface by its name."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return Query(f"ip link show {name}", RTM_GETLINK, message, flags=0)


def set_link(host: str, name: str, index: int, **changes: Any) -> Request:
    """Change an interface: ``up``, ``mtu``, ``mac``, ``new_name``, ``alias``, ``master`` as (name or None, index)."""
    message = ifinfmsg()
    message["index"] = index
    words: list[str] = []
    attributes: list[tuple[str, Any]] = []
    if (up := changes.get("up")) is not None:
        message["flags"], message["change"] = (IFF_UP if up else 0), IFF_UP
        words.append("up" if up else "down")
    for key, attribute, word in (
        ("mtu", "IFLA_MTU", "mtu"),
        ("mac", "IFLA_ADDRESS", "address"),
        ("new_name", "IFLA_IFNAME", "name"),
        ("alias", "IFLA_IFALIAS", "alias"),
    ):
        if (value := changes.get(key)) is not None:
            attributes.append((attribute, value))
            words.append(f"{word} {value}")
    if (master := changes.get("master")) is not None:
        attributes.append(("IFLA_MASTER", master[1]))
        words.append(f"master {master[0]}" if master[0] else "nomaster")
    message["attrs"] = attributes
    return Request(f"ip -n {host} link set {name} " + " ".join(words), RTM_NEWLINK, message, 0, EXISTS)


def set_port(host: str, port: tuple[str, int], options: Mapping[str, bool]) -> Request:
    """Change a bridge port: ``hairpin``, ``learning``, ``flood``, ``isolated`` (bridge(8))."""
    attributes = {
        "hairpin": "IFLA_BRPORT_MODE",
        "learning": "IFLA_BRPORT_LEARNING",
        "flood": "IFLA_BRPORT_UNICAST_FLOOD",
    }
    attributes["isolated"] = "IFLA_BRPORT_ISOLATED"
    data = [(attributes[key], int(value)) for key, value in options.items()]
    message = ifinfmsg()
    message["index"] = port[1]
    slave = {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]}
    message["attrs"] = [("IFLA_LINKINFO", slave)]
    words = " ".join(f"{key} {'on' if value else 'off'}" for key, value in options.items())
    return Request(f"bridge -n {host} link set dev {port[0]} {words}", RTM_NEWLINK, message)


def address(host: str, interface: tuple[str, int], what: IPInterface, *, add: bool = True) -> Request:
    """Put an address on an interface, given as (name, index), or take it away."""
    message = ifaddrmsg()
    message["family"] = AF_INET if what.version == 4 else AF_INET6
    message["prefixlen"], message["index"] = what.network.prefixlen, interface[1]
    message["scope"] = RT_SCOPE_HOST if what.is_loopback else RT_SCOPE_UNIVERSE
    message["attrs"] = [("IFA_LOCAL", str(what.ip)), ("IFA_ADDRESS", str(what.ip))]
    if what.version == 6:
        # Duplicate address detection would keep the address from use for a second.
        message["attrs"].append(("IFA_FLAGS", IFA_F_NODAD))
    elif add and what.network.prefixlen < 31:
        message["attrs"].append(("IFA_BROADCAST", str(what.network.broadcast_address)))
    verb = "add" if add else "del"
    nodad = " nodad" if add and what.version == 6 else ""
    command = f"ip -n {host} addr {verb} {what} dev {interface[0]}{nodad}"
    advice = {errno.EEXIST: f"{interface[0]} has this address already."}
    if add:
        return Request(command, RTM_NEWADDR, message, NLM_F_CREATE | NLM_F_EXCL, advice)
    return Request(
        command, RTM_DELADDR, message, 0, {errno.EADDRNOTAVAIL: f"{interface[0]} does not have this address."}
    )


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """A route to add or to remove; ``device`` is (name, index)."""

    destination: IPNetwork
    via: IPAddress | None = None
    device: tuple[str, int] | None = None
    source: IPAddress | None = None
    metric: int | None = None
    table: int = RT_TABLE_MAIN
    kind: str = "unicast"
    mtu: int | None = None
    onlink: bool = False

    def words(self) -> str:
        """Return it as ``ip route`` takes it."""
        what = "default" if self.destination.prefixlen == 0 else str(self.destination)
        words = [what] if self.kind == "unicast" else [self.kind, what]
        for key, value in (
            ("via", self.via),
            ("dev", self.device and self.device[0]),
            ("src", self.source),
            ("metric", self.metric),
            ("table", None if self.table == RT_TABLE_MAIN else self.table),
            ("mtu", self.mtu),
        ):
            words += [] if value is None else [key, str(value)]
        return " ".join([*words, *(["onlink"] if self.onlink else [])])


_FAR_GATEWAY = "The gateway must be in a network that this host reaches directly: look at `ip addr` and `ip route`."
_ROUTE_ADVICE = {
    errno.ENETUNREACH: _FAR_GATEWAY,
    errno.EHOSTUNREACH: _FAR_GATEWAY,
    errno.ENETDOWN: "The interface is down; set it up first.",
    errno.EEXIST: "There is such a route already; remove it first, or use replace_route.",
    errno.ESRCH: "There is no such route; `ip route` lists those that are there.",
}


def route(host: str, spec: RouteSpec, verb: str = "add") -> Request:
    """Add, replace or delete ("del") a route."""
    message = rtmsg()
    version = spec.destination.version
    message["family"] = AF_INET if version == 4 else AF_INET6
    message["dst_len"] = spec.destination.prefixlen
    message["table"] = spec.table if spec.table < 256 else 0
    message["proto"] = RTPROT_STATIC if verb != "del" else 0
    message["type"] = RTN_TYPES[spec.kind]
    direct = spec.via is None and spec.kind == "unicast" and version == 4
    message["scope"] = RT_SCOPE_LINK if direct else RT_SCOPE_UNIVERSE
    if verb == "del":
        message["scope"] = 255  # RT_SCOPE_NOWHERE: whatever its scope is
    message["flags"] = 4 if spec.onlink else 0  # RTNH_F_ONLINK
    attributes: list[tuple[str, Any]] = [("RTA_TABLE", spec.table)]
    if spec.destination.prefixlen:
        attributes.append(("RTA_DST", str(spec.destination.network_address)))
    if spec.via is not None:
        if spec.via.version == version:
            attributes.append(("RTA_GATEWAY", str(spec.via)))
        else:
            attributes.append(("RTA_VIA", {"family": AF_INET6, "addr": str(spec.via)}))
    for key, value in (("RTA_OIF", spec.device and spec.device[1]), ("RTA_PRIORITY", spec.metric)):
        attributes += [] if value is None else [(key, value)]
    if spec.source is not None:
        attributes.append(("RTA_PREFSRC", str(spec.source)))
    if spec.mtu is not None:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_MTU", spec.mtu)]}))
    message["attrs"] = attributes
    kind = RTM_DELROUTE if verb == "del" else RTM_NEWROUTE
    flags = {"add": NLM_F_CREATE | NLM_F_EXCL, "replace": NLM_F_CREATE | NLM_F_REPLACE, "del": 0}[verb]
    return Request(f"ip -n {host} route {verb} {spec.words()}", kind, message, flags, _ROUTE_ADVICE)


def proxy_neighbour(host: str, interface: tuple[str, int], ip: IPAddress, *, add: bool = True) -> Request:
    """Answer for an address that is elsewhere, or cease to (arp(7))."""
    message = ndmsg()
    message["family"] = AF_INET if ip.version == 4 else AF_INET6
    message["ifindex"], message["state"], message["flags"] = interface[1], NUD_PERMANENT, NTF_PROXY
    message["attrs"] = [("NDA_DST", str(ip))]
    command = f"ip -n {host} neigh {'add' if add else 'del'} proxy {ip} dev {interface[0]}"
    return Request(command, RTM_NEWNEIGH if add else RTM_DELNEIGH, message, NLM_F_CREATE if add else 0)


def neighbour(host: str, interface: tuple[str, int], ip: IPAddress, mac: str | None, *, add: bool = True) -> Request:
    """Add a permanent neighbour entry, or delete one (arp(7)); only for that the MAC address may be None."""
    message = ndmsg()
    message["family"] = AF_INET if ip.version == 4 else AF_INET6
    message["ifindex"], message["state"] = interface[1], NUD_PERMANENT
    message["attrs"] = [("NDA_DST", str(ip))]
    if not add:
        return Request(f"ip -n {host} neigh del {ip} dev {interface[0]}", RTM_DELNEIGH, message)
    message["attrs"].append(("NDA_LLADDR", mac))
    command = f"ip -n {host} neigh replace {ip} lladdr {mac} dev {interface[0]} nud permanent"
    return Request(command, RTM_NEWNEIGH, message, NLM_F_CREATE | NLM_F_REPLACE)


def fdb(host: str, interface: tuple[str, int], mac: str, destination: IPAddress | None, *, add: bool = True) -> Request:
    """Add a line to a bridge's forwarding table, or with a destination to a VXLAN's (bridge(8)); or delete it."""
    message = ndmsg()
    message["family"], message["ifindex"] = AF_BRIDGE, interface[1]
    # On a bridge, "permanent" would mean the bridge's own address: its packets go to the host, not out of the port.
    message["state"] = NUD_PERMANENT | NUD_NOARP if destination is not None else NUD_NOARP
    message["flags"] = NTF_SELF if destination is not None else NTF_MASTER
    message["attrs"] = [("NDA_LLADDR", mac)]
    words = f"{mac} dev {interface[0]}"
    if destination is not None:
        message["attrs"].append(("NDA_DST", str(destination)))
        words += f" dst {destination} self permanent"
    else:
        words += " master static"
    verb = ("append" if destination is not None else "replace") if add else "del"
    flags = NLM_F_CREATE | (NLM_F_APPEND if destination is not None else NLM_F_REPLACE) if add else 0
    return Request(f"bridge -n {host} fdb {verb} {words}", RTM_NEWNEIGH if add else RTM_DELNEIGH, message, flags)


def shape(host: str, interface: tuple[str, int], rate: int, burst: int, limit: int) -> Request:
    """Slow an interface down with a token bucket: rate in bits a second, burst and limit in bytes (tc-tbf(8))."""
    message = tcmsg()
    message["index"], message["parent"], message["handle"] = interface[1], TC_H_ROOT, 0
    from pyroute2.netlink.rtnl.tcmsg import sched_tbf  # noqa: PLC0415 - it reads /proc when it is imported

    options = sched_tbf.get_parameters({"rate": rate // 8, "burst": burst, "limit": limit})
    message["attrs"] = [("TCA_KIND", "tbf"), ("TCA_OPTIONS", options)]
    command = f"tc -n {host} qdisc replace dev {interface[0]} root tbf rate {rate}bit burst {burst} limit {limit}"
    advice = {errno.ENOENT: "This kernel has no tbf; `netlab doctor` says what it has."}
    return Request(command, RTM_NEWQDISC, message, NLM_F_CREATE | NLM_F_REPLACE, advice)


def unshape(host: str, interface: tuple[str, int]) -> Request:
    """Take the shaping away."""
    message = tcmsg()
    message["index"], message["parent"] = interface[1], TC_H_ROOT
    return Request(f"tc -n {host} qdisc del dev {interface[0]} root", RTM_DELQDISC, message)


def name_namespace(netns: int, nsid: int) -> Request:
    """Give a namespace an id in the one that asks, so that its events reach a socket there."""
    message = nsidmsg()
    message["attrs"] = [("NETNSA_NSID", nsid), ("NETNSA_FD", netns)]
    return Request(f"ip netns set <descriptor {netns}> {nsid}", RTM_NEWNSID, message, NLM_F_CREATE)
