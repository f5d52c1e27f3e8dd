"""Each exercise and each fault of labs/solutions, in a real kernel, as readers meet them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest

from netlab.course.catalogue import chapters, labs_folder, load
from netlab.course.task import Task
from netlab.course.values import BreakFix, Exercise, Fault, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netlab.course.scene import Scene
    from netlab.course.values import Work

FILES = sorted((labs_folder() / "solutions").glob("[0-9][0-9]-*.py"))
SEED = "test-1"
#: Seconds: what a reader waits for a verdict at most.
PATIENCE = 2.0
AT_ONCE = 4


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


class Attempt(NamedTuple):
    """What somebody does in the lab of a case, and what must come of it."""

    case: Case
    name: str
    work: Work
    good: bool
    says: str = ""


class Found(NamedTuple):
    """What came of an attempt: the verdict, the texts that were shown, and the scene, which is closed."""

    verdict: Verdict
    hint: str
    texts: list[str]
    scene: Scene


def attempts(case: Case) -> Iterator[Attempt]:
    """Go through what is to be tried: nothing, the solution, other ways, usual mistakes."""
    yield Attempt(case, "untouched", {}, good=False)
    yield Attempt(case, "solution", case.solution, good=True)
    for number, work in enumerate(case.source.others, 1):
        yield Attempt(case, f"other way {number}", work, good=True)
    for mistake in case.source.mistakes:
        yield Attempt(case, f"mistake: {mistake.name}", mistake.work, good=False, says=mistake.says)


ATTEMPTS = [attempt for case in cases() for attempt in attempts(case)]
each_attempt = pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda one: f"{one.case.name} {one.name}")
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Future[Found]]]:
    """Make the attempts that were asked for, some at once: most of their time is waiting for lost packets."""
    chosen = {
        id(attempt): attempt
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        if isinstance(attempt := item.callspec.params.get("attempt"), Attempt)
    }
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(AT_ONCE) as pool:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield {key: pool.submit(make, attempt) for key, attempt in chosen.items()}


def make(attempt: Attempt) -> Found:
    """Do the work in a fresh lab, and check it."""
    task = attempt.case.begin()
    try:
        verdict = task.check(task.do(attempt.work, checked=attempt.good))
        texts = [task.scene.fill(text) for text in texts_of(attempt.case)]
        return Found(verdict, task.hint() if not attempt.work else "", texts, task.scene)
    finally:
        task.close()


def texts_of(case: Case) -> list[str]:
    """Return every text for the reader, in which only names of its lab may stand."""
    source = case.source
    texts = [case.spec.goal, *(hint.text for hint in case.spec.hints)]
    return texts + ([source.was, source.found, source.symptom] if isinstance(source, Fault) else [source.why])


@pytest.mark.kernel
@each_attempt
def test_each_attempt_gets_its_verdict(attempt: Attempt, found: dict[int, Future[Found]]) -> None:
    """What has the effect passes, however it was done; a mistake, or a false pass, gets the message meant for it."""
    verdict, _, texts, scene = found[id(attempt)].result()
    assert verdict.passed is attempt.good, str(verdict)
    # Others at work at the same time make it slow: what counts is how long it takes alone.
    assert verdict.seconds < PATIENCE or make(attempt).verdict.seconds < PATIENCE
    assert scene.fill(attempt.says) in str(verdict)
    assert not [text for text in texts if "{" in text]
    if attempt.good:
        assert str(verdict).startswith("Mended: " if attempt.case.fault else "Done: ")
        assert scene.fill(attempt.case.fault.was if attempt.case.fault else "") in verdict.story
    else:
        assert "could not look" not in verdict.saw
        assert verdict.expected
        assert verdict.look


@pytest.mark.kernel
@pytest.mark.parametrize("attempt", [one for one in ATTEMPTS if not one.work], ids=lambda one: one.case.name)
def test_who_did_nothing_is_helped(attempt: Attempt, found: dict[int, Future[Found]]) -> None:
    """There is a hint, and neither it nor the verdict gives the answer away."""
    verdict, hint, _, scene = found[id(attempt)].result()
    assert hint.startswith("Hint 1: ")
    told = f"{verdict} {hint} {scene.fill(attempt.case.fault.symptom) if attempt.case.fault else ''}"
    for role, script in attempt.case.solution.items():
        # The source of a function stands as it is: its braces are Python's.
        shown = script if role == getattr(attempt.case.spec, "answer", None) else scene.fill(script)
        assert shown.strip() not in told
    if attempt.case.fault:
        assert scene.fill(attempt.case.fault.was) not in told


@each_file
def test_a_chapter_has_enough(path: Path) -> None:
    """Two exercises, a break-fix with three faults, and three usual mistakes at least; chapter 00 only shows how."""
    specs = load(path)
    exercises = [spec for spec in specs if isinstance(spec, Exercise)]
    hunts = [spec for spec in specs if isinstance(spec, BreakFix)]
    assert len(exercises) >= (1 if path.stem == "00-welcome" else 2)
    assert hunts or path.stem == "00-welcome"
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
