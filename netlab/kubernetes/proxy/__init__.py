"""The Service proxy: from Services and EndpointSlices to the rules that a node needs, rule for rule as kube-proxy's.

Everything here is pure. Objects become a `State`, a State becomes a `Ruleset` of the `iptables` or the `nftables`
module, and a Ruleset (or two: before and after) becomes text for ``iptables-restore --noflush`` or ``nft -f``.
"""

from netlab.kubernetes.proxy.documents import read_documents
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
    "read_documents",
    "read_mode",
    "read_settings",
]
