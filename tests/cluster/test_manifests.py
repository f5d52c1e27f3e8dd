"""Objects are checked against the schemas and rules of Kubernetes before any of them is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netlab.errors import NotFoundError
from netlab.kubernetes.manifests import InvalidManifestError, Key, read_manifests
from netlab.kubernetes.validation import read_valid

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "labs" / "manifests" / "web.yaml"

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one"},
    "spec": {"containers": [{"name": "c", "image": "echo"}]},
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "one"},
    "spec": {"ports": [{"port": 80}]},
}


def service(**spec: Any) -> dict[str, Any]:
    """Return a Service with other fields in its spec."""
    return {**SERVICE, "spec": {**SERVICE["spec"], **spec}}


def container(**fields: Any) -> dict[str, Any]:
    """Return a Pod whose container has other fields."""
    return {**POD, "spec": {"containers": [{"name": "c", "image": "echo", **fields}]}}


def test_a_file_is_read_with_its_objects_in_order() -> None:
    """web.yaml holds a Deployment and a Service of the default namespace."""
    found = read_valid(WEB)
    assert [manifest.key for manifest in found] == [
        Key("Deployment", "default", "web"),
        Key("Service", "default", "web"),
    ]
    assert [str(manifest.key) for manifest in found] == ["deployment.apps/web", "service/web"]


def test_text_mapping_list_folder_and_json_give_the_same(tmp_path: Path) -> None:
    """What an object is does not depend on how it is handed over."""
    text = '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}'
    (tmp_path / "one.json").write_text(text)
    (tmp_path / "ignored.txt").write_text("not: [an object")
    for source in (text, SERVICE, [SERVICE], [text], tmp_path, str(tmp_path / "one.json")):
        assert [manifest.data for manifest in read_valid(source)] == [SERVICE]


def test_lists_are_opened() -> None:
    """A List, as kubectl get -o yaml prints it, is its items."""
    listed = {"apiVersion": "v1", "kind": "List", "items": [POD, SERVICE]}
    assert [manifest.kind for manifest in read_valid(listed)] == ["Pod", "Service"]


def test_a_problem_names_file_line_field_and_expectation(tmp_path: Path) -> None:
    """A wrong field is found where it stands in the file."""
    file = tmp_path / "bad.yaml"
    file.write_text(WEB.read_text().replace("replicas: 3", "replicas: three"))
    with pytest.raises(InvalidManifestError) as error:
        read_valid(file)
    (problem,) = error.value.problems
    assert (problem.source, problem.line, problem.path) == (str(file), 7, "spec.replicas")
    assert str(error.value) == (
        f"{file}, line 7: Deployment default/web: spec.replicas: a whole number was expected; "
        'not "three"\nNothing was applied.'
    )


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """A reader mends a file once, not once for each mistake."""
    file = tmp_path / "bad.yaml"
    text = WEB.read_text().replace("containers:", "contaners:").replace("- port: 80", "- prot: 80")
    file.write_text(text)
    with pytest.raises(InvalidManifestError) as error:
        read_valid(file)
    assert {(problem.line, problem.path) for problem in error.value.problems} == {
        (15, "spec.template.spec"),
        (16, "spec.template.spec.contaners"),
        (32, "spec.ports[0]"),
        (32, "spec.ports[0].prot"),
    }
    assert "unknown field. Did you mean containers?" in str(error.value)
    assert "unknown field. Did you mean port?" in str(error.value)


@pytest.mark.parametrize(
    ("manifest", "path", "words"),
    [
        ({"kind": "Pod"}, "apiVersion", "'v1' was expected for a Pod; not nothing"),
        ({"apiVersion": "v1"}, "kind", "the object's kind was expected"),
        ({**POD, "kind": "Pood"}, "kind", "Did you mean Pod?"),
        ({**POD, "apiVersion": "v2"}, "apiVersion", "'v1' was expected for a Pod; not 'v2'"),
        ({**POD, "metadata": {}}, "metadata.name", "the object's name is missing"),
        ({**POD, "metadata": {"name": "One"}}, "metadata.name", "small letters"),
        ({**SERVICE, "metadata": {"name": "1st"}}, "metadata.name", "beginning with a letter"),
        ({**POD, "spec": {"containers": []}}, "spec.containers", "one container or more was expected"),
        (container(image="postgres:16"), "spec.containers[0].image", "echo server"),
        (container(image=""), "spec.containers[0].image", "the field is missing"),
        (container(ports=[{"containerPort": 0}]), "spec.containers[0].ports[0].containerPort", "from 1 to 65535"),
        (container(ports=[{"containerPort": "http"}]), "spec.containers[0].ports[0].containerPort", "a whole number"),
        (container(readinessProbe={"periodSeconds": 1}), "spec.containers[0].readinessProbe", "exactly one of httpGet"),
        (service(type="Cluster"), "spec.type", "one of ClusterIP, NodePort, LoadBalancer, ExternalName"),
        (service(ports=[]), "spec.ports", "one port or more was expected"),
        (service(ports=[{"port": 70000}]), "spec.ports[0].port", "a number from 1 to 65535 was expected; not 70000"),
        (service(ports=[{"port": 80, "nodePort": 80}]), "spec.ports[0].nodePort", "from 30000 to 32767"),
        (service(ports=[{"port": 80, "protocol": "tcp"}]), "spec.ports[0].protocol", "TCP, UDP, SCTP"),
        (service(ports=[{"port": 80, "name": "a"}, {"port": 81}]), "spec.ports[1]", "a name was expected"),
        (service(clusterIP="10.96.0"), "spec.clusterIP", "an IP address was expected; not '10.96.0'"),
        (service(sessionAffinity="Client"), "spec.sessionAffinity", "one of None, ClientIP"),
        (service(loadBalancerSourceRanges=["10/8/1"]), "spec.loadBalancerSourceRanges[0]", "a range such as"),
    ],
)
def test_what_kubernetes_refuses_is_refused(manifest: dict[str, Any], path: str, words: str) -> None:
    """Each mistake is found at its own field, in words."""
    with pytest.raises(InvalidManifestError) as error:
        read_valid(manifest)
    assert path in {problem.path for problem in error.value.problems}
    assert words in str(error.value)


def test_a_slice_holds_addresses_of_its_type() -> None:
    """An IPv6 address in an IPv4 slice is refused."""
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "one"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["fd00::1"]}],
    }
    with pytest.raises(InvalidManifestError, match=r"endpoints\[0\].addresses\[0\]: an IPv4 address was expected"):
        read_valid(piece)


def test_a_deployment_selects_its_own_pods() -> None:
    """Labels that the selector does not match would make pods without end."""
    text = WEB.read_text().replace("        app: web\n    spec", "        app: wob\n    spec")
    with pytest.raises(InvalidManifestError, match="labels of the selector were expected: app=web"):
        read_valid(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: [Pod,", "manifest, line 2: not YAML"),
        ("a: 1\nb: 2\na: 3\n", "manifest, line 3: a: this key is there twice"),
        ("- just\n- words\n", "a Kubernetes object with kind and apiVersion was expected"),
    ],
)
def test_a_text_that_is_no_object_is_refused(text: str, words: str) -> None:
    """YAML that cannot be read is reported with its line."""
    with pytest.raises(InvalidManifestError, match=words):
        read_valid(text)


def test_an_object_that_is_there_twice_is_refused() -> None:
    """Which of the two would count is not for the order to decide."""
    with pytest.raises(InvalidManifestError, match="this object is there twice"):
        read_valid([POD, POD])


def test_a_file_that_is_not_there_is_named_with_its_neighbour() -> None:
    """A misspelt path gets a hint."""
    with pytest.raises(NotFoundError, match=r"web.yml.*Did you mean .*web.yaml"):
        read_manifests(WEB.with_suffix(".yml"))
