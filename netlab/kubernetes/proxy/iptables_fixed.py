"""Name the chains that all Services share, and write the rules in them that no Service decides.

Source: iptablesJumpChains and syncProxyRules in pkg/proxy/iptables/proxier.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab.kubernetes.proxy.model import Settings

# In the order kube-proxy declares them.
FILTER_CHAINS = ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL")
NAT_CHAINS = ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ")
# The kubelet makes this one too: it stays when the proxy leaves.
MARTIANS = "KUBE-FIREWALL"
# Empty, and in every table: where it is missing, somebody flushed the tables.
CANARY = "KUBE-PROXY-CANARY"
SHARED_CHAINS = (
    *(("filter", chain) for chain in (MARTIANS, *FILTER_CHAINS)),
    *(("nat", chain) for chain in ("KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-SERVICES", "KUBE-NODEPORTS")),
)
OWN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")

_LAST = '"kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
_NEW = "-m conntrack --ctstate NEW "
_IPV6 = 6


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule that leads from a chain of the kernel to one of the proxy's."""

    table: str
    source: str
    rule: str

    @property
    def spec(self) -> str:
        """Return chain and rule, as they follow ``-A``, ``-C`` or ``-D``."""
        return f"{self.source} {self.rule}"

    @property
    def target(self) -> str:
        """Return the chain that it leads to."""
        return self.rule.rpartition(" ")[2]


def _jump(table: str, source: str, target: str, comment: str, match: str = "") -> Jump:
    words = f'-m comment --comment "kubernetes {comment}" ' if comment else ""
    return Jump(table, source, f"{match}{words}-j {target}")


# In the order the kernel holds them. kube-proxy asks for each to be put first, so its own list reads backwards.
JUMPS = (
    _jump("filter", "INPUT", "KUBE-FIREWALL", ""),
    _jump("filter", "INPUT", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "INPUT", "KUBE-NODEPORTS", "health check service ports"),
    _jump("filter", "INPUT", "KUBE-EXTERNAL-SERVICES", "externally-visible service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "FORWARD", "KUBE-FORWARD", "forwarding rules"),
    _jump("filter", "FORWARD", "KUBE-SERVICES", "service portals", _NEW),
    _jump("filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", "externally-visible service portals", _NEW),
    _jump("filter", "OUTPUT", "KUBE-FIREWALL", ""),
    _jump("filter", "OUTPUT", "KUBE-PROXY-FIREWALL", "load balancer firewall", _NEW),
    _jump("filter", "OUTPUT", "KUBE-SERVICES", "service portals", _NEW),
    _jump("nat", "PREROUTING", "KUBE-SERVICES", "service portals"),
    _jump("nat", "OUTPUT", "KUBE-SERVICES", "service portals"),
    _jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "postrouting rules"),
)


def blocks_martians(settings: Settings) -> bool:
    """Say whether packets to 127.0.0.1 from elsewhere have to be dropped, since the node would take them."""
    return settings.family is Family.IPV4 and settings.localhost_node_ports


def fixed_lines(settings: Settings, table: str, chain: str) -> Iterator[str]:
    """Yield the lines of a shared chain that no Service decides; they come after those of the Services."""
    mark = settings.mark
    if (table, chain) == ("nat", "KUBE-POSTROUTING"):
        yield f"-A {chain} -m mark ! --mark {mark}/{mark} -j RETURN\n"
        # Without this a packet that passes the stack a second time would be masqueraded a second time.
        yield f"-A {chain} -j MARK --xor-mark {mark}\n"
        random = " --random-fully" if settings.random_fully else ""
        yield f'-A {chain} -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE{random}\n'
    elif (table, chain) == ("nat", "KUBE-MARK-MASQ"):
        yield f"-A {chain} -j MARK --or-mark {mark}\n"
    elif (table, chain) == ("nat", "KUBE-SERVICES"):
        yield from (f"-A {chain} -m comment --comment {_LAST} {to} -j KUBE-NODEPORTS\n" for to in _to_node(settings))
    elif (table, chain) == ("filter", "KUBE-FORWARD"):
        if not settings.tcp_be_liberal:
            yield f"-A {chain} -m conntrack --ctstate INVALID -j DROP\n"
        comment = '-m comment --comment "kubernetes forwarding'
        yield f'-A {chain} {comment} rules" -m mark --mark {mark}/{mark} -j ACCEPT\n'
        yield f'-A {chain} {comment} conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n'
    elif (table, chain) == ("filter", MARTIANS) and blocks_martians(settings):
        # route_localnet lets node ports answer on 127.0.0.1; without this rule neighbours could reach it too.
        yield (
            f'-A {chain} -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 '
            "! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP\n"
        )


def _to_node(settings: Settings) -> Iterator[str]:
    """Yield what matches traffic to the node itself."""
    version = settings.family.version
    if settings.node_port_addresses is None:
        local = "-m addrtype --dst-type LOCAL"
        if version == _IPV6:
            yield f"{local} ! -d ::1/128"
        else:
            yield local if settings.localhost_node_ports else f"{local} ! -d 127.0.0.0/8"
        return
    for address in settings.node_port_addresses:
        loopback = address == "::1" or address.startswith("127.")
        if not loopback or (version != _IPV6 and settings.localhost_node_ports):
            yield f"-d {address}"
