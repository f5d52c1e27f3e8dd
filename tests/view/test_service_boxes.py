from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import view_samples as samples

from netlab.kernel.values import FirewallRule, MapElement
from netlab.view.details import details
from netlab.view.drawing import draw
from netlab.view.scene import to_scene
from netlab.view.services import services
from netlab.view.svg import picture

if TYPE_CHECKING:
    from netlab.kernel.values import Snapshot

PROXY = (
    (
        "KUBE-SERVICES",
        '-d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-W',
    ),
    (
        "KUBE-SERVICES",
        '-m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    ),
    ("KUBE-NODEPORTS", '-p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j KUBE-EXT-W'),
    ("KUBE-EXT-W", "-j KUBE-SVC-W"),
    (
        "KUBE-SVC-W",
        '! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "default/web cluster IP" -j KUBE-MARK-MASQ',
    ),
    (
        "KUBE-SVC-W",
        '-m comment --comment "default/web" -m recent --rcheck --seconds 9 --name A --rsource -j KUBE-SEP-B',
    ),
    ("KUBE-SVC-W", '-m comment --comment "default/web" -m statistic --mode random --probability 0.5 -j KUBE-SEP-A'),
    ("KUBE-SVC-W", '-m comment --comment "default/web" -j KUBE-SEP-B'),
    ("KUBE-SEP-A", "-s 10.244.1.2/32 -j KUBE-MARK-MASQ"),
    ("KUBE-SEP-A", "-p tcp -m tcp -j DNAT --to-destination 10.244.1.2:8080"),
    ("KUBE-SEP-B", "-p tcp -m tcp -j DNAT --to-destination 10.244.1.3:8080"),
)


def with_rules(rules: tuple[tuple[str, str], ...], tool: str = "iptables", table: str = "nat") -> Snapshot:
    """Return the node with these rules."""
    lab = samples.Builder("node", {host.name: host for host in samples.node().hosts})
    values = [FirewallRule(tool, "ip", table, chain, n, text) for n, (chain, text) in enumerate(rules, 1)]
    return lab.extend("node-1", rules=values).build()


def test_a_service_is_read_from_the_rules_of_the_proxy() -> None:
    """Address, node port, endpoints and their effective shares; marks and affinity rules are no endpoints."""
    (web,) = services(with_rules(PROXY))
    assert web.name == "default/web"
    assert web.addresses == ("10.96.0.10:80",)
    assert web.ports == (":30080",)
    assert web.hosts == ("node-1",)
    found = {end.host: (end.address, end.share) for end in web.endpoints}
    assert found == {"web-1": ("10.244.1.2:8080", 0.5), "web-2": ("10.244.1.3:8080", 0.5)}


def test_three_rules_by_hand_are_a_service_too() -> None:
    """Probabilities of 1/3, 1/2 and 1 are a third each."""
    rules = tuple(
        (
            "PREROUTING",
            f"-d 10.96.0.99/32 -p tcp -m tcp --dport 80 {chance}-j DNAT --to-destination 10.244.1.{end}:80",
        )
        for chance, end in (
            ("-m statistic --mode random --probability 0.33333333349 ", 2),
            ("-m statistic --mode random --probability 0.5 ", 3),
            ("", 4),
        )
    )
    (found,) = services(with_rules(rules))
    assert found.name == "10.96.0.99:80"
    assert [round(end.share, 2) for end in found.endpoints] == [0.33, 0.33, 0.33]


def test_an_address_that_an_interface_holds_is_no_service() -> None:
    """A published port on a router's own address is NAT, but not an address without an interface."""
    assert (
        services(
            with_rules((("PREROUTING", "-d 172.18.0.2/32 -p tcp --dport 80 -j DNAT --to-destination 10.244.1.2:80"),))
        )
        == ()
    )


@pytest.mark.parametrize(
    "text",
    [
        "dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 80, 1 : 10.244.1.3 . 80 }",
        (
            "numgen random mod 2 vmap { 0 : goto endpoint-A-default/web/tcp/__10.244.1.2/80, "
            "1 : goto endpoint-B-default/web/tcp/__10.244.1.3/80 }"
        ),
    ],
)
def test_nftables_mode_is_read_too(text: str) -> None:
    """The name of a chain tells the Service, its map the endpoints."""
    snapshot = with_rules((("service-PFISGYVC-default/web/tcp/", text),), "nft", "kube-proxy")
    (web,) = services(snapshot)
    assert web.name == "default/web"
    assert [(end.host, end.share) for end in web.endpoints] == [("web-1", 0.5), ("web-2", 0.5)]


def test_the_address_of_a_service_in_nftables_mode_is_in_a_map() -> None:
    """The elements that lead to its chain tell its addresses and the port of every node."""
    text = "dnat ip to numgen random mod 1 map { 0 : 10.244.1.2 . 80 }"
    snapshot = with_rules((("service-PFISGYVC-default/web/tcp/", text),), "nft", "kube-proxy")
    elements = (
        MapElement("ip", "kube-proxy", "cluster-ips", "10.96.0.10"),
        MapElement(
            "ip", "kube-proxy", "service-ips", "10.96.0.10 . tcp . 80", "goto service-PFISGYVC-default/web/tcp/"
        ),
        MapElement("ip", "kube-proxy", "service-nodeports", "tcp . 30080", "goto external-PFISGYVC-default/web/tcp/"),
        MapElement("ip", "kube-proxy", "no-endpoint-services", "10.96.0.11 . tcp . 80", "goto reject-chain"),
    )
    hosts = tuple(replace(host, elements=elements) if host.rules else host for host in snapshot.hosts)
    (web,) = services(replace(snapshot, hosts=hosts))
    assert (web.name, web.addresses, web.ports) == ("default/web", ("10.96.0.10:80",), (":30080",))


def test_rules_that_lead_in_a_circle_end() -> None:
    """A jump that comes back does not hang the picture."""
    circle = (
        ("A", "-j B"),
        ("B", "-j A"),
        ("PREROUTING", "-d 10.9.9.9/32 -j A"),
        ("X", "-j DNAT --to-destination 10.244.1.2"),
    )
    assert services(with_rules(circle)) == ()


def test_a_service_stands_above_all_hosts_and_moves_none() -> None:
    """It has a dashed box that says that no interface holds it, and a line with its share to each endpoint."""
    plain, served = picture(draw(to_scene(samples.node()))), picture(draw(to_scene(with_rules(PROXY))))
    assert served.dot == plain.dot
    assert served.patch(plain) is None
    assert served.size[1] > plain.size[1]
    markup = served.markup
    assert 'data-nl-id="svc:default/web"' in markup
    assert "no interface holds this address: it exists only as rules on 1 host" in markup
    assert markup.count("50 %</text>") == 2
    assert {"ep:default/web/web-1/10.244.1.2:8080", "ep:default/web/web-2/10.244.1.3:8080"} <= set(served.fragments)


def test_the_details_of_a_service_list_its_endpoints() -> None:
    """A click on the box tells shares, addresses and the hosts whose rules it is made of."""
    snapshot = with_rules(PROXY)
    detail = details(snapshot, services(snapshot))["svc:default/web"]
    lists = dict(detail["lists"])
    assert lists["Endpoints, with their share"][0] == " 50 %  10.244.1.2:8080  web-1"
    assert lists["Port of every node"] == [":30080"]


def test_many_services_are_counted() -> None:
    """What has no room is not left out in silence."""
    rules = tuple(
        ("PREROUTING", f"-d 10.96.1.{n}/32 -p tcp --dport 80 -j DNAT --to-destination 10.244.1.2:80") for n in range(9)
    )
    assert "and 3 more Services" in picture(draw(to_scene(with_rules(rules)))).markup
