from __future__ import annotations

import re

import pytest

from netlab.view.measure import fit, fit_middle, text_width
from netlab.view.theme import TOKENS, live_css, static_css

#: (text, ground) as they meet in the pictures.
_PAIRS = (
    *(
        (text, ground)
        for text in ("ink", "muted")
        for ground in ("host", "pod", "chip", "l2", "page", "bad", "tun", "svc", "l3")
    ),
    ("l2line", "l2"),
    ("l2line", "pod"),
    ("l3line", "pod"),
    ("l3line", "host"),
    ("l3line", "l3"),
    ("svcline", "svc"),
    ("tunline", "tun"),
    ("badline", "bad"),
    ("badline", "pod"),
    ("badline", "l2"),
)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), _PAIRS)
def test_text_can_be_read(text: str, ground: str, theme: int) -> None:
    """Every text has a contrast of 4.5 to 1 and more with what it stands on (WCAG AA)."""
    bright, dark = sorted((luminance(TOKENS[text][theme]), luminance(TOKENS[ground][theme])), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_each_sentinel_means_one_token() -> None:
    """Two tokens with one light value could not be told apart in the SVG."""
    assert len({light for light, _ in TOKENS.values()}) == len(TOKENS)
    for light, dark in TOKENS.values():
        assert re.fullmatch(r"#[0-9a-f]{6}", light)
        assert re.fullmatch(r"#[0-9a-f]{6}", dark)


def test_styles_touch_only_the_pictures() -> None:
    """A style in a page reaches all of it: each rule is bound to a class of ours."""
    for rule in re.findall(r"([^{}]+)\{", live_css() + static_css()):
        assert ".nl" in rule or rule.strip().startswith("@media")


def test_widths_grow_with_the_text() -> None:
    """Mono is 0.602 em a letter; a wide letter is wider than a narrow one; a combining mark takes nothing."""
    assert text_width("10.0.0.1/24", 10, "mono") == pytest.approx(66.22)
    assert text_width("W", 10) > text_width("i", 10)
    assert text_width("é", 10) == pytest.approx(text_width("e\N{COMBINING ACUTE ACCENT}", 10), abs=4)
    assert text_width("網", 10) >= 10


@pytest.mark.parametrize("text", ["", "a", "veth0a1b2c3d", "x" * 200, "網路" * 20])
@pytest.mark.parametrize("width", [12.0, 40.0, 120.0])
def test_what_is_cut_fits(text: str, width: float) -> None:
    """A text that is cut is no wider than its room, and one that fits is left alone."""
    for cut in (fit(text, width, 10, "mono"), fit_middle(text, width, 10, "mono")):
        assert text_width(cut, 10, "mono") <= width
        assert cut == text or "…" in cut


def test_a_cut_in_the_middle_keeps_the_tail() -> None:
    """The end of an interface's name tells it from its neighbours."""
    assert fit_middle("veth0a1b2c3d", 50, 10, "mono").endswith("c3d")
