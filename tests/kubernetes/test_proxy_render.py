"""`render` reads what users write, and says which field is wrong."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from typing import Any

import pytest
import yaml

from netlab.errors import LabError
from netlab.kubernetes.proxy import Inventory, ManifestError, as_document
from netlab.kubernetes.proxy.model import Family, LocalDetector, Settings
from netlab.kubernetes.proxy.render import read_input, render

CONFIG = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clusterCIDR": "10.0.0.0/8",
}
NODE = {
    "kind": "Node",
    "metadata": {"name": "n1", "annotations": {"netlab.test/addresses": "192.168.1.2, 2001:db8::1"}},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.2"}]},
}
SERVICE = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}
SLICE = {
    "kind": "EndpointSlice",
    "addressType": "IPv4",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "endpoints": [{"addresses": ["10.244.0.1"]}],
    "ports": [{"port": 8080}],
}
ALL = [CONFIG, NODE, SERVICE, SLICE]


def _with(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of a document with another value at a path such as ``spec.ports.0.port``."""
    copy: Any = json.loads(json.dumps(document))
    *way, last = path.split(".")
    place = copy
    for step in way:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[int(last) if last.isdigit() else last] = value
    return dict(copy)


def _settings(config: dict[str, Any], family: Family = Family.IPV4, node: dict[str, Any] | None = None) -> Settings:
    documents = json.dumps([{**CONFIG, **config}, NODE if node is None else node])
    return read_input(documents, family).state.settings


@pytest.mark.parametrize(
    "text",
    [
        yaml.safe_dump_all(ALL),
        "---\n" + yaml.safe_dump_all(ALL) + "---\n# nothing here\n---\n",
        yaml.safe_dump({"kind": "List", "items": ALL}),
        json.dumps(ALL),
        "\n".join(map(json.dumps, ALL)),
        json.dumps({"kind": "List", "items": ALL}, indent=1),
        yaml.safe_dump_all(
            [CONFIG, {"kind": "ServiceList", "items": [_with(SERVICE, "kind", "Service")]}, SLICE, NODE]
        ),
        yaml.safe_dump_all([*ALL, {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}}]),
    ],
    ids=["yaml", "empty-documents", "yaml-list", "json-array", "json-lines", "json-list", "typed-list", "other-kinds"],
)
def test_every_way_to_write_documents_gives_the_same(text: str) -> None:
    """YAML, JSON, Lists and documents of other kinds all lead to the rules of the Service."""
    assert render(text, family="ipv4") == render(yaml.safe_dump_all(ALL), family="ipv4")
    assert "-j DNAT --to-destination 10.244.0.1:8080" in render(text, family="ipv4")


def test_a_date_stays_a_string() -> None:
    """A label that looks like a date is read as Kubernetes reads it, not as YAML 1.1 would."""
    text = "kind: Service\nmetadata: {name: web, labels: {since: 2024-01-01}}\nspec: {clusterIP: 2024-01-01}"
    with pytest.raises(ManifestError, match='"2024-01-01"'):
        render(text, family="ipv4")


def test_nothing_at_all_gives_the_fixed_rules() -> None:
    """Without any document the defaults of kube-proxy apply: iptables mode, and no Service."""
    text = render("", family="ipv4")
    assert text.startswith("*mangle\n:KUBE-PROXY-CANARY")
    assert "KUBE-SVC" not in text


def test_the_other_family_has_no_rule_for_this_service() -> None:
    """A Service of one family leaves no trace in the rules of the other."""
    assert "10.96.0.1" not in render(json.dumps(ALL), family="ipv6")


@pytest.mark.parametrize(
    ("document", "path", "value", "message"),
    [
        (
            SERVICE,
            "spec.ports.0.port",
            "http",
            r"Service default/web\): spec.ports\[0\].port: expected a number from 1",
        ),
        (SERVICE, "spec.ports.0.port", None, r"spec.ports\[0\].port: expected a number .*, found nothing"),
        (SERVICE, "spec.ports.0.port", 70000, r"found 70000"),
        (SERVICE, "spec.ports.0.protocol", "tcp", r"spec.ports\[0\].protocol: expected one of TCP, UDP, SCTP"),
        (SERVICE, "spec.ports", {"port": 80}, r"spec.ports: expected a list"),
        (SERVICE, "spec.clusterIP", "10.96.0", r"spec.clusterIP: expected an IP address"),
        (SERVICE, "spec.type", "Loadbalancer", r"spec.type: expected one of ClusterIP, NodePort"),
        (SERVICE, "spec.sessionAffinity", "clientIP", r"spec.sessionAffinity: expected one of None, ClientIP"),
        (SERVICE, "spec", "web", r"spec: expected an object with fields, found \"web\""),
        (SERVICE, "metadata.name", None, r"metadata.name: expected the object's name, found nothing"),
        (
            SLICE,
            "endpoints.0.addresses.0",
            "localhost",
            r"EndpointSlice default/web-1\): endpoints\[0\].addresses\[0\]",
        ),
        (SLICE, "endpoints.0.conditions", {"ready": "yes"}, r"endpoints\[0\].conditions.ready: expected true or false"),
        (SLICE, "addressType", "IPv5", r"addressType: expected one of IPv4, IPv6, FQDN"),
        (CONFIG, "mode", "ipvs", r"mode: expected one of iptables, nftables, found \"ipvs\""),
        (CONFIG, "bindAddress", "here", r"bindAddress: expected an IP address"),
        (CONFIG, "nodePortAddresses", ["primary", "10.0.0.0/8"], r"nodePortAddresses\[0\]: expected a range"),
        (CONFIG, "iptables.masqueradeBit", 32, r"iptables.masqueradeBit: expected a number from 0 to 31"),
        (CONFIG, "detectLocalMode", "BridgeInterface", r"detectLocal.bridgeInterface: expected the name of a bridge"),
        (
            NODE,
            "metadata.annotations",
            {"netlab.test/addresses": "eth0"},
            r"netlab.test/addresses: expected IP addresses",
        ),
    ],
)
def test_a_bad_field_is_named(document: dict[str, Any], path: str, value: Any, message: str) -> None:
    """The error names the document, the path of the field, what was expected and what was found."""
    documents = [_with(item, path, value) if item is document else item for item in ALL]
    with pytest.raises(LabError, match=message) as caught:
        render(yaml.safe_dump_all(documents), family="ipv4")
    assert isinstance(caught.value, ManifestError)
    assert caught.value.document.startswith(f"document {documents.index(_with(document, path, value)) + 1} (")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"the input: line \d: expected YAML or JSON documents, found .did not find"),
        ("just words", "document 1: expected a Kubernetes object"),
        ("metadata: {name: x}", "document 1: kind: expected the object's kind"),
        (
            "kind: Node\nmetadata: {name: a}\n---\nkind: Node\nmetadata: {name: b}",
            "hostnameOverride: expected the name",
        ),
        ("kind: KubeProxyConfiguration\n---\nkind: KubeProxyConfiguration", "expected one KubeProxyConfiguration"),
    ],
)
def test_a_bad_text_is_explained(text: str, message: str) -> None:
    """What is not a set of objects is refused with the reason."""
    with pytest.raises(ManifestError, match=message):
        render(text, family="ipv4")


def test_the_family_is_one_of_two() -> None:
    """An unknown family is refused."""
    with pytest.raises(ManifestError, match="expected one of ipv4, ipv6"):
        render("", family="ipv5")


def test_hostname_override_chooses_the_node() -> None:
    """Of several Nodes, the one that the configuration names counts; its name is trimmed and in lower case."""
    other = {**NODE, "metadata": {"name": "n2"}, "status": {}}
    text = json.dumps([{**CONFIG, "hostnameOverride": " N1 "}, other, NODE])
    assert read_input(text, Family.IPV4).state.settings.node_ip == "192.168.0.2"


@pytest.mark.parametrize(
    ("config", "detector"),
    [
        ({}, LocalDetector("source", "10.0.0.0/8")),
        ({"clusterCIDR": "fd00::/64, 10.9.1.2/16"}, LocalDetector("source", "10.9.0.0/16")),
        ({"clusterCIDR": ""}, None),
        ({"detectLocalMode": "NodeCIDR"}, LocalDetector("source", "10.244.1.0/24")),
        (
            {"detectLocalMode": "BridgeInterface", "detectLocal": {"bridgeInterface": "br0"}},
            LocalDetector("interface", "br0"),
        ),
        (
            {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}},
            LocalDetector("interface", "veth+"),
        ),
    ],
)
def test_how_local_traffic_is_told(config: dict[str, Any], detector: LocalDetector | None) -> None:
    """Each detectLocalMode gives its match; without a range of this family there is none."""
    node = _with(NODE, "spec.podCIDRs", ["10.244.1.0/24"])
    assert _settings(config, node=node).detector == detector


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("iptables", "! -i veth+ -j KUBE-MARK-MASQ"),
        ("nftables", "ip daddr @cluster-ips iifname != veth* mark set mark or"),
    ],
)
def test_interfaces_are_spelled_as_the_mode_does(mode: str, words: str) -> None:
    """To the letter: kube-proxy puts no quotes round them."""
    local = {"detectLocalMode": "InterfaceNamePrefix", "detectLocal": {"interfaceNamePrefix": "veth"}}
    text = yaml.safe_dump_all([{**CONFIG, "mode": mode, **local}, NODE, SERVICE, SLICE])
    assert words in render(text, family="ipv4")


@pytest.mark.parametrize(
    ("config", "family", "addresses", "localhost"),
    [
        ({}, Family.IPV4, None, True),
        ({"nodePortAddresses": ["192.168.0.0/16"]}, Family.IPV4, ("192.168.0.2", "192.168.1.2"), False),
        ({"nodePortAddresses": ["192.168.0.0/24", "127.0.0.1/32"]}, Family.IPV4, ("192.168.0.2", "127.0.0.1"), True),
        ({"nodePortAddresses": ["192.168.0.0/24", "0.0.0.0/0"]}, Family.IPV4, None, True),
        ({"nodePortAddresses": ["2001:db8::/64"]}, Family.IPV4, None, True),
        ({"nodePortAddresses": ["2001:db8::/64"]}, Family.IPV6, ("2001:db8::1",), False),
        ({"nodePortAddresses": ["primary"]}, Family.IPV4, ("192.168.0.2",), False),
        ({"nodePortAddresses": ["primary"]}, Family.IPV6, None, True),
        ({"nodePortAddresses": ["10.1.0.0/16"]}, Family.IPV4, (), False),
        ({"mode": "nftables"}, Family.IPV4, ("192.168.0.2",), False),
        ({"mode": "nftables"}, Family.IPV6, None, True),
        ({"mode": "nftables", "bindAddress": "192.168.1.2"}, Family.IPV4, ("192.168.1.2",), False),
        ({"iptables": {"localhostNodePorts": False}}, Family.IPV4, None, False),
    ],
)
def test_where_node_ports_listen(
    config: dict[str, Any], family: Family, addresses: tuple[str, ...] | None, *, localhost: bool
) -> None:
    """Ranges choose among the node's addresses; ranges of the other family only mean all addresses."""
    settings = _settings(config, family)
    assert settings.node_port_addresses == addresses
    assert settings.localhost_node_ports is localhost


def test_service_cidrs_drop_the_rest() -> None:
    """In nftables mode the ranges of ServiceCIDR objects close the addresses that no Service has."""
    cidr = {
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": ["10.96.0.0/12", "fd00::/112"]},
    }
    text = render(json.dumps([*ALL, cidr, {**CONFIG, "mode": "nftables"}][1:]), family="ipv4")
    assert "ip daddr { 10.96.0.0/12 } drop" in text


@pytest.mark.parametrize("name", ["proxy", "proxy.names", "proxy.render", "rulesets"])
def test_examples_in_docstrings(name: str) -> None:
    """The examples in the documentation are true."""
    result = doctest.testmod(import_module(f"netlab.kubernetes.{name}"))
    assert result.attempted
    assert not result.failed


def test_an_object_from_elsewhere_is_named_in_errors() -> None:
    """An object that did not come from a text is called by its kind and name."""
    bad = as_document(_with(SERVICE, "spec.ports.0.port", "http"))
    with pytest.raises(ManifestError, match=r"^Service default/web: spec.ports\[0\].port: expected"):
        Inventory.empty(Settings(Family.IPV4)).update([bad])
