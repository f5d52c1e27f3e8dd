"""Predictions: the reader commits to an answer, and sees it beside what the kernel did."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import traitlets

from netlab.course import records
from netlab.course.catalogue import check_key
from netlab.course.widget import STATIC, CourseWidget
from netlab.errors import InvalidInputError
from netlab.view.notebook import Weak

if TYPE_CHECKING:
    from collections.abc import Sequence

_NONE = "nothing yet: you made no prediction"


class Prediction(CourseWidget):
    """A question that waits for nobody; made by `predict`. `decide` shows answer and outcome side by side."""

    _esm = (STATIC / "predict.js").read_text("utf-8")
    question = traitlets.Unicode().tag(sync=True)
    kind = traitlets.Unicode(help="options, number or order").tag(sync=True)
    choices: Any = traitlets.List(help="the options, or what is to be put in order").tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    answer: Any = traitlets.Any(default_value=None, allow_none=True).tag(sync=True)
    truth: Any = traitlets.Any(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, key: str, question: str, kind: str, choices: Sequence[str] = (), unit: str = "") -> None:
        """Ask; an answer that was given in an earlier run is still there."""
        self._key = key
        kept = records.prediction(key)
        known = kept.get("answer") if kept.get("question") == question else None
        super().__init__(question=question, kind=kind, choices=list(choices), unit=unit, answer=known)
        self.on_msg(Weak(self._receive))

    def commit(self, answer: str | float | Sequence[str]) -> Prediction:
        """Commit to an answer, as the button does; raises InvalidInputError if it is not offered, or too late."""
        if self.truth is not None:
            raise InvalidInputError("It is decided already. Run the cell of the question again to predict anew.")
        self.answer = self._checked(answer)
        records.note_prediction(self._key, question=self.question, answer=self.answer)
        return self

    def decide(self, truth: str | float | Sequence[str]) -> Outcome:
        """Say what really happened; return it beside the reader's answer."""
        self.truth = self._checked(truth)
        records.note_prediction(self._key, question=self.question, truth=self.truth)
        return Outcome(self._words(self.answer) if self.answer is not None else _NONE, self._words(self.truth))

    def _checked(self, answer: str | float | Sequence[str]) -> str | float | list[str]:
        if self.kind == "number":
            if isinstance(answer, bool) or not isinstance(answer, (int, float)):
                raise InvalidInputError(f"The answer must be a number; {answer!r} is not.")
            return answer
        if self.kind == "order":
            if isinstance(answer, (str, int, float)) or sorted(answer) != sorted(self.choices):
                raise InvalidInputError(f"The answer must hold each of these once: {', '.join(self.choices)}.")
            return list(answer)
        if answer not in self.choices:
            raise InvalidInputError(f"The answer must be one of: {'; '.join(self.choices)}. {answer!r} is not.")
        return str(answer)

    def _words(self, answer: Any) -> str:
        if isinstance(answer, list):
            return ", ".join(answer)
        return f"{answer:g} {self.unit}".strip() if isinstance(answer, (int, float)) else str(answer)

    def _receive(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        """Keep what was committed in the browser; what it cannot send is a mistake of ours, and raises."""
        if self.truth is None:
            self.commit(content["commit"])

    def __str__(self) -> str:
        """Return the question, what can be answered, and the answer."""
        lines = [self.question, *(f"  ○ {choice}" for choice in self.choices)]
        return "\n".join([*lines, f"You said: {self._words(self.answer) if self.answer is not None else _NONE}"])

    def __repr__(self) -> str:
        """Return what it is, in a few words."""
        return f"<Prediction {self._key}: {self.answer if self.answer is not None else 'open'}>"

    def still(self) -> str:
        """Return the question and its options."""
        items = "".join(f"<li>{html.escape(choice)}</li>" for choice in self.choices)
        return f"<section><p><strong>{html.escape(self.question)}</strong></p><ul>{items}</ul></section>"


class Outcome:
    """The reader's answer and what happened, side by side; no mark is given."""

    def __init__(self, said: str, happened: str) -> None:
        """Keep both, in words."""
        self.said, self.happened = said, happened

    def __repr__(self) -> str:
        """Return both as text."""
        return f"You said:     {self.said}\nThe kernel:   {self.happened}"

    def _repr_html_(self) -> str:
        rows = (("You said", self.said), ("The kernel", self.happened))
        cells = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(text)}</td></tr>' for name, text in rows)
        return f"<table>{cells}</table>"


def predict(
    key: str,
    question: str,
    *,
    options: Sequence[str] | None = None,
    number: str | None = None,
    order: Sequence[str] | None = None,
) -> Prediction:
    """Ask for a prediction and go on at once; the answer is kept under the key, such as "02-which-route".

    One of: ``options`` to choose from, ``number`` with the unit of the number wanted, ``order`` with what the reader
    puts in order. Raises InvalidInputError.
    """
    check_key(key)
    given = [kind for kind, value in (("options", options), ("number", number), ("order", order)) if value is not None]
    if len(given) != 1:
        raise InvalidInputError("A prediction takes one of options, number and order.")
    choices = list(options or order or ())
    if given != ["number"] and (len(choices) < 2 or len(set(choices)) != len(choices)):  # noqa: PLR2004 - a choice
        raise InvalidInputError("A prediction needs two different answers at least.")
    return Prediction(key, question, given[0], choices, number or "")
