"""What is noted of a reader: the answers to predictions, and how exercises went."""

from __future__ import annotations

import csv
import io
import time
import warnings
from typing import TYPE_CHECKING, Any

from netlab.course.store import Store, note_time
from netlab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

_EXERCISE = {"attempt": 1, "checks": 0, "hints": 0, "solution": False, "passed": None, "passed_attempt": 0}
COLUMNS = ("chapter", "kind", "key", "answer", "truth", "passed", "checks", "hints", "solution", "attempt", "minutes")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _note(key: str, change: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Change the record; a disk that is full must not stop a chapter, so it is a warning then."""

    def both(record: dict[str, Any]) -> None:
        note_time(record, key)
        change(record)

    try:
        return Store.default().change(both)
    except LabError as error:
        warnings.warn(str(error), stacklevel=4)
        return None


def note_prediction(key: str, **facts: Any) -> None:
    """Keep an answer, or what turned out to be so."""

    def change(record: dict[str, Any]) -> None:
        record["predictions"].setdefault(key, {}).update(facts | {"time": _now()})

    _note(key, change)


def prediction(key: str) -> dict[str, Any]:
    """Return what is kept of a prediction."""
    return _read("predictions", key)


def _read(part: str, key: str) -> dict[str, Any]:
    try:
        return dict(Store.default().read()[part].get(key, {}))
    except LabError as error:
        warnings.warn(str(error), stacklevel=3)
        return {}


def begin(key: str) -> str:
    """Begin or begin again with an exercise; return the seed: a new one if the last attempt was passed."""
    seed = "1"

    def change(record: dict[str, Any]) -> None:
        nonlocal seed
        kept = record["exercises"].setdefault(key, dict(_EXERCISE))
        if kept["passed_attempt"] >= kept["attempt"]:
            kept["attempt"] += 1
        seed = f"{record['salt']}-{kept['attempt']}"

    _note(key, change)
    return seed


def note_check(key: str, *, passed: bool) -> None:
    """Count a check; the first pass keeps its time."""

    def change(record: dict[str, Any]) -> None:
        kept = record["exercises"].setdefault(key, dict(_EXERCISE))
        kept["checks"] += 1
        if passed:
            kept["passed"] = kept["passed"] or _now()
            kept["passed_attempt"] = kept["attempt"]

    _note(key, change)


def note_help(key: str, *, solution: bool = False) -> None:
    """Count a hint, or keep that the solution was opened."""

    def change(record: dict[str, Any]) -> None:
        kept = record["exercises"].setdefault(key, dict(_EXERCISE))
        if solution:
            kept["solution"] = True
        else:
            kept["hints"] += 1

    _note(key, change)


def forget(chosen: Callable[[str], bool]) -> int:
    """Forget all whose key or chapter is chosen; return how many entries that were."""
    gone = 0

    def change(record: dict[str, Any]) -> None:
        nonlocal gone
        for part in ("chapters", "predictions", "exercises"):
            for key in [key for key in record[part] if chosen(key)]:
                del record[part][key]
                gone += 1

    Store.default().change(change)
    return gone


def to_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the record as rows with the `COLUMNS`: one for each chapter, prediction and exercise."""
    rows: list[dict[str, Any]] = []
    for number, chapter in record["chapters"].items():
        rows.append({"chapter": number, "kind": "chapter", "minutes": round(chapter["seconds"] / 60, 1)})
    for key, kept in record["predictions"].items():
        facts = {name: kept.get(name) for name in ("answer", "truth")}
        rows.append({"chapter": key[:2], "kind": "prediction", "key": key, **facts})
    for key, kept in record["exercises"].items():
        facts = {name: kept[name] for name in ("passed", "checks", "hints", "solution", "attempt")}
        rows.append({"chapter": key[:2], "kind": "exercise", "key": key, **facts})
    order = ("chapter", "prediction", "exercise")
    return sorted(rows, key=lambda row: (row["chapter"], order.index(row["kind"]), row.get("key", "")))


def to_csv(record: dict[str, Any]) -> str:
    """Return the record as CSV (RFC 4180), one row for each chapter, prediction and exercise."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_rows(record))
    return stream.getvalue()
