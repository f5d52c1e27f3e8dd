"""From a picture to PNG, without a browser: colours and faces are resolved here, the rest is drawn by resvg."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import resvg_py

from netlab.errors import InvalidInputError, MissingFeatureError
from netlab.view import theme

#: Twice the size of the page: sharp on every screen, and in print.
_ZOOM = 2.0
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_HEX = re.compile(r'"(#[0-9a-f]{6})"')
#: The face by the name under which font libraries list it.
_FACE = 'font-family="DejaVu Sans" font-stretch="condensed"'
_FONTS = "A PNG needs the DejaVu fonts, and they are not installed. On Debian or Ubuntu: apt install {}."


def to_png(svg: str, *, dark: bool = False) -> bytes:
    """Return a static picture as PNG, twice as large as the SVG; raises MissingFeatureError without its fonts."""
    _look_for_fonts()
    text = _STYLE.sub("<style>.nl-off{opacity:.5}</style>", svg, count=1)
    text = text.replace(f'font-family="{theme.UI_FONT}"', _FACE)
    if dark:
        colours = dict(theme.TOKENS.values())
        text = _HEX.sub(lambda found: f'"{colours.get(found[1], found[1])}"', text)
    page = theme.TOKENS["page"][dark]
    return bytes(resvg_py.svg_to_bytes(svg_string=text, background=page, zoom=_ZOOM))


def save_picture(svg: str, path: str | Path, *, dark: bool = False) -> Path:
    """Write a static picture to a file, as its name says: ``.svg`` or ``.png``; return its path."""
    target = Path(path)
    kind = target.suffix.lower()
    if kind == ".png":
        target.write_bytes(to_png(svg, dark=dark))
    elif kind == ".svg":
        target.write_text(svg, "utf-8")
    else:
        raise InvalidInputError(
            f"A picture is saved as .svg or .png, by the end of its name; {target.name!r} is neither."
        )
    return target


@lru_cache(maxsize=1)
def _look_for_fonts() -> None:
    """Draw a letter of each face: where a font is missing, resvg draws nothing and says nothing."""
    packages = {_FACE: "fonts-dejavu-extra", 'font-family="DejaVu Sans Mono"': "fonts-dejavu-core"}
    missing = [name for face, name in packages.items() if _drawn(face, "M") == _drawn(face, "")]
    if missing:
        raise MissingFeatureError(_FONTS.format(" ".join(missing)))


def _drawn(face: str, text: str) -> bytes:
    size = 'xmlns="http://www.w3.org/2000/svg" width="20" height="20"'
    return bytes(resvg_py.svg_to_bytes(svg_string=f'<svg {size} {face}><text x="2" y="16">{text}</text></svg>'))
