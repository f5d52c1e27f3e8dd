"""What the tests of netlab.kubernetes share: recordings of the real programs, and a namespace to try text in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rule_kernel import WORKER, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDINGS = Path(__file__).parents[3] / "shared" / "conformance"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of recordings; they are kept beside the project, not in it."""
    if not (RECORDINGS / "kube-proxy").is_dir():
        pytest.skip("the recordings of the real kube-proxy (../shared/conformance) are not here")
    return RECORDINGS


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    """Yield a namespace in which iptables and nft can be tried."""
    for tool in ("unshare", "iptables-restore", "ip6tables-restore", "nft"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    # unshare replaces itself by the worker, so ending the worker ends all of it, and the namespace with it.
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", WORKER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        namespace = Kernel(process)
        try:
            code, _, err = namespace.run("nft", "list", "ruleset")
        except (BrokenPipeError, json.JSONDecodeError):
            pytest.skip("user and network namespaces cannot be made here")
        if code:
            pytest.skip(f"nft does not work in a namespace here: {err.strip()}")
        yield namespace
        assert process.stdin is not None
        process.stdin.close()
