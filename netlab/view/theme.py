"""The colours and faces of every picture, as tokens with a light and a dark value.

The light value is also the sentinel that stands in the SVG, so that a picture without its style sheet is right on a
white page; the style sheet maps each sentinel to its token, and each token to the reader's theme.
"""

from __future__ import annotations

from types import MappingProxyType

#: token: (light value, unique; dark value)
TOKENS = MappingProxyType(
    {
        "page": ("#fffffe", "#111418"),
        "ink": ("#1b2733", "#e9eef3"),
        "muted": ("#566472", "#a9b5c1"),
        "host": ("#f2f4f7", "#1b2128"),
        "hostline": ("#aab6c2", "#4b5866"),
        "pod": ("#fefefe", "#272e36"),
        "podline": ("#8494a3", "#7d8b99"),
        "hair": ("#d9e0e7", "#3d4853"),
        "sub": ("#f6f8fa", "#222930"),
        "chip": ("#e3eaf1", "#303d4a"),
        "chipline": ("#4d6176", "#a5b6c7"),
        "l2": ("#dce6f0", "#293a4b"),
        "l2line": ("#3f5f82", "#96b8dc"),
        "cable": ("#6f7f8e", "#8c9cab"),
        "l3": ("#e1f2ec", "#15362c"),
        "l3line": ("#00694a", "#62dcb4"),
        "svc": ("#f5ecf8", "#33223b"),
        "svcline": ("#7a2a8f", "#e0b3ef"),
        "tun": ("#fdf3dd", "#372c14"),
        "tunline": ("#806000", "#e0a030"),
        "bad": ("#fce9ea", "#401f21"),
        "badline": ("#8f0012", "#ff8a83"),
        "sel": ("#e5effd", "#172c4a"),
        "pkt": ("#0b5bd3", "#5ea4ff"),
    }
)

UI_FONT = "'DejaVu Sans Condensed','Segoe UI',Roboto,Arial,sans-serif"
MONO_FONT = "'DejaVu Sans Mono',Menlo,Consolas,monospace"


def light(token: str) -> str:
    """Return the sentinel of a token."""
    return TOKENS[token][0]


def _variables(column: int) -> str:
    return "".join(f"--nl-{token}:{values[column]};" for token, values in TOKENS.items())


def mapping_css() -> str:
    """Return the rules that lead from each sentinel to its variable."""
    return "\n".join(
        f'.nl [{attribute}="{values[0]}"]{{{attribute}:var(--nl-{token},{values[0]})}}'
        for token, values in TOKENS.items()
        for attribute in ("fill", "stroke")
    )


def live_css() -> str:
    """Return the style of pictures in a page: JupyterLab's theme first, the system's where there is none."""
    dark = _variables(1)
    return "\n".join(
        (
            f".nl-root{{{_variables(0)}}}",
            f"@media (prefers-color-scheme:dark){{body:not([data-jp-theme-light]) .nl-root{{{dark}}}}}",
            f'[data-jp-theme-light="false"] .nl-root{{{dark}}}',
            ".nl-root{--nl-page:var(--jp-layout-color0,#fffffe)}",
            mapping_css(),
        )
    )


def static_css() -> str:
    """Return the style that a picture on its own carries with it."""
    return "\n".join(
        (
            f"svg.nl{{{_variables(0)}}}",
            f"@media (prefers-color-scheme:dark){{svg.nl{{{_variables(1)}}}}}",
            mapping_css(),
        )
    )
