"""An exercise whose lab is a cluster: what its setup may use, and how solutions say what is done with kubectl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlab.course.scene import KUBECTL, Scene
from netlab.course.task import Task
from netlab.course.values import Exercise, Hint, Verdict, failed, passed
from netlab.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

POD = """\
apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {{name: {wanted}}}
spec: {{containers: [{{name: c, image: pause}}]}}
END
"""


def setup(scene: Scene) -> None:
    """Make a node, and give a role to it and to the client outside."""
    scene.add_cluster(1)
    scene.cast("node", "node-1")
    scene.cast("client", "outside")
    scene.values["wanted"] = scene.name()


def check(scene: Scene) -> Verdict:
    """Tell whether the pod runs."""
    wanted = scene.values["wanted"]
    return passed("it runs") if wanted in scene.cluster.pods else failed("no pod", wanted, "get pods")


SPEC = Exercise("77-pod", "A pod", "Start {wanted}.", setup, check, {KUBECTL: POD}, (Hint("{node}"),), why="{client}")


@pytest.fixture
def task() -> Iterator[Task]:
    """Return the exercise, begun."""
    task = Task(SPEC, seed="1")
    yield task
    task.close()


def test_a_solution_may_speak_kubectl(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """It is shown as it is typed, and done; the names are those of this attempt."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert not task.check().passed
    assert task.roles == {"node": "node-1", "client": "outside"}
    text = task.solve()
    assert text.startswith("# on the cluster, each as %kubectl --context 77-pod …\napply -f - <<END\n")
    assert f"{{name: {task.scene.values['wanted']}}}" in text
    assert task.check().passed
    assert task.scene.host("client").run("true").ok


def test_the_cluster_ends_with_the_attempt(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Starting over makes another one; the older one is closed."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    first = task.scene.cluster
    task.start()
    assert first.lab.closed
    assert task.scene.cluster is not first
    task.close()
    assert task.scene.cluster.lab.closed


def test_a_command_that_fails_ends_the_work_or_not(task: Task) -> None:
    """As in a host: a solution must not fail, a mistake may."""
    script = {KUBECTL: "delete pod nothing\n" + POD}
    with pytest.raises(NotFoundError):
        task.scene.work(script)
    task.scene.work(script, checked=False)
    assert check(task.scene).passed


def test_a_scene_has_one_lab() -> None:
    """Hosts of its own, or a cluster; what it has not is told."""
    scene = Scene("77-one", "1")
    scene.add_hosts("one")
    with pytest.raises(NotFoundError, match="no cluster"):
        scene.work({KUBECTL: "get pods"})
    with pytest.raises(InvalidInputError, match="one lab"):
        scene.add_cluster(1)
    scene.close()
