"""The exercise as a reader holds it: its panel, its buttons, its seeds, and that nothing of it is left."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from netlab.course import catalogue, panel, records
from netlab.course.panel import break_it, exercise
from netlab.course.store import Store
from netlab.errors import InvalidInputError, NotFoundError
from netlab.lab import living_labs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

SOLUTIONS = """
from netlab.course import BreakFix, Exercise, Fault, Hint
from netlab.course.values import failed, passed

def setup(scene):
    (one,) = scene.add_hosts("one")
    scene.values["net"] = str(scene.network())

def mtu(scene):
    return scene.host("one").state().interface("lo").mtu

def check(scene):
    if mtu(scene) == 1000:
        return passed("lo is narrow")
    return failed("lo is <wide>", "a narrow lo", "`ip link` in " + scene.values["one"])

NARROW = {"one": "ip link set lo mtu 1000"}
HINTS = (
    Hint("{one} has been touched", lambda scene: mtu(scene) != 65536),
    Hint("look at {one}"),
    Hint("last", lambda scene: True),
)
EXERCISES = (
    Exercise("77-narrow", "Narrow", "{one} in {net}", setup, check, NARROW, HINTS, why="{one} is narrow now"),
    BreakFix("77-broken", "Broken", "Mend {one}.", lambda scene: (setup(scene), scene.work(NARROW)), check, tuple(
        Fault(str(size), {"one": f"ip link set lo mtu {size}"}, f"slow {size}", f"it was {size}", "look at lo", NARROW)
        for size in (2000, 3000, 4000)
    )),
)
"""


@pytest.fixture(autouse=True)
def chapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Make a chapter with one small exercise and one fault, and a user without progress."""
    (tmp_path / "labs" / "solutions").mkdir(parents=True)
    (tmp_path / "labs" / "solutions" / "77-test.py").write_text(textwrap.dedent(SOLUTIONS), encoding="utf-8")
    monkeypatch.setenv("NETLAB_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    yield
    for opened in list(panel._open.values()):
        opened.close()
    panel._open.clear()
    catalogue.load.cache_clear()


def kept(key: str = "77-narrow") -> dict[str, Any]:
    """Return what is kept of an exercise."""
    return dict(Store.default().read()["exercises"][key])


def test_check_solve_and_check_again() -> None:
    """A verdict before and after, with words of this attempt; what was done is kept."""
    task = exercise("77-narrow")
    assert task.goal.startswith(f"{task.one} in 10.")
    verdict = task.check()
    assert not verdict.passed
    assert str(verdict).startswith("Not yet. Seen: lo is <wide>")
    assert "lo is &lt;wide&gt;" in verdict._repr_html_()
    assert "<code>ip link</code> in" in verdict._repr_html_()
    assert "ip link set lo mtu 1000" in task.solve().text
    verdict = task.check()
    assert str(verdict) == f"Done: lo is narrow\n\n{task.one} is narrow now"
    assert task.verdict["passed"] is True
    assert (kept()["checks"], kept()["solution"]) == (2, True)
    assert kept()["passed"]


def test_a_check_waits_for_a_cable_that_was_laid_just_now() -> None:
    """The kernel throws away what is sent before it has switched a cable through: then a right solution would fail."""
    task = exercise("77-narrow")
    host, other = task.host("one"), task.lab.add_host("other")
    for number in range(10):
        host.run("ip", "link", "add", f"a{number}", "type", "veth", "peer", "name", f"b{number}", "netns", "other")
        other.set_link(f"b{number}", up=True)
        host.set_link(f"a{number}", up=True)
        task.check()
        assert host.state().interface(f"a{number}").state == "UP"


def test_hints_come_one_at_a_time_and_fit_the_state() -> None:
    """A hint for another state is left out until it fits; the last one is repeated."""
    task = exercise("77-narrow")
    assert task.hint() == f"Hint 1: look at {task.one}"
    task.host("one").run("ip", "link", "set", "lo", "mtu", "1500", check=True)
    assert task.hint() == f"Hint 2: {task.one} has been touched"
    assert task.hint() == "Hint 3: last"
    assert "The last one was: last" in task.hint()
    assert kept()["hints"] == 3


def test_names_and_addresses_vary_by_attempt_and_by_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same attempt looks the same again; the next one, and another reader's, do not."""
    first = str(exercise("77-narrow"))
    assert str(exercise("77-narrow")) == first
    records.note_check("77-narrow", passed=True)
    second = str(exercise("77-narrow"))
    assert second != first
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    assert str(exercise("77-narrow")) not in {first, second}
    assert str(exercise("77-narrow", seed="x-1")) == str(exercise("77-narrow", seed="x-1"))


def test_starting_over_builds_a_clean_lab() -> None:
    """What was done is gone, the panel is as at first, and the old lab is closed."""
    task = exercise("77-narrow")
    old = task.lab
    task.solve()
    task.hint()
    task.check()
    task.reset()
    assert old.closed
    assert not task.check().passed
    assert task.hints == []
    assert task.solved == ""
    assert task.closed is False


def test_a_cell_that_runs_again_replaces_its_lab() -> None:
    """Running the cell of an exercise twice leaves one lab, not two."""
    exercise("77-narrow")
    exercise("77-narrow")
    assert [lab.name for lab in living_labs()] == ["77-narrow"]


def test_buttons_do_what_the_methods_do() -> None:
    """Check, hint, solution and start over come as messages from the browser."""
    task = exercise("77-narrow")
    for what in ("check", "hint", "solution"):
        task._handle_custom_msg({"do": what}, [])
    assert task.verdict["saw"] == "lo is <wide>"
    assert task.hints == [f"Hint 1: look at {task.one}"]
    assert "mtu 1000" in task.solved
    task._handle_custom_msg({"do": "reset"}, [])
    assert task.verdict == {}


def test_a_host_that_is_gone_is_told_kindly() -> None:
    """A check in a lab that was taken apart is a verdict, not an exception."""
    task = exercise("77-narrow")
    task.lab.remove_host(task.one)
    verdict = task.check()
    assert not verdict.passed
    assert "start over" in verdict.look
    task.lab.close()
    assert task.closed is True
    assert not task.check().passed
    task.reset()
    assert task.check().saw == "lo is <wide>"


def test_a_fault_tells_only_its_symptom() -> None:
    """What it was is told when it is mended, and not before."""
    task = break_it("77-broken", fault="2000")
    assert task.goal.endswith("slow 2000")
    assert "it was" not in str(task) + str(task.check())
    task.solve()
    verdict = str(task.check())
    assert verdict.startswith("Mended: lo is narrow")
    assert "What it was: it was 2000" in verdict
    assert "How an expert finds it: look at lo" in verdict


def test_each_attempt_meets_another_fault() -> None:
    """Whoever mends one gets the next, until all were there."""
    seen = set()
    for _ in range(3):
        task = break_it("77-broken")
        seen.add(task.goal)
        records.note_check("77-broken", passed=True)
    assert len(seen) == 3


def test_a_wrong_key_says_which_there_are() -> None:
    """A name that is not there, or is of the other kind, is told with what there is."""
    with pytest.raises(NotFoundError, match="77-narrow, 77-broken"):
        exercise("77-nothing")
    with pytest.raises(InvalidInputError, match="use break_it"):
        exercise("77-broken")
    with pytest.raises(InvalidInputError, match=r"use exercise"):
        break_it("77-narrow")
    with pytest.raises(InvalidInputError, match="2000, 3000, 4000"):
        break_it("77-broken", fault="5000")
    assert not living_labs()


def test_a_role_that_is_not_there() -> None:
    """An attribute that is no role is an AttributeError, as in any object."""
    with pytest.raises(AttributeError, match="nobody"):
        _ = exercise("77-narrow").nobody


def test_a_saved_notebook_keeps_the_goal() -> None:
    """Without widgets the goal and the commands for its terminals can be read."""
    task = exercise("77-narrow")
    bundle: Any = task._repr_mimebundle_()
    page = (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
    assert f"{task.one} in 10." in page
    assert f"netlab shell 77-narrow/{task.one}" in page
