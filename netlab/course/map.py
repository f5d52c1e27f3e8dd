"""The map of the course: each chapter, and how far the reader has come; for chapter 00 and the command line."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from netlab.course.catalogue import Chapter, chapters
from netlab.course.store import Store

_HEADS = ("Chapter", "Predictions", "Exercises", "Faults mended", "Hints", "Minutes")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the reader has come in one chapter: counts of what is done, beside what the chapter asks."""

    chapter: Chapter
    predictions: int
    exercises: int
    faults: int
    hints: int
    minutes: int

    @property
    def state(self) -> str:
        """Return "done", "begun" or "not yet"."""
        asked = (len(self.chapter.predictions), len(self.chapter.exercises), len(self.chapter.faults))
        done = (self.predictions, self.exercises, self.faults)
        if any(asked) and done == asked:
            return "done"
        return "begun" if any((*done, self.minutes)) else "not yet"

    @property
    def cells(self) -> tuple[str, ...]:
        """Return what stands in the columns after the title."""
        chapter = self.chapter
        return (
            _of(self.predictions, len(chapter.predictions)),
            _of(self.exercises, len(chapter.exercises)),
            _of(self.faults, len(chapter.faults)),
            str(self.hints),
            f"{self.minutes} of about {chapter.minutes}",
        )


def _of(done: int, asked: int) -> str:
    return f"{done} of {asked}" if asked else "none"


def standings(record: dict[str, Any], known: list[Chapter]) -> list[Standing]:
    """Return the standing in each chapter; pure."""
    answered = {key for key, kept in record["predictions"].items() if kept.get("answer") is not None}
    kept = record["exercises"]
    passed = {key for key, one in kept.items() if one["passed"]}
    return [
        Standing(
            chapter,
            len(answered & set(chapter.predictions)),
            len(passed & set(chapter.exercises)),
            len(passed & set(chapter.faults)),
            sum(one["hints"] for key, one in kept.items() if key[:2] == chapter.number),
            round(record["chapters"].get(chapter.number, {}).get("seconds", 0) / 60),
        )
        for chapter in known
    ]


@dataclass(frozen=True, slots=True)
class CourseMap:
    """The map as it was when it was asked for: a table in a notebook, lines of text elsewhere."""

    standings: tuple[Standing, ...]

    def __repr__(self) -> str:
        """Return it as text."""
        marks = {"done": "●", "begun": "◐", "not yet": "○"}
        return "\n".join(
            f"{marks[one.state]} {one.chapter.title:44} {one.state:8} predictions {one.cells[0]}, "
            f"exercises {one.cells[1]}, faults mended {one.cells[2]}, minutes {one.cells[4]}"
            for one in self.standings
        )

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in (*_HEADS, "State"))
        rows = "".join(_row(one) for one in self.standings)
        return f"<table><caption>The course, and how far you are</caption><tr>{head}</tr>{rows}</table>"


def _row(one: Standing) -> str:
    link = f'<a href="{html.escape(one.chapter.path.name)}">{html.escape(one.chapter.title)}</a>'
    cells = "".join(f"<td>{cell}</td>" for cell in (*one.cells, one.state))
    return f'<tr><th scope="row">{link}</th>{cells}</tr>'


def show_map() -> CourseMap:
    """Return the map of the course with the reader's progress in it; raises LabError where that cannot be read."""
    return CourseMap(tuple(standings(Store.default().read(), chapters())))
