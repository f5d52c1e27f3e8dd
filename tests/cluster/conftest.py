"""Clusters that are made once for the tests of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlab import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a cluster of three nodes that the tests of a module share; each cleans up what it applied."""
    with Cluster(nodes=3) as made:
        yield made
