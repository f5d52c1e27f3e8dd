"""A cluster is ready soon, says how far it is, and leaves nothing; the demo and the manifests of the labs work."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path

import pytest
from cluster_tools import ask, deployment, eventually, service
from typer.testing import CliRunner

from netlab import ClosedError, Cluster
from netlab.benches.cluster import measure
from netlab.demo import app
from netlab.kubernetes.progress import show_progress

pytestmark = pytest.mark.kernel

MANIFESTS = Path(__file__).resolve().parents[2] / "labs" / "manifests"


def test_thirty_pods_and_twenty_services_are_ready_soon() -> None:
    """In 3 s on a machine that does nothing else; the limit here leaves room for one that is busy."""
    seen: list[tuple[str, int, int]] = []
    began = time.monotonic()
    with Cluster(nodes=3, progress=lambda *step: seen.append(step)) as cluster:
        deployments = [deployment(f"app-{number}", 3) for number in range(10)]
        cluster.apply([*deployments, *(service(f"svc-{number}", f"app-{number % 10}") for number in range(20))])
        seconds = time.monotonic() - began
        assert len(cluster.pods) == 30
        assert all(pod.ready for pod in cluster.pods.values())
        assert ask(cluster.pod("app-0-1"), str(cluster.store.all("Service")[-1]["spec"]["clusterIP"]))
    assert seen[:3] == [("nodes", 1, 3), ("nodes", 2, 3), ("nodes", 3, 3)]
    assert ("pods", 30, 30) in seen
    assert seconds < 9


def test_what_clusters_cost_is_measured() -> None:
    """Seconds and milliseconds a pod for each size, how the last compares with the first; and it says how far it is."""
    seen: list[str] = []
    figures = list(measure(((1, 3), (2, 4)), 1, lambda what, *_: seen.append(what)))
    assert [figure.unit for figure in figures] == ["s", "ms", "s", "ms", "×"]
    assert figures[-1].what == "a pod among 8 / a pod among 3"
    assert figures[1].median == pytest.approx((figures[0].median or 0) / 3 * 1e3)
    assert {"nodes", "pods"} <= set(seen)


def test_progress_can_be_shown() -> None:
    """As bars that go when they are done."""
    with show_progress() as progress, Cluster(nodes=1, progress=progress) as cluster:
        cluster.apply(deployment("web", 1))
        assert cluster.pod("web-1").ready


def test_the_manifests_of_the_labs_work() -> None:
    """Each file applies as it stands, and a second time changes nothing."""
    with Cluster(nodes=3) as cluster:
        for path in sorted(MANIFESTS.glob("*.yaml")):
            assert {change.verb for change in cluster.apply(path)} == {"created"}, path
            assert {change.verb for change in cluster.apply(str(path))} == {"unchanged"}, path
            cluster.delete(path)
            assert cluster.pods == {}
        cluster.apply([MANIFESTS / "web.yaml", MANIFESTS / "front.yaml"])
        assert ask(cluster.pod("web-1"), "10.96.0.10")["server"].startswith("web-")
        assert ask(cluster.outside, "198.51.100.1")["client_address"] == "203.0.113.10"


def test_a_forgotten_cluster_ends(machine: None) -> None:
    """Its threads do not keep it alive, and nothing is left on the machine."""
    cluster = Cluster(nodes=2, network="bgp")
    cluster.apply(deployment("web", 2))
    gone = weakref.ref(cluster)
    del cluster
    gc.collect()
    eventually(lambda: gone() is None or (not gc.collect() and gone() is None))


def test_a_closed_cluster_says_so(machine: None) -> None:
    """Closing it twice is fine; using it is not."""
    cluster = Cluster(nodes=1)
    cluster.close()
    cluster.close()
    with pytest.raises(ClosedError):
        cluster.apply(deployment("web", 1))


def test_the_demo_answers_all_requests() -> None:
    """300 before the node fails, and 300 after it."""
    result = CliRunner().invoke(app, ["cluster"])
    assert result.exit_code == 0, result.output
    assert result.output.count("300 answered, 0 not.") == 2
    assert "node-2   NotReady" in result.output
