"""Work out a node's `Settings` from its Node object and its KubeProxyConfiguration.

Source: cmd/kube-proxy/app/server.go (detectNodeIPs, nodePortAddresses ``primary``) and server_linux.go (defaults, local
detectors); pkg/util/node GetNodeHostIPs; pkg/proxy/util/nodeport_addresses.go.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.addresses import Address, Network, parse_address, parse_network
from netlab.kubernetes.proxy.model import Family, LocalDetector, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from netlab.kubernetes.proxy.fields import Field

ADDRESSES = "netlab.test/addresses"
ZONE = "topology.kubernetes.io/zone"
MODES = ("iptables", "nftables")
PRIMARY = "primary"

_LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
_LOOPBACK_START = ip_address("127.0.0.0")
_LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
_HIGHEST_BIT = 31


def read_mode(config: Field) -> str:
    """Return ``iptables`` or ``nftables``; the first is the default."""
    return config.get("mode").one_of(MODES, "iptables")


def read_settings(config: Field, node: Field, family: Family, service_cidrs: Iterable[str] = ()) -> Settings:
    """Return the settings of ``family`` on ``node``.

    ``service_cidrs`` are the ranges that ServiceCIDR objects name. An absent document reads as one without fields.
    """
    mode = read_mode(config)
    options = config.get(mode)
    ips = _node_ips(config, node)
    ranges = _node_port_ranges(config, mode, ips)
    mine = [range_ for range_ in ranges if range_.version == family.version]
    all_addresses = not mine or any(range_.prefixlen == 0 for range_ in mine)
    loopback = all_addresses or any(r.network_address.is_loopback or _LOOPBACK_START in r for r in mine)
    parsed = (parse_network(text) for text in service_cidrs)
    local = _local_addresses(node)
    return Settings(
        family=family,
        node_name=_node_name(config, node),
        node_ip=str(ips[family]),
        zone=node.get("metadata").get("labels").get(ZONE).text(),
        masquerade_bit=options.get("masqueradeBit").number(14, 0, _HIGHEST_BIT),
        masquerade_all=options.get("masqueradeAll").flag(default=False),
        detector=_detector(config, node, family),
        node_port_addresses=None if all_addresses else _matching(local, mine),
        localhost_node_ports=loopback and config.get("iptables").get("localhostNodePorts").flag(default=True),
        tcp_be_liberal=config.get("conntrack").get("tcpBeLiberal").flag(default=False),
        service_cidrs=tuple(str(cidr) for cidr in parsed if cidr is not None and cidr.version == family.version),
        external_ips=config.get("featureGates").get("AllowServiceExternalIPs").flag(default=True),
    )


def _node_name(config: Field, node: Field) -> str:
    override = config.get("hostnameOverride").text().strip().lower()
    return override or node.get("metadata").get("name").text()


def _node_ips(config: Field, node: Field) -> dict[Family, Address]:
    """Return the node's address of each family; loopback where it has none."""
    ips: dict[Family, Address] = {family: ip_address(text) for family, text in _LOOPBACK.items()}
    found: dict[Family, Address] = {}
    for kind in ("InternalIP", "ExternalIP"):
        for item in node.get("status").get("addresses").items():
            address = parse_address(item.get("address").text()) if item.get("type").text() == kind else None
            if address is not None:
                found.setdefault(family_of(address), address)
    ips.update(found)
    bind = config.get("bindAddress")
    if text := bind.text():
        address = parse_address(text)
        if address is None:
            raise bind.refuse("an IP address")
        if not address.is_unspecified:
            ips[family_of(address)] = address
    return ips


def family_of(address: Address | Network) -> Family:
    """Return the family of an address or a range."""
    return Family.IPV4 if address.version == Family.IPV4.version else Family.IPV6


def _node_port_ranges(config: Field, mode: str, ips: dict[Family, Address]) -> list[Network]:
    field = config.get("nodePortAddresses")
    texts = field.texts()
    if texts == [PRIMARY] or (mode == "nftables" and not texts):
        addresses = [address for address in ips.values() if not address.is_loopback]
        return [range_ for address in addresses if (range_ := parse_network(f"{address}/{address.max_prefixlen}"))]
    ranges = []
    for item, text in zip(field.items(), texts, strict=True):
        range_ = parse_network(text)
        if range_ is None:
            raise item.refuse("a range such as 192.168.0.0/24, or primary as the only one")
        ranges.append(range_)
    return ranges


def _local_addresses(node: Field) -> list[Address]:
    """Return the addresses that the node's interfaces hold."""
    own = node.get("status").get("addresses").items()
    texts = [item.get("address").text() for item in own if item.get("type").text() == "InternalIP"]
    texts[:0] = _LOOPBACK.values()
    more = node.get("metadata").get("annotations").get(ADDRESSES)
    addresses = [address for text in texts if (address := parse_address(text)) is not None]
    for text in filter(None, (part.strip() for part in more.text().split(","))):
        address = parse_address(text.partition("/")[0])
        if address is None:
            raise more.refuse("IP addresses with commas between them")
        addresses.append(address)
    return addresses


def _matching(addresses: Sequence[Address], ranges: Sequence[Network]) -> tuple[str, ...]:
    found = (str(address) for range_ in ranges for address in addresses if address in range_)
    return tuple(dict.fromkeys(found))


def _detector(config: Field, node: Field, family: Family) -> LocalDetector | None:
    mode = config.get("detectLocalMode").one_of(_LOCAL_MODES, "ClusterCIDR")
    local = config.get("detectLocal")
    if mode == "BridgeInterface":
        return LocalDetector("interface", local.get("bridgeInterface").required("the name of a bridge"))
    if mode == "InterfaceNamePrefix":
        prefix = local.get("interfaceNamePrefix").required("the first letters of interface names")
        return LocalDetector("interface", f"{prefix}+")
    if mode == "NodeCIDR":
        spec = node.get("spec")
        texts = spec.get("podCIDRs").texts() or [spec.get("podCIDR").text()]
    else:
        texts = config.get("clusterCIDR").text().split(",")
    parsed = (parse_network(text.strip()) for text in texts)
    range_ = next((cidr for cidr in parsed if cidr is not None and cidr.version == family.version), None)
    return None if range_ is None else LocalDetector("source", str(range_))
