"""Random objects for the Service proxy: manifests as users write them, some fields absent, some odd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from netlab.kubernetes.proxy import Family, Field, Inventory, Settings, State, read_settings

Manifest = dict[str, Any]

_OTHERS = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}
_PREFIX = {Family.IPV4: "10.{0}.0.{1}", Family.IPV6: "fd00:{0}::{1}"}
_RANGES = {
    Family.IPV4: ("192.168.0.0/24", " 203.0.113.0/25", "203.0.0.0/8", "10.9.0.1/32", "0.0.0.0/0", "203.0.113.7/25"),
    Family.IPV6: ("2001:db8::/64", "2001:db8:1::/48 ", "fd00:9::1/128", "::/0"),
}


def address(family: Family, net: int, host: int) -> str:
    """Return an address in one of the ranges that these tests use."""
    return _PREFIX[family].format(net, host)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Manifest]:
    return st.fixed_dictionaries({}, optional=fields)


def _ports() -> st.SearchStrategy[list[Manifest]]:
    port = st.fixed_dictionaries(
        {"name": st.sampled_from(["", "http", "dns"]), "port": st.sampled_from([53, 80, 443])},
        optional={
            "protocol": st.sampled_from(["TCP", "UDP"]),
            "nodePort": st.integers(30000, 30003),
            "targetPort": st.just("any"),
        },
    )
    return st.lists(port, min_size=1, max_size=3)


@st.composite
def services(draw: st.DrawFn, family: Family, index: int) -> Manifest:
    """Return a Service; ``index`` is in its name and its cluster IP, so that those do not meet another's."""
    ips = st.builds(address, st.just(family), st.just(9), st.integers(1, 3))
    other = st.just(address(_OTHERS[family], 9, 1))
    ingress = st.fixed_dictionaries({}, optional={"ip": ips | other, "ipMode": st.sampled_from(["VIP", "Proxy"])})
    spec = draw(
        _some(
            type=st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
            externalIPs=st.lists(ips | other | st.sampled_from(["", "none"]), max_size=3),
            loadBalancerSourceRanges=st.lists(st.sampled_from(_RANGES[family] + _RANGES[_OTHERS[family]]), max_size=3),
            sessionAffinity=st.sampled_from(["None", "ClientIP"]),
            externalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
            internalTrafficPolicy=st.sampled_from(["Cluster", "Local"]),
            healthCheckNodePort=st.integers(31000, 31001),
        )
    )
    if draw(st.booleans()):
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw(st.sampled_from([10, 600]))}}
    spec["ports"] = draw(_ports())
    cluster_ip = address(family, 96, index + 1)
    spec["clusterIP"] = draw(st.sampled_from([cluster_ip] * 6 + ["None", ""]))
    labels = draw(
        _some(**{"service.kubernetes.io/service-proxy-name": st.just("other")}) if draw(st.booleans()) else st.just({})
    )
    return {
        "kind": "Service",
        "metadata": {"name": f"svc-{index}", "labels": labels},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": draw(st.lists(ingress, max_size=2))}},
    }


@st.composite
def slices(draw: st.DrawFn, family: Family, index: int, number: int) -> Manifest:
    """Return an EndpointSlice of the Service ``index``."""
    names = st.lists(st.builds(lambda name: {"name": name}, st.sampled_from(["a", "b"])), max_size=2)
    endpoint = st.fixed_dictionaries(
        {"addresses": st.integers(1, 5).map(lambda host: [address(family, 244, host)])},
        optional={
            "nodeName": st.sampled_from(["a", "b"]),
            "conditions": _some(ready=st.booleans(), serving=st.booleans(), terminating=st.booleans()),
            "hints": _some(forZones=names, forNodes=names),
        },
    )
    port = st.fixed_dictionaries(
        {"name": st.sampled_from(["", "http", "dns"])},
        optional={"protocol": st.sampled_from(["TCP", "UDP"]), "port": st.sampled_from([8080, 5353])},
    )
    return {
        "kind": "EndpointSlice",
        "addressType": family.value,
        "metadata": {"name": f"svc-{index}-{number}", "labels": {"kubernetes.io/service-name": f"svc-{index}"}},
        "endpoints": draw(st.lists(endpoint, max_size=4)),
        "ports": draw(st.lists(port, min_size=1, max_size=3)),
    }


@st.composite
def manifests(draw: st.DrawFn, family: Family) -> list[Manifest]:
    """Return Services and EndpointSlices, each name once."""
    found = []
    for index in range(draw(st.integers(0, 4))):
        found.append(draw(services(family, index)))
        found += [draw(slices(family, index, number)) for number in range(draw(st.integers(0, 2)))]
    return found


@st.composite
def settings(draw: st.DrawFn, family: Family, mode: str) -> Settings:
    """Return the settings of a node called ``a`` in zone ``a``."""
    ranges = st.lists(
        st.sampled_from(["192.168.0.0/24", "127.0.0.1/32", "::1/128", "2001:db8::/64", "::/0"]), max_size=2
    )
    config = draw(
        _some(
            clusterCIDR=st.just("10.244.0.0/16,fd00:244::/64"),
            nodePortAddresses=ranges | st.just(["primary"]),
            conntrack=_some(tcpBeLiberal=st.booleans()),
            detectLocalMode=st.sampled_from(["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]),
        )
    )
    config["detectLocal"] = {"bridgeInterface": "cni0", "interfaceNamePrefix": "veth"}
    config["mode"] = mode
    config[mode] = draw(
        _some(masqueradeAll=st.booleans(), masqueradeBit=st.integers(0, 31), **(
            {"localhostNodePorts": st.booleans()} if mode == "iptables" else {}
        ))
    )  # fmt: skip
    node = {
        "metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "a"}},
        "spec": {"podCIDRs": ["10.244.0.0/24", "fd00:244::/96"]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ("192.168.0.2", "2001:db8::1")]},
    }
    return read_settings(Field(config, "config"), Field(node, "node"), family)


def fields(objects: list[Manifest]) -> list[Field]:
    """Return the objects as the proxy takes them."""
    return [Field(item, "object") for item in objects]


def state(known: Settings, objects: list[Manifest]) -> State:
    """Return the state that follows from nothing but these objects."""
    return Inventory.empty(known).update(fields(objects)).state


def changes(old: list[Manifest], new: list[Manifest]) -> tuple[list[Field], list[tuple[str, str]]]:
    """Return what `Inventory.update` is told when the objects ``old`` become ``new``."""
    names = {(item["kind"], f"default/{item['metadata']['name']}") for item in new}
    gone = [(item["kind"], f"default/{item['metadata']['name']}") for item in old]
    return fields([item for item in new if item not in old]), [name for name in gone if name not in names]
