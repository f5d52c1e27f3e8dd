"""The teaching kit: predictions, exercises and faults, checked in the kernel, with the reader's progress kept.

Chapters use `predict`, `exercise`, `break_it` and `show_map`; files in labs/solutions use the values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netlab.course.map import show_map
    from netlab.course.panel import break_it, exercise
    from netlab.course.prediction import predict
    from netlab.course.scene import Scene
    from netlab.course.values import BreakFix, Exercise, Fault, Hint, Mistake, Verdict

__all__ = [
    "BreakFix",
    "Exercise",
    "Fault",
    "Hint",
    "Mistake",
    "Scene",
    "Verdict",
    "break_it",
    "exercise",
    "predict",
    "show_map",
]

#: Found when they are first asked for (PEP 562): `netlab progress` shall not wait for widgets.
_LATER = {
    "predict": "prediction",
    "exercise": "panel",
    "break_it": "panel",
    "show_map": "map",
    "Scene": "scene",
    **dict.fromkeys(("BreakFix", "Exercise", "Fault", "Hint", "Mistake", "Verdict"), "values"),
}


def __getattr__(name: str) -> Any:
    """Import one of the names when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"netlab.course.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    """Return the names that there are, those to come as well."""
    return sorted({*globals(), *__all__})
