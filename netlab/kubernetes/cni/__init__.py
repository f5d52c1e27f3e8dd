"""A runtime by the Container Network Interface specification, version 1.1: it runs the plugins that wire pods.

Source: SPEC.md of the CNI project (https://www.cni.dev/docs/spec/); its sections are named where they count.
"""

from netlab.kubernetes.cni.config import Attachment, NetworkList, PluginConfig, read_network
from netlab.kubernetes.cni.results import CniError, Result
from netlab.kubernetes.cni.runtime import Runtime

__all__ = ["Attachment", "CniError", "NetworkList", "PluginConfig", "Result", "Runtime", "read_network"]
