"""What kubelets do: containers that end, probes that fail, plugins that refuse, pods that are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster_tools import deployment, eventually, pod, service, spread

from netlab.kubernetes.cni import read_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Cluster

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with a Service in front of three pods, and a client."""
    cluster.apply([pod("client", nodeName="node-1"), deployment("web", 3), service("web", clusterIP="10.96.0.10")])
    yield cluster
    cluster.delete("pod/client", "deployment/web", "service/web")


def test_a_pod_is_made_anew_when_its_pause_process_ends(web: Cluster) -> None:
    """It keeps its name and gets another namespace and address; its containers start again, and the Service knows."""
    name = next(name for name in web.pods if name.startswith("web-"))
    first = web.pod(name)
    address, inode = first.ip, first.host.namespace.inode
    assert first.pause is not None
    first.pause.kill()
    eventually(lambda: name in web.pods and web.pod(name) is not first and web.pod(name).ready, 5)
    assert web.pod(name).ip != address
    assert web.pod(name).host.namespace.inode != inode
    assert [container.restarts for container in web.pod(name).containers] == [1]
    assert "SandboxChanged" in web.describe(f"pod/{name}")
    eventually(lambda: name in spread(web.pod("client"), "10.96.0.10", 40), 5)
    assert not web.pod("client").run("ping", "-c1", "-W1", address).ok


def test_a_pod_that_is_never_restarted_fails_with_its_pause_process(web: Cluster) -> None:
    """Nothing takes its place."""
    web.apply(pod("once", restartPolicy="Never"))
    pause = web.pod("once").pause
    assert pause is not None
    pause.kill()
    eventually(lambda: "Error" in web.get("pods", "once"), 5)
    web.delete("pod/once")


def test_an_http_probe_takes_a_pod_out_and_in(web: Cluster) -> None:
    """Asked from the node; the container runs on all the while."""
    script = """import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("/run/healthy") else 500)
        self.end_headers()
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"name": "c", "image": "busybox", "command": ["python3", "-c", script], "readinessProbe": probe}
    web.apply(pod("probed", containers=[container]))
    assert not web.pod("probed").ready
    assert "0/1" in web.get("pods", "probed")
    web.pod("probed").run("touch", "/run/healthy", check=True)
    eventually(lambda: web.pod("probed").ready and "1/1" in web.get("pods", "probed"), 4)
    web.pod("probed").run("rm", "/run/healthy", check=True)
    eventually(lambda: not web.pod("probed").ready, 4)
    web.delete("pod/probed")


def test_a_plugin_that_refuses_is_told_and_tried_again(web: Cluster) -> None:
    """The pod waits, its event says why; with the right configuration it comes up by itself."""
    node = web.node("node-3")
    good = node.network_list
    node.network_list = read_network({"cniVersion": "1.0.0", "name": "broken", "plugins": [{"type": "nothing"}]})
    web.apply(pod("late", nodeName="node-3"))
    assert "ContainerCreating" in web.get("pods", "late")
    assert "no plugin 'nothing' in /usr/lib/cni" in web.describe("pod/late")
    node.network_list = good
    eventually(lambda: "late" in web.pods, 5)
    web.delete("pod/late")


def test_a_rollout_replaces_pods_without_a_gap(web: Cluster) -> None:
    """A changed template: new pods are up before the old ones end."""
    before = set(web.pods)
    changed = deployment("web", 3, env=[{"name": "VERSION", "value": "2"}])
    assert str(web.apply(changed)) == "deployment.apps/web configured"
    after = {name for name in web.pods if name.startswith("web-")}
    assert len(after) == 3
    assert not after & before
    assert set(spread(web.pod("client"), "10.96.0.10", 60)) == after
    web.apply(deployment("web", 1))
    assert sum(name.startswith("web-") for name in web.pods) == 1
    web.apply(deployment("web", 3))
