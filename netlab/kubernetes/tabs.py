"""Lay out lines of cells as Go's text/tabwriter does, which kubectl describe prints through. Pure.

A column is a run of lines, one below the other, that have a cell with another one after it in the same place. It is as
wide as its widest cell and two spaces; a line that has no such cell ends it. Source: the documentation of
text/tabwriter.
"""

from __future__ import annotations

from itertools import pairwise

_PADDING = 2
_INDENT = "  "


class Page:
    """Lines of cells, and the text that they become."""

    def __init__(self) -> None:
        """Begin with an empty page."""
        self._done = ""
        self._lines: list[tuple[str, ...]] = []

    def line(self, level: int, *cells: object) -> None:
        """Add a line, indented by two spaces a level."""
        first, *rest = map(str, cells or ("",))
        self._lines.append((_INDENT * level + first, *rest))

    def lines(self, level: int, title: str, texts: list[str]) -> None:
        """Add several texts below each other, with a title beside the first."""
        for place, text in enumerate(texts or ["<none>"]):
            self._lines.append((_INDENT * level + title if place == 0 else "", text))

    def end_columns(self) -> None:
        """Let no column go on below this place."""
        self._done += layout(self._lines)
        self._lines = []

    def __str__(self) -> str:
        """Return the text, with a newline at its end."""
        return self._done + layout(self._lines)


def layout(lines: list[tuple[str, ...]]) -> str:
    r"""Return lines of cells as one text.

    >>> layout([("Name:", "web"), ("Namespace:", "default"), ("Ports:",), ("  80", "TCP")])
    'Name:       web\nNamespace:  default\nPorts:\n  80  TCP\n'
    """
    widths = [[0] * (len(line) - 1) for line in lines]
    for column in range(max((len(line) for line in lines), default=0) - 1):
        breaks = [-1, *(place for place, line in enumerate(lines) if len(line) - 1 <= column), len(lines)]
        for before, after in pairwise(breaks):
            run = range(before + 1, after)
            width = max((len(lines[place][column]) for place in run), default=0) + _PADDING
            for place in run:
                widths[place][column] = width
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line, [*own, 0], strict=True)) + "\n"
        for line, own in zip(lines, widths, strict=True)
    )
