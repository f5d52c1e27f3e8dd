"""What a learner types after ``kubectl``: each command changes the cluster as the real one would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster_tools import deployment, pod, service, spread

from netlab import CommandError, InvalidInputError, NotFoundError
from netlab.kubernetes.commands import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netlab import Cluster

pytestmark = pytest.mark.kernel


@pytest.fixture
def web(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with a client and three pods behind a Service."""
    cluster.apply([pod("client"), deployment("web", 3), service("web", clusterIP="10.96.0.10")])
    yield cluster
    cluster.delete("deployment/web", "service/web", "pod/client")


def test_a_label_taken_away_takes_the_pod_out(web: Cluster) -> None:
    """The Deployment lets it go and makes another one, as a ReplicaSet does; the pod runs on, alone."""
    assert web.kubectl("label pod web-2 app-") == "pod/web-2 unlabeled"
    assert set(spread(web.pod("client"), "10.96.0.10", 60)) == {"web-1", "web-3", "web-4"}
    assert web.pod("web-2").alive
    with pytest.raises(InvalidInputError, match="--overwrite is false"):
        web.kubectl("label pod/web-1 app=other")
    assert web.kubectl("delete pod web-2") == 'pod "web-2" deleted from default namespace'
    assert "web-2" not in web.pods


def test_a_deployment_is_scaled(web: Cluster) -> None:
    """To another number of pods."""
    assert web.kubectl("scale deployment/web --replicas=1") == "deployment.apps/web scaled"
    assert set(web.pods) == {"client", "web-1"}


def test_a_service_is_patched(web: Cluster) -> None:
    """A field changes and the others stay; of a list all of it is replaced, and only if that was said."""
    assert (
        web.kubectl("""patch service web -p '{"spec": {"internalTrafficPolicy": "Local"}}'""") == "service/web patched"
    )
    here = [name for name, each in web.pods.items() if each.node is web.pod("client").node and name != "client"]
    assert set(spread(web.pod("client"), "10.96.0.10", 20)) == set(here)
    with pytest.raises(InvalidInputError, match="--type merge"):
        web.kubectl("patch service web -p '{spec: {ports: []}}'")
    web.kubectl("patch service web --type merge -p '{spec: {ports: [{port: 81, targetPort: 8080}]}}'")
    assert set(spread(web.pod("client"), "10.96.0.10:81", 20)) == set(here)
    with pytest.raises(InvalidInputError, match="a mapping was expected"):
        web.kubectl("patch service web -p nothing")


def test_a_script_is_read_as_a_shell_would(web: Cluster) -> None:
    """Comments, the word kubectl, and inputs; it ends at the first mistake, or goes on if it is told to."""
    script = """
# a second Service
kubectl apply -f - <<'END'
apiVersion: v1
kind: Service
metadata: {name: second}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
END
get services second -o name
delete service/second
delete service/second
get pods web-1 -o name
"""
    with pytest.raises(NotFoundError, match='"second" not found'):
        run_script(web, script)
    said = run_script(web, script, checked=False).splitlines()
    assert said[:3] == ["service/second created", "service/second", 'service "second" deleted from default namespace']
    assert said[3].startswith("error: services")
    assert said[4] == "pod/web-1"
    with pytest.raises(InvalidInputError, match="The line END"):
        run_script(web, "apply -f - <<END\nkind: Pod")


def test_commands_run_in_pods(web: Cluster) -> None:
    """Exec returns what was printed; a failure is told with its status."""
    assert web.kubectl("exec web-1 -- hostname") == "web-1"
    with pytest.raises(CommandError, match="terminated with exit code 3"):
        web.kubectl("exec web-1 -- sh -c 'exit 3'")
    assert "ready" in web.kubectl("logs web-1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("edit pod web-1", "no command 'edit' here. There are: apply, delete, describe"),
        ("delete pod", "a kind and a name were expected"),
        ("apply -f -", "nothing does"),
        ("exec web-1 hostname", "unrecognized arguments: hostname"),
        ("exec web-1", "follows two dashes"),
        ("get frogs", "no resource type"),
    ],
)
def test_what_is_typed_wrong_is_told(web: Cluster, line: str, words: str) -> None:
    """In one sentence, and nothing is changed."""
    with pytest.raises(InvalidInputError, match=words):
        web.kubectl(line)
