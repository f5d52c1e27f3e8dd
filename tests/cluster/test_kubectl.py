"""`get` and `describe` print what kubectl prints."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from cluster_tools import deployment, eventually, pod, service

from netlab import Cluster, InvalidInputError, NotFoundError
from netlab.kubernetes.printing import age

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster with three pods and two Services."""
    cluster.apply(
        [deployment("web", 3), service("web", clusterIP="10.96.0.10"), service("lb", "web", type="LoadBalancer")]
    )
    yield cluster
    cluster.delete("deployment/web", "service/web", "service/lb")


def plain(text: str) -> list[str]:
    """Return the lines of a text, with every age as AGE and the kernel's release left out."""
    lines = [re.sub(r"\b\d+[smh](\d+[smh])?(?=$|  )", "AGE", line) for line in text.splitlines()]
    return [re.sub(r" {2,}", "  ", line) for line in lines]


@pytest.mark.kernel
def test_pods_and_their_wide_form(web: Cluster) -> None:
    """The columns are kubectl's, in its order; the widths follow the longest cell, and three spaces."""
    text = web.get("pods")
    assert re.fullmatch(
        r"NAME    READY   STATUS    RESTARTS   AGE\nweb-1   1/1     Running   0          \d+s(\n.*){2}", text
    )
    assert plain(web.get("po", "-o", "wide"))[:2] == [
        "NAME  READY  STATUS  RESTARTS  AGE  IP  NODE  NOMINATED NODE  READINESS GATES",
        f"web-1  1/1  Running  0  AGE  {web.pod('web-1').ip}  node-1  <none>  <none>",
    ]


@pytest.mark.kernel
def test_services_nodes_deployments_and_slices(web: Cluster) -> None:
    """One table for each kind."""
    assert plain(web.get("svc", "-o", "wide")) == [
        "NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR",
        "lb  LoadBalancer  10.96.1.0  198.51.100.1  80:30086/TCP  AGE  app=web",
        "web  ClusterIP  10.96.0.10  <none>  80/TCP  AGE  app=web",
    ]
    assert plain(web.get("nodes"))[:2] == ["NAME  STATUS  ROLES  AGE  VERSION", "node-1  Ready  <none>  AGE  v1.36.2"]
    assert plain(web.get("deployments.apps")) == [
        "NAME  READY  UP-TO-DATE  AVAILABLE  AGE",
        "web  3/3  3  3  AGE",
    ]
    assert re.fullmatch(
        r"web-[b-z2-9]{5}  IPv4  8080  10\.244\.1\.2,10\.244\.2\.2,10\.244\.3\.2  AGE",
        plain(web.get("endpointslices"))[2],
    )
    assert plain(web.get("ns")) == ["NAME  STATUS  AGE", "default  Active  AGE", "kube-system  Active  AGE"]


@pytest.mark.kernel
def test_options(web: Cluster) -> None:
    """-l, -A, -n, -o name, json and yaml, several kinds, names."""
    assert web.get("pods", "-l", "app=web", "-o", "name") == "pod/web-1\npod/web-2\npod/web-3"
    assert web.get("pods", "-l", "app=other") == "No resources found in default namespace."
    assert web.get("pods", "-n", "kube-system") == "No resources found in kube-system namespace."
    assert web.get("pods", "-A", "-l", "!app") == "No resources found"
    assert web.get("pods", "-l", "app in (web, db),app!=db", "-o", "name").count("pod/") == 3
    assert plain(web.get("pods", "-A"))[0].startswith("NAMESPACE  NAME  READY")
    everything = plain(web.get("all"))
    assert [line.split("  ")[0] for line in everything if "/web" in line] == [
        "pod/web-1",
        "pod/web-2",
        "pod/web-3",
        "service/web",
        "deployment.apps/web",
    ]
    assert json.loads(web.get("service/web", "-o", "json"))["spec"]["clusterIP"] == "10.96.0.10"
    assert yaml.safe_load(web.get("services", "-o", "yaml"))["kind"] == "List"
    assert f'  creationTimestamp: "{web.store.all("Service")[0]["metadata"]["creationTimestamp"]}"\n' in web.get(
        "svc/web", "-o", "yaml"
    )
    assert [line.split()[0] for line in web.get("pod/web-1", "svc/web", "svc/lb").splitlines() if "/" in line] == [
        "pod/web-1",
        "service/web",
        "service/lb",
    ]
    assert plain(web.get("pods", "web-2"))[1].startswith("web-2")
    assert "app=web,pod-template-hash=" in web.get("pods", "--show-labels")
    assert repr(web.get("ns")) == str(web.get("ns"))


@pytest.mark.kernel
def test_what_is_not_there_is_said_as_kubectl_says_it(web: Cluster) -> None:
    """And what there is instead."""
    with pytest.raises(NotFoundError, match=r'pods "web-9" not found.*There are: web-1, web-2, web-3'):
        web.get("pods", "web-9")
    with pytest.raises(NotFoundError, match=r'deployments.apps "db" not found'):
        web.get("deployment/db")
    with pytest.raises(InvalidInputError, match="key in"):
        web.get("pods", "-l", "a >")
    with pytest.raises(InvalidInputError, match=r'no resource type "podz" here\. Did you mean pod'):
        web.get("podz")
    with pytest.raises(InvalidInputError, match="-o/--output"):
        web.get("pods", "-o", "html")
    with pytest.raises(NotFoundError, match="services"):
        web.delete("service/nothing", "service/web")
    assert "service/web" in web.get("services", "-o", "name")


@pytest.mark.kernel
def test_describe_tells_endpoints_and_events(web: Cluster) -> None:
    """The fields are kubectl's."""
    lines = plain(web.describe("service/web"))
    assert "IP:  10.96.0.10" in lines
    assert "Endpoints:  10.244.1.2:8080,10.244.2.2:8080,10.244.3.2:8080" in lines
    assert "Session Affinity:  None" in lines
    assert "LoadBalancer Ingress:  198.51.100.1 (VIP)" in plain(web.describe("svc", "lb"))
    described = web.describe("pod/web-1")
    assert "Node:             node-1/192.168.1.11" in described
    assert "Successfully assigned default/web-1 to node-1" in described
    assert "10.244.1.0/24" in web.describe("node/node-1")
    assert "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" in web.describe("deployment/web")
    assert "TargetRef:  Pod/web-1" in web.describe("endpointslices", "-l", "kubernetes.io/service-name=web")
    assert web.describe("pod", "web-").count("Controlled By:  Deployment/web") == 3


@pytest.mark.kernel
def test_states_of_pods_are_told(web: Cluster) -> None:
    """Not ready, ended, restarted, and without a node."""
    script = ["sh", "-c", "sleep 0.1; exit 3"]
    failing = {"name": "c", "image": "busybox", "command": script}
    web.apply(
        [
            pod("lost", nodeSelector={"disk": "ssd"}),
            pod("once", restartPolicy="Never", containers=[failing]),
            pod("again", containers=[failing]),
        ]
    )

    def states() -> dict[str, str]:
        rows = [line.split() for line in web.get("pods").splitlines()[1:]]
        return {row[0]: row[2] for row in rows}

    assert states()["lost"] == "Pending"
    assert "FailedScheduling" in web.describe("pod/lost")
    eventually(lambda: states()["once"] == "Error" and states()["again"] in {"Error", "CrashLoopBackOff"})
    eventually(lambda: web.pod("again").containers[0].restarts >= 1, 5)
    eventually(lambda: states()["again"] == "CrashLoopBackOff", 5)
    assert re.search(r"again +0/1 +CrashLoopBackOff +\d \(\d+s ago\)", web.get("pods", "again"))
    described = web.describe("pod/again")
    assert re.search(r"State: +Waiting\n +Reason: +CrashLoopBackOff\n +Last State: +Terminated\n", described)
    assert re.search(r"Exit Code: +3\n", described)
    web.delete("pod/lost", "pod/once", "pod/again")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (11000, "3h3m"),
        (28800, "8h"),
        (172800, "2d"),
        (180000, "2d2h"),
        (8 * 86400, "8d"),
    ],
)
def test_ages_are_kubectls(seconds: float, text: str) -> None:
    """The steps of HumanDuration: 2 minutes, 10 minutes, 3 hours, 8 hours, 2 days, 8 days."""
    assert age(seconds) == text


@pytest.mark.kernel
def test_an_external_name_has_no_addresses(web: Cluster) -> None:
    """It is a name and nothing more, with ports or without."""
    web.apply(
        {**service("far"), "spec": {"type": "ExternalName", "externalName": "db.test", "ports": [{"port": 5432}]}}
    )
    assert plain(web.get("svc", "far"))[1] == "far  ExternalName  <none>  db.test  5432/TCP  AGE"
    lines = plain(web.describe("svc", "far"))
    assert "IP Families:  <none>" in lines
    assert "External Name:  db.test" in lines
    assert "Endpoints:  <none>" in lines
    web.delete("service/far")
