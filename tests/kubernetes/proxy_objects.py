"""Random objects for the Service proxy: manifests as users write them, some fields absent, some odd.

They come from a seed and not from Hypothesis' own strategies: those prefer small objects, and a Service whose ports,
slices, policies and addresses fit together is a large one.
"""

from __future__ import annotations

from random import Random
from typing import Any

from netlab.kubernetes.proxy import Family, Field, Inventory, Settings, State, read_settings

Manifest = dict[str, Any]

_PREFIX = {Family.IPV4: "10.{0}.0.{1}", Family.IPV6: "fd00:{0}::{1}"}
_OTHERS = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}
_RANGES = {
    Family.IPV4: ["192.168.0.0/24", " 203.0.113.0/25", "203.0.0.0/8", "10.9.0.1/32", "203.0.113.7/25"],
    Family.IPV6: ["2001:db8::/64", "2001:db8:1::/48 ", "fd00:9::1/128"],
}
_NODE_PORT_RANGES = ["192.168.0.0/24", "127.0.0.1/32", "0.0.0.0/0", "::1/128", "2001:db8::/64", "10.0.0.0/8"]


class Maker:
    """Makes random objects of one family."""

    def __init__(self, seed: int, family: Family) -> None:
        """Two makers with one seed make the same."""
        self.random = Random(seed)  # noqa: S311 (no secret)
        self.family = family

    def chance(self, percent: int) -> bool:
        """Return true that often."""
        return self.random.randrange(100) < percent

    def maybe(self, percent: int, **fields: Any) -> Manifest:
        """Return each of the fields that often."""
        return {key: value for key, value in fields.items() if self.chance(percent)}

    def some(self, values: list[Any], most: int) -> list[Any]:
        """Return up to ``most`` of the values, in any order, perhaps one twice."""
        return [self.random.choice(values) for _ in range(self.random.randrange(most + 1))]

    def address(self, net: int, host: int) -> str:
        """Return an address in one of the ranges that these tests use."""
        return _PREFIX[self.family].format(net, host)

    def objects(self) -> list[Manifest]:
        """Return Services and EndpointSlices, each name once."""
        found = []
        for index in range(self.random.choice([0, 1, 2, 3, 5, 8, 14])):
            found.append(self.service(index))
            found += [self.slice(index, number) for number in range(self.random.choice([0, 1, 1, 1, 2]))]
        return found

    def service(self, index: int) -> Manifest:
        """Return a Service; ``index`` is in its name and its cluster IP, so that those do not meet another's."""
        pick = self.random.choice
        ips = [self.address(9, host) for host in (1, 2, 3)]
        odd = [_PREFIX[_OTHERS[self.family]].format(9, 1), "", "none"]
        spec = self.maybe(
            60,
            type=pick(["LoadBalancer"] * 6 + ["ClusterIP"] * 3 + ["NodePort"] * 4 + ["ExternalName"]),
            externalIPs=self.some([*ips, *odd], 2),
            externalTrafficPolicy=pick(["Cluster", "Local"]),
            healthCheckNodePort=pick([31000, 31001]),
        )
        spec |= self.maybe(
            30,
            loadBalancerSourceRanges=self.some(_RANGES[self.family] * 3 + ["0.0.0.0/0", "::/0"], 3),
            sessionAffinity=pick(["ClientIP", "ClientIP", "None"]),
            internalTrafficPolicy=pick(["Cluster", "Local"]),
            sessionAffinityConfig={"clientIP": {"timeoutSeconds": pick([10, 600])}},
        )
        ports = [self.port() for _ in range(pick([1, 1, 2, 3]))]
        ingress = [self.maybe(95, ip=pick([*ips, *ips, odd[0]])) | self.maybe(30, ipMode=pick(["VIP", "Proxy"]))]
        return {
            "kind": "Service",
            "metadata": {"name": f"svc-{index}", "labels": self.maybe(5, **{_PROXY_NAME: "other"})},
            "spec": {**spec, "ports": ports, "clusterIP": "None" if self.chance(5) else self.address(96, index + 1)},
            "status": {"loadBalancer": {"ingress": ingress * pick([0, 1, 1, 2])}},
        }

    def port(self) -> Manifest:
        """Return a port of a Service."""
        pick = self.random.choice
        port = {"name": pick(["", "", "http", "dns"]), "port": pick([53, 80, 443])}
        return port | self.maybe(30, protocol=pick(["TCP", "UDP"]), nodePort=self.random.randrange(30000, 30004))

    def slice(self, index: int, number: int) -> Manifest:
        """Return an EndpointSlice of the Service ``index``."""
        ports: list[Manifest] = [
            {"name": name, "protocol": protocol, "port": 8080}
            for name in ("", "http", "dns")
            for protocol in ("TCP", "UDP")
        ]
        return {
            "kind": "EndpointSlice",
            "addressType": (self.family if self.chance(95) else _OTHERS[self.family]).value,
            "metadata": {
                "name": f"svc-{index}-{number}",
                "labels": {"kubernetes.io/service-name": f"svc-{index}", **self.maybe(3, **{_HEADLESS: ""})},
            },
            "endpoints": [self.endpoint() for _ in range(self.random.choice([0, 1, 2, 2, 3, 5]))],
            "ports": self.random.choice([ports, ports, ports, ports[:2], [{"port": 80}], [{"name": "http"}]]),
        }

    def endpoint(self) -> Manifest:
        """Return an endpoint: mostly ready, else in any condition."""
        conditions = self.random.choice(
            [
                {},
                {"ready": True},
                {"ready": False, "serving": True, "terminating": True},
                {"ready": False},
                self.maybe(50, ready=self.chance(50), serving=self.chance(50), terminating=self.chance(50)),
            ]
        )
        names = [{"name": "a"}, {"name": "b"}]
        hints = self.maybe(80, forZones=self.some(names, 2), forNodes=self.some(names, 2))
        fields = self.maybe(70, nodeName=self.random.choice("ab"), conditions=conditions) | self.maybe(30, hints=hints)
        return {"addresses": [self.address(244, self.random.randrange(1, 8))], **fields}

    def settings(self, mode: str) -> Settings:
        """Return the settings of a node called ``a`` in zone ``a``."""
        pick = self.random.choice
        options = self.maybe(40, masqueradeAll=self.chance(40), masqueradeBit=self.random.randrange(32))
        if mode == "iptables":
            options |= self.maybe(40, localhostNodePorts=self.chance(50))
        config = {
            "mode": mode,
            mode: options,
            "detectLocal": {"bridgeInterface": "cni0", "interfaceNamePrefix": "veth"},
        }
        config |= self.maybe(
            60,
            clusterCIDR="10.244.0.0/16,fd00:244::/64",
            nodePortAddresses=pick([["primary"], self.some(_NODE_PORT_RANGES, 3)]),
            conntrack={"tcpBeLiberal": self.chance(50)},
            detectLocalMode=pick(["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]),
        )
        node = {
            "metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "a"}},
            "spec": {"podCIDRs": ["10.244.0.0/24", "fd00:244::/96"]},
            "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ("192.168.0.2", "2001:db8::1")]},
        }
        return read_settings(Field(config, "config"), Field(node, "node"), self.family)

    def changed(self, objects: list[Manifest]) -> list[Manifest]:
        """Return the objects after some went, some changed, and some came."""
        fresh = {_key(item): item for item in self.objects()}
        percent = self.random.choice([10, 30, 60])
        kept = {_key(item): fresh.get(_key(item), item) if self.chance(percent) else item for item in objects}
        kept = {key: item for key, item in kept.items() if not self.chance(percent // 2)}
        return list((kept | {key: item for key, item in fresh.items() if self.chance(percent)}).values())


_PROXY_NAME = "service.kubernetes.io/service-proxy-name"
_HEADLESS = "service.kubernetes.io/headless"


def fields(objects: list[Manifest]) -> list[Field]:
    """Return the objects as the proxy takes them."""
    return [Field(item, "object") for item in objects]


def state(known: Settings, objects: list[Manifest]) -> State:
    """Return the state that follows from nothing but these objects."""
    return Inventory.empty(known).update(fields(objects)).state


def changes(old: list[Manifest], new: list[Manifest]) -> tuple[list[Field], list[tuple[str, str]]]:
    """Return what `Inventory.update` is told when the objects ``old`` become ``new``."""
    names = {_key(item) for item in new}
    return fields([item for item in new if item not in old]), [key for item in old if (key := _key(item)) not in names]


def _key(item: Manifest) -> tuple[str, str]:
    return item["kind"], f"default/{item['metadata']['name']}"
