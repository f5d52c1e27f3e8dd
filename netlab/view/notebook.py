"""What every widget needs of the notebook that it is shown in."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import MethodType


class Weak:
    """A bound method that does not keep its object alive; it does nothing once that has gone."""

    def __init__(self, method: Callable[..., Any], default: Any = None) -> None:
        """Keep a method by a weak reference; ``default`` is returned when its object has gone."""
        self._method: weakref.WeakMethod[MethodType] = weakref.WeakMethod(method)  # type: ignore[arg-type]
        self._default = default

    def __call__(self, *arguments: Any) -> Any:
        """Call the method if its object is still there."""
        method = self._method()
        return method(*arguments) if method is not None else self._default


def in_kernel() -> bool:
    """Tell whether a notebook's kernel runs this, so that there can be a browser."""
    shell: Any = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
