"""Predictions: what can be answered, what is kept, and that nobody has to be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from netlab.course import records
from netlab.course.prediction import predict
from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

KEY = "02-which-route"
OPTIONS = ["the first", "the last"]


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the tests out of anybody's progress."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def ask() -> Any:
    """Ask one of two."""
    return predict(KEY, "Which?", options=OPTIONS)


def test_without_a_person_it_goes_on() -> None:
    """Nothing waits for an answer, and the outcome says that there was none."""
    outcome = ask().decide("the last")
    assert "you made no prediction" in repr(outcome)
    assert outcome.happened == "the last"


def test_answer_and_outcome_stand_side_by_side() -> None:
    """Both are shown, no mark is given, and both are kept."""
    outcome = ask().commit("the first").decide("the last")
    assert (outcome.said, outcome.happened) == ("the first", "the last")
    assert "<td>the first</td>" in outcome._repr_html_()
    kept = records.prediction(KEY)
    assert (kept["answer"], kept["truth"]) == ("the first", "the last")


def test_a_button_of_the_browser_commits() -> None:
    """What the browser sends is kept as if it was typed."""
    which = ask()
    which._handle_custom_msg({"commit": "the first"}, [])
    assert which.answer == "the first"
    assert records.prediction(KEY)["answer"] == "the first"


def test_after_the_outcome_it_is_too_late() -> None:
    """Who has seen the answer does not predict any more, by hand or by button."""
    which = ask()
    which.decide("the last")
    with pytest.raises(InvalidInputError, match="decided already"):
        which.commit("the last")
    which._handle_custom_msg({"commit": "the last"}, [])
    assert which.answer is None


def test_the_answer_survives_a_restart() -> None:
    """A new kernel shows what was answered, and lets it be changed; another question starts empty."""
    ask().commit("the first").decide("the last")
    again = ask()
    assert again.answer == "the first"
    assert again.truth is None
    assert again.commit("the last").answer == "the last"
    assert predict(KEY, "Another?", options=OPTIONS).answer is None


@pytest.mark.parametrize(
    ("arguments", "good", "bad"),
    [
        ({"options": OPTIONS}, "the last", ["the middle", 3, "", ["the last"]]),
        ({"number": "packets"}, 5, ["5", True, [5]]),
        ({"order": ["a", "b", "c"]}, ["c", "a", "b"], [["a", "b"], ["a", "b", "b"], "abc", 3]),
    ],
)
def test_only_what_is_offered_can_be_answered(arguments: dict[str, Any], good: Any, bad: list[Any]) -> None:
    """An answer of another kind is refused, and says what is expected; so is such an outcome."""
    which = predict(KEY, "Which?", **arguments)
    for answer in bad:
        with pytest.raises(InvalidInputError, match="The answer must"):
            which.commit(answer)
        with pytest.raises(InvalidInputError, match="The answer must"):
            which.decide(answer)
    assert which.answer is None
    assert which.commit(good).answer == good


def test_units_are_shown() -> None:
    """A number is shown with what it counts."""
    assert repr(predict(KEY, "How many?", number="packets").commit(5).decide(7)).count("packets") == 2


@pytest.mark.parametrize(
    "arguments",
    [{}, {"options": OPTIONS, "number": "packets"}, {"options": ["one"]}, {"options": ["same", "same"]}, {"order": []}],
)
def test_a_question_has_one_kind_of_answer(arguments: dict[str, Any]) -> None:
    """A question that cannot be answered is a mistake of its author, and is told at once."""
    with pytest.raises(InvalidInputError):
        predict(KEY, "Which?", **arguments)


@pytest.mark.parametrize("key", ["", "route", "2-route", "02-", "02_route", "02-../x"])
def test_keys_name_their_chapter(key: str) -> None:
    """A key begins with the chapter's two digits."""
    with pytest.raises(InvalidInputError, match="A key is"):
        predict(key, "Which?", options=OPTIONS)


def test_a_saved_notebook_keeps_the_question() -> None:
    """Without widgets the question and its options can be read, and nothing in them is taken for markup."""
    which = predict(KEY, "Is 1 <b> 2?", options=["<i>yes</i>", "no"])
    bundle: Any = which._repr_mimebundle_()
    page = (bundle[0] if isinstance(bundle, tuple) else bundle)["text/html"]
    assert "Is 1 &lt;b&gt; 2?" in page
    assert "<li>&lt;i&gt;yes&lt;/i&gt;</li>" in page
    assert "○ no" in str(which)
