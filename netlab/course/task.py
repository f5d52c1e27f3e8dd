"""An exercise while somebody works on it, without any widget: start, check, hint, solution, start over."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING

from netlab.course import answers, records
from netlab.course.scene import KUBECTL, Scene
from netlab.course.values import BreakFix, Exercise, Fault, Hint, Verdict, failed
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netlab.course.values import Work
    from netlab.host import Host


class Task:
    """One attempt at an exercise or a fault, in a lab of its own; made by `exercise` and `break_it`.

    ``task.client`` is the name of the host with the role ``client``.
    """

    def __init__(self, spec: Exercise | BreakFix, *, seed: str | None = None, fault: str | None = None) -> None:
        """Build the lab; ``seed`` and ``fault`` choose what else the reader's record would choose."""
        self.spec = spec
        self._given = (seed, fault)
        self._scene: Scene | None = None
        self.fault: Fault | None = None
        self.start()

    # -- the lab ----------------------------------------------------------------

    def start(self) -> None:
        """Build the lab from nothing; an older one is closed."""
        self.close()
        seed = records.begin(self.spec.key) if self._given[0] is None else self._given[0]
        self._given_hints: list[Hint] = []
        scene = self._scene = Scene(self.spec.key, seed)
        try:
            self.spec.setup(scene)
            scene.settle()
            self.fault = self._choose(seed)
            if self.fault:
                scene.work(self.fault.work)
        except BaseException:
            scene.close()
            raise

    def _choose(self, seed: str) -> Fault | None:
        """Choose the fault: one attempt after the other meets another one, in an order that the seed decides."""
        if not isinstance(self.spec, BreakFix):
            return None
        if self._given[1] is not None:
            return next(fault for fault in self.spec.faults if fault.name == self._given[1])
        salt, _, attempt = seed.rpartition("-")
        order = list(self.spec.faults)
        random.Random(f"{self.spec.key} {salt}").shuffle(order)  # noqa: S311 - not for secrets
        return order[int(attempt) % len(order)] if attempt.isdigit() else order[0]

    @property
    def scene(self) -> Scene:
        """The lab with its roles, names and addresses."""
        if self._scene is None:
            raise LabError("This exercise was closed; run its cell again.")
        return self._scene

    @property
    def roles(self) -> dict[str, str]:
        """The names of the hosts by their role."""
        return self.scene.roles

    @property
    def hosts(self) -> dict[str, Host]:
        """The hosts by their role."""
        return {role: self.scene.host(role) for role in self.roles}

    def close(self) -> None:
        """End the lab; may be called twice."""
        if self._scene is not None:
            self._scene.close()

    # -- what a reader asks -------------------------------------------------------

    @property
    def goal(self) -> str:
        """The goal, with the names and addresses of this attempt; of a fault only its symptom."""
        symptom = f"\n\n{self.fault.symptom}" if self.fault else ""
        return self.scene.fill(self.spec.goal + symptom)

    def check(self, answer: Callable[..., object] | None = None) -> Verdict:
        """Look at the effect in the kernel and in real packets, and return the verdict.

        ``answer`` is the reader's function, where the exercise asks for one.
        """
        begin = time.monotonic()
        try:
            verdict = self._look(answer)
        except LabError as error:
            verdict = failed(
                f"the check could not look: {error}",
                "the lab of this exercise, with all of its hosts and cables",
                "start over: that builds the lab anew.",
            )
        story = ""
        if verdict.passed and isinstance(self.spec, Exercise):
            story = self.scene.fill(self.spec.why)
        elif verdict.passed and self.fault:
            story = self.scene.fill(f"What it was: {self.fault.was}\n\nHow an expert finds it: {self.fault.found}")
        word = "Mended" if self.fault else "Done"
        records.note_check(self.spec.key, passed=verdict.passed)
        return dataclasses.replace(verdict, word=word, story=story, seconds=time.monotonic() - begin)

    def _look(self, answer: Callable[..., object] | None) -> Verdict:
        name = self.answer
        if name and answer is None:
            return failed(
                f"there is no function {name} in this notebook",
                f"a function with the name {name}, as the goal describes it",
                "the cell in which you write it: has it run?",
            )
        if answer is not None:
            self.scene.answer = answer
        self.scene.await_cables()
        return self.spec.check(self.scene)

    def hint(self) -> str:
        """Return the next hint that fits the state of the lab; the last one again when there is no other."""
        offered = (*(self.fault.hints if self.fault else ()), *self.spec.hints)
        for hint in offered:
            if hint not in self._given_hints and self._fits(hint):
                self._given_hints.append(hint)
                records.note_help(self.spec.key)
                return f"Hint {len(self._given_hints)}: {self.scene.fill(hint.text)}"
        if not self._given_hints:
            return "There is no hint for the state that your lab is in. Run the check, and go by what it says."
        last = self.scene.fill(self._given_hints[-1].text)
        return f"There is no other hint for the state that your lab is in. The last one was: {last}"

    def _fits(self, hint: Hint) -> bool:
        try:
            return hint.when is None or hint.when(self.scene)
        except LabError:
            return False  # what it asks about is gone; so it says nothing about this lab

    def solution_text(self) -> str:
        """Return a solution for this attempt, host by host; that it was opened is kept."""
        records.note_help(self.spec.key, solution=True)
        if self.answer:
            return self._work[self.answer].strip()
        parts = [f"# {self._place(role)}\n{self.scene.fill(script).strip()}" for role, script in self._work.items()]
        text = "\n\n".join(parts)
        if self.fault:
            text += "\n\n" + "\n".join(f"# {line}" for line in self.scene.fill(self.fault.was).splitlines())
        return text

    def _place(self, role: str) -> str:
        if role == KUBECTL:
            return f"on the cluster, each as %kubectl --context {self.scene.key} …"
        return f"in {self.scene.values[role]}"

    def solve(self) -> str:
        """Do what the solution says, so that you can go on from there; return what was done."""
        text = self.solution_text()
        if (function := self.do(self._work)) is not None:
            answers.put_into_notebook(self.answer, function)
        return text

    def do(self, work: Work, *, checked: bool = True) -> Callable[..., object] | None:
        """Do a work in the lab; return the function that it defines, where the exercise asks for one."""
        if not self.answer:
            self.scene.work(work, checked=checked)
            return None
        return answers.define(self.answer, work[self.answer]) if work else None

    @property
    def answer(self) -> str:
        """The name of the function that the reader is to write, or nothing."""
        return self.spec.answer if isinstance(self.spec, Exercise) else ""

    @property
    def _work(self) -> dict[str, str]:
        return dict(self.spec.solution if isinstance(self.spec, Exercise) else (self.fault or self.spec.faults[0]).fix)
