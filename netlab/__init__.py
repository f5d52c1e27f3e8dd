"""netlab: learn Kubernetes networking by building it, from real Linux parts.

Start with `Lab`: it owns hosts, cables and processes, and takes all of it with it when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from netlab.host import Host
from netlab.lab import Lab

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "ClosedError",
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


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the ``%host`` magics to a notebook: ``%load_ext netlab``."""
    from netlab.magics import load  # noqa: PLC0415 - only a notebook needs them

    load(shell)
