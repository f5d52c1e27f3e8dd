"""Keep the results of ADD in files inside the lab, where DEL and CHECK find them (CNI specification, section 4).

The form is libcni's (kind ``cniCacheV1``), so that a learner finds here what /var/lib/cni/results has on a real node.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from netlab.kubernetes.cni.config import Attachment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netlab.host import Host
    from netlab.kubernetes.cni.config import NetworkList
    from netlab.kubernetes.cni.results import Result

_KIND = "cniCacheV1"


class Cache:
    """The results of one node, one file for each attachment; the files are gone when the lab is."""

    def __init__(self, host: Host, folder: str) -> None:
        """Keep the files in ``folder``, as the commands of ``host`` see it."""
        self._host, self.folder = host, folder

    def path(self, network: NetworkList, attachment: Attachment) -> str:
        """Return the path of an attachment's file."""
        return f"{self.folder}/{network.name}-{attachment.container_id}-{attachment.ifname}"

    def store(self, network: NetworkList, attachment: Attachment, result: Result) -> None:
        """Write a result down."""
        document = {
            "kind": _KIND,
            "containerId": attachment.container_id,
            "ifName": attachment.ifname,
            "networkName": network.name,
            "netns": attachment.netns,
            "cniArgs": [list(pair) for pair in attachment.args.items()],
            "capabilityArgs": dict(attachment.capabilities),
            "result": result.data,
        }
        script = 'mkdir -p "$0" && cat >"$1"'
        arguments = ("sh", "-c", script, self.folder, self.path(network, attachment))
        self._host.run(*arguments, input=json.dumps(document), check=True)

    def load(self, network: NetworkList, attachment: Attachment) -> Mapping[str, Any] | None:
        """Return an attachment's result, or None if it has none."""
        printed = self._host.run("cat", self.path(network, attachment))
        document = _read(printed.stdout) if printed.ok else None
        return None if document is None else document.get("result")

    def remove(self, network: NetworkList, attachment: Attachment) -> None:
        """Forget an attachment; it need not be there."""
        self._host.run("rm", "-f", self.path(network, attachment), check=True)

    def attachments(self, network: NetworkList) -> list[Attachment]:
        """Return the attachments to a network that have a result."""
        printed = self._host.run("sh", "-c", 'cd "$0" 2>/dev/null && for f in *; do cat "$f"; echo; done', self.folder)
        documents = [document for line in printed.stdout.splitlines() if (document := _read(line)) is not None]
        return [
            Attachment(
                document["containerId"],
                document["netns"],
                document["ifName"],
                dict(document["cniArgs"]),
                document["capabilityArgs"],
            )
            for document in documents
            if document["networkName"] == network.name
        ]


def _read(text: str) -> dict[str, Any] | None:
    """Return a file's document, or None where someone has left another kind of text."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("kind") == _KIND else None
