"""The Service proxy: from Services and EndpointSlices to the rules that a node needs, rule for rule as kube-proxy's.

All but three modules are pure: `applier`, with `backends` and `answers`, brings rules into a host. Objects become an
`Inventory`, whose `State` becomes a `Ruleset` of the `iptables` or the `nftables` module, and a Ruleset (or two: before
and after) becomes text, for ``iptables-restore --noflush`` or for ``nft -f``.

>>> from netlab.kubernetes.proxy import iptables
>>> spec = {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}
>>> service = {"kind": "Service", "metadata": {"name": "web"}, "spec": spec}
>>> before = Inventory.empty(Settings(Family.IPV4)).update([as_document(service)])
>>> after = before.update(removed=[("Service", "default/web")])
>>> old = iptables.build(before.state)
>>> new = iptables.build(after.state, old)
>>> print(iptables.smallest(old, new), end="")
*filter
:KUBE-SERVICES - [0:0]
COMMIT

`conntrack` chooses the UDP connections to forget after a sync, `facts` says what a node owes its Services besides
rules, and `batches` cuts texts for a lab whose user may not send long ones.
"""

from netlab.kubernetes.proxy.documents import as_document, read_documents
from netlab.kubernetes.proxy.fields import Field, ManifestError
from netlab.kubernetes.proxy.model import Family, LocalDetector, Settings, State
from netlab.kubernetes.proxy.settings import read_mode, read_settings
from netlab.kubernetes.proxy.state import Inventory

__all__ = [
    "Family",
    "Field",
    "Inventory",
    "LocalDetector",
    "ManifestError",
    "Settings",
    "State",
    "as_document",
    "read_documents",
    "read_mode",
    "read_settings",
]
