"""Answers that are Python: how a check calls them, and what it hears of the routes meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from netlab import Lab
from netlab.course.answers import call, define
from netlab.course.changes import RouteChanges, look_at_reconcile
from netlab.course.task import Task
from netlab.course.values import Exercise, Verdict, passed
from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from netlab.course.scene import Scene


def test_a_function_that_ends_has_no_problem() -> None:
    """It got the arguments, and what it returns does not matter."""
    got: list[object] = []
    assert call(lambda *arguments: got.extend(arguments), 1, "two") == ""
    assert got == [1, "two"]


def test_an_error_is_told_with_the_line_of_the_reader() -> None:
    """Not the line of the library below, in which it was raised."""
    function = define("answer", "import json\ndef answer(text):\n    return json.loads(text)\n")
    assert call(function, "{").startswith("it raised JSONDecodeError in its line 3: Expecting")


def test_a_function_that_never_ends_is_left_behind() -> None:
    """The check goes on, and says so."""
    end = threading.Event()
    assert call(end.wait, patience=0.05) == "it has not come back after 0.05 s"
    end.set()


def test_a_source_must_define_the_function() -> None:
    """What is in labs/solutions is tried before a reader meets it."""
    with pytest.raises(InvalidInputError, match="defines no function 'answer'"):
        define("answer", "other = 1")


@pytest.mark.kernel
def test_an_exercise_that_asks_for_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the verdict says so; with one the check finds it, and the solution is its source."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    def check(scene: Scene) -> Verdict:
        return passed(str(scene.answer(20)))

    source = "def double(number):\n    return {number: 2 * number}[number]\n"
    spec = Exercise("99-double", "Double", "…", lambda _: None, check, {"double": source}, answer="double")
    task = Task(spec, seed="test-1")
    try:
        assert "there is no function double in this notebook" in task.check().saw
        assert task.check(task.do(spec.solution)).saw == "40"
        assert task.do({}) is None
        assert task.solution_text() == source.strip()
    finally:
        task.close()


@pytest.mark.kernel
def test_changes_that_were_undone_are_heard_of() -> None:
    """A route that was away for a moment is in the list of those that were removed; a replaced one is not."""
    with Lab("routes") as lab:
        red, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        red.add_route("10.9.0.0/16", via="10.0.0.2")
        with RouteChanges(red) as quiet:
            red.replace_route("10.9.0.0/16", via="10.0.0.3")
        with RouteChanges(red) as busy:
            red.remove_route("10.9.0.0/16")
            red.add_route("10.9.0.0/16", via="10.0.0.3")
        assert (len(quiet.added), quiet.removed) == (1, [])
        assert [str(route) for route in busy.removed] == ["10.9.0.0/16 via 10.0.0.3 dev eth0"]


@pytest.mark.kernel
def test_a_reconcile_function_may_do_nothing_where_all_is_right() -> None:
    """What is judged is the table, and what became of it: not that something was done."""
    with Lab("routes") as lab:
        red, blue = lab.add_host("red"), lab.add_host("blue")
        lab.connect(red, blue, "10.0.0.1/24", "10.0.0.2/24")
        red.run("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.2", "proto", "77", check=True)
        wanted = {"10.9.0.0/16": "10.0.0.2"}
        idle = look_at_reconcile(lambda *_: None, red, wanted, proto="77", when="now")
        lazy = look_at_reconcile(lambda *_: None, red, {}, proto="77", when="now")
        assert idle.passed
        assert "red still has 10.9.0.0/16 via 10.0.0.2 dev eth0, which nobody wants any more" in lazy.saw
