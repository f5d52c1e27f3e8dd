"""Measure, compare and print: medians of several rounds, and ratios taken within one run."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number: the median of its rounds, with the least and the greatest.

    ``aim`` is what we aim at, in words; ``met`` says whether this run met it, None where there is nothing to meet.
    ``note`` says why a number is missing, or what it was taken from.
    """

    what: str
    unit: str
    values: tuple[float, ...] = ()
    aim: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        """The median, or None where nothing was measured."""
        return statistics.median(self.values) if self.values else None


def clock(action: Callable[[], object]) -> float:
    """Return how many seconds an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def ratio(what: str, above: Figure, below: Figure, aim: tuple[str, float]) -> Figure:
    """Compare the medians of two figures; ``aim`` is ("≤" or "≥", a number)."""
    sign, limit = aim
    if above.median is None or not below.median:
        missing = above if above.median is None else below
        return Figure(what, "×", aim=f"{sign} {limit:g} ×", note=missing.note)
    value = above.median / below.median
    return Figure(what, "×", (value,), f"{sign} {limit:g} ×", value <= limit if sign == "≤" else value >= limit)


def at_most(what: str, unit: str, values: list[float], limit: float) -> Figure:
    """Return a figure whose median should not be greater than a limit."""
    return Figure(what, unit, tuple(values), f"≤ {limit:g} {unit}", statistics.median(values) <= limit)
