"""Each exercise and each fault of labs/solutions, in a real kernel, as readers meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from netlab.course.catalogue import chapters, labs_folder, load
from netlab.course.task import Task
from netlab.course.values import BreakFix, Exercise, Fault, Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netlab.course.values import Work

FILES = sorted((labs_folder() / "solutions").glob("[0-9][0-9]-*.py"))
SEED = "test-1"
#: Seconds: what a reader waits for a verdict at most.
PATIENCE = 2.0


class Case(NamedTuple):
    """An exercise, or a fault of one."""

    spec: Exercise | BreakFix
    fault: Fault | None

    @property
    def source(self) -> Exercise | Fault:
        """What has the solutions and the mistakes."""
        return self.fault or self.spec  # type: ignore[return-value]

    @property
    def solution(self) -> Work:
        """What mends it."""
        return self.source.solution if isinstance(self.source, Exercise) else self.source.fix

    @property
    def name(self) -> str:
        """The key, and the fault's name."""
        return f"{self.spec.key}/{self.fault.name}" if self.fault else self.spec.key

    def begin(self) -> Task:
        """Build its lab."""
        return Task(self.spec, seed=SEED, fault=self.fault.name if self.fault else None)


def cases() -> Iterator[Case]:
    """Go through all exercises and all faults."""
    for spec in (spec for path in FILES for spec in load(path)):
        if isinstance(spec, BreakFix):
            yield from (Case(spec, fault) for fault in spec.faults)
        else:
            yield Case(spec, None)


CASES = list(cases())
OTHERS = [
    pytest.param(case, work, id=f"{case.name}-{n}") for case in CASES for n, work in enumerate(case.source.others)
]
MISTAKES = [
    pytest.param(case, mistake, id=f"{case.name}: {mistake.name}") for case in CASES for mistake in case.source.mistakes
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests out of anybody's progress."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def attempt(case: Case, work: Work, *, checked: bool = True) -> tuple[bool, str, Task]:
    """Do some work in a fresh lab; return whether the check passed, its words, and the task, which is closed."""
    task = case.begin()
    try:
        task.scene.work(work, checked=checked)
        verdict = task.check()
    finally:
        task.close()
    assert verdict.seconds < PATIENCE
    return verdict.passed, str(verdict), task


def texts_of(case: Case) -> list[str]:
    """Return every text for the reader, in which only names of its lab may stand."""
    source = case.source
    texts = [case.spec.goal, *(hint.text for hint in case.spec.hints)]
    return texts + ([source.was, source.found, source.symptom] if isinstance(source, Fault) else [source.why])


@pytest.mark.kernel
@each_case
def test_untouched_fails_kindly(case: Case) -> None:
    """Nothing was done: the verdict says what was seen, what was expected and where to look; a hint is there."""
    task = case.begin()
    try:
        verdict = task.check()
        assert not verdict.passed
        assert verdict.saw
        assert verdict.expected
        assert verdict.look
        assert "could not look" not in verdict.saw
        assert verdict.seconds < PATIENCE
        assert task.hint().startswith("Hint 1: ")
        for script in case.solution.values():
            assert task.scene.fill(script) not in str(verdict), "the answer is given away"
        for words in texts_of(case):
            assert "{" not in task.scene.fill(words)
    finally:
        task.close()


@pytest.mark.kernel
@each_case
def test_solution_passes(case: Case) -> None:
    """The solution does it, and tells what it had been."""
    good, text, task = attempt(case, case.solution)
    assert good, text
    assert text.startswith("Mended: " if case.fault else "Done: ")
    if case.fault:
        assert task.scene.fill(case.fault.was) in text
        assert task.scene.fill(case.fault.found) in text


@pytest.mark.kernel
@pytest.mark.parametrize(("case", "work"), OTHERS)
def test_other_ways_pass(case: Case, work: Work) -> None:
    """What has the effect is right, however it was done."""
    good, text, _ = attempt(case, work)
    assert good, text


@pytest.mark.kernel
@pytest.mark.parametrize(("case", "mistake"), MISTAKES)
def test_mistakes_get_their_message(case: Case, mistake: Mistake) -> None:
    """A usual mistake does not pass, and is told from others; false passes are among them."""
    good, text, task = attempt(case, mistake.work, checked=False)
    assert not good
    assert task.scene.fill(mistake.says) in text


@each_file
def test_a_chapter_has_enough(path: Path) -> None:
    """Two exercises, a break-fix with three faults, and three usual mistakes at least."""
    specs = load(path)
    exercises = [spec for spec in specs if isinstance(spec, Exercise)]
    hunts = [spec for spec in specs if isinstance(spec, BreakFix)]
    assert len(exercises) >= 2
    assert hunts
    assert all(len(hunt.faults) >= 3 for hunt in hunts)
    assert all(len(exercise.mistakes) >= 3 and exercise.others for exercise in exercises)
    assert all(fault.mistakes for hunt in hunts for fault in hunt.faults)


@each_file
def test_chapter_and_solutions_agree(path: Path) -> None:
    """What a notebook asks for is there, and nothing lies unused."""
    (chapter,) = (chapter for chapter in chapters() if chapter.path.stem == path.stem)
    specs = load(path)
    assert set(chapter.exercises) == {spec.key for spec in specs if isinstance(spec, Exercise)}
    assert set(chapter.faults) == {spec.key for spec in specs if isinstance(spec, BreakFix)}
    assert all(key.startswith(f"{chapter.number}-") for key in (*chapter.predictions, *chapter.exercises))
