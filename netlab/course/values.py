"""What an exercise is made of: frozen values, written down in labs/solutions and read by `netlab.course.task`."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from netlab.course.scene import Scene

    #: Commands by the role of the host in which bash runs them, or by ``kubectl``, which a cluster obeys.
    #: ``{placeholders}`` are filled by `Scene.fill`.
    Work = Mapping[str, str]


def to_html(text: str) -> str:
    """Return a text for the reader as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: what it saw, what it expected, and where to look next.

    ``word`` begins the text of one that passed; ``story`` is told below it; ``journey`` is what the packet met, where
    that is the evidence.
    """

    passed: bool
    saw: str
    expected: str = ""
    look: str = ""
    word: str = "Done"
    story: str = ""
    journey: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return it as text."""
        lines = [f"{self.word}: {self.saw}" if self.passed else f"Not yet. Seen: {self.saw}"]
        lines += [f"  Expected: {self.expected}"] if self.expected and not self.passed else []
        lines += [f"  Look next: {self.look}"] if self.look and not self.passed else []
        lines += ["", self.story] if self.story else []
        lines += ["", self.journey] if self.journey and not self.passed else []
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return it as text: it is what a cell shows."""
        return str(self)

    def _repr_html_(self) -> str:
        head = f"✓ {self.word}" if self.passed else "○ Not yet"
        rows = [("Seen", self.saw)]
        rows += [] if self.passed else [("Expected", self.expected), ("Look next", self.look)]
        body = "".join(f"<dt>{name}</dt><dd>{to_html(text)}</dd>" for name, text in rows if text)
        story = "".join(f"<p>{to_html(part)}</p>" for part in self.story.split("\n\n") if part)
        if self.journey and not self.passed:
            story += f"<details><summary>What the packet met</summary><pre>{html.escape(self.journey)}</pre></details>"
        return f"<div><strong>{html.escape(head)}</strong><dl>{body}</dl>{story}</div>"


def passed(saw: str) -> Verdict:
    """Return the verdict of a check that found what it wanted."""
    return Verdict(passed=True, saw=saw)


def failed(saw: str, expected: str, look: str, journey: str = "") -> Verdict:
    """Return the verdict of a check that found something else; ``look`` points on, and gives no answer away."""
    return Verdict(passed=False, saw=saw, expected=expected, look=look, journey=journey)


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint, given only while ``when`` holds in the reader's lab."""

    text: str
    when: Callable[[Scene], bool] | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A usual wrong try, and words that the verdict on it must hold."""

    name: str
    work: Work
    says: str


@dataclass(frozen=True, slots=True)
class Exercise:
    """A goal, the lab it starts in, and a check that looks at the effect.

    ``others`` are solutions by other means; like ``mistakes``, they are what the tests try.

    Where ``answer`` names a Python function, that function is what the reader writes: each work has it as its only
    key, with its source (in which `Scene.fill` puts nothing), and the check finds it as ``scene.answer``.
    """

    key: str
    title: str
    goal: str
    setup: Callable[[Scene], None]
    check: Callable[[Scene], Verdict]
    solution: Work
    hints: tuple[Hint, ...] = ()
    others: tuple[Work, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    why: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a lab that works can be broken, and how it is found and mended."""

    name: str
    work: Work
    symptom: str
    was: str
    found: str
    fix: Work
    others: tuple[Work, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    hints: tuple[Hint, ...] = ()


@dataclass(frozen=True, slots=True)
class BreakFix:
    """A lab that works, faults of which one is put in, and a check of the symptom and of a control flow."""

    key: str
    title: str
    goal: str
    setup: Callable[[Scene], None]
    check: Callable[[Scene], Verdict]
    faults: tuple[Fault, ...]
    hints: tuple[Hint, ...] = field(default=())
