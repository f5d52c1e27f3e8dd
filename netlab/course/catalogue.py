"""The chapters: where they are, what they ask of the reader, and the solutions beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from netlab.course.values import BreakFix, Exercise

#: What a chapter asks, as its cells say it: `predict("02-which-route", …`.
_ASKS = re.compile(r'\b(predict|exercise|break_it)\(\s*"([\w-]+)"')
_MINUTES = re.compile(r"About (\d+) minutes")
KEY = re.compile(r"\d\d-[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter: its file, its title, and the keys of what it asks."""

    path: Path
    title: str
    minutes: int
    predictions: tuple[str, ...]
    exercises: tuple[str, ...]
    faults: tuple[str, ...]

    @property
    def number(self) -> str:
        """The two digits that its name begins with."""
        return self.path.stem[:2]


def labs_folder() -> Path:
    """Return the folder with the chapters: $NETLAB_LABS, the working directory, or the one beside the package.

    Raises NotFoundError.
    """
    here = Path.cwd()
    given = os.environ.get("NETLAB_LABS")
    places = [Path(given)] if given else [here, here / "labs", Path(__file__).parents[2] / "labs"]
    for place in places:
        if (place / "solutions").is_dir():
            return place
    raise NotFoundError(
        f"The chapters are not in {', '.join(map(str, places))}. Set NETLAB_LABS to the folder that holds 00-welcome."
    )


def chapters() -> list[Chapter]:
    """Read the chapters that are there, in their order."""
    return [_chapter(path) for path in sorted(labs_folder().glob("[0-9][0-9]-*.ipynb"))]


def _chapter(path: Path) -> Chapter:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    asks = [found for text, cell in zip(texts, cells, strict=True) if _is_code(cell) for found in _ASKS.findall(text)]
    title = next((line[2:] for text in texts for line in text.splitlines() if line.startswith("# ")), path.stem)
    minutes = _MINUTES.search("\n".join(texts[:2]))
    kinds = {kind: tuple(key for what, key in asks if what == kind) for kind in ("predict", "exercise", "break_it")}
    return Chapter(path, title, int(minutes[1]) if minutes else 0, *kinds.values())


def _is_code(cell: dict[str, object]) -> bool:
    return cell["cell_type"] == "code"


def chapter(number: str) -> Chapter:
    """Return a chapter by its number, such as "02" or "2"; raises NotFoundError."""
    wanted = number.zfill(2)
    found = {one.number: one for one in chapters()}
    if wanted not in found:
        raise NotFoundError(f"There is no chapter {number!r}. There are: {', '.join(found)}.")
    return found[wanted]


def check_key(key: str) -> str:
    """Return the key; raises InvalidInputError unless it is a chapter's number and a name."""
    if not KEY.fullmatch(key):
        raise InvalidInputError(f'A key is a chapter and a name, such as "02-which-route"; {key!r} is not.')
    return key


def find(key: str) -> Exercise | BreakFix:
    """Return what labs/solutions has under a key; raises NotFoundError."""
    check_key(key)
    found = {
        one.key: one for path in sorted((labs_folder() / "solutions").glob(f"{key[:2]}-*.py")) for one in load(path)
    }
    if key not in found:
        raise NotFoundError(f"There is no exercise {key!r}. Chapter {key[:2]} has: {', '.join(found) or 'none'}.")
    return found[key]


@lru_cache(maxsize=32)
def load(path: Path) -> tuple[Exercise | BreakFix, ...]:
    """Import a file of labs/solutions and return its ``EXERCISES``."""
    spec = importlib.util.spec_from_file_location(f"netlab_solutions_{path.stem.replace('-', '_')}", path)
    if spec is None or spec.loader is None:
        raise NotFoundError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.EXERCISES)
