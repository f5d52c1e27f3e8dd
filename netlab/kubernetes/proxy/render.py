"""Render objects to the input of a first sync: the engine of ``netlab proxy render``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.kubernetes.proxy import iptables, nftables
from netlab.kubernetes.proxy.documents import read_documents
from netlab.kubernetes.proxy.fields import Field, ManifestError
from netlab.kubernetes.proxy.model import Family
from netlab.kubernetes.proxy.settings import read_mode, read_settings
from netlab.kubernetes.proxy.state import Inventory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.kubernetes.proxy.model import State

FAMILIES = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}
USED_KINDS = ("KubeProxyConfiguration", "Node", "ServiceCIDR", "Service", "EndpointSlice")


@dataclass(frozen=True, slots=True)
class Input:
    """What a text of documents asks for: the mode, and the state of one family.

    ``left_out`` names documents of kinds that the proxy does not use.
    """

    mode: str
    state: State
    left_out: tuple[str, ...] = ()

    def render(self) -> str:
        """Return the input of a first sync."""
        if self.mode == "nftables":
            return nftables.first(nftables.build(self.state))
        return iptables.first(iptables.build(self.state))


def read_input(text: str, family: Family) -> Input:
    """Return mode and state that the documents in ``text`` describe for ``family``.

    KubeProxyConfiguration, Node and ServiceCIDR are optional; objects of other kinds are left out.
    Raises `ManifestError` for what cannot be right, with document, path and expectation.
    """
    documents = read_documents(text)
    config = _only(documents, "KubeProxyConfiguration")
    node = _node(documents, config)
    cidrs = [
        cidr for document in _of_kind(documents, "ServiceCIDR") for cidr in document.get("spec").get("cidrs").texts()
    ]
    settings = read_settings(config, node, family, cidrs)
    left_out = tuple(item.way()[0] for item in documents if item.get("kind").text() not in USED_KINDS)
    return Input(read_mode(config), Inventory.empty(settings).update(documents).state, left_out)


def render(text: str, *, family: str) -> str:
    r"""Return the rules for the objects in ``text``: what ``iptables-restore --noflush`` or ``nft -f`` reads.

    ``family`` is ``ipv4`` or ``ipv6``. Raises `ManifestError`, an `InvalidInputError`.

    >>> print(render("kind: KubeProxyConfiguration\nmode: nftables", family="ipv4").splitlines()[0])
    add table ip kube-proxy { comment "rules for kube-proxy" ; }
    """
    if family not in FAMILIES:
        raise ManifestError("the IP family", "", "one of " + ", ".join(FAMILIES), family)
    return read_input(text, FAMILIES[family]).render()


def _of_kind(documents: Sequence[Field], kind: str) -> list[Field]:
    return [document for document in documents if document.get("kind").text() == kind]


def _only(documents: Sequence[Field], kind: str) -> Field:
    found = _of_kind(documents, kind)
    if len(found) > 1:
        raise found[1].refuse(f"one {kind} at most")
    return found[0] if found else Field(None, kind)


def _node(documents: Sequence[Field], config: Field) -> Field:
    """Return the Node that the proxy runs on: the one that hostnameOverride names, or the only one."""
    nodes = _of_kind(documents, "Node")
    override = config.get("hostnameOverride").text().strip().lower()
    if override:
        nodes = [node for node in nodes if node.get("metadata").get("name").text() == override]
    if len(nodes) > 1:
        raise config.get("hostnameOverride").refuse("the name of one of the Nodes, since there are several")
    return nodes[0] if nodes else Field(None, "Node")
