"""Read label selectors as ``kubectl -l`` takes them, and tell which objects they match. Pure.

Source: apimachinery's pkg/labels/selector.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PART = re.compile(r"[^,(]*(?:\([^)]*\))?[^,(]*")
_NAME = r"(?P<key>[\w./-]+)"
_FORMS = (
    re.compile(rf"(?P<not>!?)\s*{_NAME}"),
    re.compile(rf"{_NAME}\s*(?P<sign>==?|!=)\s*(?P<value>[\w.-]*)"),
    re.compile(rf"{_NAME}\s+(?P<sign>in|notin)\s*\((?P<value>[^)]*)\)"),
)
_EXPECTED = "key=value, key!=value, key in (a,b), key notin (a,b), key or !key was expected"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition: the label has one of ``values`` (any, where there are none); ``negated`` turns it round."""

    key: str
    values: frozenset[str]
    negated: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; a label that is not there has none of the values."""
        held = labels.get(self.key) in self.values if self.values else self.key in labels
        return held is not self.negated


def read_selector(text: str) -> tuple[Requirement, ...]:
    """Return the conditions of a selector; raises InvalidInputError.

    >>> [each.matches({"app": "web"}) for each in read_selector("app in (web, db),!tier,app!=web")]
    [True, True, False]
    """
    parts = [part.strip() for part in _PART.findall(text)]
    return tuple(_requirement(part) for part in parts if part)


def _requirement(part: str) -> Requirement:
    plain, equal, among = (form.fullmatch(part) for form in _FORMS)
    if plain:
        return Requirement(plain["key"], frozenset(), bool(plain["not"]))
    if equal:
        return Requirement(equal["key"], frozenset({equal["value"]}), equal["sign"] == "!=")
    if among:
        values = frozenset(value.strip() for value in among["value"].split(","))
        return Requirement(among["key"], values, among["sign"] == "notin")
    raise InvalidInputError(f"The selector {part!r} cannot be read: {_EXPECTED}.")
