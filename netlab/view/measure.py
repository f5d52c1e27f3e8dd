"""How wide text will be, without asking a font: the advance widths of the DejaVu faces.

DejaVu Sans Condensed is a little wider than Arial, Segoe UI and Roboto, DejaVu Sans Mono as wide as Menlo and wider
than Consolas, so what fits by these numbers fits in the reader's browser. Knowing them here keeps the layout the same
on a machine that lacks the fonts.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal

Face = Literal["ui", "bold", "mono"]

# Thousandths of an em, from the space to the tilde.
_UI = (
    "285 360 413 753 572 854 701 247 351 351 449 753 285 324 285 303 572 572 572 572 572 572 572 572 572 572 303 303 "
    "753 753 753 477 899 615 617 628 692 568 517 697 676 265 265 589 500 776 672 708 542 708 625 571 549 658 615 889 "
    "616 549 616 351 303 351 753 449 449 551 571 494 571 553 316 571 570 250 250 520 250 876 570 550 571 571 369 468 "
    "352 570 532 735 532 532 472 572 303 572 753"
)
_BOLD = (
    "312 410 468 753 625 901 784 275 411 411 470 753 341 373 341 328 625 625 625 625 625 625 625 625 625 625 359 359 "
    "753 753 753 521 899 696 685 660 747 614 614 738 752 334 334 697 573 895 752 764 659 764 692 647 613 730 696 992 "
    "693 651 652 411 328 411 753 449 449 606 644 533 644 610 391 644 640 308 308 598 308 937 640 618 644 644 443 535 "
    "430 640 586 831 580 586 523 640 328 640 753"
)
_WIDTHS = {
    face: {chr(32 + place): int(width) / 1000 for place, width in enumerate(text.split())}
    for face, text in (("ui", _UI), ("bold", _BOLD))
}
_MONO = 0.602
_OTHER = 0.9  # wide enough for every letter and sign of the Latin, Greek and Cyrillic faces
_WIDE = 1.25  # an ideograph or an emoji takes a full em and more in fallback fonts
_ELLIPSIS = "…"


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, face: Face = "ui") -> float:
    """Return the width of a line of text in points, never less than what a browser will draw."""
    return sum(_width(character, face) for character in text) * size


def _width(character: str, face: Face) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    if face == "mono":
        return _MONO if character.isascii() or character in "·…→●◐○■◆✕" else _OTHER
    return _WIDTHS[face].get(character, _OTHER)


@lru_cache(maxsize=4096)
def fit(text: str, width: float, size: float, face: Face = "ui") -> str:
    """Return the text, or as much of its beginning as fits, with an ellipsis."""
    if text_width(text, size, face) <= width:
        return text
    room = width - text_width(_ELLIPSIS, size, face)
    kept = ""
    for character in text:
        room -= _width(character, face) * size
        if room < 0:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def fit_middle(text: str, width: float, size: float, face: Face = "ui") -> str:
    """Return the text, or its two ends that fit around an ellipsis: the tail is what tells interface names apart."""
    if text_width(text, size, face) <= width:
        return text
    for length in range(len(text) - 1, 1, -1):
        head = (length + 1) // 2
        short = text[:head] + _ELLIPSIS + text[len(text) - (length - head) :]
        if text_width(short, size, face) <= width:
            return short
    return fit(text, width, size, face)
