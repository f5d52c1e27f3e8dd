"""netlab: learn Kubernetes networking by building it, from real Linux parts.

Start with `Lab`: it owns hosts, cables and processes, and takes all of it with it when it ends.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from netlab.errors import (
    ClosedError,
    CommandError,
    CommandTimeoutError,
    InvalidInputError,
    KernelError,
    LabError,
    MissingFeatureError,
    NotFoundError,
    SandboxError,
)

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from netlab.host import Host
    from netlab.kubernetes.cluster import Cluster
    from netlab.lab import Lab

__all__ = [
    "ClosedError",
    "Cluster",
    "CommandError",
    "CommandTimeoutError",
    "Host",
    "InvalidInputError",
    "KernelError",
    "Lab",
    "LabError",
    "MissingFeatureError",
    "NotFoundError",
    "SandboxError",
    "load_ipython_extension",
]


#: Found when they are first asked for (PEP 562): `netlab ps` and `netlab shell` shall not wait for netlink.
_LATER = {"Cluster": "netlab.kubernetes.cluster", "Host": "netlab.host", "Lab": "netlab.lab"}


def __getattr__(name: str) -> Any:
    """Import Lab, Host or Cluster."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """Return the names that there are, those to come as well."""
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the ``%host`` and ``%kubectl`` magics to a notebook, and show errors shortly: ``%load_ext netlab``."""
    from netlab import magics, tracebacks  # noqa: PLC0415 - only a notebook needs them

    magics.load(shell)
    tracebacks.load(shell)
