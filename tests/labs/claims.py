"""What the prose of chapters says about the output of their cells: each is checked in a run.

The claims of a chapter are in ``claims_NN.py``, by its number.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chapters import Run


def check(stem: str, done: Run) -> None:
    """Check a chapter that ran; a chapter of which nothing is written has no claims."""
    name = f"claims_{stem[:2]}"
    if Path(__file__).with_name(f"{name}.py").exists():
        import_module(name).claims(done)
