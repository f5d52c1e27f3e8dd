from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
import view_samples as samples

from netlab.errors import InvalidInputError, MissingFeatureError
from netlab.view import png, theme
from netlab.view.drawing import draw
from netlab.view.folding import fold
from netlab.view.scene import to_scene
from netlab.view.svg import static

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def svg() -> str:
    """Give the static picture of a cluster."""
    return static(draw(fold(to_scene(samples.cluster()))))


def read(data: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Return width, height and the first pixel of a PNG with 8 bits a channel."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    place, body, head = 8, b"", b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        chunk = data[place + 8 : place + 8 + length]
        head, body = (chunk, body) if kind == b"IHDR" else (head, body + chunk * (kind == b"IDAT"))
        place += 12 + length
    width, height = struct.unpack(">II", head[:8])
    # Whatever the filter of the first row: nothing is before its first pixel.
    return width, height, tuple(zlib.decompress(body)[1:4])


@pytest.mark.parametrize("dark", [False, True])
def test_a_png_has_the_page_of_its_theme_and_twice_the_size(svg: str, dark: bool) -> None:  # noqa: FBT001 - the case
    """Light and dark are resolved: the renderer knows no style sheets with variables."""
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size is not None
    width, height, pixel = read(png.to_png(svg, dark=dark))
    assert (width, height) == (2 * int(size[1]), 2 * int(size[2]))
    assert pixel == tuple(bytes.fromhex(theme.TOKENS["page"][dark][1:]))


def test_text_of_both_faces_is_drawn(svg: str) -> None:
    """Without names the picture is another, and without addresses too."""
    whole = png.to_png(svg)
    names = re.sub(r'(<text(?![^>]*class="mono")[^>]*>)[^<]*', r"\1", svg)
    addresses = re.sub(r'(<text[^>]*class="mono"[^>]*>)[^<]*', r"\1", svg)
    assert names != svg != addresses
    assert len(png.to_png(names)) < 0.9 * len(whole)
    assert len(png.to_png(addresses)) < 0.9 * len(whole)


def test_the_end_of_the_name_says_what_is_written(svg: str, tmp_path: Path) -> None:
    """SVG as it is, PNG as it is drawn, and nothing else."""
    assert png.save_picture(svg, tmp_path / "a.svg").read_text("utf-8") == svg
    assert read(png.save_picture(svg, str(tmp_path / "a.PNG")).read_bytes())[0] > 0
    with pytest.raises(InvalidInputError, match=r"\.svg or \.png, by the end of its name; 'a\.gif' is neither"):
        png.save_picture(svg, tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the renderer find no condensed face: it draws nothing then, without a word."""
    drawn = png._drawn
    monkeypatch.setattr(png, "_drawn", lambda face, text: drawn(face.replace('DejaVu Sans"', 'No Such Face"'), text))
    png._look_for_fonts.cache_clear()
    yield
    png._look_for_fonts.cache_clear()


@pytest.mark.usefixtures("no_fonts")
def test_without_its_fonts_it_says_what_to_install(svg: str) -> None:
    """A picture without words would be worse than none."""
    with pytest.raises(MissingFeatureError, match="apt install fonts-dejavu-extra"):
        png.to_png(svg)
