"""The panel of an exercise in a notebook: goal, hosts, check, hints, folded solution, start over."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import traitlets

from netlab.course.answers import find_in_notebook
from netlab.course.catalogue import find
from netlab.course.task import Task
from netlab.course.values import BreakFix, Exercise, Verdict, to_html
from netlab.course.widget import STATIC, CourseWidget
from netlab.errors import InvalidInputError, LabError
from netlab.view.notebook import Weak

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.host import Host
    from netlab.kubernetes.cluster import Cluster
    from netlab.lab import Lab

_TOLD = ("passed", "saw", "expected", "look", "word", "story", "journey")
#: The exercises of this notebook that are open, by their key: a cell that runs again replaces its own.
_open: dict[str, Panel] = {}


class Panel(CourseWidget):
    """An exercise at which the reader works; made by `exercise` and `break_it`.

    `check`, `hint`, `solution`, `solve` and `reset` do what the buttons do. An attribute with the name of a role, such
    as ``task.client``, is the name of that host, for use in ``%%host {task.client}``.
    """

    _esm = (STATIC / "panel.js").read_text("utf-8")
    heading = traitlets.Unicode().tag(sync=True)
    goal = traitlets.Unicode().tag(sync=True)
    hosts: Any = traitlets.List(help="[role, command that opens a terminal there] of each host").tag(sync=True)
    verdict: Any = traitlets.Dict(help="what the last check found, or nothing").tag(sync=True)
    hints: Any = traitlets.List(help="the hints so far").tag(sync=True)
    solved = traitlets.Unicode(help="the solution, once it was asked for").tag(sync=True)
    closed = traitlets.Bool(default_value=False).tag(sync=True)

    def __init__(self, task: Task) -> None:
        """Show a task that has just begun."""
        super().__init__(heading=task.spec.title)
        self._task = task
        self._show()
        self.on_msg(Weak(self._answer))

    def __getattr__(self, name: str) -> Any:
        """Return the name of the host that plays a role."""
        task = self.__dict__.get("_task")
        if task is not None and name in task.roles:
            return str(task.roles[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def lab(self) -> Lab:
        """The lab of this exercise."""
        return self._task.scene.lab

    @property
    def cluster(self) -> Cluster:
        """The cluster of this exercise; raises NotFoundError where it has none."""
        return self._task.scene.cluster

    def host(self, role: str) -> Host:
        """Return the host that plays a role."""
        return self._task.scene.host(role)

    def value(self, name: str) -> str:
        """Return a name or an address of this attempt, such as ``server_ip``; raises InvalidInputError."""
        return self._task.scene.fill("{" + name + "}")

    # -- what the buttons do --------------------------------------------------------

    def check(self, answer: Callable[..., object] | None = None) -> Verdict:
        """Look at the effect in the kernel and in real packets; return the verdict.

        Where the exercise asks for a function, it is ``answer``, or the notebook's function of that name.
        """
        if answer is None and self._task.answer:
            answer = find_in_notebook(self._task.answer)
        verdict = self._task.check(answer)
        self.verdict = {name: getattr(verdict, name) for name in _TOLD}
        return verdict

    def hint(self) -> str:
        """Return the next hint that fits the state of the lab."""
        text = self._task.hint()
        self.hints = [*self.hints, text]
        return text

    def solution(self) -> Folded:
        """Return a solution for this attempt, folded."""
        return Folded("A solution", self._solution())

    def solve(self) -> Folded:
        """Do what the solution says, and return it folded: so you can go on from there."""
        self.solved = self._task.solve()
        return Folded("The solution was put in", self.solved)

    def reset(self) -> None:
        """Start over: the lab is built from nothing, with other names and addresses if the exercise was passed."""
        self._task.start()
        self._show()

    def close(self) -> None:
        """End the lab and take the panel away."""
        if (task := self.__dict__.get("_task")) is not None:
            task.close()
        super().close()

    def _solution(self) -> str:
        self.solved = self._task.solution_text()
        return self.solved

    def _show(self) -> None:
        lab = self.lab
        lab.on_close(Weak(self._farewell))
        with self.hold_sync():
            self.goal = self._task.goal
            self.hosts = [[role, f"netlab shell {lab.name}/{name}"] for role, name in self._task.roles.items()]
            self.verdict, self.hints, self.solved, self.closed = {}, [], "", False

    def _farewell(self) -> None:
        self.closed = self.lab.closed

    def _answer(self, _panel: object, content: dict[str, Any], _buffers: object) -> None:
        """Do what a button asks for; what goes wrong is shown in the panel, where the reader looks."""
        actions: dict[str, Callable[[], object]] = {
            "check": self.check,
            "hint": self.hint,
            "solution": self._solution,
            "reset": self.reset,
        }
        try:
            actions[content["do"]]()
        except LabError as error:
            self.verdict = {"passed": False, "saw": str(error), "look": "run the cell of this exercise again."}
        self.send({"did": content["do"]})

    # -- without a browser -------------------------------------------------------------

    def __str__(self) -> str:
        """Return the goal, the hosts, and the last verdict."""
        hosts = "\n".join(f"  {role}: {command}" for role, command in self.hosts)
        return f"{self.heading}\n\n{self.goal}\n\n{hosts}"

    def __repr__(self) -> str:
        """Return what it is, in a few words."""
        return f"<Exercise {self._task.spec.key}>"

    def still(self) -> str:
        """Return the goal, and how to open terminals."""
        goal = "".join(f"<p>{to_html(part)}</p>" for part in self.goal.split("\n\n"))
        hosts = "".join(f"<li>{html.escape(role)}: <code>{html.escape(line)}</code></li>" for role, line in self.hosts)
        return f"<section><p><strong>{html.escape(self.heading)}</strong></p>{goal}<ul>{hosts}</ul></section>"


class Folded:
    """A text that is folded in a notebook, and plain elsewhere."""

    def __init__(self, summary: str, text: str) -> None:
        """Keep both; `summary` is what can be seen at once."""
        self.summary, self.text = summary, text

    def __repr__(self) -> str:
        """Return the text."""
        return f"{self.summary}:\n{self.text}"

    def _repr_html_(self) -> str:
        return f"<details><summary>{html.escape(self.summary)}</summary><pre>{html.escape(self.text)}</pre></details>"


def exercise(key: str, *, seed: str | None = None) -> Panel:
    """Begin an exercise by its key, in a lab of its own with all work before it done; shown in a notebook.

    Running it again starts over. ``seed`` fixes names and addresses, which else vary by attempt. Raises NotFoundError.
    """
    spec = find(key)
    if not isinstance(spec, Exercise):
        raise InvalidInputError(f"{key!r} is a fault: use break_it({key!r}).")
    return _begin(key, Task(spec, seed=seed))


def break_it(key: str, *, seed: str | None = None, fault: str | None = None) -> Panel:
    """Build a lab that works, put one of several faults in, and tell only the symptom; as `exercise`.

    ``fault`` chooses one by name, for teachers. Raises NotFoundError.
    """
    spec = find(key)
    if not isinstance(spec, BreakFix):
        raise InvalidInputError(f"{key!r} is an exercise: use exercise({key!r}).")
    if fault is not None and fault not in {one.name for one in spec.faults}:
        raise InvalidInputError(f"{key!r} has the faults {', '.join(one.name for one in spec.faults)}; not {fault!r}.")
    return _begin(key, Task(spec, seed=seed, fault=fault))


def _begin(key: str, task: Task) -> Panel:
    if (older := _open.pop(key, None)) is not None:
        older.close()
    panel = _open[key] = Panel(task)
    return panel
